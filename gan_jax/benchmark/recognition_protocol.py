"""The rules of suite `recognition`, and the GANs that its arms share."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from gan_jax.benchmark.checkout import checkout_config
from gan_jax.benchmark.suite import config_recipe
from gan_jax.config import Config
from gan_jax.gan import Gan
from gan_jax.metrics.reference import cache_folder
from gan_jax.program import Program, build
from gan_jax.recognition.detecting import Detecting
from gan_jax.recognition.probe import Labelled, load_labelled
from gan_jax.runtime.mesh import make_mesh
from gan_jax.training import train

_SMALL = {  # the trunk of novelty, whose GANs are many
    "model.d_width": 16,
    "model.d_extra_stages": 0,
    "data.batch_size": 64,
    "optimizer.d_lr": 1e-3,
}


@dataclasses.dataclass(frozen=True, eq=False)
class Protocol:
    """The rules, the same for every arm.

    Attributes:
        config: name of the GAN's config.
        changes: of that config, for tests.
        labels: budgets of the probe.
        gan_seeds: GANs that the draws of semi-supervised learning and of canvases take in turn.
        label_seeds: draws of up to 1,000 labels; larger budgets are drawn once.
        semi_labels: budgets of semi-supervised learning.
        semi_steps: of the discriminator, of 100 labelled and 100 unlabelled images.
        class_images: real images that the GAN of one class sees.
        canvases: budgets of labelled canvases.
        taught_images: images that the supervised network sees, by number of labels.
    """

    config: str = "recognition"
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    labels: tuple[int, ...] = (100, 1_000, 10_000, 60_000)
    gan_seeds: int = 3
    label_seeds: int = 5
    semi_labels: tuple[int, ...] = (100, 1_000)
    semi_steps: int = 3_000
    class_images: int = 30_000
    canvases: tuple[int, ...] = (100, 500, 2_000)
    taught_images: Mapping[int, int] = dataclasses.field(
        default_factory=lambda: {100: 16_000, 1_000: 38_400, 10_000: 128_000, 60_000: 300_000}
    )

    def gan_config(self, seed: int) -> Config:
        """Of the GAN that sees all classes."""
        return checkout_config(self.config).replace({**self.changes, "seed": seed})

    def small_config(self, seed: int) -> Config:
        """With a trunk of half the width and no extra stage."""
        return checkout_config(self.config).replace({**_SMALL, **self.changes, "seed": seed})

    def seeds_of(self, count: int) -> range:
        """Draws of so many labels."""
        return range(self.label_seeds if count <= 1_000 else 1)

    def facts(self) -> dict[str, Any]:
        """What all figures rest on."""
        return {"label_seeds": self.label_seeds, "test_images": len(self.data.test)}

    @functools.cached_property
    def data(self) -> Labelled:
        """The labelled set.

        Raises:
            InputError: it is missing.
        """
        return load_labelled(self.gan_config(0))

    def program(self, seed: int) -> Program:
        """Of the GAN, on one device."""
        config, data = self.gan_config(seed), self.data
        return build(config, data.train.shape[1:], data.num_classes, make_mesh())

    @functools.cache  # noqa: B019, a protocol lives as long as the process
    def gan(self, seed: int) -> Gan:
        """The GAN of a seed, kept in the cache folder: a run like any other, so it goes on where it was stopped."""
        config = self.gan_config(seed)
        name = hashlib.sha256(json.dumps(config_recipe(config), sort_keys=True).encode()).hexdigest()[:12]
        return train(config, cache_folder() / "recognition" / f"{name}-seed{seed}")

    def detecting(self) -> Detecting:
        """Rules of the detection arms."""
        return Detecting(lambda: self.data, self.gan_config, lambda seed: self.gan(seed % self.gan_seeds))
