"""The benchmark: files that survive a kill, figures that add up, a clock that is kept, and refusals in one line."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any

import jax
import numpy as np
import pytest
from tiny import tiny_config

from gan_jax.benchmark import checkout, rivals, runner
from gan_jax.benchmark.clock import step_seconds, train_to
from gan_jax.benchmark.results import read_result
from gan_jax.benchmark.rivals import arm_config, arm_texts
from gan_jax.benchmark.suite import Arm, Outcome, Range, Suite, Tolerance, config_recipe
from gan_jax.benchmark.suites import SUITES, digits, pace, quality
from gan_jax.benchmark.tables import summary, with_excerpts, write_tables
from gan_jax.config import Config, DataConfig
from gan_jax.data.pipeline import Pipeline
from gan_jax.data.sources import load_source
from gan_jax.errors import InputError
from gan_jax.evaluation.making import train_on_labels
from gan_jax.metrics.classifier import load_classifier, save_classifier
from gan_jax.program import build
from gan_jax.runtime.mesh import batch_sharding, make_mesh

# A suite whose arms leave a trace of each measurement; `slow` never ends the first time.
SCRIPT = """
import os, pathlib, sys, time
from gan_jax.benchmark import runner
from gan_jax.benchmark.suite import Arm, Outcome, Suite

out = pathlib.Path(sys.argv[1])

def measure(name):
    def run(seed):
        with open(out / "trace", "a") as file:
            print(name, seed, file=file, flush=True)
        while name == "slow" and not (out / "go").exists():
            time.sleep(0.05)
        return Outcome({"value": seed + 0.5}, 1.0, 64)
    return run

suite = Suite("fake", "for a test", {name: Arm("an arm", measure(name)) for name in ("quick", "slow")})
runner.run(suite, out, 2, None, {})
"""


def constant(name: str, value: float, **changes: Any) -> Suite:
    """A suite of one arm that measures one number."""
    arms = {"only": Arm("the only arm", lambda seed: Outcome({"value": value + seed}, 1.0, 0), lambda: {"lr": 0.1})}
    return Suite(**({"name": name, "description": "", "arms": arms} | changes))


def wait_for(condition: Any, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


# ---------------------------------------------------------------- files


def test_a_kill_loses_at_most_what_was_being_measured(tmp_path: pathlib.Path) -> None:
    line = [sys.executable, "-c", SCRIPT, str(tmp_path)]
    trace, path = tmp_path / "trace", tmp_path / "fake.json"
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    wait_for(lambda: trace.exists() and "slow 0" in trace.read_text())
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=30)
    assert [(r["arm"], r["seed"]) for r in read_result(path)["records"]] == [("quick", 0)]
    (tmp_path / "go").touch()
    subprocess.run(line, check=True, timeout=120, capture_output=True, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    assert trace.read_text().split("\n")[:-1] == ["quick 0", "slow 0", "slow 0", "quick 1", "slow 1"]
    records = read_result(path)["records"]
    assert [(r["arm"], r["seed"], r["metrics"]["value"]) for r in records] == [
        ("quick", 0, 0.5), ("quick", 1, 1.5), ("slow", 0, 0.5), ("slow", 1, 1.5)
    ]  # fmt: skip
    assert "1 ± 0.71" in (tmp_path / "README.md").read_text()


def test_a_file_holds_all_that_a_reader_needs(tmp_path: pathlib.Path) -> None:
    metrics = {"whole": 3, "part": 0.25, "lost": float("nan"), "endless": float("inf")}
    arms = {name: Arm("", lambda seed: Outcome(metrics, 2.5, 640)) for name in ("a", "b")}
    suite = Suite("facts", "", arms, protocol=lambda: {"marks": (1, 2)})
    runner.run(suite, tmp_path, 2, ["b"], {"facts": suite})
    result = json.loads((tmp_path / "facts.json").read_text(), parse_constant=pytest.fail)
    assert {"suite", "machine", "versions", "commit", "command", "records"} <= set(result)
    assert {"cpu", "cores", "memory_gb", "platform"} <= set(result["machine"])
    assert set(result["versions"]) == {"python", "jax", "jaxlib", "flax", "optax", "numpy", "gan_jax"}
    assert result["command"] == f"python -m gan_jax.benchmark facts --seeds=2 --out={tmp_path.name} --arms=b"
    record = result["records"][1]
    assert (record["arm"], record["seed"], record["seconds"], record["images"]) == ("b", 1, 2.5, 640)
    assert record["metrics"] == {"whole": 3, "part": 0.25, "lost": None, "endless": None}
    assert record["commit"] == result["commit"]
    assert result["environments"][record["environment"]]["machine"] == result["machine"]
    for names in ([], ["a", "c"]):
        with pytest.raises(InputError, match="choose of a, b"):
            runner.run(suite, tmp_path, 1, names, {})
    runner.run(suite, tmp_path, 1, None, {"facts": suite})  # the other arm joins
    again = read_result(tmp_path / "facts.json")
    assert [(r["arm"], r["seed"]) for r in again["records"]] == [("a", 0), ("b", 0), ("b", 1)]
    assert again["command"].endswith(f"--seeds=2 --out={tmp_path.name}")


def test_figures_of_another_recipe_or_protocol_do_not_mix(tmp_path: pathlib.Path) -> None:
    runner.run(constant("mixed", 1.0), tmp_path, 1, None, {})
    changed = {"only": Arm("", lambda seed: Outcome({}, 0.0, 0), lambda: {"lr": 0.2})}
    with pytest.raises(InputError, match=r"recipe of arm only: lr was 0\.1 and is now 0\.2"):
        runner.run(constant("mixed", 1.0, arms=changed), tmp_path, 2, None, {})
    with pytest.raises(InputError, match="protocol: features was None and is now 'abc'"):
        runner.run(constant("mixed", 1.0, protocol=lambda: {"features": "abc"}), tmp_path, 2, None, {})
    (tmp_path / "mixed.json").write_text("{")
    with pytest.raises(InputError, match="mixed.json"):
        runner.run(constant("mixed", 1.0), tmp_path, 2, None, {})


def test_commit_says_what_was_measured(tmp_path: pathlib.Path) -> None:
    def git(*arguments: str) -> str:
        names = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        line = ["git", "-C", str(tmp_path), *names, *arguments]
        return subprocess.run(line, check=True, capture_output=True, text=True).stdout.strip()

    assert checkout.commit(tmp_path) == "unknown"
    git("init")
    written = ("benchmarks/a.json", "docs/page.md", "README.md")  # by suites
    for name in ("code.py", *written):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("1")
    git("add", ".")
    git("commit", "-m", "all")
    head = git("rev-parse", "HEAD")
    for name in written:
        (tmp_path / name).write_text("2")
    (tmp_path / "notes").write_text("not tracked")
    assert checkout.commit(tmp_path) == head
    (tmp_path / "code.py").write_text("2")
    assert checkout.commit(tmp_path) == f"{head}-dirty"
    assert checkout.commit(tmp_path / "benchmarks") == "unknown"  # a package inside another repository


# ---------------------------------------------------------------- check


def test_check_finds_an_altered_record(tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = constant("checked", 5.0, checks={"only": {"value": Tolerance(relative=0.01), "missing": Range(0, 1)}})
    runner.run(suite, tmp_path, 2, None, {})
    (line,) = runner.check(suite, tmp_path)
    assert "missing" in line  # an expected figure that is not there is no reproduction
    suite = constant("checked", 5.04, checks={"only": {"value": Tolerance(relative=0.01)}})
    assert runner.check(suite, tmp_path) == []
    path = tmp_path / "checked.json"
    before = path.read_text()
    path.write_text(before.replace('"value": 5.0', '"value": 5.2'))
    (line,) = runner.check(suite, tmp_path)
    assert line.startswith("checked only seed 0 value: committed 5.2, measured 5.04")
    path.write_text(before.replace('"value": 5.0', '"value": null'))
    assert len(runner.check(suite, tmp_path)) == 1
    with pytest.raises(InputError, match="nothing cheap"):
        runner.check(constant("checked", 5.0), tmp_path)
    with pytest.raises(InputError, match="no such file"):
        runner.check(suite, tmp_path / "elsewhere")


def test_range_binds_both_sides() -> None:
    rule = Range(3.0, 100.0)
    assert not rule.complaint(7.5, 3.0)
    assert rule.complaint(7.5, 2.9) and rule.complaint(2.0, 7.5) and rule.complaint(7.5, float("nan"))


# ---------------------------------------------------------------- page


def test_tables_show_mean_and_spread(tmp_path: pathlib.Path) -> None:
    fids = {"good": ([8.0, 8.0, 8.0], [2.0, 4.0, 9.0]), "bad": ([80.0, 60.0], [None, 50.0])}
    records = [
        {"arm": arm, "seed": seed, "metrics": {"fid_60s": early, "fid_600s": late}, "seconds": 10, "images": 64}
        for arm, pairs in fids.items()
        for seed, (early, late) in enumerate(zip(*pairs, strict=True))
    ]
    tree = {"suite": "quality", "command": "python -m it", "protocol": {"features": "feed"}, "records": records}
    with pytest.raises(InputError, match="holds no SUITE.json"):
        write_tables(tmp_path, SUITES)
    (tmp_path / "quality.json").write_text(json.dumps(tree))
    (tmp_path / "other.json").write_text(json.dumps(tree | {"suite": "other"}))
    write_tables(tmp_path, SUITES)
    page = (tmp_path / "README.md").read_text()
    # mean of 2, 4, 9 is 5; their standard deviation is sqrt((9 + 1 + 16) / 2) = 3.606
    assert "| arm | fid_60s | fid_600s | seconds | images | seeds |" in page
    assert "| good | 8 ± 0 | 5 ± 3.6 | 10 ± 0 | 64 ± 0 | 3 |" in page
    assert "| bad | 70 ± 14 | 50 (n/a in 1) | 10 ± 0 | 64 ± 0 | 2 |" in page
    assert "python -m it" in page and "features feed" in page and "## other" in page
    picture = (tmp_path / "quality_fid.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and "![quality_fid.png](quality_fid.png)" in page
    write_tables(tmp_path, SUITES)
    assert (tmp_path / "quality_fid.png").read_bytes() == picture  # the same figures, the same bytes


def test_headlines_reach_the_page_above_between_its_marks(tmp_path: pathlib.Path) -> None:
    out, page = tmp_path / "benchmarks", tmp_path / "README.md"
    out.mkdir()
    metrics = {"class_share_min": 8.0, "svm_confidence": 0.9, "nn_ratio": 1.1, "copied_share": 0.5}
    record = {"arm": "ours", "seed": 0, "metrics": metrics, "seconds": 1, "images": 64}
    other = {**record, "arm": "elsewhere", "metrics": {"seconds_more": 1.0}}  # nothing of the headline
    part = {**record, "arm": "part", "metrics": {"nn_ratio": 1.2}}  # all but the first of the headline is missing
    tree = {"suite": "digits", "command": "python -m it", "protocol": {}, "records": [record, other, part]}
    (out / "digits.json").write_text(json.dumps(tree))
    page.write_text("before\n<!-- results -->\nold\n<!-- end of results -->\nafter\n")
    for _ in range(2):  # the second time changes nothing
        write_tables(out, SUITES)
        text = page.read_text()
        assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
        assert text.count("| ours | 8 | 0.9 | 1.1 | 1 |") == 1 and "copied_share" not in text
        assert "elsewhere" not in text and "| part | - | - | 1.2 | 1 |" in text
    page.write_text("no marks")
    write_tables(out, SUITES)
    assert page.read_text() == "no marks"


def test_pages_show_chosen_figures_between_their_marks() -> None:
    records = [
        {"arm": "a", "seed": 0, "metrics": {"fid": 2.0, "kid": 7.0}},
        {"arm": "a", "seed": 1, "metrics": {"fid": 4.0}},
        {"arm": "b", "seed": 0, "metrics": {"fid": None}},
    ]
    page = "before\n<!-- figures: some; fid kid; a b c -->\nold\n<!-- end -->\nafter <!-- end -->"
    filled = with_excerpts(page, {"some": {"records": records}})
    assert filled.splitlines() == [
        "before",
        "<!-- figures: some; fid kid; a b c -->",
        "| arm | fid | kid |",
        "| --- | --- | --- |",
        "| a | 3 ± 1.4 | 7 |",
        "| b | n/a in 1 | - |",
        "| c | - | - |",
        "<!-- end -->",
        "after <!-- end -->",
    ]
    assert with_excerpts(filled, {"some": {"records": records}}) == filled
    assert with_excerpts(filled, {}) != filled and with_excerpts("plain", {}) == "plain"


def test_summary_of_few_values() -> None:
    assert [summary(values) for values in ([], [1.5], [None], [1.0, 3.0])] == ["-", "1.5", "n/a in 1", "2 ± 1.4"]


# ---------------------------------------------------------------- clock


def test_training_pauses_at_its_marks() -> None:
    config = tiny_config("mlp", {"step.per_dispatch": 5, "total_images": 16 * 30})
    source, mesh = load_source(config.data, "train", 0), make_mesh(jax.devices()[:1])
    program = build(config, source.shape, source.num_classes, mesh)
    seen: list[tuple[int, int]] = []
    with Pipeline(source, config.data, 0, program.passes, program.micro_batch, batch_sharding(mesh, axis=1)) as pipe:
        assert 0 < step_seconds(program, pipe, 0.1, 2) < 10
        train_to(program, pipe, 0, (10, 30), lambda number, state: seen.append((number, int(state.step))))
    assert seen == [(0, 10), (1, 30)]  # from a fresh state: what was trained to measure does not count


# ---------------------------------------------------------------- suites


@pytest.fixture(scope="module")
def protocol(tmp_path_factory: pytest.TempPathFactory) -> quality.Protocol:
    """The suite's rules on the digits, with seconds in place of minutes."""
    features = tmp_path_factory.mktemp("features") / "digits.npz"
    train_on_labels(DataConfig(source="digits", image_size=(8, 8)), features, epochs=2)
    return quality.Protocol(config="digits", features=features, marks=(1, 2), count=300)


def test_memorisation_catches_the_control_that_repeats(protocol: quality.Protocol) -> None:
    found = {arm: quality.control(protocol, draw, 0).metrics for arm, (_, draw) in quality.CONTROLS.items()}
    assert found["control_repeat"]["nn_ratio"] == 0 and found["control_repeat"]["copied_share"] == 1
    assert found["control_real"]["nn_ratio"] == pytest.approx(1, abs=0.15)
    assert found["control_real"]["copied_share"] < 0.1
    assert found["control_gaussian"]["nn_ratio"] > 1.1
    assert found["control_real"]["fid_2s"] < found["control_gaussian"]["fid_2s"] / 3
    assert all(metrics["fid_1s"] == metrics["fid_2s"] for metrics in found.values())


def test_a_trained_arm_measures_the_contract(
    protocol: quality.Protocol, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = tiny_config("dcgan", {"penalty.r1": 0.0, "penalty.r2": 0.0})
    monkeypatch.setattr(rivals, "checkout_config", lambda name: small)
    for module in (quality, pace):
        monkeypatch.setattr(module, "make_mesh", lambda: make_mesh(jax.devices()[:1]))
    clock = pace.make_suite("digits", 0.05)
    protocol = dataclasses.replace(protocol, pace=tmp_path / "pace.json", marks=(1, 2))
    with pytest.raises(InputError, match=r"pace\.json is missing: run python -m gan_jax\.benchmark pace"):
        runner.run(quality.make_suite(protocol), tmp_path, 1, ["ours"], {})
    runner.run(clock, tmp_path, 2, ["ours"], {"pace": clock})
    rounds = [record["metrics"] for record in read_result(tmp_path / "pace.json")["records"]]
    assert all(r["ms_per_step"] * r["images_per_second"] == pytest.approx(1000 * small.images_per_step) for r in rounds)
    steps = protocol.steps("ours")
    assert steps[1] * sum(r["ms_per_step"] for r in rounds) / 2 == pytest.approx(2000, abs=rounds[0]["ms_per_step"])
    assert steps[1] == pytest.approx(2 * steps[0], abs=1)
    with pytest.raises(InputError, match="no pace of arm dcgan"):
        protocol.steps("dcgan")
    suite = quality.make_suite(protocol)
    runner.run(suite, tmp_path, 1, ["ours", "control_real"], {"quality": suite})
    result = read_result(tmp_path / "quality.json")
    ours = next(r for r in result["records"] if r["arm"] == "ours")
    assert ours["images"] == steps[-1] * small.images_per_step and result["recipes"]["ours"]["steps"] == steps
    wanted = "fid_1s fid_2s floor precision recall density coverage class_share_min class_share_max nn_ratio kid"
    assert {*wanted.split(), "copied_share", "images_2s"} <= set(ours["metrics"])
    assert len(result["protocol"]["features"]) == 64
    assert runner.check(suite, tmp_path, ["control_real"]) == []
    other = dataclasses.replace(protocol, features=tmp_path / "other.npz")
    classifier = load_classifier(protocol.features)
    changed = dataclasses.replace(
        classifier.network, variables=jax.tree.map(lambda leaf: 2 * leaf, classifier.network.variables)
    )
    save_classifier(dataclasses.replace(classifier, network=changed), other.features)
    with pytest.raises(InputError, match="protocol: features was"):
        runner.run(quality.make_suite(other), tmp_path, 2, ["ours"], {})


def test_every_arm_of_quality_is_a_program_for_its_data() -> None:
    for arm in arm_texts("fashion_mnist"):
        config = arm_config("fashion_mnist", arm)
        program = build(config, (28, 28, 1), 10, make_mesh(jax.devices()[:1]))
        assert program.abstract_state.g.params and config_recipe(config)
        assert config.data.source == arm_config("fashion_mnist", "ours").data.source
    fields = {"article", "dcgan", "wgan_gp", "sngan", "r3gan", "ours"} | set(quality.CONTROLS)
    assert set(SUITES["quality"].arms) == fields == set(SUITES["pace"].arms) | set(quality.CONTROLS)


def test_digits_are_judged_by_the_held_out_ones() -> None:
    real = digits.SUITE.arms["control_real"].run(0).metrics
    assert real["svm_confidence"] > 0.9 and 8 < real["class_share_min"] <= 10 <= real["class_share_max"] < 12
    assert real["nn_ratio"] == 1
    source = load_source(DataConfig(source="digits", image_size=(8, 8)), "train")
    images = source.read(np.arange(200))["image"]
    assert digits.score(images)["nn_ratio"] == 0
    assert digits.score(images[:1].repeat(100, 0))["class_share_max"] == 100


def test_recipes_name_what_differs_from_the_defaults() -> None:
    config = Config().replace(
        {"penalty.r1": {"start": 0.5, "end": 0.1}, "data.image_size": 8, "seed": 3, "log.keep": 9}
    )
    recipe = config_recipe(config)
    assert recipe == {"penalty.r1": {"start": 0.5, "end": 0.1, "shape": "cosine"}, "data.image_size": [8, 8]}
    assert config_recipe(config.replace({"ema_half_life": 5.0}), ["penalty.", "data."]) == {"ema_half_life": 5.0}


# ---------------------------------------------------------------- doorway


def test_check_command_ends_with_1_and_a_line_a_figure(tmp_path: pathlib.Path) -> None:
    runner.run(digits.SUITE, tmp_path, 1, ["control_real"], SUITES)
    path = tmp_path / "digits.json"
    result = read_result(path)
    result["records"][0]["metrics"]["svm_confidence"] -= 0.1
    path.write_text(json.dumps(result))
    before = {name: name.read_bytes() for name in tmp_path.iterdir()}
    line = [sys.executable, "-m", "gan_jax.benchmark", "digits", "--check", "--arms=control_real", f"--out={tmp_path}"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=180, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    assert done.returncode == 1, done.stderr
    (complaint,) = [text for text in done.stdout.splitlines() if "committed" in text]
    assert complaint.startswith("digits control_real seed 0 svm_confidence: committed 0.8")
    assert before == {name: name.read_bytes() for name in tmp_path.iterdir()}  # nothing was written


def test_bad_commands_end_in_one_line_and_exit_code_2(tmp_path: pathlib.Path) -> None:
    cases = {
        (): "SUITE is missing",
        ("nosuch",): "choose of augmentation, choices, digits, domains, ",
        ("digits", "quality"): "unexpected argument 'quality'",
        ("digits", "--arms=ours,theirs"): "control_real",
        ("digits", "--seeds=0"): "seeds",
        ("digits", "--sheds=1"): "sheds",
        ("digits", "--config.total_images=1"): "config.total_images",
    }
    commands = [[sys.executable, "-m", "gan_jax.benchmark", *flags] for flags in cases]
    running = [
        subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
                         env=os.environ | {"JAX_PLATFORMS": "cpu"})
        for line in commands
    ]  # fmt: skip
    said = [process.communicate(timeout=180)[1] for process in running]
    for process, errors, (flags, message) in zip(running, said, cases.items(), strict=True):
        assert process.returncode == 2, (flags, errors)
        lines = errors.splitlines()
        assert len(lines) == 1 and lines[0].startswith("error: ") and message in lines[0], (flags, errors)
    assert not list(tmp_path.iterdir())
