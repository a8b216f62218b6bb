"""Commands keep compiled programs in the user's cache folder and ask for huge pages, unless told otherwise."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from gan_jax import cli


def test_folder_is_the_users_and_jax_variables_go_first(monkeypatch, tmp_path):
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GAN_JAX_CACHE", str(tmp_path))
    cli._keep_compiled()
    first = os.environ["JAX_COMPILATION_CACHE_DIR"]
    assert first.startswith(str(tmp_path / "xla"))
    monkeypatch.setenv("GAN_JAX_CACHE", str(tmp_path / "elsewhere"))
    cli._keep_compiled()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == first


def test_programs_for_other_cores_are_kept_apart(tmp_path):
    """XLA splits loops over the cores it finds: made for one core they are slow on two, and differ in the last bits."""
    code = "from gan_jax import cli; import os; cli._keep_compiled(); print(os.environ['JAX_COMPILATION_CACHE_DIR'])"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}

    def folder(cores: set[int]) -> str:
        command = [sys.executable, "-c", f"import os; os.sched_setaffinity(0, {cores}); {code}"]
        environment["GAN_JAX_CACHE"] = str(tmp_path)
        return subprocess.run(command, check=True, env=environment, capture_output=True, text=True).stdout

    cores = sorted(os.sched_getaffinity(0))
    assert (folder(set(cores[:1])) == folder(set(cores))) == (len(cores) == 1)
    assert folder(set(cores[:1])) == folder(set(cores[-1:]))


def test_a_command_leaves_programs_there(tmp_path, root):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    environment |= {"GAN_JAX_CACHE": str(tmp_path), "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "gan_jax.main", "--config=configs/digits.py", "--dry_run"]
    subprocess.run(command, check=True, cwd=root, env=environment, capture_output=True, timeout=300)
    assert [path for path in (tmp_path / "xla").glob("*/*") if path.stat().st_size > 1000]


@pytest.mark.parametrize("given", [None, "glibc.malloc.check=0"])
def test_commands_set_up_malloc_once(given):
    code = "import os; from gan_jax import cli; cli._set_up_malloc(); print(os.environ.get('GLIBC_TUNABLES'))"
    environment = {name: value for name, value in os.environ.items() if name != "GLIBC_TUNABLES"}
    environment |= {"GLIBC_TUNABLES": given} if given else {}
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, check=True, env=environment, capture_output=True, text=True, timeout=60).stdout
    modes = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    asks = modes.exists() and "[madvise]" in modes.read_text() and platform.libc_ver()[0] == "glibc"
    assert found.strip() == str(given or ("glibc.malloc.hugetlb=1:glibc.malloc.arena_max=2" if asks else None))
