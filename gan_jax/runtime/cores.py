"""The CPU cores that this process may use. Imports JAX only once devices are asked for."""

import os


def usable_cores() -> int:
    """How many there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def split_cores() -> None:
    """Makes each core a device of its own, for populations; to be called before any device is used.

    Members that have a core each train faster than in turns on all cores, since a small network cannot fill them
    (benchmark suite throughput, arm population). A lone run does better with all cores as one device. A number of
    devices given in XLA_FLAGS stays.
    """
    import jax

    if "xla_force_host_platform_device_count" not in os.environ.get("XLA_FLAGS", ""):
        jax.config.update("jax_num_cpu_devices", usable_cores())
