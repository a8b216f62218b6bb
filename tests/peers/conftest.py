"""Leaves out what cannot even be read without PyTorch; the marker `peers` chooses the rest."""

import importlib.util

collect_ignore = [] if importlib.util.find_spec("torch") else ["test_torch_twins.py"]
