"""Faults done to real runs, one kind a file: what the suite `reliability` counts."""
