"""A trained pair: sample from it, look through its discriminator. Imports config, models and runtime."""

import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from gan_jax import config as config_lib
from gan_jax.adversarial.state import Average, Net, State
from gan_jax.errors import InputError
from gan_jax.program import Program, build
from gan_jax.runtime.agreement import together
from gan_jax.runtime.checkpoint import Checkpoints
from gan_jax.runtime.files import plain_folder
from gan_jax.runtime.mesh import make_mesh
from gan_jax.runtime.workdir import CHECKPOINTS, CONFIG, DATASET, fixed_settings


@dataclasses.dataclass(frozen=True, eq=False)
class Gan:
    """The averaged generator and the discriminator of a run.

    Attributes:
        program: modules and compiled functions.
        ema: the generator's averaged weights and statistics.
        d: the discriminator's weights and statistics.
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
        """Of one example: (height, width, channels), or (2,) for points."""
        return self.program.shape

    def latents(self, key: jax.Array, num: int, truncation: float | None = None) -> jax.Array:
        """Noise z ~ N(0, I), float32 [num, latent_size].

        Args:
            key: a `jax.random.key`.
            num: how many.
            truncation: redraw components beyond +-truncation (Brock et al. 2019, section 3.1); None = never.
        """
        size = (num, self.config.model.latent_size)
        if truncation is None:
            return jax.random.normal(key, size)
        if not truncation > 0:
            raise InputError(f"truncation={truncation} must be above 0: 0.5 is strong, 2 is weak")
        return jax.random.truncated_normal(key, -truncation, truncation, size)

    def check_labels(self, labels: Sequence[int] | np.ndarray | None, num: int) -> np.ndarray:
        """Labels int32 [num]: the given ones repeated in turn, or all classes in turn.

        Raises:
            InputError: labels for an unconditional generator, or out of range.
        """
        classes = self.program.num_classes if self.config.model.conditional else 0
        if labels is None:
            return np.arange(num, dtype=np.int32) % max(classes, 1)
        if not classes:
            raise InputError("labels need a class-conditional generator: train with --config.model.conditional=true")
        given = np.asarray(labels, np.int32).reshape(-1)
        if given.size == 0 or given.min() < 0 or given.max() >= classes:
            raise InputError(f"labels must lie in 0..{classes - 1}, not {given.tolist()}")
        return np.resize(given, num)

    def generate(self, z: jax.Array | np.ndarray, labels: np.ndarray | None = None, batch_size: int = 256) -> jax.Array:
        """Images float32 [N, *shape] in [-1, 1] from noise [N, latent_size], in batches of one size."""
        noise, labels = np.asarray(z), self.check_labels(labels, len(z))
        size = min(batch_size, len(noise))
        padding = -len(noise) % size
        noise = np.concatenate([noise, noise[:1].repeat(padding, 0)])
        labels = np.concatenate([labels, labels[:1].repeat(padding)])
        starts = range(0, len(noise), size)
        parts = [self.program.generate(self.ema, noise[i : i + size], labels[i : i + size]) for i in starts]
        return jnp.concatenate(parts)[: len(noise) - padding]

    def sample(
        self,
        key: jax.Array,
        num: int,
        labels: Sequence[int] | np.ndarray | None = None,
        truncation: float | None = None,
    ) -> jax.Array:
        """Draws images, float32 [num, *shape] in [-1, 1] (toys: as the data).

        Args:
            key: a `jax.random.key`; the same key gives the same images.
            num: how many.
            labels: classes, repeated in turn; None = all classes in turn. Needs model.conditional.
            truncation: see `latents`.
        """
        return self.generate(
            self.latents(key, num, truncation), None if labels is None else self.check_labels(labels, num)
        )

    def interpolate(self, key: jax.Array, rows: int, columns: int) -> jax.Array:
        """Images [rows * columns, *shape]: each row walks from one sample to another.

        Along the great circle (White 2016), since a straight line leaves the shell where noise lives.
        """
        ends = self.latents(key, 2 * rows).reshape(2, rows, 1, -1)  # [2 * rows, z] -> [2, rows, 1, z]
        share = jnp.linspace(0, 1, columns)[None, :, None]
        units = ends / jnp.linalg.norm(ends, axis=-1, keepdims=True)
        angle = jnp.arccos(jnp.clip(jnp.sum(units[0] * units[1], -1, keepdims=True), -1, 1))
        path = (jnp.sin((1 - share) * angle) * ends[0] + jnp.sin(share * angle) * ends[1]) / jnp.sin(angle)
        labels = np.repeat(self.check_labels(None, rows), columns)
        z = path.reshape(rows * columns, -1)  # [rows, columns, z] -> [rows * columns, z]
        return self.generate(z, labels if self.config.model.conditional else None)

    def features(self, images: jax.Array | np.ndarray, batch_size: int = 256) -> dict[str, np.ndarray]:
        """Named intermediate tensors of the discriminator for images [N, *shape] in [-1, 1].

        Returns:
            Arrays with leading axis N, one a stage, and "pooled" and "logits".
        """
        if self.config.model.pack > 1:
            raise InputError(
                f"config.model.pack={self.config.model.pack}: this discriminator judges packs, not single images;"
                " train with --config.model.pack=1 for features"
            )
        images = np.asarray(images, np.float32)
        if images.shape[1:] != self.shape:
            raise InputError(f"images have shape {images.shape[1:]}, this run was trained on {self.shape}: resize them")
        size = min(batch_size, len(images))
        parts = []
        for start in range(0, len(images), size):
            piece = images[start : start + size]
            padded = np.concatenate([piece, piece[:1].repeat(size - len(piece), 0)])
            logits, named = self.program.criticise(self.d, padded, np.zeros(size, np.int32))
            parts.append({name: np.asarray(array)[: len(piece)] for name, array in {**named, "logits": logits}.items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def from_state(program: Program, state: State, class_names: Sequence[str]) -> Gan:
    """The pair that a training state holds; a view, valid until the state is donated."""
    return Gan(program, state.ema, state.d, tuple(class_names), int(state.step))


def load(workdir: str | Path, which: str = "newest", mesh: Mesh | None = None) -> Gan:
    """Loads a trained pair from its workdir alone.

    Args:
        workdir: folder of a run.
        which: "newest", "best" (lowest FID, if the run was scored) or a step number as text.
        mesh: devices that share the work; None = one. All processes of the mesh must call it.

    Raises:
        InputError: no such run, or no usable checkpoint.
    """
    workdir = plain_folder(workdir)
    config, shape, num_classes, class_names = together(lambda: _facts(workdir))
    program = build(config, shape, num_classes, make_mesh(jax.local_devices()[:1]))
    program = program.on_mesh(mesh) if mesh else program  # any number of devices serves here
    with Checkpoints(workdir / CHECKPOINTS, keep=config.log.keep, settings=fixed_settings(config)) as checkpoints:
        if which == "newest":
            restored = checkpoints.restore_newest(program.abstract_state)
        else:
            restored = checkpoints.restore("best" if which == "best" else int(which), program.abstract_state)
    if restored is None:
        raise InputError(f"{workdir} holds no checkpoint yet: run gan_jax.main on it")
    return from_state(program, restored[0], class_names)


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
