"""Checkpoints that are checked when read. The only importer of orbax; imports errors and its own room.

Orbax writes and reads the arrays: asynchronously, atomically, from any number of devices onto any other. What it
does not do is notice changed bytes: it restores a flipped one without a word. So every checkpoint carries a record
with the checksum of each array, and a run goes on from the newest step that is whole.

A checkpoint is a folder `STEP/` with `state/` (Orbax arrays, named by their path in the state, so that the file
format does not depend on our classes) and `record/record.json`. Nothing in it is ever unpickled.
"""

import dataclasses
import json
import logging
import math
import shutil
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from gan_jax.errors import InputError
from gan_jax.runtime.agreement import everyone, from_first, on_first

PyTree = Any

_LOG = logging.getLogger(__name__)
_UNFINISHED = (".orbax-checkpoint-tmp", ".deleting")  # folders that a killed run leaves half written or half deleted


class CheckpointError(InputError):
    """A checkpoint could not be written; those written before are untouched."""


@dataclasses.dataclass(frozen=True)
class Record:
    """What a checkpoint says about itself.

    Attributes:
        step: training steps done.
        leaves: path of each array -> (dtype, shape, CRC-32 of its bytes).
        metrics: scores of this step, None where not finite.
        meta: anything else that JSON holds.
    """

    step: int
    leaves: dict[str, tuple[str, tuple[int, ...], int]]
    metrics: dict[str, float | None]
    meta: dict[str, Any]


class Checkpoints:
    """The newest `keep` checkpoints of a folder, and the best one.

    Opening one writes nothing, so that a folder may be read while a run writes to it. In a multi-process run every
    process calls every method; process 0 decides, and all load the same step.

    Attributes:
        damaged: steps found unusable by `restore_newest`, with the reason.
    """

    def __init__(self, folder: Path, keep: int = 2, best_metric: str | None = "fid") -> None:
        """Opens a folder of checkpoints, which need not exist yet.

        Args:
            folder: holds one folder a step.
            keep: newest checkpoints to keep.
            best_metric: the one with the lowest value of this metric is kept, too; None = no such.
        """
        self.folder = folder.absolute()  # Orbax takes no relative paths
        self.damaged: dict[int, str] = {}
        self._keep, self._best_metric = keep, best_metric
        self._at: int | None = None  # the step last saved or restored
        self._wrote = False
        _silence_orbax()
        self._orbax = ocp.AsyncCheckpointer(
            ocp.CompositeCheckpointHandler(
                state=ocp.StandardCheckpointHandler(), record=ocp.JsonCheckpointHandler(filename="record.json")
            )
        )

    # ------------------------------------------------------------------ writing

    def save(
        self,
        step: int,
        state: PyTree,
        metrics: Mapping[str, float] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> None:
        """Starts writing a checkpoint and returns; the state may be donated right away.

        Saving the step that was just saved or restored does nothing. Steps that `restore_newest` found damaged are
        moved aside to `damaged-STEP` first, since the run has fallen behind them.

        Args:
            step: training steps done.
            state: pytree of arrays; each whole on every process (replicated) or addressable.
            metrics: scores of this state.
            meta: anything else to store, as JSON.

        Raises:
            CheckpointError: this one or the one before cannot be written, or later ones are in the way.
        """
        if step == self._at:
            return
        self.wait()
        leaves = _named_leaves(state)
        record = Record(
            step,
            {name: (*_signature(leaf), _checksum(leaf)) for name, leaf in leaves.items()},
            {name: float(value) if math.isfinite(value) else None for name, value in (metrics or {}).items()},
            dict(meta or {}),
        )
        arrays = {name: leaf for name, leaf in leaves.items() if leaf.size}  # Orbax stores no empty arrays
        items = ocp.args.Composite(
            state=ocp.args.StandardSave(arrays),
            record=ocp.args.JsonSave(_pack(record)),
        )

        def write() -> None:
            on_first(lambda: self._make_room(step))
            self._orbax.save(self.folder / str(step), args=items)

        self._guard(step, write)
        self._at, self._wrote = step, True

    def wait(self) -> None:
        """Waits until the last save is on disk, then deletes the checkpoints that are not to be kept.

        Raises:
            CheckpointError: it could not be written.
        """
        if self._wrote:
            self._guard(self._at, self._orbax.wait_until_finished)
            self._wrote = False
            self._guard(self._at, lambda: on_first(self._prune))

    def close(self) -> None:
        """Waits and frees Orbax's threads.

        Raises:
            CheckpointError: the last save could not be written.
        """
        try:
            self.wait()
        finally:
            self._orbax.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except CheckpointError:
            if error is None:  # else the first error is the one to see
                raise

    def _guard(self, step: int | None, action: Callable[[], object]) -> None:
        """Runs an action on the disk; its failure becomes one line."""
        try:
            action()
        except CheckpointError:
            raise
        except Exception as error:
            self._at, self._wrote = None, False
            raise CheckpointError(
                f"checkpoint {step} cannot be written to {self.folder} ({_one_line(error)}): free space or make it "
                "writable, then give the same command again; earlier checkpoints are untouched"
            ) from error

    def _make_room(self, step: int) -> None:
        """Moves damaged steps aside and clears what a killed run left; on process 0."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for leftover in self.folder.iterdir():
            if any(mark in leftover.name for mark in _UNFINISHED):
                shutil.rmtree(leftover)
        for bad in sorted(self.damaged):
            source, target = self.folder / str(bad), self.folder / f"damaged-{bad}"
            if source.exists():
                if target.exists():
                    shutil.rmtree(target)
                source.rename(target)
        later = [other for other in self.steps() if other >= step]
        if later:
            raise CheckpointError(
                f"checkpoint {step} cannot be written: {self.folder} holds step {later[-1]} already; "
                "take another --workdir, or move the later checkpoints away"
            )

    def _prune(self) -> None:
        """Deletes all but the newest and the best; on process 0, after a save is complete."""
        steps = self.steps()
        kept = {*steps[-self._keep :], self._best()}
        for step in steps:
            if step not in kept:
                doomed = self.folder / f"{step}.deleting"
                (self.folder / str(step)).rename(doomed)  # first, so that no half-deleted step is ever listed
                shutil.rmtree(doomed)

    # ------------------------------------------------------------------ reading

    def steps(self) -> list[int]:
        """Steps on disk in rising order, as this process sees them, unchecked."""
        if not self.folder.is_dir():
            return []
        return sorted(int(p.name) for p in self.folder.iterdir() if p.name.isdecimal() and p.is_dir())

    def record(self, step: int) -> Record:
        """What a checkpoint says about itself.

        Raises:
            InputError: it is missing or damaged.
        """
        path = self.folder / str(step) / "record" / "record.json"
        try:
            record = _unpack(json.loads(path.read_text()))
        except FileNotFoundError:
            raise InputError(f"{path} is missing") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"{path} is damaged ({_one_line(error)})") from None
        if record.step != step:
            raise InputError(f"{path} belongs to step {record.step}")
        return record

    def restore_newest(self, abstract: PyTree) -> tuple[PyTree, int] | None:
        """Loads the newest step that is whole; those passed over are logged, one line each.

        Args:
            abstract: what the state looks like: a pytree of `jax.ShapeDtypeStruct` with the shardings wanted
                (without one: the first local device).

        Returns:
            The state and its step; None when there is no checkpoint.

        Raises:
            InputError: there are checkpoints, but none is usable. Nothing is deleted.
        """
        steps = self._agreed_steps()
        self.damaged = {}
        for step in reversed(steps):
            state, reason = self._try(step, abstract)
            if not reason:
                self._at = step
                return state, step
            self.damaged[step] = reason
            _LOG.warning("checkpoint %d is unusable, trying an older one: %s", step, reason)
        if not steps:
            return None
        reasons = "; ".join(f"step {step}: {reason}" for step, reason in self.damaged.items())
        raise InputError(
            f"no checkpoint in {self.folder} is usable ({reasons}); nothing was deleted: "
            "put a good copy there, or take another --workdir"
        )

    def restore(self, step: int | Literal["best"], abstract: PyTree) -> tuple[PyTree, int]:
        """Loads one step, or the one with the lowest `best_metric`; see `restore_newest`.

        Raises:
            InputError: there is no such step, or it is unusable.
        """
        if step == "best":
            best = self._best() if jax.process_index() == 0 else None
            step = from_first(-1 if best is None else best)
            if step < 0:
                raise InputError(f"no checkpoint in {self.folder} has a {self._best_metric}: take the newest")
        if step not in self._agreed_steps():
            known = ", ".join(map(str, self.steps())) or "none"
            raise InputError(f"{self.folder} holds no checkpoint {step}; there are: {known}")
        state, reason = self._try(step, abstract)
        if reason:
            raise InputError(f"checkpoint {step} in {self.folder} is unusable: {reason}; take another one")
        self._at = step
        return state, step

    def _try(self, step: int, abstract: PyTree) -> tuple[PyTree, str]:
        """The state of a step, or why it is unusable, known to all processes alike."""
        state, reason = None, ""
        try:
            record = self.record(step)
            _check_structure(record, abstract)
        except InputError as error:
            reason = str(error)
        # Agreed on before Orbax is called, since its calls wait for all processes.
        if everyone(not reason):
            try:
                state = self._load(record, abstract)
            except Exception as error:  # Orbax raises many kinds on damaged files, bare Exception among them
                reason = _one_line(error)
        return (state, "") if everyone(not reason) else (None, reason or "unusable on another process")

    def _load(self, record: Record, abstract: PyTree) -> PyTree:
        """Reads the arrays and compares their checksums."""
        targets = {name: _placed(leaf) for name, leaf in _named_leaves(abstract).items()}
        stored = {name: leaf for name, leaf in targets.items() if leaf.size}
        items = ocp.args.Composite(state=ocp.args.StandardRestore(stored))
        leaves = dict(self._orbax.restore(self.folder / str(record.step), args=items)["state"])
        for name, target in targets.items():
            if name not in stored:
                leaves[name] = jax.device_put(np.zeros(target.shape, target.dtype), target.sharding)
            if _checksum(leaves[name]) != record.leaves[name][2]:
                raise InputError(f"{name} has changed since it was written (checksum)")
        return jax.tree.unflatten(jax.tree.structure(abstract), [leaves[name] for name in targets])

    def _agreed_steps(self) -> list[int]:
        """`steps` as process 0 sees them."""
        steps = self.steps()
        if jax.process_count() == 1:
            return steps
        padded = np.full(from_first(len(steps)), -1, np.int32)
        padded[: len(steps)] = steps[: len(padded)]
        return [int(step) for step in multihost_utils.broadcast_one_to_all(padded)]

    def _best(self) -> int | None:
        """The step with the lowest metric, the newest of equals; None when no checkpoint has that metric."""
        best: tuple[float, int] | None = None
        for step in self.steps():
            try:
                value = self.record(step).metrics.get(self._best_metric or "")
            except InputError:
                continue
            if value is not None and (best is None or value <= best[0]):
                best = value, step
        return best and best[1]


def _named_leaves(tree: PyTree) -> dict[str, Any]:
    """Leaves by their path, e.g. "g.params.Dense_0.kernel"."""
    leaves = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        if name in leaves:
            raise ValueError(f"two leaves of the state are both called {name}")
        leaves[name] = leaf if hasattr(leaf, "dtype") else np.asarray(leaf)
    return leaves


def _signature(leaf: Any) -> tuple[str, tuple[int, ...]]:
    """Type and shape, e.g. ("bfloat16", (3, 4)) or ("key<fry>", ())."""
    return str(leaf.dtype), tuple(leaf.shape)


def _checksum(leaf: Any) -> int:
    """CRC-32 of the bytes of an array, in C order."""
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    if isinstance(leaf, jax.Array):
        if leaf.is_fully_replicated:
            leaf = leaf.addressable_data(0)  # a handle of its own: np.asarray(leaf) would keep the buffer undonatable
        elif not leaf.is_fully_addressable:
            leaf = multihost_utils.process_allgather(leaf, tiled=True)
    host = np.ascontiguousarray(leaf)
    return zlib.crc32(host.reshape(-1).view(np.uint8).data)  # [...] -> [bytes]


def _placed(leaf: Any) -> jax.ShapeDtypeStruct:
    """The abstract leaf with a sharding, so that Orbax does not look for the devices that wrote it."""
    sharding = getattr(leaf, "sharding", None) or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)


def _check_structure(record: Record, abstract: PyTree) -> None:
    """Raises InputError at the first array that is not what the checkpoint holds."""
    wanted = {name: _signature(leaf) for name, leaf in _named_leaves(abstract).items()}
    for name in {**record.leaves, **wanted}:
        if name not in wanted or name not in record.leaves:
            where = "only in the checkpoint" if name in record.leaves else "not in the checkpoint"
            raise InputError(f"it was written by a run with other settings or another version: {name} is {where}")
        dtype, shape, _ = record.leaves[name]
        if (dtype, shape) != wanted[name]:
            raise InputError(
                f"it was written by a run with other settings: {name} is {dtype}{list(shape)} in it "
                f"and {wanted[name][0]}{list(wanted[name][1])} here"
            )


def _pack(record: Record) -> dict[str, Any]:
    """The record as JSON with a checksum of its own."""
    body = json.dumps(dataclasses.asdict(record))
    return {"crc32": zlib.crc32(body.encode()), "body": body}


def _unpack(tree: Mapping[str, Any]) -> Record:
    if zlib.crc32(tree["body"].encode()) != tree["crc32"]:
        raise ValueError("checksum")
    body = json.loads(tree["body"])
    body["leaves"] = {name: (dtype, tuple(shape), crc) for name, (dtype, shape, crc) in body["leaves"].items()}
    return Record(**body)


def _one_line(error: BaseException) -> str:
    """Type and message of an error, shortened: Orbax and TensorStore write paragraphs."""
    text = " ".join(str(error).split())
    name = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
    return name + (text if len(text) <= 160 else text[:157] + "...")


def _silence_orbax() -> None:
    """Drops Orbax's log lines: what matters in them is raised as errors of our own."""
    log = logging.getLogger("absl")
    if _not_orbax not in log.filters:
        log.addFilter(_not_orbax)


def _not_orbax(entry: logging.LogRecord) -> bool:
    return "/orbax/" not in entry.pathname
