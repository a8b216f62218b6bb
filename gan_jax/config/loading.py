"""Configs from files: the user's own in Python, the built-in ones by name, and a workdir's config.json."""

import difflib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gan_jax.config.overrides import split_overrides
from gan_jax.config.settings import Config, from_dict
from gan_jax.errors import InputError


def load_config(path: str | Path, overrides: Mapping[str, Any] | Sequence[str] = ()) -> Config:
    """Loads a config file and applies overrides.

    Args:
        path: a Python file that defines `get_config() -> Config`, or the name of a built-in one, such as "digits".
        overrides: dotted fields, as a mapping or as "a.b=value" strings.

    Raises:
        InputError: the file cannot be loaded, or an override does not fit.
    """
    path = _find(path)
    if path.suffix != ".py":
        raise InputError(f"--config={path}: a config is a Python file that ends in .py")
    config = call_from(path, "config", "get_config", (), "configs/ has examples")
    if not isinstance(config, Config):
        raise InputError(f"--config={path}: get_config() must return a gan_jax.Config, not {type(config).__name__}")
    return config.replace(overrides if isinstance(overrides, Mapping) else split_overrides(overrides))


def load_sibling(file: str, name: str) -> Config:
    """The config of `name`.py beside `file`: configs build on one another, never by copy."""
    return load_config(Path(file).with_name(f"{name}.py"))


def read_json(path: Path) -> Config:
    """Reads a workdir's config.json.

    Raises:
        InputError: the file is missing or is no config.
    """
    try:
        tree = json.loads(path.read_text())
    except FileNotFoundError:
        raise InputError(f"{path} is missing: is {path.parent} a workdir of gan_jax.main?") from None
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON ({error}): restore it or take another --workdir") from None
    if not isinstance(tree, dict):
        raise InputError(f"{path} is no config: restore it or take another --workdir")
    return from_dict(tree)


def preset_names() -> list[str]:
    """Names of the built-in configs."""
    return sorted(path.stem for path in _presets().glob("*.py"))


def _find(path: str | Path) -> Path:
    """The file that --config means: a path, or else the name of a built-in config."""
    given, known = Path(path), preset_names()
    if given.is_file():
        return given
    if str(path) in known:
        return _presets() / f"{path}.py"
    close = difflib.get_close_matches(given.stem, known, n=1)
    hint = f"did you mean --config={close[0]}?" if close else f"built-in are {', '.join(known)}"
    raise InputError(f"--config={path}: no such file or built-in config; {hint}")


def _presets() -> Path:
    """Folder of the built-in configs: inside an installed package, beside the package in a checkout."""
    here = Path(__file__).parent.parent
    return here / "configs" if (here / "configs").is_dir() else here.parent / "configs"


def call_from(path: Path, flag: str, function: str, arguments: Sequence[Any], hint: str) -> Any:
    """Runs a Python file of the user's and calls a function of it.

    Args:
        path: the file.
        flag: that named it.
        function: to be called.
        arguments: of it.
        hint: where examples are.

    Raises:
        InputError: there is no such file or function, or either fails.
    """
    if not path.is_file():
        raise InputError(f"--{flag}={path}: no such file")
    # Not by importlib: it writes bytecode beside the file, and takes old bytecode for a file edited within a second.
    names: dict[str, Any] = {"__name__": f"gan_jax_{flag}_{path.stem}", "__file__": str(path)}
    try:
        exec(compile(path.read_bytes(), str(path), "exec", dont_inherit=True), names)
        if function not in names:
            raise InputError(f"--{flag}={path}: defines no {function}(); {hint}")
        return names[function](*arguments)
    except InputError:
        raise
    except (Exception, SystemExit) as error:
        line = " ".join(str(error).split())
        raise InputError(f"--{flag}={path}: {type(error).__name__}: {line}") from None
