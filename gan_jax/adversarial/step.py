"""The algorithm: one step updates the discriminator, then the generator. Imports JAX, optax, this room.

The step is the single-device program; data parallelism comes from the shardings of its arguments.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from gan_jax.adversarial.game import Game, Metrics
from gan_jax.adversarial.losses import LOSSES
from gan_jax.adversarial.running import blended, follow
from gan_jax.adversarial.schedules import calmed, ema_decay, hyperparameters
from gan_jax.adversarial.state import Average, Net, State, adam, renewed
from gan_jax.config import Config

Tree = Any
Batch = Mapping[str, jax.Array]
Taught = tuple[jax.Array, jax.Array] | None  # images and labels of D's second task; None = the real ones


def batches_per_step(config: Config) -> int:
    """Real batches that one step consumes: one a D update, one more if G pairs with fresh reals."""
    fresh_reals = LOSSES[config.loss.name].pairs and not config.step.shared_noise
    return config.step.critic_steps + int(fresh_reals)


def to_float(images: jax.Array) -> jax.Array:
    """uint8 pixels to float32 in [-1, 1]; float data (toys) passes as it is."""
    return images.astype(jnp.float32) / 127.5 - 1 if images.dtype == jnp.uint8 else images


def make_step(game: Game) -> Callable[..., tuple[State, Metrics]]:
    """Builds the pure step `(state, batch, numbers=None) -> (state, metrics)`.

    The batch is {"image": [P, b, ...], "label": [P, b]} with P = batches_per_step * accumulate
    micro-batches of b examples. Metrics are float32 scalars of the last D update and the G update. `numbers` are
    traced values in place of the config's, see `schedules.numbers_of`.
    """
    config = game.config
    updates, parts, shared = config.step.critic_steps, config.step.accumulate, config.step.shared_noise

    def step(state: State, batch: Batch, numbers: Batch | None = None) -> tuple[State, Metrics]:
        hyper = calmed(hyperparameters(config, state.step, numbers), state.rollbacks, config.watchdog.lr_factor)
        reals = [game.shard(to_float(images)) for images in batch["image"]]
        taught = _taught(batch)
        labels = list(batch["label"]) if "label" in batch else [jnp.zeros(len(real), jnp.int32) for real in reals]
        # Derived, never stored: the same step draws the same noise before and after a resume.
        root = jax.random.fold_in(jax.random.key(renewed(state.seed, state.rollbacks)), state.step)
        keys = jax.random.split(root, (updates + 1, parts, 3))
        g_net, d_net, running = state.g, state.d, state.running

        # Discriminator: `updates` updates of `parts` micro-batches each; the generator stands still.
        for update in range(updates):
            collected, passes = [], []
            for part in range(parts):
                at, (noise_key, d_key, _) = update * parts + part, keys[update, part]
                if shared and update == updates - 1:
                    fake, pull, g_net = _generate_with_pullback(game, g_net, noise_key, labels[at], hyper)
                    passes.append((at, fake, pull))
                else:
                    fake, g_stats = game.generate(g_net.params, g_net.stats, noise_key, labels[at], hyper)
                    g_net = g_net.replace(stats=g_stats)
                due = (state.step * updates + update) % config.penalty.interval == 0
                examples = reals[at], jax.lax.stop_gradient(fake), labels[at]
                grads, d_stats, metrics = _d_gradients(game, d_net, d_key, *examples, hyper | running, due, taught(at))
                d_net = d_net.replace(stats=d_stats)
                collected.append((grads, metrics))
            d_grads, metrics = _mean(collected)
            d_net = _descend(d_net, d_grads, adam(config.optimizer, hyper["d_lr"], hyper["beta2"], hyper["beta1"]))
            running = follow(config, running, metrics)

        # Generator: through the updated discriminator, on the last fakes or on fresh ones.
        collected = []
        for part in range(parts):
            noise_key, own_key, g_key = keys[updates, part]
            if shared:
                at, fake, pull = passes[part]
            else:
                at = (batches_per_step(config) - 1) * parts + part
                fake, pull, g_net = _generate_with_pullback(game, g_net, noise_key, labels[at], hyper)
            known = hyper | running
            value, cotangent = jax.value_and_grad(game.g_loss)(fake, d_net, g_key, reals[at], labels[at], known)
            grads = pull(cotangent)[0]
            found = {"g_loss": value, "diversity": jnp.mean(jnp.std(fake, axis=0))}
            grads, more = _with_own_terms(game, g_net, own_key, (reals[at], labels[at]), known, state.step, grads)
            collected.append((grads, found | more))
        g_grads, g_metrics = _mean(collected)
        running = {name: g_metrics.get(name, value) for name, value in running.items()}
        g_net = _descend(g_net, g_grads, adam(config.optimizer, hyper["g_lr"], hyper["beta2"], hyper["beta1"]))

        decay = ema_decay(config.images_per_step, hyper["ema_half_life"])
        ema = _blend(state.ema, g_net, decay)
        d_ema = state.d_ema
        if d_ema is not None:
            d_ema = _blend(d_ema, d_net, ema_decay(config.images_per_step, jnp.float32(config.d_ema_half_life)))
        metrics |= g_metrics | {"d_gradient": optax.tree.norm(d_grads), "g_gradient": optax.tree.norm(g_grads)}
        metrics |= {"d_lr": hyper["d_lr"], "g_lr": hyper["g_lr"]}
        if config.augment.method == "ada":
            metrics["augment_p"] = (hyper | running)["augment_p"]
        new = state.replace(step=state.step + 1, g=g_net, d=d_net, ema=ema, d_ema=d_ema, running=running)
        return new, metrics

    return step


def _with_own_terms(
    game: Game,
    g_net: Net,
    key: jax.Array,
    examples: tuple[jax.Array, jax.Array],
    known: dict[str, jax.Array],
    step: jax.Array,
    grads: Tree,
) -> tuple[Tree, Metrics]:
    """The generator's gradient with those of the terms that D has no part in, and what these are.

    Args:
        game: the losses.
        g_net: the generator.
        key: of the terms' noise.
        examples: real ones [b, ...] and labels [b].
        known: values of the schedules, and running ones.
        step: int32 [].
        grads: through the discriminator.
    """
    found: Metrics = {}
    real, labels = examples
    if game.uses("path_length"):
        due = step % game.config.penalty.path_length_interval == 0
        more, found["path_length"], length = _path_gradients(game, g_net, key, labels, known, due)
        grads = jax.tree.map(jnp.add, grads, more)
        mean = known["path_mean"]
        found["path_mean"] = jnp.where(due, blended(mean, length), mean)
    if game.uses("likelihood"):
        found["likelihood"], more = jax.value_and_grad(game.likelihood)(g_net.params, key, real, labels)
        grads = jax.tree.map(lambda old, new: old + known["likelihood"] * new, grads, more)
    return grads, found


def _taught(batch: Batch) -> Callable[[int], Taught]:
    """Micro-batch number -> its labelled images, where a batch brings them apart from the unlabelled ones."""
    if "known_image" not in batch:
        return lambda at: None
    return lambda at: (to_float(batch["known_image"][at]), batch["known_label"][at])


def _blend(average: Average, net: Net, decay: jax.Array) -> Average:
    new = Average(net.params, net.stats)
    return jax.tree.map(lambda old, new: decay * old + (1 - decay) * new, average, new)


def _generate_with_pullback(
    game: Game, g_net: Net, key: jax.Array, labels: jax.Array, hyper: Metrics
) -> tuple[jax.Array, Any, Net]:
    """Fakes, the map from their cotangent to the gradient of G's weights, and G with new statistics."""

    def forward(params: Tree) -> tuple[jax.Array, Tree]:
        return game.generate(params, g_net.stats, key, labels, hyper)

    fake, pull, stats = jax.vjp(forward, g_net.params, has_aux=True)
    return fake, pull, g_net.replace(stats=stats)


def _d_gradients(
    game: Game,
    net: Net,
    key: jax.Array,
    real: jax.Array,
    fake: jax.Array,
    labels: jax.Array,
    hyper: Metrics,
    due: jax.Array,
    taught: Taught,
) -> tuple[Tree, Tree, Metrics]:
    """Gradients, new statistics and metrics of one micro-batch; lazy penalties only when due."""

    def gradients(penalise: bool) -> Callable[[Tree], tuple[Tree, Tree, Metrics]]:
        def run(params: Tree) -> tuple[Tree, Tree, Metrics]:
            def loss(params: Tree) -> tuple[jax.Array, tuple[Tree, Metrics]]:
                return game.d_loss(net.replace(params=params), key, real, fake, labels, hyper, penalise, taught)

            grads, (stats, metrics) = jax.grad(loss, has_aux=True)(params)
            return grads, stats, metrics

        return run

    if game.config.penalty.interval == 1:
        return gradients(True)(net.params)
    return jax.lax.cond(due, gradients(True), gradients(False), net.params)


def _path_gradients(
    game: Game, g_net: Net, key: jax.Array, labels: jax.Array, hyper: Metrics, due: jax.Array
) -> tuple[Tree, jax.Array, jax.Array]:
    """Weighted gradients of the path-length penalty, the penalty and the mean length; zeros when it is not due."""
    interval = game.config.penalty.path_length_interval

    def penalise(params: Tree) -> tuple[Tree, jax.Array, jax.Array]:
        def loss(params: Tree) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
            penalty, length = game.path_penalty(params, key, labels, hyper)
            return interval * hyper["path_length"] * penalty, (penalty, length)

        grads, (penalty, length) = jax.grad(loss, has_aux=True)(params)
        return grads, penalty, length

    def skip(params: Tree) -> tuple[Tree, jax.Array, jax.Array]:
        return jax.tree.map(jnp.zeros_like, params), jnp.float32(0), jnp.float32(0)

    return penalise(g_net.params) if interval == 1 else jax.lax.cond(due, penalise, skip, g_net.params)


def _mean(collected: list[Any]) -> Any:
    """Mean over micro-batches of equal size."""
    return jax.tree.map(lambda *leaves: sum(leaves) / len(leaves), *collected)


def _descend(net: Net, grads: Tree, optimizer: optax.GradientTransformation) -> Net:
    """One Adam update."""
    change, opt_state = optimizer.update(grads, net.opt_state, net.params)
    return net.replace(params=optax.apply_updates(net.params, change), opt_state=opt_state)
