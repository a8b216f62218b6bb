"""The watchdog: what it calls ruined, that a run comes back from it, exactly, and when it gives up."""

import json
import pathlib
import shutil
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import fill, tiny_config, tiny_program

import gan_jax
from gan_jax.adversarial.state import renewed
from gan_jax.adversarial.vitals import logit_signs, state_signs
from gan_jax.benchmark.faulty_program import FAULTS, faulty
from gan_jax.config import Config, DataConfig
from gan_jax.data.pipeline import Pipeline
from gan_jax.data.sources import load_source
from gan_jax.errors import UnstableRun
from gan_jax.gan import Gan, load
from gan_jax.program import build
from gan_jax.runtime.checkpoint import Checkpoints
from gan_jax.runtime.journal import Journal
from gan_jax.runtime.mesh import batch_sharding, make_mesh, replicated
from gan_jax.runtime.watchdog import Watchdog

# ---------------------------------------------------------------- what it says

HEALTHY = {
    "finite": 1.0, "d_loss": 0.6, "g_loss": 0.8, "diversity": 0.5, "real_diversity": 0.5, "logit_spread": 0.3,
    "real_logit": 0.2, "separation": 0.4, "g_gradient": 0.1, "d_gradient": 1.0,
}  # fmt: skip
BAD = {
    "finite": {"d_loss": float("nan")},
    "diversity": {"diversity": 0.005},
    "logit_spread": {"logit_spread": 0.0},
    "g_gradient": {"g_gradient": 0.0},
    "d_loss": {"d_loss": 1e4},
}


def looks(watchdog: Watchdog, changes: dict[str, float], steps: range) -> list[Any]:
    return [watchdog.look(step, HEALTHY | changes) for step in steps]


@pytest.mark.parametrize("quantity", BAD)
def test_each_quantity_is_noticed_within_200_steps_and_named(quantity: str) -> None:
    watchdog = Watchdog(Config())
    assert looks(watchdog, {}, range(50, 5000, 50)) == [None] * 99 and watchdog.healthy
    alarms = looks(watchdog, BAD[quantity], range(5000, 5200, 50))
    first = next(alarm for alarm in alarms if alarm)
    assert first.quantity == quantity and first.ruinous and first.advice and not watchdog.healthy
    assert first.trusted <= 5000 - 200  # what was saved while the fault could not be seen yet is not trusted
    watchdog.reset()
    assert watchdog.healthy and looks(watchdog, {}, range(50, 200, 50)) == [None] * 3


@pytest.mark.parametrize("quantity", BAD)
def test_only_what_is_not_finite_counts_in_the_warm_up_and_at_one_look(quantity: str) -> None:
    early, once = (Watchdog(Config()) for _ in range(2))
    found = looks(early, BAD[quantity], range(50, 501, 50))
    assert any(found) == (quantity == "finite")
    assert looks(once, {}, range(1000, 1100, 50)) == [None, None]
    alarm = once.look(1100, HEALTHY | BAD[quantity])
    assert (alarm is not None) == (quantity == "finite")
    assert not once.healthy  # nothing is saved meanwhile
    last = Watchdog(Config()).look(1100, HEALTHY | BAD[quantity], last=True)
    assert last is not None and last.quantity == quantity  # a run does not end so


def test_a_look_that_does_not_count_changes_no_decision() -> None:
    """Runs are stopped and saved at any step; what they decide must not depend on it."""
    stopped, whole = Watchdog(Config()), Watchdog(Config())
    for watchdog in (stopped, whole):
        assert watchdog.look(1000, HEALTHY | BAD["diversity"]) is None
    assert stopped.look(1020, HEALTHY, due=False) is None and not stopped.healthy  # the bad look still counts
    again = [watchdog.look(1050, HEALTHY | BAD["diversity"]) for watchdog in (stopped, whole)]
    assert again[0] == again[1] is not None
    assert stopped.look(1070, HEALTHY | BAD["finite"], due=False) is None and not stopped.healthy


def test_overfitting_and_lost_classes_are_warnings() -> None:
    watchdog = Watchdog(Config())
    found = looks(watchdog, {"separation": 1.0}, range(1000, 4000, 50))
    (warning,) = [alarm for alarm in found if alarm]
    assert warning.quantity == "separation" and not warning.ruinous and watchdog.healthy
    shares = [
        watchdog.look_at_scores(step, {"class_share_min": 0.0, "fid": 3.0}, 10) for step in range(1000, 5000, 1000)
    ]
    (warning,) = [alarm for alarm in shares if alarm]
    assert warning.quantity == "class_share_min" and not warning.ruinous and watchdog.healthy
    assert Watchdog(Config()).look_at_scores(1000, {"modes": 8.0}, 0) is None
    off = Watchdog(Config().replace({"watchdog.enabled": False}))
    assert not off.due(0, 10_000) and off.look(10_000, {}) is None and off.healthy


# ---------------------------------------------------------------- the numbers it reads


def test_logit_signs_are_the_closed_form_and_know_no_shift() -> None:
    real, fake = (np.random.default_rng(seed).normal(size=32).astype(np.float32) for seed in range(2))
    signs = logit_signs(jnp.asarray(real), jnp.asarray(fake))
    np.testing.assert_allclose(signs["separation"], np.sign(real - fake).mean(), rtol=1e-6)
    np.testing.assert_allclose(signs["logit_spread"], np.sqrt(((real - fake) ** 2).mean() / 2), rtol=1e-5)
    moved = logit_signs(jnp.asarray(real + 64), jnp.asarray(fake + 64))
    np.testing.assert_allclose(moved["logit_spread"], signs["logit_spread"], rtol=1e-4)
    constant = jnp.full(32, 1234.567)
    assert float(logit_signs(constant, constant)["logit_spread"]) == 0


@pytest.fixture(scope="module")
def stepped() -> tuple[Any, Any, Any]:
    """A program, its batch, and the numpy copy of a fresh state."""
    program = tiny_program("mlp", changes={"step.per_dispatch": 10})
    state = program.init(jax.device_put(np.uint32(0), replicated(program.mesh)))
    return program, fill(program), jax.device_get(state)


def advance(stepped: tuple[Any, Any, Any], rollbacks: int, count: int = 1) -> tuple[Any, dict[str, float]]:
    program, batch, state = stepped
    place = replicated(program.mesh)
    state = jax.device_put(state.replace(rollbacks=np.int32(rollbacks)), place)
    state, metrics = program.step(state, batch, jax.device_put(np.int32(count), place))
    return jax.device_get(state), {name: float(value) for name, value in metrics.items()}


def test_a_rollback_draws_fresh_noise_and_from_the_second_on_a_smaller_rate(stepped: tuple[Any, Any, Any]) -> None:
    results = [advance(stepped, rollbacks) for rollbacks in range(4)]
    rates = [metrics["g_lr"] for _, metrics in results]
    np.testing.assert_allclose(np.array(rates) / rates[0], [1, 1, 0.5, 0.25], rtol=1e-6)
    assert len({metrics["fake_logit"] for _, metrics in results}) == 4
    assert [int(state.rollbacks) for state, _ in results] == [0, 1, 2, 3]
    seeds = {int(renewed(jnp.uint32(seed), jnp.int32(count))) for seed in range(20) for count in range(20)}
    assert len(seeds) == 400 and int(renewed(jnp.uint32(7), jnp.int32(0))) == 7


def test_a_fault_in_the_midst_of_a_call_shows_at_its_end(stepped: tuple[Any, Any, Any]) -> None:
    program, batch, state = stepped
    assert advance(stepped, 0, count=10)[1]["finite"] == 1
    spoilt = {name: np.array(value) for name, value in batch.items()}
    spoilt["image"][4, 0] = np.nan
    place = batch_sharding(program.mesh, axis=1)
    _, metrics = advance((program, {name: jax.device_put(a, place) for name, a in spoilt.items()}, state), 0, count=10)
    assert metrics["finite"] == 0 and not np.isfinite(metrics["d_loss"])
    for net in ("g", "d", "ema"):
        leaves, tree = jax.tree.flatten(getattr(state, net).params)
        leaves[-1] = np.full_like(leaves[-1], np.inf)
        broken = state.replace(**{net: getattr(state, net).replace(params=jax.tree.unflatten(tree, leaves))})
        signs = [float(state_signs(one, jnp.zeros((4, 2)))["finite"]) for one in (state, broken)]
        assert signs == [1, 0]


# ---------------------------------------------------------------- going back


def test_return_to_takes_what_can_be_trusted(tmp_path: pathlib.Path) -> None:
    def tree(step: int) -> dict[str, np.ndarray]:
        return {"a": np.full(3, step, np.float32)}

    abstract = jax.eval_shape(lambda: tree(0))
    for latest, expected, left in ((35, 30, [10, 20, 30]), (19, 10, [10]), (5, 10, [10]), (-100, 10, [10])):
        with Checkpoints(tmp_path / str(latest), keep=9) as checkpoints:
            assert checkpoints.return_to(latest, abstract) is None
            for step in (10, 20, 30, 40, 50):
                checkpoints.save(step, tree(step))
            state, step = checkpoints.return_to(latest, abstract)
            assert step == expected and checkpoints.steps() == left
            np.testing.assert_array_equal(state["a"], tree(step)["a"])
            checkpoints.save(40, tree(41))  # the run goes on from there
    with Checkpoints(tmp_path / "35", keep=9) as checkpoints:
        (tmp_path / "35" / "30" / "record.json").write_text("{")
        assert checkpoints.return_to(35, abstract)[1] == 20
        checkpoints.save(30, tree(30))
        checkpoints.wait()
        assert checkpoints.steps() == [10, 20, 30]


def test_the_journal_rewinds_and_keeps_events(tmp_path: pathlib.Path) -> None:
    with Journal(tmp_path, active=True, total_images=1000, start_step=0, images_per_step=10) as journal:
        for step in (0, 10, 20, 30):
            journal.grid(step, step * 10, np.zeros((4, 8, 8, 1)))
            journal.metrics(step, step * 10, {"d_loss": 1.0 + step})
        journal.event(30, "warning", "something")
        journal.rewind(10)
        journal.metrics(20, 200, {"d_loss": 5.0})
    entries = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [entry["d_loss"] for entry in entries if "d_loss" in entry] == [1.0, 11.0, 5.0]
    assert [entry["event"] for entry in entries if "event" in entry] == ["start", "warning"]
    pictures = sorted(path.name for path in (tmp_path / "samples").glob("*.png"))
    assert pictures == ["step_00000000.png", "step_00000010.png"]
    assert "images_per_second" not in entries[-1]  # time runs on while steps do not


@pytest.mark.parametrize("residency", ["device", "stream"])
def test_a_new_order_is_that_of_the_new_seed(residency: str) -> None:
    config = DataConfig(source="digits", image_size=(8, 8), residency=residency)
    source, place = load_source(config, "train", 0), batch_sharding(make_mesh(jax.devices()[:1]), axis=1)
    with (
        Pipeline(source, config, 0, 1, 16, place) as changed,
        Pipeline(source, config, 9, 1, 16, place) as other,
    ):
        before = np.asarray(changed.batch(3)["image"])
        changed.reseed(9)
        after, expected = (np.asarray(pipeline.batch(3)["image"]) for pipeline in (changed, other))
        np.testing.assert_array_equal(after, expected)
        assert not np.array_equal(before, after)


# ---------------------------------------------------------------- whole runs


AT = 150  # the fault's step


def watched_config(changes: dict[str, Any] | None = None) -> Config:
    """300 steps of a dense pair on 8x8 digits, saved every 50, looked at every 20."""
    digits = {
        "data.source": "digits",
        "data.image_size": (8, 8),
        "data.channels": 1,
        "total_images": 300 * 16,
        "optimizer.g_lr": {"start": 1e-3, "end": 1e-4},
        "optimizer.d_lr": {"start": 1e-3, "end": 1e-4},
        "step.per_dispatch": 10,
        "log.metrics_images": 50 * 16,
        "log.checkpoint_images": 50 * 16,
        "model.g_width": 64,
        "model.d_width": 64,
        "model.blocks": 2,
        "watchdog.interval": 20,
        "watchdog.warmup": 50,
        "watchdog.separation": 2.0,  # 16 pairs are soon told apart
    }
    return tiny_config("mlp", digits | (changes or {}))


def run(workdir: pathlib.Path, fault: str = "", changes: dict[str, Any] | None = None) -> Gan:
    make_program = faulty(fault, AT) if fault else build
    return gan_jax.train(watched_config(changes), workdir, jax.devices()[:1], make_program)


def events(workdir: pathlib.Path, *kinds: str) -> list[dict[str, Any]]:
    entries = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [entry for entry in entries if entry.get("event") in kinds]


def is_ruined(gan: Gan) -> bool:
    """Its images are not finite, alike or all of two shades; or its discriminator does not look at them."""
    images = np.asarray(gan.sample(jax.random.key(1), 64))
    noise = np.random.default_rng(0).uniform(-1, 1, images.shape)
    logits = gan.features(noise)["logits"]
    return bool(
        not np.isfinite(images).all() or images.std(0).mean() < 0.02 or (np.abs(images) > 0.999).mean() > 0.9
        or np.ptp(logits) == 0
    )  # fmt: skip


@pytest.fixture(scope="module")
def recovered(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A run that met NaN and came back."""
    workdir = tmp_path_factory.mktemp("recovered") / "run"
    run(workdir, "nan")
    return workdir


def test_the_undisturbed_run_is_left_alone(tmp_path: pathlib.Path) -> None:
    assert not is_ruined(run(tmp_path / "run"))
    assert not events(tmp_path / "run", "warning", "rollback", "given_up", "unsaved")


@pytest.mark.parametrize("fault", [name for name in FAULTS if name != "nan"])
def test_a_fault_is_noticed_and_the_run_comes_back(tmp_path: pathlib.Path, fault: str) -> None:
    assert not is_ruined(run(tmp_path / "on", fault))
    (back,) = events(tmp_path / "on", "rollback")
    assert 0 <= back["noticed"] - AT < 200 and back["step"] < AT and back["rollbacks"] == 1
    assert back["quantity"] in back["message"] and back["quantity"] in BAD


def test_without_the_watchdog_the_run_is_ruined(tmp_path: pathlib.Path) -> None:
    assert is_ruined(run(tmp_path / "run", "generator", {"watchdog.enabled": False}))
    assert not events(tmp_path / "run", "rollback", "warning", "unsaved")


def test_nan_is_noticed_and_no_step_is_told_twice(recovered: pathlib.Path) -> None:
    assert not is_ruined(load(recovered))
    (back,) = events(recovered, "rollback")
    assert back["quantity"] == "finite" and back["noticed"] - AT <= 20 and back["step"] < AT
    entries = [json.loads(line) for line in (recovered / "metrics.jsonl").read_text().splitlines()]
    steps = [entry["step"] for entry in entries if "d_loss" in entry]
    assert steps == [50, 100, 150, 200, 250, 300]
    assert all(entry["d_loss"] is not None for entry in entries if "d_loss" in entry)


@pytest.mark.parametrize("cut", ["after the next checkpoint", "before the next checkpoint"])
def test_resume_after_a_rollback_is_bitwise(tmp_path: pathlib.Path, recovered: pathlib.Path, cut: str) -> None:
    """Killed after it went back, before or after it was saved again, a run ends as if it had not been."""
    workdir = tmp_path / "run"
    shutil.copytree(recovered, workdir)
    (back,) = events(recovered, "rollback")
    kept = 200 if cut.startswith("after") else back["step"]
    for path in (workdir / "checkpoints").iterdir():
        if path.name.isdecimal() and int(path.name) > kept:
            shutil.rmtree(path)
    run(workdir, "" if cut.startswith("after") else "nan")  # in the second case the fault is met again
    states = []
    for folder in (recovered, workdir):
        program = build(watched_config(), (8, 8, 1), 10, make_mesh(jax.devices()[:1]))
        with Checkpoints(folder / "checkpoints", keep=99) as checkpoints:
            states.append(jax.device_get(checkpoints.restore(300, program.abstract_state)[0]))
    assert int(states[0].rollbacks) == 1
    jax.tree.map(np.testing.assert_array_equal, *states)


def test_it_gives_up_with_exit_code_3_and_one_line(tmp_path: pathlib.Path, root: pathlib.Path) -> None:
    line = [sys.executable, "-m", "gan_jax.main", f"--config={root / 'configs' / 'digits.py'}"]
    line += [f"--workdir={tmp_path / 'run'}", "--config.model.g_width=8", "--config.model.d_width=8"]
    line += ["--config.optimizer.g_lr=1e30", "--config.watchdog.rollbacks=2", "--config.log.samples_images=0"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=180)
    assert done.returncode == 3, done.stderr
    (error,) = [text for text in done.stderr.splitlines() if text.startswith("error: ")]
    assert "Traceback" not in done.stderr
    assert "finite at step" in error and "after 2 rollbacks" in error and "config.optimizer.g_lr" in error
    kinds = [event["event"] for event in events(tmp_path / "run", "rollback", "given_up")]
    assert kinds == ["rollback", "rollback", "given_up"]


def test_no_rollbacks_allowed_stops_at_the_first_alarm(tmp_path: pathlib.Path) -> None:
    with pytest.raises(UnstableRun, match=r"diversity at step 1\d0.*try"):
        run(tmp_path / "run", "generator", {"watchdog.rollbacks": 0})
    gan = load(tmp_path / "run")
    assert gan.step <= AT and not is_ruined(gan)
