"""Where figures come from: the checkout with its configs and commit, the machine, the versions. Imports config."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

import jax

import gan_jax
from gan_jax.config import Config, load_config
from gan_jax.errors import InputError

ROOT = Path(__file__).resolve().parents[2]  # the checkout, if the package is run from one
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")


def checkout_config(name: str) -> Config:
    """The config configs/NAME.py of the checkout.

    Raises:
        InputError: the package is not run from a checkout.
    """
    path = ROOT / "configs" / f"{name}.py"
    if not path.is_file():
        raise InputError(
            f"configs/{name}.py is not beside the package: run the benchmark from a checkout (pip install -e .)"
        )
    return load_config(path)


def commit(root: Path = ROOT) -> str:
    """The checkout's commit; "-dirty" if tracked files were changed but for pages and figures, which suites write.

    "unknown" without one.
    """

    def git(*arguments: str) -> str:
        line = ["git", "-C", str(root), *arguments]
        environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
        return subprocess.run(line, capture_output=True, text=True, check=True, env=environment).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")).resolve() != root.resolve():
            return "unknown"  # a package in someone else's repository
        others = [f":(exclude){name}" for name in ("benchmarks", "docs", "README.md")]
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".", *others)
        return git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine() -> dict[str, str | int | float]:
    """What the figures were measured on."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "platform": jax.default_backend(),
        "devices": f"{jax.device_count()} x {jax.devices()[0].device_kind}",
    }


def versions() -> dict[str, str]:
    """Python and the packages that figures depend on."""
    found = {name: importlib.metadata.version(name) for name in _PACKAGES}
    return {"python": platform.python_version(), **found, "gan_jax": gan_jax.__version__}


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"
