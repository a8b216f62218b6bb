"""The faults of the suite `reliability`, few of each: real commands, killed, damaged, starved and fed rubbish."""

import pytest

from gan_jax.benchmark.faults import saving
from gan_jax.benchmark.faults.saving import WIDTH, blocking_save, dense_pair, parameters
from gan_jax.benchmark.faults.soak import soak
from gan_jax.benchmark.suites.reliability import Protocol, make_suite

SUITE = make_suite(
    Protocol(kills=2, steps_between=20, save_every=5, damages=2, steps=150, process_steps=6, mutations=1)
)
# Each of the slow ones starts a dozen commands, and `disk` mounts and locks folders, which needs root; quick tests of
# disks, processes and readers are elsewhere.
ARMS = [
    "resume_kill",
    "damage",
    *(pytest.param(a, marks=pytest.mark.slow) for a in ("disk", "processes_2", "bad_input")),
]


@pytest.mark.parametrize("arm", ARMS)
def test_nothing_is_lost(arm: str, capfd: pytest.CaptureFixture) -> None:
    metrics = SUITE.arms[arm].run(0).metrics
    assert metrics["passed"] == metrics["tried"] >= 2, capfd.readouterr().out


def test_saves_are_timed_and_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "LIMIT", 60.0)  # the machine may be busy
    metrics = blocking_save(0, saves=2, width=8).metrics
    assert metrics["tried"] == metrics["passed"] == 2
    assert 0 < metrics["median_s"] <= metrics["worst"] and metrics["complete_s"] > 0
    assert parameters(dense_pair(8)) == metrics["parameters"] < 20e6 <= parameters(dense_pair(WIDTH))


@pytest.mark.slow
def test_a_long_run_is_watched_from_outside() -> None:
    metrics = soak(0, minutes=0.3, warmup_minutes=0.1).metrics
    assert metrics["tried"] == 3 and 0 < metrics["files_last"] <= metrics["files_first"]
    assert metrics["steps"] > 0 and metrics["memory_mb"] > 50 and abs(metrics["worst"]) < 50
