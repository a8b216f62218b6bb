"""Which examples a step sees, and their way onto the devices. Imports JAX, and Grain to stream.

The step is the only cursor: batch `step` is a pure function of (seed, step), so a resume needs nothing else.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from gan_jax.config import DataConfig
from gan_jax.data.arrays import ArraySource, Batch, Source, balanced_rows, in_memory

LAST_STEP = 2**60  # of a stream: never reached
READ_AHEAD = 256 * 2**20  # bytes of batches that wait to be taken from a stream, if there are more than two


class Order:
    """The endless order of examples: epoch after epoch, a permutation keyed by (seed, epoch).

    Safe to call from several threads. The permutation of the next epoch is made in the background.
    """

    def __init__(self, seed: int, count: int) -> None:
        """Starts the background thread.

        Args:
            seed: of the order.
            count: examples in an epoch.
        """
        self._seed, self._count = seed, count
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="permutation")
        self._epochs: dict[int, Future[np.ndarray]] = {}

    def __call__(self, positions: np.ndarray) -> np.ndarray:
        """Examples at positions of the order.

        Args:
            positions: int64 of any shape, from 0.

        Returns:
            int64 of the same shape, each in [0, count).
        """
        epochs, offsets = np.divmod(positions, self._count)
        indices = np.empty_like(positions)
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            indices[here] = self._permutation(epoch)[offsets[here]]
        return indices

    def close(self) -> None:
        """Ends the background thread."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _permutation(self, epoch: int) -> np.ndarray:
        with self._lock:
            for wanted in (epoch, epoch + 1):
                if wanted not in self._epochs:
                    self._epochs[wanted] = self._pool.submit(self._permute, wanted)
            # Streams read a little ahead, so the epoch before may still be asked for.
            self._epochs = {known: future for known, future in self._epochs.items() if abs(known - epoch) <= 1}
            future = self._epochs[epoch]
        return future.result()

    def _permute(self, epoch: int) -> np.ndarray:
        key = np.array([self._seed, epoch], np.uint64)
        return np.random.Generator(np.random.Philox(key=key)).permutation(self._count)


class Pipeline:
    """Micro-batches for every step, on the devices.

    A set that fits lives on every device and is gathered there; a larger one is read by Grain
    in threads, ahead of its use. Both give the same numbers, on any number of devices and processes.

    Attributes:
        resident: whether the set lives on the devices.
    """

    def __init__(
        self,
        source: Source,
        config: DataConfig,
        seed: int,
        passes: int,
        batch: int,
        sharding: NamedSharding,
        twin: "Pipeline | None" = None,
    ) -> None:
        """Places the set on the devices, or gets ready to stream it.

        Args:
            source: the examples.
            config: residency and threads.
            seed: of the order of the examples.
            passes: micro-batches a step consumes, P.
            batch: examples a micro-batch, b, over all devices.
            sharding: of arrays [P, b, ...]; splits b alone.
            twin: an open pipeline of the same source and sharding in another order, whose resident set is used.
        """
        if config.residency == "device":
            source = in_memory(source, config.threads)
        self._source, self._threads, self._sharding = source, config.threads, sharding
        self._passes, self._batch = passes, batch
        self._rows = balanced_rows(source, config.threads) if config.balanced else np.arange(len(source))
        self._order = Order(seed, len(self._rows))
        self._stream: Any = None
        self._expected = (-1, -1)  # step and steps of the call that the stream is ready for
        self.resident = False
        if isinstance(source, ArraySource) and config.residency != "stream":
            megabytes = sum(array.nbytes for array in source.arrays.values()) / 2**20
            self.resident = config.residency == "device" or megabytes <= config.resident_mb
        self._arrays: dict[str, jax.Array] = {}
        self._gather: Any = None
        if self.resident and twin is not None:
            self._arrays, self._gather = twin._arrays, twin._gather
        elif self.resident and isinstance(source, ArraySource):
            everywhere = NamedSharding(sharding.mesh, PartitionSpec())
            self._arrays = {name: _place(array, everywhere) for name, array in source.arrays.items()}
            self._gather = jax.jit(source.gather, out_shardings=sharding)
        self._columns = _local_columns(sharding, passes, batch)

    def batch(self, step: int, steps: int = 1) -> dict[str, jax.Array]:
        """The micro-batches of a step, or of several in a row.

        Copies between host and device are explicit, so that it runs under
        `jax.transfer_guard("disallow")`. A stream is ready for the step that follows the last
        one; any other makes it begin anew.

        Args:
            step: the first step, from 0.
            steps: number of steps, K.

        Returns:
            "image" [K P, b, *shape] and, if the source is labelled, "label" int32 [K P, b].
        """
        if self.resident:
            rows = self._rows[self._order(self._positions(step, steps))].astype(np.int32)
            return self._gather(self._arrays, _place(rows, self._sharding))
        if self._expected != (step, steps):
            self._restart(step, steps)
        self._expected = (step + steps, steps)
        return {name: self._assemble(part) for name, part in next(self._stream).items()}

    def reseed(self, seed: int) -> None:
        """Puts the examples into another order, from the next batch on."""
        if self._stream is not None:
            self._stream.close()
        self._stream, self._expected = None, (-1, -1)
        self._order.close()
        self._order = Order(seed, len(self._rows))

    def close(self) -> None:
        """Ends the threads and lets the devices' memory go."""
        self._order.close()
        if self._stream is not None:
            self._stream.close()
        self._arrays, self._stream, self._expected = {}, None, (-1, -1)

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _positions(self, step: int, steps: int) -> np.ndarray:
        """Positions [K P, b] in the order of all examples ever seen."""
        size = self._passes * self._batch
        positions = np.arange(step * size, (step + steps) * size, dtype=np.int64)
        return positions.reshape(steps * self._passes, self._batch)  # [K P b] -> [K P, b]

    def _restart(self, step: int, steps: int) -> None:
        import grain  # takes a second, and resident sets do without it

        if self._stream is not None:
            self._stream.close()
        width = sum(stop - start for start, stop in self._columns)
        item = np.dtype(np.uint8 if len(self._source.shape) == 3 else np.float32).itemsize
        size = steps * self._passes * width * int(np.prod(self._source.shape)) * item
        ahead = max(2, min(2 * self._threads, READ_AHEAD // size))
        options = grain.ReadOptions(num_threads=min(self._threads, ahead), prefetch_buffer_size=ahead)
        calls = grain.MapDataset.range(step, LAST_STEP, steps).map(lambda first: self._read(int(first), steps))
        self._stream = iter(calls.to_iter_dataset(options))

    def _read(self, step: int, steps: int) -> Batch:
        """What the devices of this process need, [K P, local b, ...]."""
        positions = self._positions(step, steps)
        mine = np.concatenate([positions[:, start:stop] for start, stop in self._columns], axis=1)
        local = self._rows[self._order(mine)]
        batch = self._source.read(local.reshape(-1))  # [K P, local b] -> [K P local b]
        return {name: array.reshape(*local.shape, *array.shape[1:]) for name, array in batch.items()}

    def _assemble(self, local: np.ndarray) -> jax.Array:
        """The global array [K P, b, ...] of which this process holds [K P, local b, ...]."""
        offsets, width = {}, 0
        for start, stop in self._columns:
            offsets[start] = width
            width += stop - start

        def part(index: Any) -> np.ndarray:
            start, stop, _ = index[1].indices(self._batch)
            return local[index[0], offsets[start] : offsets[start] + stop - start]

        return _assembled((len(local), self._batch, *local.shape[2:]), self._sharding, part)


def _place(array: np.ndarray, sharding: NamedSharding) -> jax.Array:
    """Puts an array that every process has onto the devices of all."""
    return _assembled(array.shape, sharding, lambda index: array[index])


def _assembled(shape: tuple[int, ...], sharding: NamedSharding, part: Callable[[Any], np.ndarray]) -> jax.Array:
    """`jax.make_array_from_callback`, whose copies the transfer guard would take for implicit ones."""
    places = sharding.addressable_devices_indices_map(shape)
    parts = [jax.device_put(part(index), device) for device, index in places.items()]
    return jax.make_array_from_single_device_arrays(shape, sharding, parts)


def _local_columns(sharding: NamedSharding, passes: int, batch: int) -> list[tuple[int, int]]:
    """The spans of a micro-batch that the devices of this process hold, in order."""
    indices: Iterator[Any] = iter(sharding.addressable_devices_indices_map((passes, batch)).values())
    spans = {index[1].indices(batch)[:2] for index in indices if index is not None}
    return sorted((start, stop) for start, stop in spans)
