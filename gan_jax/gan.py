"""A trained pair: sample from it, look through its discriminator. Imports config, models and runtime."""

import dataclasses
import functools
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from gan_jax import config as config_lib
from gan_jax.adversarial.state import Average, Net, State
from gan_jax.errors import InputError
from gan_jax.inversion import Inversion, invert, principal_directions
from gan_jax.latents import BATCH, Drawing, in_batches
from gan_jax.program import Program, build
from gan_jax.runtime.agreement import together
from gan_jax.runtime.checkpoint import Checkpoints
from gan_jax.runtime.files import plain_folder
from gan_jax.runtime.mesh import make_mesh
from gan_jax.runtime.workdir import CHECKPOINTS, CONFIG, DATASET, fixed_settings


@dataclasses.dataclass(frozen=True, eq=False)
class Gan(Drawing):
    """The averaged generator and the discriminator of a run.

    Attributes:
        program: modules and compiled functions.
        ema: the generator's averaged weights and statistics.
        d: the discriminator's weights and statistics, averaged if the run averages them.
        class_names: of the labels, empty for unlabelled data.
        step: training steps done.
    """

    program: Program
    ema: Average
    d: Net
    class_names: tuple[str, ...]
    step: int

    @property
    def config(self) -> config_lib.Config:
        """The run."""
        return self.program.config

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example: (height, width, channels), (length, channels) of signals, or (2,) for points."""
        return self.program.shape

    def generate(
        self, z: jax.Array | np.ndarray, labels: np.ndarray | None = None, batch_size: int = BATCH
    ) -> jax.Array:
        """Images float32 [N, *shape] in [-1, 1] from noise [N, latent_size], in batches of one size."""
        images: jax.Array = in_batches(
            self._generate, np.asarray(z), self.check_labels(labels, len(z)), size=batch_size
        )
        return images

    def features(
        self, images: jax.Array | np.ndarray, batch_size: int = BATCH, pool: int | None = None
    ) -> dict[str, np.ndarray]:
        """Named intermediate tensors of the discriminator for images [N, *shape] in [-1, 1].

        Args:
            images: float32, any number; a batch is split over the pair's devices if they divide it.
            batch_size: images at a time, over all devices.
            pool: max-pools stages with more places than pool x pool to so many; None = leaves them as they are.

        Returns:
            Arrays with leading axis N: "stage_1", "stage_2", ..., a vector "pooled" [N, C] and "logits" [N].

        Raises:
            InputError: the discriminator judges packs, or images of another shape.
        """
        if self.config.model.pack > 1:
            raise InputError(
                f"config.model.pack={self.config.model.pack}: this discriminator judges packs, not single images;"
                " train with --config.model.pack=1 for features"
            )
        images = self._check_images(images)

        def criticise(batch: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
            logits, named = self.program.criticise(self.d, batch, labels)
            named = named if pool is None else _pooled(named, pool)
            return {name: np.asarray(array) for name, array in {**named, "logits": logits}.items()}

        found: dict[str, np.ndarray] = in_batches(criticise, images, np.zeros(len(images), np.int32), size=batch_size)
        return found

    def invert(
        self,
        images: jax.Array | np.ndarray,
        labels: Sequence[int] | np.ndarray | None = None,
        seed: int = 0,
        steps: int = 200,
    ) -> Inversion:
        """Noise of which the generator makes given images, as nearly as it can; see `inversion.invert`.

        Args:
            images: [N, *shape] in [-1, 1].
            labels: classes of the images; None = found too.
            seed: of the samples.
            steps: of the descent.

        Raises:
            InputError: images of another shape, or labels that do not fit.
        """
        images = self._check_images(images)
        return invert(self._generate, images, **self._sizes, key=jax.random.key(seed), labels=labels, steps=steps)

    def directions(self, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """Orthonormal latent directions, those first that change images most; see `inversion.principal_directions`."""
        return principal_directions(self._generate, **self._sizes, key=jax.random.key(seed))

    def _generate(self, z: jax.Array, labels: jax.Array) -> jax.Array:
        images: jax.Array = self.program.generate(self.ema, z, labels)
        return images

    @property
    def _sizes(self) -> dict[str, int]:
        classes = self.program.num_classes if self.config.model.conditional else 0
        return {"latent_size": self.config.model.latent_size, "classes": classes}

    def _check_images(self, images: jax.Array | np.ndarray) -> np.ndarray:
        images = np.asarray(images, np.float32)
        if images.shape[1:] != self.shape:
            raise InputError(f"images have shape {images.shape[1:]}, this run was trained on {self.shape}: resize them")
        return images


@functools.partial(jax.jit, static_argnums=1)
def _pooled(named: dict[str, jax.Array], side: int) -> dict[str, jax.Array]:
    """Feature maps [N, H, W, C] as the maxima of side x side parts that cover them, where there are more places.

    Those of signals, [N, L, C], as the maxima of side parts.
    """

    def pool(maps: jax.Array, axis: int) -> jax.Array:
        size = maps.shape[axis]
        if size <= side:
            return maps
        spans = [(size * i // side, -(-size * (i + 1) // side)) for i in range(side)]
        return jnp.stack([jax.lax.slice_in_dim(maps, *span, axis=axis).max(axis) for span in spans], axis)

    def pool_all(maps: jax.Array) -> jax.Array:
        return functools.reduce(pool, range(1, maps.ndim - 1), maps)

    return {name: pool_all(array) for name, array in named.items()}


def from_state(program: Program, state: State, class_names: Sequence[str]) -> Gan:
    """The pair that a training state holds; a view, valid until the state is donated."""
    d = state.d if state.d_ema is None else Net(state.d_ema.params, state.d_ema.stats, ())
    return Gan(program, state.ema, d, tuple(class_names), int(state.step))


def load(
    workdir: str | Path,
    which: str = "newest",
    mesh: Mesh | None = None,
    make_program: Callable[..., Program] = build,
) -> Gan:
    """Loads a trained pair from its workdir alone.

    Args:
        workdir: folder of a run.
        which: "newest", "best" (lowest FID, if the run was scored) or a step number as text.
        mesh: devices that share the work; None = one. All processes of the mesh must call it.
        make_program: what built the run's program, if it has parts of your own.

    Raises:
        InputError: no such run, no usable checkpoint, or `which` names none.
    """
    if which not in ("newest", "best") and not which.isdecimal():
        raise InputError(f"--checkpoint={which} must be newest, best or a step number")
    workdir = plain_folder(workdir)
    program, class_names = open_program(workdir, mesh, make_program)
    config = program.config
    with Checkpoints(workdir / CHECKPOINTS, keep=config.log.keep, settings=fixed_settings(config)) as checkpoints:
        if which == "newest":
            restored = checkpoints.restore_newest(program.abstract_state)
        else:
            restored = checkpoints.restore("best" if which == "best" else int(which), program.abstract_state)
    if restored is None:
        raise InputError(f"{workdir} holds no checkpoint yet: run gan_jax.main on it")
    return from_state(program, restored[0], class_names)


def open_program(
    workdir: Path, mesh: Mesh | None = None, make_program: Callable[..., Program] = build
) -> tuple[Program, tuple[str, ...]]:
    """The program of a run and the names of its classes, without weights.

    Raises:
        InputError: no such run.
    """
    config, shape, num_classes, class_names = together(lambda: _facts(workdir))
    program = make_program(config, shape, num_classes, make_mesh(jax.local_devices()[:1]))
    return program.on_mesh(mesh) if mesh else program, class_names  # any number of devices serves here


def _facts(workdir: Path) -> tuple[config_lib.Config, tuple[int, ...], int, tuple[str, ...]]:
    """Config, shape of an example, number and names of the classes of a run."""
    config = config_lib.read_json(workdir / CONFIG)
    try:
        dataset = json.loads((workdir / DATASET).read_text())
        shape, names = tuple(int(length) for length in dataset["shape"]), tuple(dataset["class_names"])
        if min(shape) < 1 or math.prod(shape) > 2**28 or int(dataset["num_classes"]) < 0:
            raise ValueError("no facts of a set")
        return config, shape, int(dataset["num_classes"]), names
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(
            f"{workdir / DATASET} is missing or damaged: run gan_jax.main once more on this workdir"
        ) from None
