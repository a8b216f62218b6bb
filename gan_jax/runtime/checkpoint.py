"""Checkpoints that are checked when read. The only importer of orbax; imports errors and its own room.

Orbax writes and reads the arrays: asynchronously, atomically, from any number of devices onto any other. What it
does not do is notice changed bytes: it restores a flipped one without a word. So every checkpoint carries a record
(runtime/integrity.py) with the checksum of each file and each array, and a run goes on from the newest whole one.

A checkpoint is a folder `STEP/` of Orbax arrays, named by their path in the state so that the format does not depend
on our classes, and `record.json`. Nothing in it is ever unpickled.
"""

import dataclasses
import functools
import logging
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from gan_jax.errors import InputError
from gan_jax.runtime import integrity, shelf
from gan_jax.runtime.agreement import everyone, from_first, on_first
from gan_jax.runtime.integrity import PyTree, Record
from gan_jax.runtime.orbax_leaks import mend_leaks
from gan_jax.runtime.orbax_noise import silence_orbax

_LOG = logging.getLogger(__name__)


class CheckpointError(InputError):
    """A checkpoint could not be written; those written before are untouched."""


class Checkpoints:
    """The newest `keep` checkpoints of a folder, and the best one.

    Opening one writes nothing, so a folder may be read while a run writes to it. In a multi-process run every
    process calls every method; process 0 decides, and all load the same step.

    Attributes:
        damaged: steps that `restore_newest` found unusable, with the reason.
    """

    def __init__(
        self,
        folder: Path,
        keep: int = 2,
        best_metric: str | None = "fid",
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Opens a folder of checkpoints, which need not exist yet.

        Args:
            folder: holds one folder a step.
            keep: newest checkpoints to keep.
            best_metric: the one with the lowest value of this metric is kept, too; None = no such.
            settings: of the run, JSON values by name, stored with each checkpoint; one of other settings is unusable.
        """
        self.folder = folder.absolute()  # Orbax takes no relative paths
        self.damaged: dict[int, str] = {}
        self._keep, self._best_metric, self._settings = keep, best_metric, dict(settings or {})
        self._at: int | None = None  # the step last saved or restored
        self._pending: Record | None = None  # of a save that has been started
        self._values: dict[str, np.ndarray] = {}  # of that save, until they are summed up in the background
        silence_orbax()
        mend_leaks()
        self._orbax = ocp.StandardCheckpointer(
            async_options=ocp.options.AsyncOptions(
                post_finalization_callback=self._seal,
                # Else Orbax's writers wait for minutes for a folder that could not be made, and the process with them.
                create_directories_asynchronously=False,
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
        first moved aside to `damaged-STEP`, since the run has fallen behind them.

        Args:
            step: training steps done.
            state: pytree of arrays.
            metrics: scores of this state.
            meta: anything else to store, as JSON.

        Raises:
            CheckpointError: this one or the one before cannot be written, or later ones are in the way.
        """
        if step == self._at:
            return
        self.wait()
        leaves = integrity.named_leaves(state)
        self._values = {name: integrity.on_host(leaf) for name, leaf in leaves.items()}
        self._pending = Record(
            step,
            {name: (*integrity.signature(leaf), 0) for name, leaf in leaves.items()},
            {name: float(value) if math.isfinite(value) else None for name, value in (metrics or {}).items()},
            {**(meta or {}), **({integrity.SETTINGS: self._settings} if self._settings else {})},
        )
        arrays = {name: leaf for name, leaf in leaves.items() if leaf.size}  # Orbax stores no empty arrays

        def write() -> None:
            on_first(lambda: self._make_room(step, sum(values.nbytes for values in self._values.values())))
            self._orbax.save(self.folder / str(step), arrays)

        self._guard(step, write)
        self._at = step

    def wait(self) -> None:
        """Waits until the last save is on disk, then deletes the checkpoints that are not to be kept.

        Raises:
            CheckpointError: it could not be written.
        """
        if self._pending is not None:
            step = self._pending.step
            self._guard(step, self._orbax.wait_until_finished)
            self._guard(step, lambda: on_first(self._prune))
            self._pending, self._values = None, {}

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

    def _guard(self, step: int, action: Callable[[], object]) -> None:
        """Runs an action on the disk; its failure becomes one line."""
        try:
            action()
        except Exception as error:
            self._at, self._pending, self._values = None, None, {}
            shelf.give_back(self.folder, step)
            # JAX's own error means that another process has gone: the disk is not to blame, and the command may resume.
            if isinstance(error, (CheckpointError, jax.errors.JaxRuntimeError)):
                raise
            raise CheckpointError(
                f"checkpoint {step} cannot be written to {self.folder} ({integrity.one_line(error)}): free space or "
                "make it writable, then give the same command again; earlier checkpoints are untouched"
            ) from error

    def _make_room(self, step: int, size: int) -> None:
        """Makes the folder ready for a step of `size` bytes; on process 0."""
        shelf.make_room(self.folder, step, size, self.damaged)
        later = [other for other in self.steps() if other >= step]
        if later:
            raise CheckpointError(
                f"checkpoint {step} cannot be written: {self.folder} holds step {later[-1]} already: "
                "take another --workdir, or move the later checkpoints away"
            )

    def _seal(self) -> None:
        """Adds the record to the finished files just before Orbax gives the folder its name; on process 0.

        In a thread of Orbax, so that the loop need not wait for the checksums.
        """
        assert self._pending is not None
        leaves = self._pending.leaves
        leaves = {name: (*leaves[name][:2], integrity.checksum(values)) for name, values in self._values.items()}
        self._values = {}
        (folder,) = shelf.unfinished(self.folder, self._pending.step)
        integrity.write_record(folder, dataclasses.replace(self._pending, leaves=leaves))

    def _prune(self) -> None:
        """Deletes all but the newest and the best; on process 0, after a save is complete."""
        steps = self.steps()
        kept = {*steps[-self._keep :], self._best()}
        for step in steps:
            if step not in kept:
                shelf.delete(self.folder, step)

    def _delete_after(self, step: int) -> None:
        for later in self.steps():
            if later > step:
                shelf.delete(self.folder, later)

    # ------------------------------------------------------------------ reading

    def steps(self) -> list[int]:
        """Steps on disk in rising order, as this process sees them, unchecked."""
        return shelf.steps(self.folder)

    def record(self, step: int) -> Record:
        """What a checkpoint says about itself: metrics, meta, arrays.

        Raises:
            InputError: it is missing or damaged.
        """
        return integrity.read_record(self.folder / str(step))

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
        steps = self._agreed_steps()
        if step not in steps:
            known = ", ".join(map(str, steps)) or "none"
            raise InputError(f"{self.folder} holds no checkpoint {step}; there are: {known}")
        state, reason = self._try(step, abstract)
        if reason:
            raise InputError(f"checkpoint {step} in {self.folder} is unusable ({reason}): take another one")
        self._at = step
        return state, step

    def return_to(self, latest: int, abstract: PyTree) -> tuple[PyTree, int] | None:
        """Goes back in a run that went wrong: loads an older step and deletes those after it.

        Args:
            latest: the newest whole step up to this one is taken; without one, the oldest that is whole.
            abstract: see `restore_newest`.

        Returns:
            The state and its step; None when no checkpoint is usable.

        Raises:
            CheckpointError: the last save could not be written.
        """
        self.wait()
        steps = self._agreed_steps()
        self._at = None
        for step in sorted(steps, key=lambda step: (step > latest, abs(step - latest))):
            state, reason = self._try(step, abstract)
            if not reason:
                on_first(functools.partial(self._delete_after, step))
                self._at = step
                return state, step
            self.damaged[step] = reason
            _LOG.warning("checkpoint %d is unusable, trying another one: %s", step, reason)
        return None

    def _try(self, step: int, abstract: PyTree) -> tuple[PyTree, str]:
        """The state of a step, or why it is unusable; all processes come to the same verdict."""
        folder, state, reason = self.folder / str(step), None, ""
        try:
            record = self.record(step)
            integrity.check_settings(record, self._settings)
            integrity.check_structure(record, abstract)
            if jax.process_index() == 0:
                integrity.check_files(folder, record)
        except InputError as error:
            reason = str(error)
        # Orbax is called on sound files only: its calls wait for all processes, and when one fails it prints
        # tracebacks from its threads.
        if everyone(not reason):
            try:
                state = self._load(folder, record, abstract)
            except Exception as error:  # Orbax raises many kinds, bare Exception among them
                reason = integrity.one_line(error)
        return (state, "") if everyone(not reason) else (None, reason or "unusable on another process")

    def _load(self, folder: Path, record: Record, abstract: PyTree) -> PyTree:
        """Reads the arrays and compares their checksums."""
        targets = {name: _placed(leaf) for name, leaf in integrity.named_leaves(abstract).items()}
        leaves = dict(self._orbax.restore(folder, {name: leaf for name, leaf in targets.items() if leaf.size}))
        for name, target in targets.items():
            if not target.size:
                leaves[name] = jax.device_put(np.zeros(target.shape, target.dtype), target.sharding)
        integrity.check_leaves(record, leaves)
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


def _placed(leaf: Any) -> jax.ShapeDtypeStruct:
    """The abstract leaf with a sharding, so that Orbax does not look for the devices that wrote it."""
    sharding = getattr(leaf, "sharding", None) or jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
