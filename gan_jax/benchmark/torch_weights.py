"""Weights of our networks to their PyTorch twins and back, by name.

Imports torch (extra `peers`) and the twins' networks.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from gan_jax.adversarial.state import Net
from gan_jax.benchmark.torch_nets import Places, PlacesNorm, R3Discriminator, R3Generator

Weights = dict[str, np.ndarray]


def load(module: nn.Module, net: Net) -> None:
    """Copies weights, and the vectors of spectral norms."""
    own = dict(_parameters(module))
    theirs = flat(net.params)
    if own.keys() != theirs.keys():
        raise ValueError(f"the twin's weights differ in name: {sorted(own.keys() ^ theirs.keys())}")
    vectors = flat(net.stats)
    with torch.no_grad():
        for name, (parameter, layer) in own.items():
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(_there(theirs[name], layer, name))))
            norm = _spectral(layer)
            if norm is not None and name.endswith("kernel"):
                norm._u.copy_(torch.from_numpy(vectors[name.removesuffix("kernel") + "u"].copy()))
                norm._v.copy_(F.normalize(parameter.flatten(1).T @ norm._u, dim=0, eps=norm.eps))


def weights_of(module: nn.Module, take: Callable[[Any], Any] = lambda weight: weight) -> Weights:
    """Weights, or what `take` makes of each, under our names and in our layout."""
    return {name: _back(take(weight).detach().numpy(), layer, name) for name, (weight, layer) in _parameters(module)}


def flat(tree: Mapping[str, Any]) -> Weights:
    """A tree of arrays by dotted names."""
    leaves = jax.tree_util.tree_flatten_with_path(tree)[0]
    return {".".join(str(key.key) for key in path): np.array(leaf) for path, leaf in leaves}


def _spectral(layer: nn.Module) -> Any:
    return layer.parametrizations.weight[0] if hasattr(layer, "parametrizations") else None


def _parameters(module: nn.Module, prefix: str = "") -> Any:
    """(our name, (parameter, the layer that owns it)), depth first."""
    for name, child in module.named_children():
        path = f"{prefix}{name}."
        if isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d)):
            yield f"{path}norm.scale", (child.weight, child)
            yield f"{path}norm.bias", (child.bias, child)
        elif isinstance(child, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            weight = child.weight if _spectral(child) is None else child.parametrizations.weight.original
            yield f"{path}kernel", (weight, child)
            if child.bias is not None:
                yield f"{path}bias", (child.bias, child)
        else:
            yield from _parameters(child, path)
    if isinstance(module, (R3Generator, R3Discriminator)):
        yield f"{prefix}basis", (module.basis, module)


def _there(array: np.ndarray, layer: nn.Module, name: str) -> np.ndarray:
    """Our layout to PyTorch's, mirrored."""
    array = _mirrored(array, layer, name)
    if name.endswith("basis"):
        return array.transpose(2, 0, 1)  # [h, w, C] -> [C, h, w]
    if not name.endswith("kernel"):
        return array
    if isinstance(layer, nn.Linear):
        return array.T  # [C, D] -> [D, C]
    axes = (2, 3, 0, 1) if isinstance(layer, nn.ConvTranspose2d) else (3, 2, 0, 1)
    return array.transpose(axes)  # [kh, kw, C, D] -> [C, D, kh, kw] or [D, C, kh, kw]


def _back(array: np.ndarray, layer: nn.Module, name: str) -> np.ndarray:
    """The inverse of `_there`."""
    if name.endswith("basis"):
        array = array.transpose(1, 2, 0)
    elif name.endswith("kernel"):
        axes = (2, 3, 0, 1) if isinstance(layer, nn.ConvTranspose2d) else (2, 3, 1, 0)
        array = array.T if isinstance(layer, nn.Linear) else array.transpose(axes)
    return _mirrored(array, layer, name)


def _mirrored(array: np.ndarray, layer: nn.Module, name: str) -> np.ndarray:
    """Turns height and width of a weight in our layout round."""
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
        return array[::-1, ::-1] if name.endswith("kernel") else array
    if name.endswith("basis"):
        return array[::-1, ::-1]
    if not isinstance(layer, (Places, PlacesNorm)):
        return array
    if array.ndim == 1 and isinstance(layer, Places) and layer.flat_axis == 0:
        return array  # bias of the one output
    axis = min(layer.flat_axis, array.ndim - 1)
    wide = array.reshape(*array.shape[:axis], *layer.places, -1, *array.shape[axis + 1 :])
    return np.flip(wide, (axis, axis + 1)).reshape(array.shape)  # [.., h * w * C, ..] -> [.., h, w, C, ..] and back
