"""A pair that `gan_jax.export` wrote: a generator and a discriminator without their code. Needs only JAX and NumPy."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from gan_jax.errors import InputError
from gan_jax.exported.flat import reading_flatbuffers
from gan_jax.exported.tensors import read_tensors
from gan_jax.latents import BATCH, Drawing, in_batches

FORMAT = 1  # of the folder
CARD = "card.json"
GENERATOR, DISCRIMINATOR = "generator", "discriminator"
PROGRAM, WEIGHTS = ".jaxexport", ".safetensors"  # suffixes


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """A compiled program and its weights.

    Attributes:
        call: (weights, inputs [B, ...], labels int32 [B]) -> outputs, for any B.
        weights: by name.
    """

    call: Any
    weights: Mapping[str, jax.Array]

    def __call__(self, inputs: np.ndarray, labels: np.ndarray) -> Any:
        return self.call(self.weights, inputs, labels)


@dataclasses.dataclass(frozen=True, eq=False)
class Exported(Drawing):
    """A trained pair, with the calls of `gan_jax.Gan` that need no training code; the same keys draw the same images.

    Attributes:
        card: what was exported, as in card.json.
        generator: noise to images.
        discriminator: images to logits and features; None for one that judges packs.
    """

    card: Mapping[str, Any]
    generator: Network
    discriminator: Network | None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one example: (height, width, channels), or (2,) for points."""
        return tuple(self.card["shape"])

    @property
    def class_names(self) -> tuple[str, ...]:
        """Of the labels, empty for unlabelled data."""
        return tuple(self.card["class_names"])

    @property
    def _sizes(self) -> dict[str, int]:
        return {"latent_size": self.card["latent_size"], "classes": self.card["generator_classes"]}

    def generate(self, z: jax.Array | np.ndarray, labels: Sequence[int] | np.ndarray | None = None) -> jax.Array:
        """Images float32 [N, *shape] in [-1, 1] from noise [N, latent_size].

        Args:
            z: noise.
            labels: classes, repeated in turn; None = all classes in turn. Needs a class-conditional generator.

        Raises:
            InputError: labels do not fit, or z has another shape.
        """
        noise = np.asarray(z, np.float32)
        if noise.ndim != 2 or noise.shape[1] != self.card["latent_size"] or not len(noise):
            raise InputError(f"z must have shape [N, {self.card['latent_size']}], not {list(noise.shape)}")
        images: jax.Array = in_batches(self.generator, noise, self.check_labels(labels, len(noise)))
        return images

    def features(self, images: jax.Array | np.ndarray) -> dict[str, np.ndarray]:
        """Named intermediate tensors of the discriminator, and "logits", for images [N, *shape] in [-1, 1].

        Raises:
            InputError: images of another shape, or a discriminator that judges packs.
        """
        if self.discriminator is None:
            raise InputError("this export has no discriminator: the run was trained with config.model.pack above 1")
        images = np.asarray(images, np.float32)
        if images.shape[1:] != self.shape or not len(images):
            raise InputError(f"images must have shape [N, {', '.join(map(str, self.shape))}], not {list(images.shape)}")
        network = self.discriminator

        def look(batch: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
            return {name: np.asarray(array) for name, array in network(batch, labels).items()}

        found: dict[str, np.ndarray] = in_batches(look, images, np.zeros(len(images), np.int32), size=BATCH)
        return found


def load_exported(folder: str | Path) -> Exported:
    """Reads what `python -m gan_jax.export` wrote. Needs JAX and NumPy, none of the training code.

    Args:
        folder: with card.json, programs and weights.

    Raises:
        InputError: the folder is none of ours, is damaged, or was exported for other platforms.
    """
    folder = Path(folder)
    card = _read_card(folder)
    platform = jax.default_backend()
    lowered = {"gpu": "cuda"}.get(platform, platform)
    if lowered not in card["platforms"] and platform not in card["platforms"]:
        raise InputError(f"{folder} was exported for {', '.join(card['platforms'])}, this machine is {platform}")
    networks = {name: _read_network(folder, name, card) for name in card["networks"]}
    return Exported(card, networks[GENERATOR], networks.get(DISCRIMINATOR))


def _read_card(folder: Path) -> dict[str, Any]:
    path = folder / CARD
    try:
        card = json.loads(path.read_text())
        if card["format"] > FORMAT:
            raise InputError(f"{path}: format {card['format']} is newer than this gan_jax knows: update gan_jax")
        if GENERATOR not in card["networks"] or not set(card["networks"]) <= {GENERATOR, DISCRIMINATOR}:
            raise ValueError("no networks")
        sizes = int(card["latent_size"]), int(card["generator_classes"]), [int(side) for side in card["shape"]]
        if sizes[0] < 1 or sizes[1] < 0 or not sizes[2]:
            raise ValueError("no sizes")
        if not all(isinstance(card["sha256"][name], str) for name in _files(card)):
            raise ValueError("no checksums")
        return {"class_names": [], "platforms": [], **card}
    except FileNotFoundError:
        raise InputError(
            f"{path} is missing: make the folder with gan_jax.export --workdir=RUN --out={folder}"
        ) from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"{path} is damaged: export the run again") from None


def _files(card: Mapping[str, Any]) -> list[str]:
    return [name + suffix for name in card["networks"] for suffix in (PROGRAM, WEIGHTS)]


def _read_network(folder: Path, name: str, card: Mapping[str, Any]) -> Network:
    program = _checked(folder / (name + PROGRAM), card)
    weights = read_tensors(_checked(folder / (name + WEIGHTS), card), folder / (name + WEIGHTS))
    with reading_flatbuffers():
        from jax import export  # its submodule, which `import jax` does not load

        try:
            exported = export.deserialize(bytearray(program))
        except Exception as error:  # of many kinds: the bytes are whole, so this JAX cannot read them
            raise InputError(
                f"{folder / (name + PROGRAM)} cannot be read by JAX {jax.__version__}: it was written by JAX"
                f" {card.get('versions', {}).get('jax')} ({type(error).__name__}: {error})"
            ) from None
    return Network(jax.jit(functools.partial(_call, exported)), jax.device_put(weights))


def _call(exported: Any, weights: Mapping[str, jax.Array], inputs: jax.Array, labels: jax.Array) -> Any:
    return exported.call(weights, inputs, labels)


def _checked(path: Path, card: Mapping[str, Any]) -> bytes:
    """A file's bytes, which are those that were written: a program is trusted with what it may call."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): export the run again") from None
    if hashlib.sha256(content).hexdigest() != card["sha256"][path.name]:
        raise InputError(f"{path} is not the file that {CARD} names: export the run again")
    return content
