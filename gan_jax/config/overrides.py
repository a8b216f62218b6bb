"""Settings by dotted name, such as "data.batch_size", in nested dicts of plain values."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from gan_jax.errors import InputError


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """What `to_dict` gives as one dict with dotted names; a schedule is one value."""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        group = isinstance(value, Mapping) and "start" not in value
        found |= flat(value, f"{prefix}{name}.") if group else {prefix + name: value}
    return found


def split_overrides(texts: Sequence[str]) -> dict[str, str]:
    """Values by dotted name, from "a.b=value".

    Raises:
        InputError: a value is missing.
    """
    return dict(_split_override(text) for text in texts)


def _split_override(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--config.{name}: give a value, as in --config.{name}=VALUE")
    return name, value


def assign(tree: dict[str, Any], name: str, value: Any) -> None:
    """Sets a dotted name in nested dicts whose keys are all known."""
    *parents, leaf = name.split(".")
    node: Any = tree
    for depth, part in enumerate([*parents, leaf]):
        if not isinstance(node, dict) or part not in node:
            known = list(node) if isinstance(node, dict) else []
            close = difflib.get_close_matches(part, known, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known) or 'nothing'}"
            raise InputError(f"config.{name}: unknown field {part!r}; {hint}")
        if depth < len(parents):
            node = node[part]
    if isinstance(node[leaf], dict) and "start" not in node[leaf]:
        raise InputError(f"config.{name}: is a group; set one of its fields: {', '.join(node[leaf])}")
    is_choice = isinstance(node[leaf], str)  # where "none" is a word like others
    node[leaf] = None if value == "none" and not is_choice else value
