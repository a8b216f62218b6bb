"""Several processes as one run: how they meet before any work, and how they part. Imports errors and its own room."""

import os
import socket
import threading
import time
import warnings
from collections.abc import Sequence

import jax
import numpy as np
from jax.experimental import multihost_utils

from gan_jax.errors import InputError, MeetingError
from gan_jax.runtime.agreement import everyone
from gan_jax.runtime.mesh import batch_sharding, make_mesh

PARTING = 15.0  # seconds that a process which leaves waits for the others to leave too


def meet(
    coordinator: str = "",
    processes: int | None = None,
    process: int | None = None,
    *,
    seconds: int = 300,
    preemptible: bool = True,
) -> None:
    """Joins the other processes of this command, before any device is used.

    Without arguments JAX looks for them itself: on TPU pods, under SLURM and Open MPI, in Kubernetes jobs. Where it
    finds none, this process is alone. `processes=1` alone turns the search off.

    Args:
        coordinator: HOST:PORT at which process 0 can be reached by all.
        processes: how many there are.
        process: which one this is, 0 <= process < processes.
        seconds: that they wait for one another.
        preemptible: SIGTERM to one of them is passed on to `StopSignal` in all; otherwise it ends that process.

    Raises:
        InputError: arguments are missing or wrong.
        MeetingError: the processes did not meet.
    """
    given = {"--coordinator": coordinator or None, "--processes": processes, "--process": process}
    missing = [name for name, value in given.items() if value is None]
    if jax.distributed.is_initialized() or (processes == 1 and len(missing) == 2):
        return
    # Read when the processes meet: JAX's service catches SIGTERM from then on.
    jax.config.update("jax_enable_preemption_service", preemptible)
    if len(missing) == 3:
        _search(seconds)
    else:
        _join(coordinator, processes, process, missing, seconds)
    if jax.distributed.is_initialized() and jax.process_count() > 1:
        _connect()


def _join(coordinator: str, processes: int | None, process: int | None, missing: Sequence[str], seconds: int) -> None:
    """Joins the processes that the arguments tell of."""
    if missing or processes is None or process is None:
        raise InputError(
            f"{' and '.join(missing)} missing: each of several processes needs --coordinator=HOST:PORT, "
            "--processes=N and its own --process=0..N-1"
        )
    if not 0 <= process < processes:
        raise InputError(f"--process={process} must lie in 0..{processes - 1}, since --processes={processes}")
    host, port = _address(coordinator)
    if process == 0:
        _check_free(coordinator, port)
    else:
        _find(coordinator, host, port, seconds)
    try:
        # `deactivate`: under SLURM JAX would otherwise still choose the devices.
        jax.distributed.initialize(
            coordinator, processes, process, cluster_detection_method="deactivate", initialization_timeout=seconds
        )
    except Exception as error:  # the coordination service raises what XLA calls an internal error
        raise MeetingError(
            f"process {process} did not meet the other {processes - 1} at --coordinator={coordinator} within "
            f"{seconds} s ({_line(error)}): start all of them, each with its own --process"
        ) from error


def part(code: int) -> None:
    """Leaves the other processes; free when there are none.

    A process that fails alone must not wait for the others, who wait for it: after `PARTING` seconds it ends at once
    with its exit code, its connections break, and the others fail too.

    Args:
        code: exit code of this process.
    """
    if not jax.distributed.is_initialized():
        return
    timer = threading.Timer(PARTING, os._exit, (code,))
    timer.daemon = True
    timer.start()
    try:
        jax.distributed.shutdown()
    except Exception:  # the others are gone already; a clean exit would try again
        os._exit(code)
    timer.cancel()


def _search(seconds: int) -> None:
    """Has JAX look for a cluster around this process."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # in every pod of Kubernetes: advice to install a package
            jax.distributed.initialize(initialization_timeout=seconds)
    except ValueError:
        return  # no cluster
    except Exception as error:
        raise MeetingError(
            f"JAX found a cluster but could not join its other processes ({_line(error)}): give --coordinator, "
            "--processes and --process, or --processes=1 to run alone"
        ) from error


def _connect() -> None:
    """Has every device exchange something: on CPU they connect at the first exchange and wait 30 s for one another.

    The next one may come much later, when the first of them has loaded its data and compiled its step.
    """
    mesh = make_mesh()
    whole = np.zeros(mesh.size, np.int32)
    spread = jax.make_array_from_callback(whole.shape, batch_sharding(mesh), lambda index: whole[index])
    multihost_utils.process_allgather(spread, tiled=True)
    everyone(True)


def _address(coordinator: str) -> tuple[str, int]:
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise InputError(f"--coordinator={coordinator} is no HOST:PORT: give e.g. --coordinator=10.0.0.2:1234")
    return host.strip("[]"), int(port)


def _check_free(coordinator: str, port: int) -> None:
    try:
        with socket.create_server(("", port)):
            pass
    except OSError as error:
        raise InputError(
            f"--coordinator={coordinator}: process 0 cannot listen at port {port} ({error.strerror}): take another one"
        ) from None


def _find(coordinator: str, host: str, port: int, seconds: int) -> None:
    """Waits until process 0 listens: XLA's own attempt ends the process without a message of ours."""
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host, port), timeout=max(0.1, end - time.monotonic())).close()
            return
        except OSError as error:  # refused, unknown host, no route, too late
            reason = error.strerror or str(error)
        if time.monotonic() > end:
            raise MeetingError(
                f"--coordinator={coordinator} cannot be reached within {seconds} s ({reason}): start process 0 there, "
                "and open the port"
            )
        time.sleep(0.2)


def _line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:160]}"
