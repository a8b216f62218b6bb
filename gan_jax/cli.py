"""How doorways read flags, join other processes and report bad input: one line, exit code 2. Imports runtime."""

import functools
import hashlib
import importlib.util
import os
import platform
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import platformdirs
from absl import app, flags, logging

from gan_jax.errors import InputError, UnstableRun
from gan_jax.runtime.cores import usable_cores
from gan_jax.runtime.files import plain_folder

_overrides: list[str] = []
_part: list[Callable[[int], None]] = []  # how to leave the other processes, once they have met


def run(main: Callable[..., None], *names: str) -> None:
    """Runs a doorway.

    Exit codes: 0 done, 2 bad input, 3 given up by the watchdog, 4 processes that did not meet (one line on stderr
    each), 130 stopped by Ctrl-C, 143 by SIGTERM.

    Args:
        main: takes one text for each name.
        names: of the arguments that are not flags, all of them needed.
    """
    logging.set_verbosity(logging.WARNING)  # JAX tells at length which accelerators it did not find
    warnings.formatwarning = lambda message, *place, **_: f"warning: {' '.join(str(message).split())}\n"
    _set_up_malloc()
    _keep_compiled()
    sys.unraisablehook = functools.partial(_interrupt_again, sys.unraisablehook)
    app.run(lambda argv: _guarded(functools.partial(main, *argv[1:])), flags_parser=functools.partial(_parse, names))


def _set_up_malloc() -> None:
    """Starts the command again with glibc's malloc set up for JAX, where Linux hands out huge pages on request.

    XLA takes a step's memory on CPU from malloc and gives it back at the step's end. In pages of 4 kB that is tens of
    thousands of page faults a step, a fourth of its time. Two arenas in place of one a thread, since what threads
    free in their own is kept there: more than a run uses. glibc reads the settings once, before Python runs.
    `GLIBC_TUNABLES`, if set, stays as it is.
    """
    try:
        glibc = (os.confstr("CS_GNU_LIBC_VERSION") or "").split()[-1].split(".")
        on_request = "[madvise]" in Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text()
        able = on_request and (int(glibc[0]), int(glibc[1])) >= (2, 35)
    except (AttributeError, ValueError, IndexError, OSError):  # not Linux, or not glibc
        return
    if able and sys.executable and "GLIBC_TUNABLES" not in os.environ:
        os.environ["GLIBC_TUNABLES"] = "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=2"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def _keep_compiled() -> None:
    """Has JAX, not imported yet, keep compiled programs in the user's cache folder; its own variables go first."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    # Programs for a CPU use what it can do and split loops over its cores, which JAX's key does not tell apart; a home
    # may be shared by different machines, and a process may be held to some of the cores.
    able = next((line for line in lines if line.startswith(("flags", "Features"))), platform.processor())
    kind = f"{platform.machine()}-{hashlib.sha256(able.encode()).hexdigest()[:8]}-{usable_cores()}"
    folder = Path(os.environ.get("GAN_JAX_CACHE") or platformdirs.user_cache_dir("gan_jax"))
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder / "xla" / kind))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")


def overrides() -> list[str]:
    """The `--config.a.b=v` flags of this command, as "a.b=v"."""
    return list(_overrides)


def require(name: str) -> str:
    """A flag's text.

    Raises:
        InputError: it was not given.
    """
    value = flags.FLAGS[name].value
    if not value:
        raise InputError(f"--{name} is missing: {flags.FLAGS[name].help}")
    return value


def folder(name: str) -> Path:
    """A flag that names the folder of a run.

    Raises:
        InputError: it was not given, or is no plain path.
    """
    return plain_folder(require(name))


def require_extra(extra: str, *modules: str) -> None:
    """Checks that the packages of an extra are installed.

    Raises:
        InputError: one is not.
    """
    for name in modules:
        if importlib.util.find_spec(name) is None:
            raise InputError(f"this command needs {name}: pip install 'gan-jax[{extra}]'")


def numbers(name: str) -> list[int] | None:
    """A list flag's whole numbers from 1 up; None if it was not given.

    Raises:
        InputError: one is no such number.
    """
    given = flags.FLAGS[name].value
    if given is None:
        return None
    if not given or not all(text.isdecimal() and int(text) for text in given):
        raise InputError(f"--{name}={','.join(given)}: give whole numbers from 1 up, as in --{name}=100,1000")
    return [int(text) for text in given]


def define_processes() -> None:
    """Adds the flags that `join` reads."""
    flags.DEFINE_string("coordinator", "", "HOST:PORT of process 0, where several run and JAX knows no cluster")
    flags.DEFINE_integer("processes", None, "how many there are; 1 alone: look for no cluster", lower_bound=1)
    flags.DEFINE_integer("process", None, "which one this is, from 0", lower_bound=0)
    flags.DEFINE_integer("join_seconds", 300, "that processes wait for one another at the start", lower_bound=1)


def join(preemptible: bool = True) -> None:
    """Joins the other processes of this command, by its flags or as JAX finds them; before any device is used.

    Args:
        preemptible: see `runtime.processes.meet`.

    Raises:
        InputError: flags are missing or wrong.
        MeetingError: the processes did not meet.
    """
    from gan_jax.runtime import processes  # loads JAX, which takes a second

    given = flags.FLAGS
    _part.append(processes.part)
    processes.meet(
        given.coordinator, given.processes, given.process, seconds=given.join_seconds, preemptible=preemptible
    )


def _interrupt_again(former: Callable[[Any], object], dropped: Any) -> None:
    """Ctrl-C again, if it came while garbage was collected: Python drops what finalisers and callbacks raise."""
    if issubclass(dropped.exc_type, KeyboardInterrupt):
        # Raised here, it would be dropped once more.
        threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
    else:
        former(dropped)


def _guarded(main: Callable[[], None]) -> None:
    """Runs a doorway; one of several processes leaves before the others are waited for at exit."""
    try:
        _explained(main)
    except BaseException as error:
        code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
        if not isinstance(error, SystemExit):
            traceback.print_exc()
        for part in _part:
            part(code)
        raise SystemExit(code) from None


def _explained(main: Callable[[], None]) -> None:
    try:
        main()
    except (InputError, UnstableRun) as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def _parse(names: Sequence[str], argv: Sequence[str]) -> list[str]:
    """Takes the `--config.` flags out, which absl does not know, and lets it parse the rest."""
    _overrides.clear()
    rest: list[str] = []
    arguments = list(argv)
    while arguments:
        argument = arguments.pop(0)
        if not argument.startswith(("--config.", "-config.")):
            rest.append(argument)
            continue
        text = argument.lstrip("-").removeprefix("config.")
        if "=" not in text and arguments and not arguments[0].startswith("--"):
            text = f"{text}={arguments.pop(0)}"
        _overrides.append(text)
    try:
        left = flags.FLAGS(rest)
    except flags.Error as error:
        _fail(" ".join(str(error).split()))
    given = left[1:]
    if len(given) > len(names):
        _fail(f"unexpected argument {given[len(names)]!r}: flags are written --name=value")
    if len(given) < len(names):
        _fail(f"{names[len(given)]} is missing: it is written without --, before the flags; --help says more")
    return left


def _fail(message: str, code: int = 2) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(code)
