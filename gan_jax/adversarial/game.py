"""What each player minimises on one micro-batch. Imports JAX, flax, this room and the config."""

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from gan_jax.adversarial import ada, penalties
from gan_jax.adversarial.diffaugment import diffaugment
from gan_jax.adversarial.losses import LOSSES, Loss, confidence, matching
from gan_jax.adversarial.packing import interleave, pack
from gan_jax.adversarial.running import blended
from gan_jax.adversarial.state import Net
from gan_jax.adversarial.tasks import TASKS, Task
from gan_jax.adversarial.vitals import logit_signs
from gan_jax.config import AugmentConfig, Config, Schedule
from gan_jax.errors import InputError

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
        own_loss: the pair of losses; None = the config's.
    """

    g: nn.Module
    d: nn.Module
    config: Config
    shard: Callable[[jax.Array], jax.Array]
    own_loss: Loss | None = None

    def __post_init__(self) -> None:
        named = LOSSES[self.config.loss.name]
        if self.own_loss and self.own_loss.pairs != named.pairs and not self.config.step.shared_noise:
            # Batches a step are counted from the config.
            raise InputError("config.step.shared_noise=false: name a config.loss.name whose `pairs` is your loss's")

    @property
    def loss(self) -> Loss:
        """The pair of adversarial losses."""
        return self.own_loss or LOSSES[self.config.loss.name]

    def uses(self, penalty: str) -> bool:
        """Whether a penalty's weight, fixed or scheduled, is ever above 0."""
        weight = getattr(self.config.penalty, penalty)
        return max(weight.start, weight.end or 0.0) > 0 if isinstance(weight, Schedule) else weight > 0

    def generate(
        self, params: Tree, stats: Tree, key: jax.Array, labels: jax.Array, hyper: Metrics
    ) -> tuple[jax.Array, Tree]:
        """Fakes [b, ...] from fresh noise, in training mode, and the generator's new statistics."""
        # Sharded here, or every device would draw and push through G the whole batch.
        z = self.shard(jax.random.normal(key, (len(labels), self.config.model.latent_size)))
        known = labels if self.config.model.conditional else None
        settings: dict[str, Any] = {"temperature": hyper["temperature"]} if hasattr(self.g, "tempered") else {}
        images, changed = self.g.apply(
            {"params": params, "batch_stats": stats}, z, known, train=True, mutable=["batch_stats"], **settings
        )
        return images, changed.get("batch_stats", {})

    def path_penalty(
        self, params: Tree, key: jax.Array, labels: jax.Array, hyper: Metrics
    ) -> tuple[jax.Array, jax.Array]:
        """Squared distance of path lengths from their moving average (Karras et al. 2020b, eq. 4), and their mean."""
        noise_key, image_key = jax.random.split(key)
        z = self.shard(jax.random.normal(noise_key, (len(labels), self.config.model.latent_size)))
        known = labels if self.config.model.conditional else None
        styles: Any = self.g.apply({"params": params}, z, known, method="styles")

        def paint(styles: jax.Array) -> jax.Array:
            images: Any = self.g.apply({"params": params}, styles, method="paint")
            return images

        noise = self.shard(jax.random.normal(image_key, jax.eval_shape(paint, styles).shape))
        lengths = penalties.path_lengths(paint, styles, noise)
        target = jax.lax.stop_gradient(blended(hyper["path_mean"], jnp.mean(lengths)))
        return jnp.mean(jnp.square(lengths - target)), jnp.mean(lengths)

    def likelihood(self, params: Tree, key: jax.Array, real: jax.Array, labels: jax.Array) -> jax.Array:
        """Mean negative log-likelihood of a real letter after those before it, nats (teacher forcing).

        Args:
            params: of a generator that takes words `given`.
            key: of the noise, of which the generator may make nothing here.
            real: one-hot letters [b, L, V].
            labels: int32 [b].
        """
        z = self.shard(jax.random.normal(key, (len(labels), self.config.model.latent_size)))
        known = labels if self.config.model.conditional else None
        logits: Any = self.g.apply({"params": params}, z, known, train=True, given=real)
        return -jnp.mean(jnp.sum(real * jax.nn.log_softmax(logits), -1))

    def augment(self, key: jax.Array, images: jax.Array, hyper: Metrics) -> jax.Array:
        """Images [b, H, W, C] as the discriminator sees them."""
        settings = self.config.augment
        if settings.method == "ada":
            return ada.augment(key, images, hyper["augment_p"], settings.chosen, self.shard)
        return diffaugment(key, images, settings.chosen, self.shard)

    def criticise(
        self, net: Net, key: jax.Array, images: jax.Array, labels: jax.Array, hyper: Metrics
    ) -> tuple[jax.Array, Tree]:
        """Logits [b / pack] of augmented images in training mode, and the discriminator's new statistics."""
        logits, _, stats = self.look(net, key, images, labels, hyper)
        return logits, stats

    def look(
        self, net: Net, key: jax.Array, images: jax.Array, labels: jax.Array, hyper: Metrics
    ) -> tuple[jax.Array, dict[str, jax.Array], Tree]:
        """Logits and named features of augmented images in training mode, and the discriminator's new statistics."""
        known = labels if self.config.model.conditional else None
        variables = {"params": net.params, "batch_stats": net.stats}
        if self.config.augment.method != "none":
            augment_key, key = jax.random.split(key)
            images = self.augment(augment_key, images, hyper)
        images = pack(images, self.config.model.pack)
        (logits, features), changed = self.d.apply(
            variables, images, known, train=True, rngs={"dropout": key}, mutable=["batch_stats"]
        )
        return logits, features, changed.get("batch_stats", {})

    @property
    def task(self) -> Task | None:
        """The discriminator's second task, if it has one."""
        return TASKS.get(self.config.model.head)

    def learn(
        self, task: Task, net: Net, key: jax.Array, images: jax.Array, labels: jax.Array, hyper: Metrics
    ) -> tuple[jax.Array, jax.Array, Tree]:
        """Loss of the second task, share of right answers, both [], and the discriminator's new statistics."""
        ask_key, look_key = jax.random.split(key)
        asked, answers = task.ask(ask_key, images, labels, self.shard)
        # Plain images: the task changes them as it wants.
        _, features, stats = self._plain.look(net, look_key, asked, jnp.resize(labels, (len(asked),)), hyper)
        loss, right = task.loss(features["head"], answers, self.config.loss.temperature)
        return loss, right, stats

    @property
    def _plain(self) -> "Game":
        """The same game without augmentation."""
        if self.config.augment.method == "none":
            return self
        return dataclasses.replace(self, config=dataclasses.replace(self.config, augment=AugmentConfig()))

    def _logits(
        self, net: Net, key: jax.Array, images: jax.Array, labels: jax.Array, hyper: Metrics, penalise: bool
    ) -> tuple[jax.Array, jax.Array | None, Tree]:
        """Logits [b / pack], squared gradient norms alike if asked for, and new statistics."""

        def critic(x: jax.Array) -> tuple[jax.Array, Tree]:
            return self.criticise(net, key, x, labels, hyper)

        if penalise:
            return penalties.squared_gradient_norms(critic, images)
        logits, stats = critic(images)
        return logits, None, stats

    def _both_logits(
        self,
        net: Net,
        key: jax.Array,
        real: jax.Array,
        fake: jax.Array,
        labels: jax.Array,
        hyper: Metrics,
        penalise: bool,
    ) -> tuple[tuple[jax.Array, jax.Array], dict[str, jax.Array], Tree]:
        """(real, fake) logits [b / pack] each, squared gradient norms by penalty, new statistics."""
        wanted = {name: penalise and self.uses(name) for name in ("r1", "r2")}
        if not self.d.cross_sample and wanted["r1"] == wanted["r2"]:
            # One joint pass.
            images = interleave(real, fake, self.config.model.pack)  # [2b, ...]
            logits, squared, stats = self._logits(net, key, images, jnp.repeat(labels, 2), hyper, wanted["r1"])
            pairs = logits.reshape(-1, 2)  # [2b] -> [b, 2]
            norms = {} if squared is None else dict(zip(("r1", "r2"), squared.reshape(-1, 2).T, strict=True))
            return (pairs[:, 0], pairs[:, 1]), norms, stats
        real_key, fake_key = jax.random.split(key)
        real_logits, r1, stats = self._logits(net, real_key, real, labels, hyper, wanted["r1"])
        fake_logits, r2, stats = self._logits(net.replace(stats=stats), fake_key, fake, labels, hyper, wanted["r2"])
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
        taught: tuple[jax.Array, jax.Array] | None = None,
    ) -> tuple[jax.Array, tuple[Tree, Metrics]]:
        """The discriminator's loss: adversarial part plus penalties plus its second task, if it has one.

        Args:
            net: the discriminator.
            key: of dropout and of the penalties' random places.
            real: float32 [b, ...].
            fake: float32 [b, ...], no gradient flows to the generator.
            labels: int32 [b] of real and fake alike.
            hyper: the scheduled numbers and `State.running`.
            penalise: whether penalties are due.
            taught: images [b, ...] and labels [b] of the second task; None = the real ones.

        Returns:
            The scalar loss, and (new statistics, metrics).
        """
        logit_key, place_key, critic_key = jax.random.split(key, 3)
        logits, norms, stats = self._both_logits(net, logit_key, real, fake, labels, hyper, penalise)
        real_logits, fake_logits = logits
        total = jnp.mean(self.loss.discriminator(real_logits, fake_logits))
        metrics = {name: jnp.float32(0) for name in PENALTIES if self.uses(name)} | {
            "d_loss": total,
            "real_logit": jnp.mean(real_logits),
            "fake_logit": jnp.mean(fake_logits),
            "real_sign": jnp.mean(jnp.sign(real_logits)),
        }
        if self.config.watchdog.enabled:
            metrics |= logit_signs(real_logits, fake_logits)
        if self.config.augment.adaptive:
            metrics["confidence"] = confidence(self.loss, real_logits, fake_logits)
        interval = self.config.penalty.interval
        for name, squared in norms.items():
            metrics[name] = jnp.mean(squared)
            total += interval * 0.5 * hyper[name] * metrics[name]

        def critic(x: jax.Array) -> tuple[jax.Array, Tree]:
            return self.criticise(net, critic_key, x, labels, hyper)

        if penalise and self.uses("wgan_gp"):
            places = penalties.between(place_key, real, fake, self.config.model.pack)
            metrics["wgan_gp"] = jnp.mean(penalties.unit_gradient(critic, places))
            total += interval * hyper["wgan_gp"] * metrics["wgan_gp"]
        if penalise and self.uses("dragan"):
            metrics["dragan"] = jnp.mean(penalties.unit_gradient(critic, penalties.near(place_key, real)))
            total += interval * hyper["dragan"] * metrics["dragan"]
        for name, value in self._logit_penalties(net, logit_key, place_key, real, fake, labels, hyper, logits).items():
            metrics[name] = value
            total += hyper[name] * value
        if task := self.task:
            task_key = jax.random.fold_in(key, 1)
            images, answers = taught or (real, labels)
            value, metrics["head_right"], stats = self.learn(
                task, net.replace(stats=stats), task_key, images, answers, hyper
            )
            metrics["head_loss"] = value
            total += self.config.loss.head * value
        return total, (stats, metrics)

    def _logit_penalties(
        self,
        net: Net,
        key: jax.Array,
        place_key: jax.Array,
        real: jax.Array,
        fake: jax.Array,
        labels: jax.Array,
        hyper: Metrics,
        logits: tuple[jax.Array, jax.Array],
    ) -> Metrics:
        """LeCam (Tseng et al. 2021) and bCR (Zhao et al. 2020b, algorithm 1) as scalars, those that are used."""
        found = {}
        if self.uses("lecam"):
            found["lecam"] = jnp.mean(penalties.lecam(*logits, hyper["lecam_real"], hyper["lecam_fake"]))
        if self.uses("bcr"):
            transforms = self.config.penalty.bcr_transforms
            real_key, fake_key = jax.random.split(jax.random.fold_in(place_key, 1))  # the key itself draws places
            real = diffaugment(real_key, real, transforms, self.shard)
            fake = diffaugment(fake_key, fake, transforms, self.shard)
            # The same key: dropout is no difference between an image and its copy.
            again, _, _ = self._both_logits(net, key, real, fake, labels, hyper, penalise=False)
            found["bcr"] = sum(
                (jnp.mean(jnp.square(a - b)) for a, b in zip(logits, again, strict=True)), start=jnp.float32(0)
            )
        return found

    def g_loss(
        self, fake: jax.Array, net: Net, key: jax.Array, real: jax.Array, labels: jax.Array, hyper: Metrics
    ) -> jax.Array:
        """The generator's scalar loss for fakes [b, ...] under the discriminator `net`, whose statistics stay."""
        fake_key, real_key = jax.random.split(key)
        fake_logits, fake_features, _ = self.look(net, fake_key, fake, labels, hyper)
        real_logits, real_features = fake_logits, fake_features
        if self.loss.pairs:
            real_logits, real_features, _ = self.look(net, real_key, real, labels, hyper)
        if self.loss.matches_features:
            return matching(real_features["pooled"], fake_features["pooled"])
        total = jnp.mean(self.loss.generator(real_logits, fake_logits))
        if self.task and self.task.generated and self.config.loss.g_head:
            task_key = jax.random.fold_in(key, 1)
            total += self.config.loss.g_head * self.learn(self.task, net, task_key, fake, labels, hyper)[0]
        return total
