"""Suite `theory`: do our losses, penalties and step obey the mathematics of GANs? An arm is a statement."""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from gan_jax.benchmark import theory_page
from gan_jax.benchmark.suite import Arm, Outcome, Range, Suite, Tolerance
from gan_jax.benchmark.theory_statements import (
    Metrics,
    Protocol,
    dirac_study,
    grid_game,
    penalised_critic,
    power_iteration,
    statements,
)
from gan_jax.theory import dirac, lipschitz

FIGURES = ("theory_divergence.png", "theory_dirac.png", "theory_landscape.png", "theory_lipschitz.png")


def _run(measure: Callable[[], Metrics], seed: int) -> Outcome:
    """The seed changes nothing."""
    start = time.perf_counter()
    metrics = measure()
    return Outcome(metrics, time.perf_counter() - start, 0)


def make_suite(protocol: Protocol) -> Suite:
    """The suite under a protocol; tests take a smaller one."""
    all_of_them = statements(protocol)
    checks: dict[str, Mapping[str, Tolerance | Range]] = {
        name: {
            "value": Tolerance(relative=3 * limit, absolute=3 * limit + 1e-6),
            "closed_form": Tolerance(relative=1e-6, absolute=1e-6),
            "error": Range(0.0, limit),
        }
        for name, (_, _, limit) in all_of_them.items()
    }
    return Suite(
        name="theory",
        description=(
            "What papers prove, asked of our own losses, penalties, layers and training step; `docs/theory.md` has the"
            " mathematics. value: measured; closed_form: by the formula; error: their distance, relative where the"
            " formula gives more than 1 (of the dirac arms: the worst of six eigenvalues; of the lipschitz arms: what"
            " exceeds the bound). Nothing is random: one seed says all."
        ),
        arms={name: Arm(text, functools.partial(_run, measure)) for name, (text, measure, _) in all_of_them.items()},
        protocol=lambda: dataclasses.asdict(protocol),
        checks=checks,
        plots=functools.partial(theory_page.publish, FIGURES, functools.partial(_figures, protocol)),
    )


def _figures(protocol: Protocol) -> dict[str, Any]:
    """The figures by file name."""
    trained = {name: grid_game(protocol, name) for name in ("minimax", "least_squares", "relativistic")}
    sides = protocol.real, protocol.fake
    critic = penalised_critic(protocol)
    line = np.linspace(-2.5, 2.5, 251)
    slopes = lipschitz.gradient_norms(critic, jnp.asarray(line, jnp.float32)[:, None])
    closed = lipschitz.penalised_slopes(line, protocol.critic_real, protocol.critic_fake, protocol.critic_weight)
    paths = {name: dirac_study(protocol, name)[1] for name in dirac.DERIVATIVES}
    drawn = (
        theory_page.draw_divergence(trained, sides),
        theory_page.draw_dirac(paths, list(protocol.rules)),
        theory_page.draw_landscape(),
        theory_page.draw_lipschitz(line, slopes, closed, *power_iteration()),
    )
    return dict(zip(FIGURES, drawn, strict=True))


SUITE = make_suite(Protocol())
