"""How doorways read flags and report bad input: one line, exit code 2. Imports absl, config, errors."""

import functools
import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from gan_jax.errors import InputError

_overrides: list[str] = []


def run(main: Callable[..., None], *names: str) -> None:
    """Runs a doorway.

    Exit codes: 0 done, 2 bad input (one line on stderr), 130 stopped by Ctrl-C, 143 by SIGTERM.

    Args:
        main: takes one text for each name.
        names: of the arguments that are not flags, all of them needed.
    """
    logging.set_verbosity(logging.WARNING)  # JAX tells at length which accelerators it did not find
    app.run(lambda argv: _guarded(functools.partial(main, *argv[1:])), flags_parser=functools.partial(_parse, names))


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


def _guarded(main: Callable[[], None]) -> None:
    try:
        main()
    except InputError as error:
        _fail(str(error))
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


def _fail(message: str) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    raise SystemExit(2)
