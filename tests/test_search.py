"""Searching without training: spaces, what is trained next, leases, surveys and suggestions."""

import dataclasses
import math
import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sql
from optuna.storages import RDBStorage
from PIL import Image

from gan_jax.config import Config, load_config
from gan_jax.errors import InputError
from gan_jax.search import suggestions
from gan_jax.search.leases import Leases
from gan_jax.search.plans import Plan, Stint, Trial, best, lineage, stints, wants_more
from gan_jax.search.space import Choice, Float, Space, configured, default_space, load_space, moved, size_of, values_of
from gan_jax.search.study import Study, default_storage, opened_storage
from gan_jax.search.suggestions import auto_workdir, decide, suggest
from gan_jax.search.surveys import Survey, survey
from gan_jax.search.tuning import parse_budget, shortened

SPACE: Space = {"x": Float(1e-3, 1.0, log=True), "y": Choice((0.0, 0.5, 0.9))}
CONFIGS = ("mnist", "digits", "folder", "cifar10", "stylegan2", "article", "ring")


# ---------------------------------------------------------------- spaces


@pytest.mark.parametrize("name", CONFIGS)
def test_every_recipe_has_a_space_around_its_own_values(root: Path, name: str) -> None:
    config = load_config(root / "configs" / f"{name}.py")
    space = default_space(config)
    own = values_of(config, space)
    assert own is not None and {"optimizer.g_lr", "optimizer.d_lr", "optimizer.beta1"} <= set(space)
    assert configured(config, own) == config
    for ends in ({f: p.low if isinstance(p, Float) else p.options[0] for f, p in space.items()},
                 {f: p.high if isinstance(p, Float) else p.options[-1] for f, p in space.items()}):  # fmt: skip
        assert configured(config, ends) != config
    penalties = {part for field in space for part in field.split(",") if part.startswith("penalty.")}
    off = {f"penalty.{n}" for n in ("r1", "r2", "wgan_gp", "lecam") if not size_of(config, f"penalty.{n}")}
    assert not penalties & off, "what is off stays off"


def test_values_scale_whole_schedules() -> None:
    config = Config().replace(
        {"optimizer.g_lr": {"start": 1e-3, "end": 1e-4}, "ema_half_life": {"start": 0, "end": 90}}
    )
    found = configured(config, {"optimizer.g_lr,optimizer.d_lr": 2e-3, "ema_half_life": 30.0})
    assert (found.optimizer.g_lr.start, found.optimizer.g_lr.end) == (2e-3, pytest.approx(2e-4))
    assert (found.optimizer.d_lr.start, found.optimizer.d_lr.end) == (2e-3, None)
    assert (found.ema_half_life.start, found.ema_half_life.end) == (0, 30)


def test_a_shorter_run_keeps_its_average_in_proportion() -> None:
    config = Config().replace({"total_images": 1000, "data.batch_size": 10, "ema_half_life": 100})
    short = shortened(config, 200)
    assert (short.total_images, short.ema_half_life.start) == (200, 20)
    assert shortened(short, 1000) == config


def test_neighbours_stay_in_the_space() -> None:
    rng = np.random.default_rng(0)
    values = {"x": 0.9, "y": 0.9}
    seen = set()
    for _ in range(200):
        values = moved(SPACE, values, rng)
        assert 1e-3 <= values["x"] <= 1.0
        seen.add(values["y"])
    assert seen == {0.0, 0.5, 0.9}


FIELDS = "from gan_jax.search.space import Choice, Float\ndef get_space(config):\n    return "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "defines no get_space"),
        ("1 +", "SyntaxError"),
        ("def get_space(config):\n    return config.nothing", "AttributeError"),
        (FIELDS + "{}", "at least one field"),
        (FIELDS + "{'optimizer.lr': Float(1e-5, 1e-3)}", "config has no field optimizer.lr"),
        (FIELDS + "{'optimizer.g_lr': 1e-3}", "with a Float or Choice"),
        (FIELDS + "{'optimizer.g_lr': Float(1e-3, 1e-5)}", "finite low < high"),
        (FIELDS + "{'optimizer.g_lr': Float(0.0, 1e-5, log=True)}", "low above 0"),
        (FIELDS + "{'optimizer.beta1': Float(0.0, 1.5)}", "config.optimizer.beta1"),
        (FIELDS + "{'model.architecture': Choice(('mlp', 'alexnet'))}", "config.model.architecture"),
        (FIELDS + "{'model.g_width': Choice(())}", "at least one"),
        (FIELDS + "{'penalty.r1': Float(0.1, 1.0)}", "off in the config"),
        (FIELDS + "{'seed': Choice((1, 2))}", "no setting of the game"),
    ],
)
def test_a_wrong_space_file_is_one_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "space.py"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        load_space(path, Config())
    assert "\n" not in str(error.value) and str(path) in str(error.value)


def test_a_space_file_may_search_shapes(tmp_path: Path) -> None:
    path = tmp_path / "space.py"
    path.write_text(FIELDS + "{'model.g_width,model.d_width': Choice((16, 32))}")
    space = load_space(path, Config())
    assert configured(Config(), {"model.g_width,model.d_width": 16}).model.d_width == 16
    assert values_of(Config(), space) is None  # 64 is outside


def test_budgets() -> None:
    assert [parse_budget(text) for text in ("90s", "30m", "1.5h", "2h30m")] == [90, 1800, 5400, 9000]
    for text in ("", "30", "m", "1d", "-5m", "0m", "5m!", "nan", "30 m"):
        with pytest.raises(InputError, match="--budget"):
            parse_budget(text)


# ---------------------------------------------------------------- what is trained next


def simulate(plan: Plan, score: Callable[[Trial, Stint], float]) -> tuple[list[Trial], list[Stint]]:
    """A search by one process in which training is a formula."""
    trials: list[Trial] = []
    done: list[Stint] = []
    rng = np.random.default_rng(0)
    while True:
        ready = stints(plan, SPACE, trials, ())
        if ready:
            stint, trial = ready[0], trials[ready[0].trial]
            first = [0, *plan.marks][stint.stretch]
            trials[trial.number] = dataclasses.replace(
                trial,
                values=(trial.values if trial.scores else ()) + (stint.values,),
                scores=(*trial.scores, score(trial, stint)),
                steps=(*trial.steps, plan.marks[stint.stretch] - first),
                seconds=(*trial.seconds, 1.0),
                parents=(*trial.parents, stint.parent),
            )
            done.append(stint)
        elif wants_more(plan, trials):
            values = {"x": math.exp(rng.uniform(math.log(1e-3), 0)), "y": 0.5}
            trials.append(Trial(len(trials), len(trials), (values,)))
        else:
            return trials, done


def by_distance(trial: Trial, stint: Stint) -> float:
    """Falls with training and with the distance from a best value."""
    return abs(math.log(stint.values["x"] / 0.05)) + 5 - stint.stretch


def test_random_search_trains_every_configuration_whole() -> None:
    plan = Plan("random", 1000, trials=7)
    trials, done = simulate(plan, by_distance)
    assert [trial.steps for trial in trials] == [(1000,)] * 7 and len(done) == 7
    winner = best(plan, trials)
    assert winner is not None and winner.last == min(trial.last for trial in trials)


def test_halving_spends_little_on_the_worse() -> None:
    plan = Plan("asha", 1600, trials=16)
    trials, done = simulate(plan, by_distance)
    assert plan.marks == (100, 400, 1600)
    ranked = sorted(trials, key=lambda trial: trial.scores[0])
    winner = best(plan, trials)
    assert winner is not None and winner.number == ranked[0].number  # scores keep their order here
    assert {trial.number for trial in ranked[:4]} <= {trial.number for trial in trials if len(trial.scores) > 1}
    # By the rule four and one go on; some more, because the best of the first ones need not be among the best of all.
    assert 4 <= sum(len(trial.scores) > 1 for trial in trials) <= 8
    assert sum(sum(trial.steps) for trial in trials) <= 16 * 1600 / 4
    # Promotions do not wait for all: some came before the last configuration was drawn.
    assert done.index(next(s for s in done if s.stretch == 1)) < done.index(next(s for s in done if s.trial == 15))


@pytest.mark.parametrize("count", [1, 2, 5])
def test_halving_of_a_few_still_ends_with_a_whole_one(count: int) -> None:
    plan = Plan("asha", 1600, trials=count)
    trials, _ = simulate(plan, by_distance)
    assert len(trials) == count and sum(plan.whole(trial) for trial in trials) == 1


def test_what_diverged_goes_nowhere() -> None:
    plan = Plan("asha", 1600, trials=8)
    trials, _ = simulate(plan, lambda t, s: math.inf if t.number % 2 else by_distance(t, s))
    assert all(len(trial.scores) == 1 for trial in trials if trial.number % 2)
    lost, _ = simulate(plan, lambda t, s: math.inf)
    assert len(lost) == 8 and best(plan, lost) is None


def test_a_budget_ends_a_search() -> None:
    trials, _ = simulate(Plan("asha", 1600, total_steps=16_000), by_distance)
    assert 16_000 <= sum(sum(trial.steps) for trial in trials) < 16_000 + 1200
    trials, done = simulate(Plan("random", 1600, total_seconds=5.0), by_distance)
    assert len(done) == len(trials) == 5
    tiny, _ = simulate(Plan("asha", 1600, total_steps=1), by_distance)
    assert best(Plan("asha", 1600, total_steps=1), tiny) is not None, "a search comes to a result"


def test_populations_copy_the_best() -> None:
    plan = Plan("pbt", 1000, trials=8, seed=3)
    trials, done = simulate(plan, by_distance)
    assert [stint.stretch for stint in done] == sorted(stint.stretch for stint in done), "all wait for all"
    copies = [stint for stint in done if stint.parent != stint.trial]
    assert len(copies) == 2 * 4  # a quarter of 8, after each of 4 stretches
    for stint in copies:
        before = [trial.scores[stint.stretch - 1] for trial in trials]
        assert sorted(before).index(before[stint.parent]) < 2 <= 6 <= sorted(before).index(before[stint.trial])
        assert stint.values["x"] in (
            pytest.approx(1.25 * trials[stint.parent].values[stint.stretch - 1]["x"]),
            pytest.approx(0.8 * trials[stint.parent].values[stint.stretch - 1]["x"]),
            1.0,
        )
    assert simulate(plan, by_distance)[1] == done, "the same again"
    winner = best(plan, trials)
    assert winner is not None
    path = lineage(trials, winner)
    assert len(path) == 5 and path[-1] == winner.values[-1]
    revived, _ = simulate(plan, lambda t, s: math.inf if (t.number, s.stretch) == (0, 1) else by_distance(t, s))
    assert revived[0].parents[2] != 0 and math.isfinite(revived[0].last)


def test_what_others_train_is_left_to_them() -> None:
    plan = Plan("asha", 1600, trials=4)
    trials = [Trial(n, n, ({"x": 0.1, "y": 0.0},)) for n in range(4)]
    assert [stint.trial for stint in stints(plan, SPACE, trials, {0, 2})] == [1, 3]
    waiting = [dataclasses.replace(t, scores=(1.0 + t.number,), steps=(100,), seconds=(1.0,)) for t in trials[:3]]
    assert not stints(plan, SPACE, [*waiting, trials[3]], {3}), "trial 3 may still win"


# ---------------------------------------------------------------- storage and leases


def test_trials_survive_in_the_storage(tmp_path: Path) -> None:
    with opened_storage(default_storage(tmp_path)) as storage:
        check_storage(storage)


def check_storage(storage: RDBStorage) -> None:
    def opened(facts: dict[str, object]) -> Study:
        return Study(storage, "tune", SPACE, facts)

    study = opened({"images": 5})
    first = study.propose(0, 7, model=True)
    study.add(first, seed=100)
    study.record(0, 0, 3.5, values=first, parent=0, steps=10, seconds=1.0, at=10)
    study.record(0, 0, 9.9, values=first, parent=0, steps=10, seconds=1.0, at=10)  # changes nothing
    study.add(study.propose(1, 7, model=False), seed=101)
    study.record(1, 0, math.inf, values=first, parent=1, steps=4, seconds=1.0, at=14)
    for trial in study.trials():
        study.finish(trial.number, whole=True)
    again = opened({"images": 5})
    one, two = again.trials()
    assert (one.scores, one.seed, one.steps, one.finished) == ((3.5,), 100, (10,), True)
    assert two.scores == (math.inf,) and two.finished
    assert again.propose(0, 7, model=False) == again.propose(0, 7, model=False) != again.propose(1, 7, model=False)
    with pytest.raises(InputError, match="study 'tune' was begun with images=5 and is now asked for 6"):
        opened({"images": 6})


def test_a_score_whose_facts_were_not_read_yet_does_not_count(tmp_path: Path) -> None:
    """Optuna reads a trial table by table: another process may record a stretch between two of them."""
    with opened_storage(default_storage(tmp_path)) as storage:
        study = Study(storage, "tune", SPACE, {})
        study.add(study.propose(0, 7, model=False), seed=100)
        storage.set_trial_intermediate_value(storage.get_all_trials(storage.get_all_studies()[0]._study_id)[0]._trial_id,
                                             0, 3.5)  # fmt: skip
        (trial,) = study.trials()
        assert not trial.scores and not trial.steps and trial.values


@pytest.mark.parametrize("url", ["nonsense", "sqlite:////no/such/folder/x.db", "mongodb://localhost/x"])
def test_a_wrong_storage_is_one_line(url: str) -> None:
    with pytest.raises(InputError, match=f"--storage={url}") as error:
        with opened_storage(url):
            pass
    assert "\n" not in str(error.value)


def test_passwords_are_not_printed() -> None:
    with pytest.raises(InputError, match="ada") as error:
        with opened_storage("postgresql+nodriver://ada:secret@localhost/x"):
            pass
    assert "secret" not in str(error.value)


def hold_and_wait(url: str, folder: Path, name: str, ready: "multiprocessing.synchronize.Event") -> None:
    with Leases(sql.create_engine(url), folder) as leases:
        assert leases.claim(name)
        ready.set()
        signal.pause()


def test_the_lease_of_a_killed_process_is_free_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'x.db'}"
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    other = context.Process(target=hold_and_wait, args=(url, tmp_path, "a", ready))
    other.start()
    try:
        assert ready.wait(60)
        engine = sql.create_engine(url)
        with Leases(engine, tmp_path) as leases:
            assert not leases.claim("a") and leases.others() == {"a"}
            assert other.pid is not None
            os.kill(other.pid, signal.SIGKILL)
            other.join()
            assert leases.others() == set() and leases.claim("a")
            with Leases(engine, tmp_path) as third:
                assert not third.claim("a")
                leases.release("a")
                assert third.claim("a")
        engine.dispose()
    finally:
        other.kill()
        other.join()


def test_silence_frees_a_lease_of_another_machine(tmp_path: Path) -> None:
    engine = sql.create_engine(f"sqlite:///{tmp_path / 'x.db'}")
    with Leases(engine, tmp_path / "here", silence=1e6) as leases, Leases(engine, tmp_path / "elsewhere") as other:
        assert other.claim("a") and not leases.claim("a")
        assert not leases.claim("a"), "just seen"
        other.renew()
        leases._seen["a"] = (*leases._seen["a"][:2], -math.inf)  # as if that had been long ago
        assert not leases.claim("a"), "it gave a sign of life"
        leases._seen["a"] = (*leases._seen["a"][:2], -math.inf)
        assert leases.claim("a")
        other.renew()
        assert other.lost("a") and not leases.lost("a")
    engine.dispose()


# ---------------------------------------------------------------- surveys and suggestions


def write_images(folder: Path, sizes: Sequence[tuple[int, int]], colour: bool, seed: int = 0) -> None:
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for number, (height, width) in enumerate(sizes):
        pixels = rng.integers(0, 256, (height, width, 3 if colour else 1), np.uint8)
        Image.fromarray(pixels if colour else pixels[..., 0]).save(folder / f"{number:04d}.png")


def test_surveys(tmp_path: Path) -> None:
    assert survey("digits") == Survey("digits", "", 1437, 10, 8, 8, True, 1)
    for label in ("cats", "dogs"):
        write_images(tmp_path / "two" / label, [(40, 60)] * 3, colour=False)
    found = survey(tmp_path / "two")
    assert (found.source, found.count, found.classes, found.channels) == ("folder", 6, 2, 1)
    assert (found.height, found.width, found.uniform) == (40, 60, True)
    write_images(tmp_path / "mixed", [(20, 30), (50, 50), (200, 90)], colour=True)
    (tmp_path / "mixed" / "9999.png").write_bytes(b"no image")
    found = survey(tmp_path / "mixed")
    assert (found.height, found.width, found.uniform, found.channels) == (50, 50, False, 3)
    np.savez(tmp_path / "x.npz", images=np.zeros((5, 12, 10, 3), np.uint8), labels=np.arange(5))
    found = survey(tmp_path / "x.npz")
    assert found == Survey("npz", str(tmp_path / "x.npz"), 5, 5, 12, 10, True, 3)


@pytest.mark.parametrize("name", ["nowhere", "x.npz", "tfds:no_such_set", "empty"])
def test_nothing_to_survey_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError) as error:
        survey(name)
    assert "\n" not in str(error.value) and name.removeprefix("tfds:") in str(error.value)


@pytest.mark.parametrize(
    ("count", "size", "channels", "platform", "devices", "expected"),
    [
        (60_000, (28, 28), 1, "cpu", 1, ("mlp", (28, 28), 64, "none")),
        (500, (70, 90), 3, "cpu", 1, ("mlp", (32, 32), 64, "diffaugment")),
        (50_000, (32, 32), 3, "gpu", 1, ("r3gan", (32, 32), 64, "none")),
        (500, (70, 90), 3, "gpu", 1, ("dcgan", (64, 64), 64, "diffaugment")),
        (50_000, (300, 200), 3, "tpu", 8, ("r3gan", (64, 64), 256, "none")),
        (50_000, (9, 9), 1, "gpu", 3, ("dcgan", (8, 8), 96, "none")),
        (300, (4, 5), 1, "cpu", 1, ("mlp", (4, 5), 64, "diffaugment")),
    ],
)
def test_suggestions_follow_the_tables(
    count: int, size: tuple[int, int], channels: int, platform: str, devices: int,
    expected: tuple[str, tuple[int, int], int, str],
) -> None:  # fmt: skip
    seen = Survey("folder", "photos", count, 0, *size, True, 3 if channels == 3 else 1)
    found = decide(seen, platform, devices)
    config = found.config
    assert (
        config.model.architecture,
        config.data.image_size,
        config.data.batch_size,
        config.augment.method,
    ) == expected
    assert config.data.channels == channels and config.data.batch_size % devices == 0
    assert channels == 3 or "color" not in config.augment.transforms
    for word in ("data", "devices", "image_size", "networks", "batch", "gamma", "augmentation", "length"):
        assert any(row[0] == word for row in found.reasons), word
    assert len(found.text().splitlines()) == len(found.reasons)


def test_the_suggestion_for_the_digits_is_the_recipe_of_the_digits(root: Path) -> None:
    found, known = suggest("digits", "cpu", 1).config, load_config(root / "configs" / "digits.py")
    for group in ("model", "loss", "penalty", "augment", "optimizer", "data"):
        assert getattr(found, group) == getattr(known, group), group
    assert (found.total_images, found.ema_half_life) == (known.total_images, known.ema_half_life)


def test_the_page_shows_the_tables(root: Path) -> None:
    page = (root / "docs" / "choosing.md").read_text()
    for table in (suggestions.LENGTHS, suggestions.LENGTHS_ELSEWHERE):
        assert ", ".join(f"{length:,}" for _, length in table) in page
        assert all(f"below {count:,}" in page for count, _ in table[:-1])
    assert f"below {suggestions.AUGMENTED[0][0]:,} images" in page
    assert f"1/{round(1 / suggestions.AVERAGE)} of the run" in page
    assert f"up to {suggestions.LARGEST['cpu']}x" in page and f"up to {suggestions.LARGEST_ELSEWHERE}x" in page


def test_a_run_without_workdir_goes_to_a_folder_of_its_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"auto:a/photos/": "photos", "auto:tfds:mnist": "mnist", "auto:x/set.npz": "set", "auto:.": tmp_path.name}
    assert {name: auto_workdir(name) for name in names} == {name: Path("runs") / end for name, end in names.items()}


def test_few_images_are_learnt_at_a_gentler_rate() -> None:
    """At 2e-3 colour photos under DiffAugment collapsed in two of three trial runs, at 1e-3 in none."""
    rates = [decide(Survey("folder", "p", n, 0, 32, 32, True, 3), "cpu", 1).config.optimizer.d_lr for n in (999, 1_000)]
    assert rates[0].start < rates[1].start and all(rate.end == pytest.approx(rate.start / 10) for rate in rates)
