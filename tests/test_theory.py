"""Every statement of the suite `theory`, and what its closed forms rest on."""

import dataclasses
import functools
import json
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gan_jax.adversarial.losses import LOSSES
from gan_jax.benchmark import runner, theory_page
from gan_jax.benchmark.suites.theory import SUITE, make_suite
from gan_jax.benchmark.theory_statements import Protocol, dirac_study, statements
from gan_jax.models.layers import Dense
from gan_jax.theory import dirac, divergence, landscape, lipschitz

SMALL = dataclasses.replace(Protocol(), places=50, train_steps=1200, rate_steps=400, critic_steps=400)
STATEMENTS = statements(SMALL)


GAMES = [name for name, loss in LOSSES.items() if not loss.matches_features]  # games of logits


@functools.cache
def measured(name: str) -> dict[str, float]:
    return STATEMENTS[name][1]()


@pytest.mark.parametrize("name", STATEMENTS)
def test_statement_holds(name: str) -> None:
    found = measured(name)
    assert found["error"] <= STATEMENTS[name][2], found


# ---------------------------------------------------------------- Dirac-GAN


@pytest.mark.parametrize("name", LOSSES)
def test_the_level_is_that_of_a_discriminator_that_cannot_tell(name: str) -> None:
    """No constant D has a smaller loss, so D stays there at equilibrium."""
    levels = jnp.linspace(-1, 1, 41)
    losses = LOSSES[name].discriminator(levels, levels)
    rest = jnp.array([LOSSES[name].undecided or 0.0])
    np.testing.assert_allclose(LOSSES[name].discriminator(rest, rest)[0], losses.min(), atol=1e-6)


@pytest.mark.parametrize("name", GAMES)
def test_trajectories_end_as_the_eigenvalues_say(name: str) -> None:
    """At rest in (0, 0) exactly where the spectral radius of the alternating update is below 1."""
    for rule in SMALL.rules:
        found = measured(f"dirac_{name}_{rule}")
        assert (found["end"] < 1e-3) == (found["radius_alternating"] < 1 - 1e-6), (rule, found)
        assert found["radius_simultaneous"] > 1 - 1e-6 or rule not in ("none", "wgan_gp", "dragan")


def test_alternating_eigenvalues_are_those_of_the_paper() -> None:
    """1 - a^2/2 +- sqrt((1 - a^2/2)^2 - 1), a = lr f'(0), off the circle beyond 2 (Mescheder et al. 2018, sec. 2)."""
    for lr, on_circle in ((0.1, True), (3.0, True), (5.0, False)):
        middle = 1 - (lr * 0.5) ** 2 / 2
        root = np.sqrt(complex(middle**2 - 1))
        found = dirac.closed_eigenvalues("minimax", dirac.Rules(), lr)["alternating"]
        np.testing.assert_allclose(found, [middle + root, middle - root])
        assert (abs(np.abs(found).max() - 1) < 1e-9) == on_circle


@pytest.mark.parametrize(
    ("name", "rules"),
    [
        ("relativistic", dirac.Rules(r1=0.3, r2=0.2)),
        ("least_squares", dirac.Rules(wgan_gp=0.3, dragan=0.2)),
    ],
)
def test_our_training_step_plays_the_same_game(name: str, rules: dirac.Rules) -> None:
    """Losses, weights of the penalties and the order of the players are those of the compiled step."""
    step = dirac.trained_points(name, rules, 0.1, (0.5, 0.3), 30)
    ours = dirac.trajectory(name, rules, 0.1, (0.5, 0.3), 30)
    np.testing.assert_allclose(step, ours, rtol=1e-3, atol=1e-4)


def test_rate_of_an_exact_spiral() -> None:
    steps = np.arange(200)
    points = np.stack([0.95**steps * np.cos(steps), 0.95**steps * np.sin(steps)], axis=1)
    np.testing.assert_allclose(dirac.measured_rate(points), 0.95)


# ---------------------------------------------------------------- divergences and landscape


def test_divergences_of_known_cases() -> None:
    apart, same = ((-5.0, 0.1), (5.0, 0.1)), ((0.0, 1.0), (0.0, 1.0))
    log = float(np.log(2))
    expected = {"minimax": (0, 2 * log), "least_squares": (0, 0.25), "hinge": (0, 2), "relativistic": (0, log)}
    for name, (far, near) in expected.items():
        found = [divergence.least_loss(name, *sides) for sides in (apart, same)]
        np.testing.assert_allclose(found, [far, near], atol=1e-12)
    np.testing.assert_allclose(divergence.least_loss("wasserstein", (1.0, 0.7), (3.5, 0.7)), -2.5, rtol=1e-6)


def test_paired_value_never_rises_on_the_way_to_the_dropped_mode() -> None:
    widths, path = jnp.array([0.5, 2.0]), jnp.linspace(-1, 1, 21)
    fixed = np.asarray(landscape.path_values("relativistic", True, widths, path))
    assert np.diff(fixed).max() <= 1e-5 and (fixed[:, -1] < fixed[:, 0] - 0.1).all()
    free = np.asarray(landscape.path_values("relativistic", False, widths, path))
    rise = free.max(axis=1) - free[:, 0]
    assert rise[0] > 0.1 and rise[1] < 0.7 * rise[0]  # a smoother D makes a lower barrier
    np.testing.assert_allclose(fixed[:, -1], -np.log(2), atol=1e-4)


# ---------------------------------------------------------------- Lipschitz


def test_power_iteration_nears_by_the_fourth_power_of_the_gap() -> None:
    left, right = (np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0] for seed, n in ((0, 5), (1, 3)))
    kernel = left[:, :3] @ np.diag([3.0, 2.4, 0.1]) @ right.T
    layer = Dense(3, use_bias=False, spectral=True)
    errors = 3 - lipschitz.spectral_estimates(layer, kernel, 12)
    assert (errors > -1e-5).all()
    ratios = errors[4:8] / errors[3:7]
    np.testing.assert_allclose(ratios, (2.4 / 3) ** 4, rtol=0.15)


def test_product_bound_of_known_kernels() -> None:
    params = {"a": {"kernel": jnp.diag(jnp.array([3.0, 1.0])), "bias": jnp.ones(2)}, "b": {"kernel": jnp.ones((2, 1))}}
    np.testing.assert_allclose(lipschitz.product_bound(params), 3 * np.sqrt(2))


def test_penalised_slope_between_two_points() -> None:
    """Nearly points at distance 2: the slope is 1 + m / (2 lambda) everywhere between."""
    line = np.linspace(-0.5, 0.5, 9)
    np.testing.assert_allclose(lipschitz.penalised_slopes(line, (1.0, 0.1), (-1.0, 0.1), 10.0), 1.1, rtol=1e-3)


# ---------------------------------------------------------------- suite and page


def test_suite_reaches_the_page_and_checks_itself(tmp_path: pathlib.Path, root: pathlib.Path) -> None:
    out, page = tmp_path / "benchmarks", tmp_path / "docs" / "theory.md"
    page.parent.mkdir()
    page.write_text((root / "docs" / "theory.md").read_text())
    suite = make_suite(SMALL)
    drawings = []

    def figures() -> dict[str, Any]:
        drawings.append(theory_page.draw_dirac({"minimax": dirac_study(SMALL, "minimax")[1]}, list(SMALL.rules)))
        return {"theory_dirac.png": drawings[-1]}

    drawn = dataclasses.replace(suite, plots=functools.partial(theory_page.publish, ("theory_dirac.png",), figures))
    arms = ["game_value_minimax", "dirac_minimax_none", "dirac_minimax_r1", "trapped_minimax"]
    runner.run(drawn, out, 1, arms, {"theory": drawn})
    text = page.read_text()
    assert "| minimax | circles | converges, 0.9798 |" in text and "| trapped_minimax | 21 | 21 | 0.0e+00 |" in text
    assert text.count("<!-- theory: ") == text.count("<!-- end -->") == 5
    assert (out / "theory_dirac.png").read_bytes().startswith(b"\x89PNG") and len(drawings) == 1
    assert runner.check(suite, out, arms) == []
    path = out / "theory.json"
    tree = json.loads(path.read_text())
    tree["records"][0]["metrics"]["error"] = 1.0
    path.write_text(json.dumps(tree))
    (line,) = runner.check(suite, out, arms)
    assert "error" in line


def test_every_statement_is_checked() -> None:
    assert set(SUITE.checks) == set(SUITE.arms)
    assert {f"dirac_{name}_{rule}" for name in GAMES for rule in SMALL.rules} <= set(SUITE.arms)


def test_verdicts() -> None:
    texts = "circles", "stays anywhere", "converges, 0.9000", "driven off, 3"
    cases = (1.0, 0.5), (1.0, 0.0), (0.9, 0.1), (3.0, 0.0)
    for (radius, imaginary), text in zip(cases, texts, strict=True):
        assert theory_page.verdict({"radius_alternating": radius, "imaginary": imaginary}) == text


def test_jacobian_of_a_field_known_by_hand() -> None:
    """Wasserstein: theta' = psi, psi' = -theta - gamma psi."""
    found = jax.jit(dirac.flow_jacobian, static_argnames="name")("wasserstein", dirac.Rules(r1=0.6))
    np.testing.assert_allclose(found, [[0, 1], [-1, -0.6]], atol=1e-6)
