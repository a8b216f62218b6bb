"""What each player minimises on one micro-batch. Imports JAX, flax, this room and the config."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.adversarial import penalties
from gan_jax.adversarial.losses import LOSSES, Loss
from gan_jax.adversarial.state import Net
from gan_jax.config import Config, Schedule

Tree = Any
Metrics = dict[str, jax.Array]
PENALTIES = ("r1", "r2", "wgan_gp", "dragan")


@dataclasses.dataclass(frozen=True)
class Game:
    """Two networks and the rules between them.

    Attributes:
        g: the generator module.
        d: the discriminator module; its `cross_sample` says whether it mixes examples.
        config: the run.
        shard: constrains an array's leading axis to the mesh; identity on one device.
    """

    g: nn.Module
    d: nn.Module
    config: Config
    shard: Callable[[jax.Array], jax.Array]

    @property
    def loss(self) -> Loss:
        """The pair of adversarial losses."""
        return LOSSES[self.config.loss.name]

    def uses(self, penalty: str) -> bool:
        """Whether a penalty's weight, fixed or scheduled, is ever above 0."""
        weight = getattr(self.config.penalty, penalty)
        return max(weight.start, weight.end or 0.0) > 0 if isinstance(weight, Schedule) else weight > 0

    def generate(self, params: Tree, stats: Tree, key: jax.Array, labels: jax.Array) -> tuple[jax.Array, Tree]:
        """Fakes [b, ...] from fresh noise, in training mode, and the generator's new statistics."""
        # Sharded here, or every device would draw and push through G the whole batch.
        z = self.shard(jax.random.normal(key, (len(labels), self.config.model.latent_size)))
        known = labels if self.config.model.conditional else None
        images, changed = self.g.apply(
            {"params": params, "batch_stats": stats}, z, known, train=True, mutable=["batch_stats"]
        )
        return images, changed.get("batch_stats", {})

    def criticise(self, net: Net, key: jax.Array, images: jax.Array, labels: jax.Array) -> tuple[jax.Array, Tree]:
        """Logits [b] in training mode, and the discriminator's new statistics."""
        known = labels if self.config.model.conditional else None
        variables = {"params": net.params, "batch_stats": net.stats}
        (logits, _), changed = self.d.apply(
            variables, images, known, train=True, rngs={"dropout": key}, mutable=["batch_stats"]
        )
        return logits, changed.get("batch_stats", {})

    def _logits(
        self, net: Net, key: jax.Array, images: jax.Array, labels: jax.Array, penalise: bool
    ) -> tuple[jax.Array, jax.Array | None, Tree]:
        """Logits [b], squared gradient norms [b] if asked for, and new statistics."""

        def critic(x: jax.Array) -> tuple[jax.Array, Tree]:
            return self.criticise(net, key, x, labels)

        if penalise:
            return penalties.squared_gradient_norms(critic, images)
        logits, stats = critic(images)
        return logits, None, stats

    def _both_logits(
        self, net: Net, key: jax.Array, real: jax.Array, fake: jax.Array, labels: jax.Array, penalise: bool
    ) -> tuple[tuple[jax.Array, jax.Array], dict[str, jax.Array], Tree]:
        """(real, fake) logits [b] each, squared gradient norms by penalty, new statistics."""
        wanted = {name: penalise and self.uses(name) for name in ("r1", "r2")}
        if not self.d.cross_sample and wanted["r1"] == wanted["r2"]:
            # One joint pass. Interleaved, not concatenated, so that each device keeps its own examples.
            images = jnp.stack([real, fake], 1).reshape(-1, *real.shape[1:])  # [b, 2, ...] -> [2b, ...]
            logits, squared, stats = self._logits(net, key, images, jnp.repeat(labels, 2), wanted["r1"])
            pairs = logits.reshape(-1, 2)  # [2b] -> [b, 2]
            norms = {} if squared is None else dict(zip(("r1", "r2"), squared.reshape(-1, 2).T, strict=True))
            return (pairs[:, 0], pairs[:, 1]), norms, stats
        real_key, fake_key = jax.random.split(key)
        real_logits, r1, stats = self._logits(net, real_key, real, labels, wanted["r1"])
        fake_logits, r2, stats = self._logits(net.replace(stats=stats), fake_key, fake, labels, wanted["r2"])
        norms = {name: value for name, value in (("r1", r1), ("r2", r2)) if value is not None}
        return (real_logits, fake_logits), norms, stats

    def d_loss(
        self,
        net: Net,
        key: jax.Array,
        real: jax.Array,
        fake: jax.Array,
        labels: jax.Array,
        hyper: Metrics,
        penalise: bool,
    ) -> tuple[jax.Array, tuple[Tree, Metrics]]:
        """The discriminator's loss: adversarial part plus penalties.

        Args:
            net: the discriminator.
            key: of dropout and of the penalties' random places.
            real: float32 [b, ...].
            fake: float32 [b, ...], no gradient flows to the generator.
            labels: int32 [b] of real and fake alike.
            hyper: the scheduled numbers.
            penalise: whether penalties are due.

        Returns:
            The scalar loss, and (new statistics, metrics).
        """
        logit_key, place_key, critic_key = jax.random.split(key, 3)
        (real_logits, fake_logits), norms, stats = self._both_logits(net, logit_key, real, fake, labels, penalise)
        total = jnp.mean(self.loss.discriminator(real_logits, fake_logits))
        metrics = {name: jnp.float32(0) for name in PENALTIES if self.uses(name)} | {
            "d_loss": total,
            "real_logit": jnp.mean(real_logits),
            "fake_logit": jnp.mean(fake_logits),
            "real_sign": jnp.mean(jnp.sign(real_logits)),
        }
        weights = self.config.penalty
        for name, squared in norms.items():
            metrics[name] = jnp.mean(squared)
            total += weights.interval * 0.5 * hyper[name] * metrics[name]

        def critic(x: jax.Array) -> tuple[jax.Array, Tree]:
            return self.criticise(net, critic_key, x, labels)

        if penalise and self.uses("wgan_gp"):
            metrics["wgan_gp"] = jnp.mean(penalties.unit_gradient(critic, penalties.between(place_key, real, fake)))
            total += weights.interval * weights.wgan_gp * metrics["wgan_gp"]
        if penalise and self.uses("dragan"):
            metrics["dragan"] = jnp.mean(penalties.unit_gradient(critic, penalties.near(place_key, real)))
            total += weights.interval * weights.dragan * metrics["dragan"]
        return total, (stats, metrics)

    def g_loss(self, fake: jax.Array, net: Net, key: jax.Array, real: jax.Array, labels: jax.Array) -> jax.Array:
        """The generator's scalar loss for fakes [b, ...] under the discriminator `net`, whose statistics stay."""
        fake_key, real_key = jax.random.split(key)
        fake_logits, _ = self.criticise(net, fake_key, fake, labels)
        real_logits = self.criticise(net, real_key, real, labels)[0] if self.loss.pairs else fake_logits
        return jnp.mean(self.loss.generator(real_logits, fake_logits))
