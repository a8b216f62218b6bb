"""How good a pair is: real data, feature network and scores brought together. Imports data, metrics, gan."""
