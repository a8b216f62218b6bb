"""The step: what it updates, what it leaves alone, and that its variants mean what they say."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.adversarial.game import Game
from gan_jax.adversarial.state import State, adam, init_state
from gan_jax.adversarial.step import batches_per_step, make_step
from gan_jax.config import Config

SHAPE, BATCH = (4, 4, 1), 8


class TinyGenerator(nn.Module):
    """Dense, batch norm, dense."""

    @nn.compact
    def __call__(self, z, labels=None, *, train):
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(nn.Dense(16, use_bias=False)(z))
        return jnp.tanh(nn.Dense(16)(nn.relu(x))).reshape(-1, *SHAPE)  # [B, 16] -> [B, 4, 4, 1]


class TinyDiscriminator(nn.Module):
    """Dense, dense; batch norm between if asked for."""

    cross_sample: bool = False

    @nn.compact
    def __call__(self, images, labels=None, *, train):
        x = nn.Dense(16)(images.reshape(len(images), -1))  # [B, 4, 4, 1] -> [B, 16]
        if self.cross_sample:
            x = nn.BatchNorm(use_running_average=not train)(x)
        return nn.Dense(1)(nn.softplus(x))[:, 0], {"hidden": x}


def make(changes: dict[str, Any] | None = None, cross_sample: bool = False) -> tuple[Game, State, Any]:
    config = Config().replace({"data.batch_size": BATCH, "model.latent_size": 4, **(changes or {})})
    g, d = TinyGenerator(), TinyDiscriminator(cross_sample)
    game = Game(g, d, config, lambda array: array)
    state = init_state(g, d, config.optimizer, SHAPE, 4, jnp.uint32(3))
    return game, state, jax.jit(make_step(game))


def batch(game: Game, step: int = 0) -> dict[str, np.ndarray]:
    parts = game.config.step.accumulate
    lead = (batches_per_step(game.config) * parts, BATCH // parts)
    return {"image": np.random.default_rng(step).integers(0, 256, (*lead, *SHAPE), dtype=np.uint8)}


def equal(a: Any, b: Any) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


@pytest.mark.parametrize("loss", ["nonsaturating", "relativistic"])
@pytest.mark.parametrize("shared", [True, False])
def test_one_step_moves_both_nets_and_counts(loss: str, shared: bool) -> None:
    game, state, step = make({"loss.name": loss, "step.shared_noise": shared})
    after, metrics = step(state, batch(game))
    assert int(after.step) == 1 and int(after.seed) == 3
    assert not equal(after.g.params, state.g.params) and not equal(after.d.params, state.d.params)
    assert not equal(after.g.stats, state.g.stats)
    assert all(np.isfinite(value) for value in metrics.values())


def test_d_update_leaves_g_untouched_and_the_reverse() -> None:
    for frozen, moved in (("g", "d"), ("d", "g")):
        game, state, step = make({f"optimizer.{frozen}_lr": 0.0})
        after, _ = step(state, batch(game))
        assert equal(getattr(after, frozen).params, getattr(state, frozen).params)
        assert not equal(getattr(after, moved).params, getattr(state, moved).params)


def test_g_update_leaves_d_statistics_untouched() -> None:
    """The pass through D for G's loss must not leak into D's running statistics."""
    game, state, step = make({"optimizer.g_lr": 0.0}, cross_sample=True)
    after, _ = step(state, batch(game))
    changed, _ = make({"optimizer.g_lr": 1e-1}, cross_sample=True)[2](state, batch(game))
    assert equal(after.d.stats, changed.d.stats)


def test_step_is_the_written_algorithm() -> None:
    """One shared-noise non-saturating step with R1+R2, computed again without any of our plumbing."""
    game, state, step = make({"penalty.r1": 0.4, "penalty.r2": 0.2, "ema_half_life": 0.0})
    data = batch(game)
    after, metrics = step(state, data)

    real = data["image"][0].astype(np.float32) / 127.5 - 1
    keys = jax.random.split(jax.random.fold_in(jax.random.key(3), 0), (2, 1, 3))
    z = jax.random.normal(keys[0, 0, 0], (BATCH, 4))

    def fakes(params):
        variables = {"params": params, "batch_stats": state.g.stats}
        return game.g.apply(variables, z, train=True, mutable=["batch_stats"])[0]

    def logits(params, x):
        return game.d.apply({"params": params}, x, train=True)[0]

    def d_loss(params):
        fake = fakes(state.g.params)
        gradients = [jax.grad(lambda x: logits(params, x).sum())(x) for x in (real, fake)]
        r1, r2 = (jnp.square(gradient).sum((1, 2, 3)).mean() for gradient in gradients)
        game_part = jax.nn.softplus(-logits(params, real)).mean() + jax.nn.softplus(logits(params, fake)).mean()
        return game_part + 0.5 * 0.4 * r1 + 0.5 * 0.2 * r2

    def descend(lr, net, grads):
        change, _ = adam(game.config.optimizer, lr, 0.999).update(grads, net.opt_state, net.params)
        return jax.tree.map(jnp.add, net.params, change)

    d_params = descend(2e-4, state.d, jax.grad(d_loss)(state.d.params))
    g_params = descend(
        2e-4, state.g, jax.grad(lambda p: jax.nn.softplus(-logits(d_params, fakes(p))).mean())(state.g.params)
    )
    for ours, theirs in ((after.d.params, d_params), (after.g.params, g_params), (after.ema.params, g_params)):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), ours, theirs)
    assert {"r1", "r2", "d_loss", "g_loss"} <= set(metrics)


def test_separate_penalty_passes_agree_with_the_joint_one() -> None:
    """R1 alone plus R2 alone, each in its own pass, sum to the joint pass."""
    real = batch(make()[0])["image"][0] / np.float32(127.5) - 1
    fake, labels = jnp.flip(real, 0) * 0.5, jnp.zeros(BATCH, jnp.int32)
    hyper = {key: jnp.float32(1.0) for key in ("r1", "r2")}

    def gradient(changes: dict[str, float]) -> Any:
        game, state, _ = make(changes)

        def loss(params):
            net = state.d.replace(params=params)
            return game.d_loss(net, jax.random.key(0), real, fake, labels, hyper, True)[0]

        return jax.grad(loss)(state.d.params)

    cases = {
        "both": {"penalty.r1": 1.0, "penalty.r2": 1.0},
        "r1": {"penalty.r1": 1.0},
        "r2": {"penalty.r2": 1.0},
        "none": {},
    }
    gradients = {name: gradient(changes) for name, changes in cases.items()}
    jax.tree.map(
        lambda both, r1, r2, none: np.testing.assert_allclose(both, r1 + r2 - none, rtol=1e-4, atol=1e-6),
        *(gradients[name] for name in ("both", "r1", "r2", "none")),
    )


def test_accumulation_equals_the_whole_batch() -> None:
    """Micro-batches of a network without batch statistics give the gradient of the whole batch."""
    whole_game, state, _ = make()
    data = batch(whole_game)
    labels = jnp.zeros(BATCH, jnp.int32)
    real, fake = data["image"][0] / np.float32(127.5) - 1, jnp.zeros((BATCH, *SHAPE))

    def gradient(rows):
        def loss(params):
            net = state.d.replace(params=params)
            return whole_game.d_loss(net, jax.random.key(0), real[rows], fake[rows], labels[rows], {}, True)[0]

        return jax.grad(loss)(state.d.params)

    halves = jax.tree.map(lambda a, b: (a + b) / 2, gradient(slice(0, 4)), gradient(slice(4, 8)))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), gradient(slice(0, 8)), halves)
    game, state, step = make({"step.accumulate": 4, "step.critic_steps": 2})
    after, metrics = step(state, batch(game))
    assert int(after.step) == 1 and np.isfinite(metrics["d_loss"])
    assert int(after.d.opt_state[0].count) == 2 and int(after.g.opt_state[0].count) == 1


def test_lazy_penalties_come_at_their_interval() -> None:
    game, state, step = make({"penalty.r1": 1.0, "penalty.interval": 3})
    seen = []
    for index in range(7):
        state, metrics = step(state, batch(game, index))
        seen.append(bool(metrics["r1"] > 0))
    assert seen == [True, False, False, True, False, False, True]


def test_every_penalty_changes_the_discriminator_and_is_reported() -> None:
    _, state, step = make()
    plain, _ = step(state, batch(make()[0]))
    for name in ("r1", "r2", "wgan_gp", "dragan"):
        game, state, step = make({f"penalty.{name}": 5.0})
        after, metrics = step(state, batch(game))
        assert metrics[name] > 0
        assert not equal(after.d.params, plain.d.params), name


def test_ema_at_its_half_life_is_the_half_blend() -> None:
    game, state, step = make({"ema_half_life": float(BATCH)})
    after, _ = step(state, batch(game))
    jax.tree.map(
        lambda ema, old, new: np.testing.assert_allclose(ema, 0.5 * old + 0.5 * new, atol=1e-7),
        after.ema.params, state.g.params, after.g.params,
    )  # fmt: skip


def test_same_step_same_noise_another_seed_other_noise() -> None:
    game, state, step = make()
    first, again = step(state, batch(game))[0], step(state, batch(game))[0]
    assert equal(first, again)
    other, _ = step(state.replace(seed=jnp.uint32(4)), batch(game))
    assert not equal(first.g.params, other.g.params)
    later, _ = step(state.replace(step=jnp.int32(1)), batch(game))
    assert not equal(first.g.params, later.g.params)
