"""Second tasks, probes, anomalies and the classifier to keep, on scikit-learn's digits."""

import json
import pathlib
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from scipy.stats import ttest_rel
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors
from sklearn.svm import SVC

import gan_jax
from gan_jax.adversarial import tasks
from gan_jax.benchmark import recognition_page
from gan_jax.benchmark.suites import recognition as suite
from gan_jax.config import Config, load_config
from gan_jax.data.sources import load_source
from gan_jax.errors import InputError
from gan_jax.gan import Gan
from gan_jax.metrics.storage import save_arrays
from gan_jax.program import Program, build
from gan_jax.recognition import anomaly, controls, features, probe, report, semi
from gan_jax.recognition.machines import KernelMachine, fit
from gan_jax.recognition.recogniser import FILE, load_classifier
from gan_jax.recognition.spreading import Surroundings
from gan_jax.runtime.mesh import batch_sharding, make_mesh, put, replicated

TINY = {
    "data.source": "digits",
    "data.path": "",
    "data.image_size": 8,
    "data.batch_size": 16,
    "total_images": 3_200,
    "model.architecture": "dcgan",
    "model.g_architecture": "mlp",
    "model.g_width": 32,
    "model.d_width": 8,
    "log.samples_images": 0,
    "log.metrics_images": 0,
}


def tiny(root: pathlib.Path, changes: dict[str, Any] | None = None) -> Config:
    return load_config(root / "configs" / "recognition.py", TINY | (changes or {}))


def program_of(config: Config, devices: int = 1) -> Program:
    return build(config, (8, 8, 1), 10, make_mesh(jax.devices()[:devices]))


@pytest.fixture(scope="module")
def digits() -> probe.Labelled:
    return probe.load_labelled(Config().replace({"data.image_size": 8}))


@pytest.fixture(scope="module")
def workdir(root: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A short run whose discriminator compares views."""
    folder = tmp_path_factory.mktemp("recognition") / "run"
    gan_jax.train(tiny(root), folder)
    return folder


# ---------------------------------------------------------------- second tasks


def test_a_quarter_of_the_images_is_turned_each_way() -> None:
    images = np.random.default_rng(0).normal(size=(8, 5, 5, 2)).astype(np.float32)
    turned, answers = tasks.turn(jax.random.key(0), jnp.asarray(images), jnp.zeros(8, jnp.int32), lambda a: a)
    assert np.bincount(np.asarray(answers)).tolist() == [2, 2, 2, 2]
    for image, found, turns in zip(images, np.asarray(turned), np.asarray(answers), strict=True):
        np.testing.assert_array_equal(found, np.rot90(image, turns))


def test_twins_are_told_by_the_contrastive_loss_of_the_paper() -> None:
    head = np.random.default_rng(1).normal(size=(6, 4))
    units = head / np.linalg.norm(head, axis=1, keepdims=True)
    losses = []
    for i in range(6):
        likeness = np.exp(units @ units[i] / 0.5)
        losses.append(-np.log(likeness[i ^ 1] / (likeness.sum() - likeness[i])))
    found, _ = tasks.find_twin(jnp.asarray(head), jnp.arange(6) ^ 1, 0.5)
    assert float(found) == pytest.approx(np.mean(losses), rel=1e-4)
    pairs = jnp.repeat(jnp.eye(3), 2, axis=0)
    _, right = tasks.find_twin(pairs, jnp.arange(6) ^ 1, 0.5)
    assert float(right) == 1.0


def test_two_views_come_of_each_image() -> None:
    images = jnp.asarray(np.random.default_rng(2).normal(size=(4, 8, 8, 1)), jnp.float32)
    views, twins = tasks.look_twice(jax.random.key(0), images, jnp.zeros(4, jnp.int32), lambda a: a)
    assert views.shape == (8, 8, 8, 1) and np.asarray(twins).tolist() == [1, 0, 3, 2, 5, 4, 7, 6]
    assert not np.allclose(views[0], views[1])


@pytest.mark.parametrize("head", ["rotation", "views"])
def test_a_second_task_is_learnt_and_costs_no_determinism(root: pathlib.Path, head: str) -> None:
    config = tiny(root, {"model.head": head, "total_images": 16 * 100})
    program, source = program_of(config), load_source(config.data)
    one, two = (controls.train_on(program, source) for _ in range(2))
    assert jax.tree.all(jax.tree.map(lambda a, b: np.array_equal(a, b), one.d.params, two.d.params))
    fresh = controls.untrained(program, config.seed)
    images = source.read(np.arange(16))["image"]  # a batch
    task = tasks.TASKS[head]

    def loss(gan: Gan) -> float:
        asked, answers = task.ask(
            jax.random.key(3), jnp.asarray(images / 127.5 - 1, jnp.float32), jnp.zeros(16, jnp.int32), lambda a: a
        )
        return float(task.loss(jnp.asarray(gan.features(np.asarray(asked))["head"]), answers, 0.2)[0])

    assert loss(one) < loss(fresh) - 0.1


def test_labels_reach_the_discriminator_by_the_known_images_alone(root: pathlib.Path) -> None:
    config = tiny(root, {"model.head": "classes", "loss.name": "feature_matching", "watchdog.enabled": False})
    program = program_of(config)
    rng = np.random.default_rng(0)
    batch = {
        "image": rng.integers(0, 256, (program.passes, 16, 8, 8, 1)).astype(np.uint8),
        "label": np.zeros((program.passes, 16), np.int32),
        "known_image": rng.integers(0, 256, (program.passes, 16, 8, 8, 1)).astype(np.uint8),
        "known_label": np.arange(program.passes * 16, dtype=np.int32).reshape(-1, 16) % 10,
    }

    def stepped(changes: dict[str, np.ndarray]) -> Any:
        state = program.init(put(np.uint32(0), replicated(program.mesh)))
        place = batch_sharding(program.mesh, axis=1)
        placed = {name: jax.device_put(array, place) for name, array in (batch | changes).items()}
        return program.step(state, placed, put(np.int32(1), replicated(program.mesh)))[0].d.params

    def same(a: Any, b: Any) -> bool:
        return jax.tree.all(jax.tree.map(np.array_equal, a, b))

    before = stepped({})
    assert same(before, stepped({"label": batch["label"] + 3}))
    assert not same(before, stepped({"known_label": (batch["known_label"] + 1) % 10}))


def test_the_discriminators_average_blends_by_its_half_life(root: pathlib.Path) -> None:
    config = tiny(root, {"d_ema_half_life": 16.0, "total_images": 16})  # one step halves the weight of what was
    program = program_of(config)
    place, seed = replicated(program.mesh), np.uint32(0)
    start = jax.device_get(program.init(put(seed, place)).d.params)
    batch = {name: jnp.zeros(leaf.shape, leaf.dtype) for name, leaf in program.abstract_batch.items()}
    state, _ = program.step(program.init(put(seed, place)), batch, put(np.int32(1), place))
    for old, new, mean in zip(*map(jax.tree.leaves, (start, state.d.params, state.d_ema.params)), strict=True):
        np.testing.assert_allclose(mean, 0.5 * (old + np.asarray(new)), atol=1e-6)


def test_feature_matching_is_zero_for_equal_means() -> None:
    from gan_jax.adversarial.losses import matching

    real = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    assert float(matching(real, real[::-1])) == 0
    assert float(matching(real, real + jnp.array([2.0, 0.0]))) == pytest.approx(2.0)  # (4 + 0) / 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model.head": "rotation", "data.image_size": (8, 16)}, "square"),
        ({"model.head": "views", "model.pack": 2}, "model.pack=1"),
        ({"model.head": "classes"}, "feature_matching"),
        ({"model.architecture": "improved_gan", "model.g_width": 64, "model.d_width": 64}, "model.head=classes"),
    ],
)
def test_heads_that_do_not_fit_are_named(root: pathlib.Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        tiny(root, changes)


# ---------------------------------------------------------------- features and classifiers


def test_stages_are_pooled_to_their_maxima(root: pathlib.Path) -> None:
    gan = controls.untrained(program_of(tiny(root)), 0)
    images = np.random.default_rng(0).uniform(-1, 1, (5, 8, 8, 1)).astype(np.float32)
    whole, pooled = gan.features(images), gan.features(images, pool=3, batch_size=2)
    maps = whole["stage_1"]  # 4x4: the three parts of a side overlap, as 0-1, 1-2, 2-3
    spans = [(0, 2), (1, 3), (2, 4)]
    expected = np.stack([np.stack([maps[:, a:b, c:d].max((1, 2)) for c, d in spans], 1) for a, b in spans], 1)
    np.testing.assert_allclose(pooled["stage_1"], expected, atol=1e-6)
    np.testing.assert_array_equal(pooled["pooled"], gan.features(images, batch_size=2)["pooled"])


def test_extra_stages_round_odd_sides_up(root: pathlib.Path) -> None:
    config = tiny(root, {"data.image_size": 28, "model.d_extra_stages": 2})
    gan = controls.untrained(build(config, (28, 28, 1), 10, make_mesh(jax.devices()[:1])), 0)
    found = gan.features(np.zeros((2, 28, 28, 1), np.float32))
    shapes = [found[f"stage_{number}"].shape[1:] for number in (1, 2, 3, 4)]
    assert shapes == [(14, 14, 8), (7, 7, 16), (4, 4, 32), (2, 2, 64)]
    with pytest.raises(InputError, match=r"model.d_extra_stages=2 has no effect on config.model.architecture=mlp"):
        build(tiny(root, {"model.architecture": "mlp", "model.d_norm": "none", "model.d_extra_stages": 2,
                          "model.head": "none"}), (8, 8, 1), 10, make_mesh())  # fmt: skip


def test_several_devices_see_the_same_features(root: pathlib.Path, workdir: pathlib.Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1)).astype(np.uint8)
    one = features.trunk(gan_jax.load(workdir))(images)
    many = features.trunk(gan_jax.gan.load(workdir, mesh=make_mesh(jax.devices()[:8])))(images)
    np.testing.assert_allclose(one, many, atol=1e-5)


def test_rooted_features_of_a_place_do_not_depend_on_its_brightness() -> None:
    maps = np.abs(np.random.default_rng(0).normal(size=(2, 3, 3, 5))).astype(np.float32)
    found = features.rooted(maps)
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1, atol=0.05)
    brighter = maps.copy()
    brighter[:, 1, 1] *= 9
    np.testing.assert_allclose(features.rooted(brighter), found, atol=0.02)
    # Without an image's mean every length is 1, so that products of roots are Bhattacharyya's coefficient of shares.
    shares = maps[0, 0, :2] / maps[0, 0, :2].sum(-1, keepdims=True)
    assert found[0, 0, 0] @ found[0, 0, 1] == pytest.approx(np.sqrt(shares[0] * shares[1]).sum(), abs=0.03)
    assert np.isfinite(features.rooted(np.zeros((1, 2, 2, 3), np.float32))).all()
    assert (features.rooted(-maps) == 0).all()


def test_averaged_features_are_those_of_images_moved_by_a_pixel() -> None:
    dot = np.zeros((1, 5, 5, 1), np.uint8)
    dot[0, 2, 2] = 200
    found = features.averaged(features.pixels)(dot).reshape(5, 5)
    cross = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]]) * 200 / 255 / 5
    np.testing.assert_allclose(found[1:4, 1:4], cross, atol=1e-6)
    even = np.full((2, 4, 6, 1), 7, np.uint8)  # borders are repeated, so an even image stays
    np.testing.assert_allclose(features.averaged(features.pixels)(even), features.pixels(even), rtol=1e-6)


def test_gradient_histograms_have_the_traditional_length() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 1)).astype(np.uint8)
    assert features.histograms(images).shape == (2, 6 * 6 * 4 * 9)
    assert features.histograms(np.repeat(images[:, :8, :8], 3, axis=-1)).shape == (2, 3 * 3 * 4 * 9)


def test_labels_are_drawn_evenly(digits: probe.Labelled) -> None:
    rows = probe.balanced(digits.labels, 100, 3)
    assert np.bincount(digits.labels[rows]).tolist() == [10] * 10 and len(set(rows)) == 100
    assert not np.array_equal(rows, probe.balanced(digits.labels, 100, 4))
    assert len(probe.balanced(digits.labels, 10**6, 0)) == len(digits.labels)
    with pytest.raises(InputError, match="cannot be taken evenly"):
        probe.balanced(digits.labels, 1_430, 0)


def test_the_kernel_machine_is_scikit_learns(digits: probe.Labelled, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, labels = features.pixels(digits.train)[:300], digits.labels[:300]
    test = features.pixels(digits.test)
    ours = KernelMachine(10.0, 1.0).fit(vectors, labels).predict(test)
    theirs = SVC(C=10.0, gamma="scale").fit(vectors, labels).predict(test)
    assert np.mean(ours == theirs) > 0.995
    monkeypatch.setattr("gan_jax.recognition.machines._EXACT", 100)
    landmarks = KernelMachine(10.0, 1.0).fit(vectors, labels).predict(test)
    assert np.mean(landmarks == digits.test_labels) > np.mean(theirs == digits.test_labels) - 0.03


@pytest.mark.parametrize("family", ["linear", "logistic", "rbf", "knn"])
def test_every_classifier_reads_digits(digits: probe.Labelled, family: str) -> None:
    rows = probe.balanced(digits.labels, 200, 0)
    machine = fit(family, features.pixels(digits.train[rows]), digits.labels[rows])
    assert np.mean(machine.predict(features.pixels(digits.test)) == digits.test_labels) > 0.85


def test_controls_learn(root: pathlib.Path, digits: probe.Labelled) -> None:
    program = program_of(tiny(root))
    gan, predict = controls.supervised(program, digits.train, digits.labels, 10, 400, 0)
    assert np.mean(predict(digits.test) == digits.test_labels) > 0.85
    coded = controls.autoencoder(program, digits.train, 200, 0)
    fresh = controls.untrained(program, 0)
    vectors = [features.trunk(pair)(digits.test[:20]) for pair in (gan, coded, fresh)]
    assert not np.allclose(vectors[0], vectors[2]) and not np.allclose(vectors[1], vectors[2])


# ---------------------------------------------------------------- anomalies


def test_distances_and_areas_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    known, queries = rng.normal(size=(50, 5)), rng.normal(size=(20, 5))
    expected = NearestNeighbors(n_neighbors=2).fit(known).kneighbors(queries)[0].mean(axis=1)
    np.testing.assert_allclose(anomaly.distance(known, queries), expected, rtol=1e-4)
    labels, scores = rng.integers(0, 3, 200), rng.normal(size=200)
    assert anomaly.auroc(scores, labels, 1) == pytest.approx(100 * roc_auc_score(labels != 1, scores))


def test_every_score_tells_a_digit_from_the_others(root: pathlib.Path, digits: probe.Labelled) -> None:
    images = digits.train[digits.labels == 0]
    gan = controls.untrained(program_of(tiny(root)), 0)
    for score in (
        anomaly.neighbours(images),
        anomaly.components(images),
        anomaly.machine(images),
        anomaly.trunk_neighbours(gan, images),
    ):
        assert anomaly.auroc(score(digits.test), digits.test_labels, 0) > 95


# ---------------------------------------------------------------- semi-supervised


def test_a_short_semi_supervised_run_reads_digits(digits: probe.Labelled) -> None:
    rows = probe.balanced(digits.labels, 100, 0)
    source = semi.with_known(digits.train, rows, digits.labels[rows], digits.class_names)
    known = source.arrays["known_label"]
    assert np.bincount(known).min() > 0.09 * len(known) and (source.arrays["label"] == 0).all()
    config = Config().replace({**semi.improved_gan(200), "data.image_size": 8})
    for learn in (semi.semi_supervised, semi.labels_only, semi.pseudo_labels, semi.fixmatch):
        gan = learn(config, source, 200)
        assert np.mean(semi.classes(gan, digits.test) == digits.test_labels) > 0.7, learn.__name__


def test_class_logits_are_the_discriminators_judgement() -> None:
    config = Config().replace({**semi.improved_gan(1_000), "data.image_size": 8})
    gan = controls.untrained(program_of(config), 0)
    found = gan.features(np.zeros((3, 8, 8, 1), np.float32))
    np.testing.assert_allclose(found["logits"], np.log(np.exp(found["head"]).sum(1)), rtol=1e-5)
    assert found["head"].shape == (3, 10)


def test_the_authors_length_has_the_authors_averaging() -> None:
    half_life = semi.improved_gan(180_000)["d_ema_half_life"]
    assert 0.5 ** (100 / half_life) == pytest.approx(1 - 1e-4)


# ---------------------------------------------------------------- workdir, doorway, suite


def test_probe_measures_keeps_and_draws(workdir: pathlib.Path, digits: probe.Labelled) -> None:
    part = report.recognize(workdir, "probe", labels=[100], label_seeds=2)
    rows = {(row["features"], row["classifier"]): row for row in part["rows"]}
    assert set(rows) >= {("ours", "rbf"), ("random", "linear"), ("pixels", "logistic"), ("hog", "rbf")}
    assert all(len(row["seeds"]) == 2 and row["accuracy"] > 50 for row in rows.values())
    assert np.sum(part["confusion"]) == len(digits.test)
    assert 100 * np.trace(part["confusion"]) / len(digits.test) == pytest.approx(part["accuracy"])
    assert json.loads((workdir / report.FILE).read_text())["probe"]["accuracy"] == part["accuracy"]
    for name in (report.CONFUSION, report.NEIGHBOURS):
        with Image.open(workdir / name) as picture:
            assert min(picture.size) > 100
    assert "kept classifier" in report.table(part)
    kept = gan_jax.load_classifier(workdir)
    assert 100 * np.mean(kept.predict(digits.test) == digits.test_labels) == pytest.approx(part["accuracy"])
    np.testing.assert_allclose(kept.probabilities(digits.test).sum(1), 1, atol=1e-5)
    again = report.recognize(workdir, "anomaly", normal=3)
    assert {"probe", "anomaly"} <= set(json.loads((workdir / report.FILE).read_text()))
    assert "area under the curve" in report.table(again)


def test_few_labels_and_all_images_are_learnt_from(workdir: pathlib.Path, digits: probe.Labelled) -> None:
    gan, chosen = gan_jax.load(workdir), probe.balanced(digits.labels, 50, 0)
    source = semi.with_known(digits.train, chosen, digits.labels[chosen], digits.class_names)
    around = {
        "ours": Surroundings.of(digits.train, features.trunk(gan), chosen),
        "hog": Surroundings.of(digits.train, features.histograms, chosen, scale=False),
    }
    methods = report.semi_methods(gan, digits, around, chosen, gan.config, source, 600)
    assert set(methods) == {"ours", "supervised", "hog", "improved_gan", "mlp_supervised", "pseudo", "fixmatch"}
    right = {
        name: np.mean(methods[name]()(digits.test) == digits.test_labels) for name in ("ours", "supervised", "hog")
    }
    assert right["ours"] > 0.85 and right["supervised"] > 0.3 and right["hog"] > 0.7


def test_the_task_of_few_labels_writes_its_part(workdir: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, quick = report.semi_methods, ("ours", "hog")
    monkeypatch.setattr(report, "semi_methods", lambda *args: {name: whole(*args)[name] for name in quick})
    part = report.recognize(workdir, "semi", labels=[50, 200])
    assert [(row["labels"], row["method"]) for row in part["rows"]] == [(n, name) for n in (50, 200) for name in quick]
    assert min(row["accuracy"] for row in part["rows"]) > 70
    assert json.loads((workdir / report.FILE).read_text())["semi"] == part


def test_the_doorway_predicts_one_image(workdir: pathlib.Path, digits: probe.Labelled, tmp_path: pathlib.Path) -> None:
    if not (workdir / FILE).exists():
        report.recognize(workdir, "probe", labels=[100], label_seeds=1)
    path = tmp_path / "digit.png"
    Image.fromarray(digits.test[0, ..., 0]).save(path)
    command = [sys.executable, "-m", "gan_jax.recognize", f"--workdir={workdir}", f"--predict={path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    name, share, percent = done.stdout.splitlines()[0].split()
    expected = gan_jax.load_classifier(workdir).probabilities(digits.test[:1])[0]
    assert name == str(expected.argmax()) and float(share) == pytest.approx(100 * expected.max(), abs=0.01)
    path.write_text("no image")
    failed = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert failed.returncode == 2 and failed.stderr.count("\n") == 1 and "--predict" in failed.stderr


def test_what_is_missing_is_named(workdir: pathlib.Path, tmp_path: pathlib.Path) -> None:
    with pytest.raises(InputError, match="--task=guess"):
        report.recognize(workdir, "guess")
    with pytest.raises(InputError, match="is no class"):
        report.recognize(workdir, "anomaly", normal=10)
    with pytest.raises(InputError, match="config.json is missing"):
        load_classifier(tmp_path)
    with pytest.raises(InputError, match="labels of two or more classes"):
        probe.load_labelled(Config().replace({"data.source": "ring", "model.architecture": "mlp"}))


def test_a_damaged_classifier_is_not_loaded(workdir: pathlib.Path, tmp_path: pathlib.Path) -> None:
    for name in ("config.json", "dataset.json"):
        (tmp_path / name).write_bytes((workdir / name).read_bytes())
    with pytest.raises(InputError, match="--task=probe makes it"):
        load_classifier(tmp_path)
    arrays = {f"{part}/x": np.zeros(1, np.float32) for part in ("params", "head", "scale")}
    save_arrays(tmp_path / FILE, arrays, {"kind": "recogniser"})  # of a version whose features were others
    with pytest.raises(InputError, match="run --task=probe again"):
        load_classifier(tmp_path)
    (tmp_path / FILE).write_bytes(b"PK no")
    with pytest.raises(InputError, match="not a readable"):
        load_classifier(tmp_path)


def test_a_folder_with_a_sub_folder_a_class_serves(root: pathlib.Path, tmp_path: pathlib.Path) -> None:
    source = load_source(Config().replace({"data.image_size": 8}).data).arrays
    for index in np.flatnonzero(source["label"] < 2):
        folder = tmp_path / "images" / ("zero", "one")[source["label"][index]]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(source["image"][index, ..., 0]).save(folder / f"{index}.png")
    changes = {"data.source": "folder", "data.path": str(tmp_path / "images"), "total_images": 160}
    gan_jax.train(tiny(root, changes), tmp_path / "run")
    part = report.recognize(tmp_path / "run", "probe", labels=[20], label_seeds=1)
    assert sorted(part["classes"]) == ["one", "zero"] and part["accuracy"] > 80


def test_differences_have_scipys_interval() -> None:
    ours, other = {0: 80.0, 1: 82.0, 2: 81.5}, {0: 79.0, 1: 80.5, 2: 81.0}
    interval = ttest_rel(list(ours.values()), list(other.values())).confidence_interval()
    assert recognition_page.difference(ours, other) == f"+1.00 [{interval.low:+.2f}, {interval.high:+.2f}], 3 draws"


@pytest.mark.slow
def test_the_suite_runs_on_digits(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setenv("GAN_JAX_CACHE", str(tmp_path))
    protocol = suite.Protocol(
        changes=TINY | {"total_images": 640}, labels=(100,), label_seeds=2, semi_labels=(100,), semi_steps=40,
        class_images=320, taught_images={100: 1_280},
    )  # fmt: skip
    made = suite.make_suite(protocol)
    records = []
    for name, arm in made.arms.items():
        arm.recipe()
        records.append({"arm": name, "seed": 0, "metrics": dict(arm.run(0).metrics)})
    values = {record["arm"]: record["metrics"] for record in records}
    assert {f"probe_{name}_100" for name in ("ours", "random", "pixels", "hog_rbf", "supervised")} <= set(values)
    assert values["probe_pixels_100"]["accuracy"] > 70 and values["anomaly_ours"]["auroc_mean"] > 80
    draws = values["probe_ours_100"]
    assert draws["accuracy"] == pytest.approx((draws["accuracy_seed0"] + draws["accuracy_seed1"]) / 2)
    lines = recognition_page.difference_table({"records": records})
    assert any("HOG + RBF SVM" in line and "2 draws" in line for line in lines)
