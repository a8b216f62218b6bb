"""Numbers that tell a healthy run from a ruined one, for the watchdog. Imports JAX and this room's state."""

import jax
import jax.numpy as jnp

from gan_jax.adversarial.state import State


def logit_signs(real: jax.Array, fake: jax.Array) -> dict[str, jax.Array]:
    """What the discriminator's outputs say of its own health; no shift of all logits changes them.

    Args:
        real: float32 [b] logits.
        fake: float32 [b] logits.

    Returns:
        "separation": mean sign of real above fake over pairs, -1 to 1; 1 = it knows every image it is shown.
        "logit_spread": root mean square difference of a pair's logits over the root of 2, which for independent logits
            of one distribution is their standard deviation; 0 = it says the same of everything.
    """
    # Of pairs, not of all logits at once: that would exchange them between devices.
    apart = real - fake
    return {"separation": jnp.mean(jnp.sign(apart)), "logit_spread": jnp.sqrt(jnp.mean(jnp.square(apart)) / 2)}


def state_signs(state: State, images: jax.Array) -> dict[str, jax.Array]:
    """What need not be known of every step, only where a look is taken: once a call of the compiled program.

    Args:
        state: after the call.
        images: float32 [b, ...], real ones.

    Returns:
        "finite": 1 if every parameter, statistic and average is, else 0.
        "real_diversity": spread of real images over the batch, mean over pixels; compare it with "diversity".
    """
    nets = (state.g.params, state.g.stats, state.d.params, state.d.stats, state.ema)
    whole = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(nets)]
    return {
        "finite": jnp.all(jnp.stack(whole)).astype(jnp.float32),
        "real_diversity": jnp.mean(jnp.std(images, axis=0)),
    }
