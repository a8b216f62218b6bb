"""Memory that a save loses in what Orbax asks TensorStore for, kept. Imports Orbax."""

import copy
import functools
from collections.abc import Callable
from typing import Any

from orbax.checkpoint._src.serialization import tensorstore_utils

Spec = dict[str, Any]
_BUILD = "_build_ocdbt_kvstore_tspec"


def mend_leaks() -> None:
    """Has Orbax ask TensorStore (0.1.86) less, since what TensorStore answers in Python's objects is never freed.

    Counts of bytes for its log (`experimental_collect_matching_metrics`), tens of kilobytes a save, are not taken. The
    description of the folder (`KvStore.Spec.to_json`), four strings a call, is asked for once a folder and not once an
    array.
    """
    if hasattr(tensorstore_utils, "get_tensorstore_raw_bytes"):
        tensorstore_utils.get_tensorstore_raw_bytes = lambda direction=None: 0
    build = getattr(tensorstore_utils, _BUILD, None)
    if build is not None and not hasattr(build, "__wrapped__"):
        setattr(tensorstore_utils, _BUILD, _once_a_folder(build))


def _once_a_folder(build: Callable[..., Spec]) -> Callable[..., Spec]:
    """`build`, which remembers its last answer; a name of an array is but the field `path` of it."""
    last: dict[str, Spec] = {}

    @functools.wraps(build)
    def built(directory: str, name: str | None = None, **settings: Any) -> Spec:
        key = repr((directory, sorted(settings.items())))
        spec = last.get(key)
        if spec is None:
            spec = build(directory, **settings)
            last.clear()
            last[key] = spec
        return {**copy.deepcopy(spec), **({} if name is None else {"path": name})}

    return built
