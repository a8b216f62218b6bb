"""PyTorch and torchvision for tests with the marker `peers`."""

import functools
from typing import Any


@functools.cache
def torch_libraries() -> Any:
    """torch, with torchvision made importable.

    Beside a CPU build of torch, PyPI's torchvision finds none of its C++ operators. The networks need only that
    two of their names exist.
    """
    import torch

    names = torch.library.Library("torchvision", "DEF")
    torch_libraries.__dict__["kept"] = names  # the names live as long as this object
    for name in ("nms", "qnms"):
        names.define(f"{name}(Tensor boxes, Tensor scores, float iou_threshold) -> Tensor")
    return torch
