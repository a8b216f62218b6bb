"""Devices, files and signals: what a run stands on. Imports no other room."""
