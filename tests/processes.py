"""Commands that tests start as real processes over loopback."""

import json
import os
import pathlib
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

ROOT = pathlib.Path(__file__).parent.parent
TIMEOUT = 240.0  # seconds; machines that run tests are slow and shared


def free_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("", 0)) as server:
        return int(server.getsockname()[1])


def start(
    arguments: Sequence[str], processes: int = 1, each: Mapping[int, Sequence[str]] | None = None, **environment: str
) -> list[subprocess.Popen[str]]:
    """Starts `python ARGUMENTS` as so many processes, each with one CPU device and the flags to find the others.

    Args:
        arguments: e.g. ["-m", "gan_jax.main", ...].
        processes: they are told --coordinator, --processes and --process; one process is told nothing.
        each: more arguments for some of them.
        **environment: more variables for all.
    """
    port = free_port()
    settings = {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1", **environment}
    children = []
    for index in range(processes):
        flags = [f"--coordinator=127.0.0.1:{port}", f"--processes={processes}", f"--process={index}"]
        line = [sys.executable, *arguments, *(each or {}).get(index, ()), *(flags if processes > 1 else [])]
        children.append(subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=settings))
    return children


def finish(children: Sequence[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Exit code, stdout and stderr of each; those that do not end in time are killed and their code is negative."""
    end, results = time.monotonic() + TIMEOUT, []
    for child in children:
        try:
            out, err = child.communicate(timeout=max(0.1, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            out, err = child.communicate()
        results.append((child.returncode, out, err))
    return results


def launch(processes: int, arguments: Sequence[str], **environment: str) -> subprocess.Popen[str]:
    """Starts launch/local.sh."""
    settings = {**os.environ, "PYTHON": sys.executable, **environment}
    return subprocess.Popen(
        ["bash", str(ROOT / "launch" / "local.sh"), str(processes), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=settings,
    )


def write_config(path: pathlib.Path, tree: Mapping[str, Any]) -> pathlib.Path:
    """A config file of the given settings."""
    path.write_text(
        f"import json\nfrom gan_jax.config import from_dict\n\n\ndef get_config():\n"
        f"    return from_dict(json.loads({json.dumps(tree)!r}))\n"
    )
    return path


def measurements(workdir: pathlib.Path, name: str) -> dict[int, float]:
    """A metric by step, as metrics.jsonl holds it."""
    path = workdir / "metrics.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {line["step"]: line[name] for line in lines if name in line}


def wait_for_step(workdir: pathlib.Path, step: int, name: str = "d_loss") -> None:
    """Waits until a run has written a measurement later than `step`."""
    end = time.monotonic() + TIMEOUT
    while time.monotonic() < end:
        try:
            if max(measurements(workdir, name), default=-1) > step:
                return
        except ValueError:  # a line that is half written
            pass
        time.sleep(0.05)
    raise TimeoutError(f"{workdir} did not come past step {step}")


def checkpoints(workdir: pathlib.Path) -> list[int]:
    """Steps on disk."""
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit())
