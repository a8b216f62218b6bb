"""Devices and shardings: one mesh axis, `data`. Imports JAX only."""

from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec


def make_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh of all devices (of all processes), or of the given ones, with the one axis `data`."""
    devices = jax.devices() if devices is None else devices
    # Auto: the step stays the single-device program and XLA partitions it.
    return jax.make_mesh((len(devices),), ("data",), axis_types=(AxisType.Auto,), devices=devices)


def replicated(mesh: Mesh | AbstractMesh) -> NamedSharding:
    """Every device holds the whole array: the state."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh | AbstractMesh, axis: int = 0) -> NamedSharding:
    """Devices share the given axis: 0 for a batch [B, ...], 1 for micro-batches [P, b, ...]."""
    return NamedSharding(mesh, PartitionSpec(*([None] * axis), "data"))


def put(value: np.ndarray | np.generic, sharding: NamedSharding) -> jax.Array:
    """Moves to the devices what every process has; `jax.device_put` would first compare it between them, each time."""
    if sharding.is_fully_addressable:
        return jax.device_put(value, sharding)
    whole = np.asarray(value)
    places = sharding.addressable_devices_indices_map(whole.shape)
    parts = [jax.device_put(whole[index], device) for device, index in places.items()]
    return jax.make_array_from_single_device_arrays(whole.shape, sharding, parts)


def shard_batch(mesh: Mesh | AbstractMesh, array: jax.Array) -> jax.Array:
    """Constrains the leading axis of an array made inside jit to the mesh."""
    return jax.lax.with_sharding_constraint(array, batch_sharding(mesh))
