"""Generated images as training data: conditioning, filters, sets that can be made again, labels that are inferred."""

import json
import pathlib
import signal
import subprocess
import sys
import time
from typing import Any

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from tiny import fill, tiny_config

import gan_jax
from gan_jax.augmentation import files, generation, labelling, provenance, report, scoring
from gan_jax.augmentation.classifier import BATCH, Images, mixed_rows, train_classifier
from gan_jax.benchmark import augmentation_page
from gan_jax.benchmark.augmenting import Study
from gan_jax.benchmark.suites import augmentation as suite
from gan_jax.config import Config
from gan_jax.data.arrays import ArraySource
from gan_jax.data.pipeline import Pipeline
from gan_jax.data.sources import load_source
from gan_jax.errors import InputError
from gan_jax.gan import Gan
from gan_jax.program import Program, build
from gan_jax.recognition.controls import train_on, untrained
from gan_jax.recognition.probe import Labelled, load_labelled
from gan_jax.runtime.mesh import batch_sharding, make_mesh, put, replicated

DIGITS: dict[str, Any] = {"data.source": "digits", "data.image_size": 8, "data.channels": 1}
PAIR: dict[str, Any] = DIGITS | {"model.conditional": True, "log.metrics_images": 0}


def program_of(changes: dict[str, Any]) -> Program:
    return build(tiny_config("mlp", PAIR | changes), (8, 8, 1), 10, make_mesh(jax.devices()[:1]))


@pytest.fixture(scope="module")
def digits() -> Labelled:
    return load_labelled(Config().replace(DIGITS))


@pytest.fixture(scope="module")
def workdir(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A class-conditional run that has learnt what the digits look like."""
    folder = tmp_path_factory.mktemp("generated") / "run"
    changes = PAIR | {"total_images": 60_000, "model.g_width": 64, "model.d_width": 64, "ema_half_life": 2_000.0,
                      "data.batch_size": 64, "step.per_dispatch": 20, "log.checkpoint_images": 0,
                      "optimizer.g_lr": 1e-3, "optimizer.d_lr": 1e-3, "watchdog.class_share": 0.0}  # fmt: skip
    gan_jax.train(tiny_config("mlp", changes), folder, jax.devices()[:1])
    return folder


@pytest.fixture(scope="module")
def gan(workdir: pathlib.Path) -> Gan:
    return gan_jax.load(workdir)


@pytest.fixture(scope="module")
def judge(digits: Labelled) -> Any:
    """A classifier of the digits."""
    return train_classifier([(Images(digits.train, digits.labels), 1.0)], 10, 300, 0)


# ---------------------------------------------------------------- conditioning


def test_an_auxiliary_classifier_stands_in_for_the_projection() -> None:
    program = program_of({"model.head": "auxiliary"})
    pair = untrained(program, 0)
    images = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 1)).astype(np.float32)
    labels = np.arange(4, dtype=np.int32)
    logits, named = program.criticise(pair.d, images, labels)
    others, _ = program.criticise(pair.d, images, labels[::-1].copy())
    np.testing.assert_array_equal(logits, others)  # whether an image is real does not depend on the class
    assert named["head"].shape == (4, 10)
    drawn = pair.generate(np.ones((2, 8), np.float32), np.array([0, 1]))
    assert not np.allclose(drawn[0], drawn[1])


def test_the_generator_is_asked_for_images_of_their_class() -> None:
    """Its gradient differs by that of the cross-entropy, weighed by loss.g_head."""
    batch = fill(program_of({"model.head": "auxiliary"}))

    def stepped(weight: float) -> Any:
        program = program_of({"model.head": "auxiliary", "loss.g_head": weight})
        state = program.init(put(np.uint32(0), replicated(program.mesh)))
        return jax.device_get(program.step(state, batch, put(np.int32(1), replicated(program.mesh)))[0].g.params)

    plain, asked = stepped(0.0), stepped(1.0)
    assert not jax.tree.all(jax.tree.map(np.array_equal, plain, asked))


def test_a_short_auxiliary_run_makes_the_digits_it_is_asked_for(digits: Labelled, judge: Any) -> None:
    changes = {"model.head": "auxiliary", "loss.g_head": 1.0, "total_images": 40_000, "data.batch_size": 64,
               "model.g_width": 64, "model.d_width": 64, "step.per_dispatch": 20, "ema_half_life": 2_000.0,
               "optimizer.g_lr": 1e-3, "optimizer.d_lr": 1e-3}  # fmt: skip
    source = ArraySource({"image": digits.train, "label": digits.labels}, 10, digits.class_names)
    pair = train_on(program_of(changes), source)
    images, _ = generation.generate(pair, generation.Recipe(200), 10, None)
    assert np.mean(judge.predict(images.images) == images.labels) > 0.6


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model.head": "auxiliary"}, "model.conditional=true"),
        ({"model.head": "auxiliary", "model.conditional": True, "loss.name": "feature_matching"}, "does not reach G"),
    ],
)
def test_conditioning_that_does_not_fit_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        Config().replace(changes)


@pytest.mark.parametrize("residency", ["device", "stream"])
def test_balanced_training_shows_rare_classes_as_often(residency: str) -> None:
    labels = np.array([0] * 60 + [1] * 6 + [2] * 3, np.int32)
    images = np.arange(69, dtype=np.uint8)[:, None, None, None]
    source = ArraySource({"image": images, "label": labels}, 3, ("a", "b", "c"))
    config = Config().replace({"data.balanced": True, "data.residency": residency}).data
    place = batch_sharding(make_mesh(jax.devices()[:1]), axis=1)
    with Pipeline(source, config, 0, 1, 20, place) as pipeline:
        seen = [jax.device_get(pipeline.batch(step)) for step in range(9)]  # an epoch of 3 x 60
    shown = np.concatenate([batch["label"][0] for batch in seen])
    assert np.bincount(shown).tolist() == [60, 60, 60]
    whole = np.concatenate([batch["image"][0, :, 0, 0, 0] for batch in seen])
    assert np.bincount(whole, minlength=69).tolist() == [1] * 60 + [10] * 6 + [20] * 3
    with pytest.raises(InputError, match="needs labels"):
        Pipeline(ArraySource({"image": images}), config, 0, 1, 20, place)


# ---------------------------------------------------------------- filters


def test_sets_are_balanced_and_longer_ones_begin_alike(gan: Gan) -> None:
    short, _ = generation.generate(gan, generation.Recipe(35, seed=3), 10, None)
    long, _ = generation.generate(gan, generation.Recipe(1_205, seed=3), 10, None)
    assert short.labels.tolist() == [number % 10 for number in range(35)]
    np.testing.assert_array_equal(short.images, long.images[:35])
    assert set(np.bincount(long.labels)) == {120, 121}
    assert len(np.unique(long.images.reshape(1_205, -1), axis=0)) > 1_100
    other, _ = generation.generate(gan, generation.Recipe(35, seed=4), 10, None)
    assert not np.array_equal(other.images, short.images)


def test_confident_images_alone_are_kept(gan: Gan, judge: Any) -> None:
    recipe = generation.Recipe(200, filter=generation.Filter.parse("confidence:0.8"))
    found, kept = generation.generate(gan, recipe, 10, judge.probabilities)
    assert judge.probabilities(found.images)[np.arange(200), found.labels].min() >= 0.8
    assert all(0 < share < 1 for share in kept)


def test_the_discriminators_favourites_are_kept(gan: Gan) -> None:
    half = generation.Recipe(500, filter=generation.Filter.parse("discriminator:0.5"))  # of one round, exactly
    found, kept = generation.generate(gan, half, 10, None)
    whole, _ = generation.generate(gan, generation.Recipe(1_000), 10, None)
    assert kept == [0.5] * 10
    logits, all_logits = (generation.realness(gan, part.images, part.labels) for part in (found, whole))
    for number in range(10):
        best = np.sort(all_logits[whole.labels == number])[50:]
        np.testing.assert_allclose(np.sort(logits[found.labels == number]), best, atol=1e-4)


def test_an_unconditional_pair_is_sorted_by_the_classifier(judge: Any, digits: Labelled) -> None:
    program = build(tiny_config("mlp", DIGITS | {"log.metrics_images": 0, "total_images": 6_400}), (8, 8, 1), 10,
                    make_mesh(jax.devices()[:1]))  # fmt: skip
    pair = train_on(program, ArraySource({"image": digits.train}))
    with pytest.raises(InputError, match="conditional=true"):
        generation.generate(pair, generation.Recipe(20), 10, None)

    def calls(images: np.ndarray) -> np.ndarray:
        return np.eye(10)[images.reshape(len(images), -1).sum(1, dtype=np.int64) % 10]  # even, unlike a short run's

    found, _ = generation.generate(pair, generation.Recipe(50), 10, calls)
    np.testing.assert_array_equal(calls(found.images).argmax(1), found.labels)


def test_what_no_image_passes_is_said(gan: Gan) -> None:
    def never(images: np.ndarray) -> np.ndarray:
        return np.full((len(images), 10), 0.1)

    recipe = generation.Recipe(20, filter=generation.Filter(confidence=0.9))
    with pytest.raises(InputError, match="none passes as class 0"):
        generation.generate(gan, recipe, 10, never)


@pytest.mark.parametrize("text", ["best", "confidence", "confidence:x", "confidence:1", "discriminator:0", "a:1,b:2",
                                  "confidence:0.1,confidence:0.2", "discriminator:nan", ""])  # fmt: skip
def test_filters_that_read_otherwise_are_named(text: str) -> None:
    with pytest.raises(InputError, match="--filter="):
        generation.Filter.parse(text)


def test_a_filter_reads_what_it_writes() -> None:
    for text in ("none", "confidence:0.8", "discriminator:0.25", "confidence:0.8,discriminator:0.5"):
        assert str(generation.Filter.parse(text)) == text


# ---------------------------------------------------------------- sets that anybody reads


@pytest.fixture(scope="module")
def sets(workdir: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, pathlib.Path]:
    """The same set in every format."""
    folder = tmp_path_factory.mktemp("sets")
    places = {"folder": folder / "folder", "npz": folder / "set.npz", "array_record": folder / "records"}
    for form, place in places.items():
        report.augment(workdir, place, form=form, count=105, chosen="confidence:0.6", scored=False)
    return places


@pytest.fixture(scope="module")
def expected(sets: dict[str, pathlib.Path]) -> Images:
    with np.load(sets["npz"], allow_pickle=False) as archive:
        assert archive["class_names"].tolist() == list("0123456789")
        return Images(archive["images"], archive["labels"])


def test_numpy_reads_the_archive(expected: Images, sets: dict[str, pathlib.Path]) -> None:
    assert expected.images.dtype == np.uint8 and expected.images.shape == (105, 8, 8, 1)
    facts = json.loads(files.provenance_path(sets["npz"]).read_text())
    assert facts["sha256"] == provenance.set_digest(expected) and facts["recipe"]["filter"] == "confidence:0.6"


def test_tfds_reads_the_records(expected: Images, sets: dict[str, pathlib.Path]) -> None:
    source = tfds.builder_from_directory(str(sets["array_record"])).as_data_source()["train"]
    assert source.dataset_info.features["label"].names == list("0123456789")
    pairs = sorted((int(row["label"]), row["image"].tobytes()) for row in source)
    assert pairs == sorted(
        (int(label), image.tobytes()) for label, image in zip(expected.labels, expected.images, strict=True)
    )


@pytest.mark.parametrize("form", ["folder", "npz"])
def test_our_own_sources_read_the_set(form: str, expected: Images, sets: dict[str, pathlib.Path]) -> None:
    source = load_source(Config().replace(DIGITS | {"data.source": form, "data.path": str(sets[form])}).data)
    found = source.read(np.arange(105))
    assert source.class_names == tuple("0123456789")
    order = np.argsort(expected.labels, kind="stable") if form == "folder" else np.arange(105)
    np.testing.assert_array_equal(found["image"], expected.images[order])
    np.testing.assert_array_equal(found["label"], expected.labels[order])


@pytest.mark.peers
@pytest.mark.filterwarnings("default")  # torchvision's are its own
def test_torchvision_reads_the_folder(expected: Images, sets: dict[str, pathlib.Path]) -> None:
    from torch_parts import torch_libraries

    torch_libraries()
    from torchvision.datasets import ImageFolder

    folder = ImageFolder(str(sets["folder"]))
    assert folder.classes == list("0123456789")
    pairs = sorted((label, np.asarray(image.convert("L")).tobytes()) for image, label in folder)
    assert pairs == sorted(
        (int(label), image.tobytes()) for label, image in zip(expected.labels, expected.images, strict=True)
    )


def test_a_dozen_classes_keep_the_order_of_their_labels(tmp_path: pathlib.Path) -> None:
    names = [f"kind {number}" for number in range(12)]  # "kind 10" sorts before "kind 2"
    found = Images(np.zeros((24, 4, 4, 3), np.uint8), np.arange(24, dtype=np.int32) % 12)
    files.write_set(found, names, tmp_path / "set", "folder", "{}")
    folders = sorted(path.name for path in (tmp_path / "set").iterdir() if path.is_dir())
    assert [name.split("_", 1)[1] for name in folders] == names


def test_a_writer_that_fails_leaves_nothing(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(image: np.ndarray) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "_png", stop)
    with pytest.raises(KeyboardInterrupt):
        files.write_set(Images(np.zeros((4, 4, 4, 1), np.uint8), np.zeros(4, np.int32)), ["a"], tmp_path / "set",
                        "folder", "{}")  # fmt: skip
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- provenance


def test_a_set_comes_again_from_its_provenance(
    sets: dict[str, pathlib.Path], expected: Images, tmp_path: pathlib.Path
) -> None:
    record = files.provenance_path(sets["folder"])
    report.regenerate(record, tmp_path / "again")
    for path in sorted(sets["folder"].rglob("*")):
        twin = tmp_path / "again" / path.relative_to(sets["folder"])
        assert path.is_dir() or twin.read_bytes() == path.read_bytes()
    report.regenerate(record, tmp_path / "again.npz")  # or in another format
    with np.load(tmp_path / "again.npz") as archive:
        np.testing.assert_array_equal(archive["images"], expected.images)
    report.regenerate(files.provenance_path(sets["npz"]), tmp_path / "same.npz")
    assert (tmp_path / "same.npz").read_bytes() == sets["npz"].read_bytes()


def test_a_set_that_differs_is_not_written(sets: dict[str, pathlib.Path], tmp_path: pathlib.Path) -> None:
    facts = json.loads(files.provenance_path(sets["folder"]).read_text())

    def refused(changes: dict[str, Any], words: str) -> None:
        path = tmp_path / "changed.json"
        path.write_text(json.dumps(facts | changes))
        with pytest.raises(InputError, match=words):
            report.regenerate(path, tmp_path / "again")
        assert not (tmp_path / "again").exists()

    refused({"sha256": "0" * 64, "versions": {"jax": "0.1"}}, "versions was .*0.1")
    refused({"checkpoint": facts["checkpoint"] | {"sha256": "0" * 64}}, "other weights")
    refused({"checkpoint": facts["checkpoint"] | {"step": 7}}, "needs step 7")
    refused({"classifier": facts["classifier"] | {"sha256": "0" * 64}}, "another classifier")
    refused({"recipe": {}}, "holds no recipe")
    refused({"format": 9}, "no provenance file")
    with pytest.raises(InputError, match="No such file"):
        report.regenerate(tmp_path / "none.json", tmp_path / "again")


def test_a_second_run_finds_the_set_and_another_place_is_not_overwritten(
    workdir: pathlib.Path, sets: dict[str, pathlib.Path], tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in sets["folder"].rglob("*")}
    report.augment(workdir, sets["folder"], count=105, chosen="confidence:0.6", scored=False)
    assert "holds this set already" in capsys.readouterr().out
    assert before == {path: path.stat().st_mtime_ns for path in sets["folder"].rglob("*")}
    with pytest.raises(InputError, match="holds something else"):
        report.augment(workdir, sets["folder"], count=106, chosen="confidence:0.6", scored=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "photo.png").write_bytes(b"")
    with pytest.raises(InputError, match="holds something else"):
        report.augment(workdir, tmp_path / "mine", count=20, scored=False)
    assert (tmp_path / "mine" / "photo.png").exists()


# ---------------------------------------------------------------- classifier and scores


def test_batches_hold_the_shares_they_are_asked_for() -> None:
    batches = list(mixed_rows([10, 1_000], [0.25, 0.75], 50, 0))
    for rows in batches:
        assert len(rows) == BATCH and (rows < 10).sum() == 16
    counts = np.bincount(np.concatenate(batches), minlength=1_010)
    assert counts[:10].tolist() == [80] * 10  # few images come equally often
    assert counts[10:].max() - counts[10:].min() <= 1
    again = np.concatenate(list(mixed_rows([10, 1_000], [0.25, 0.75], 50, 0)))
    np.testing.assert_array_equal(np.concatenate(batches), again)
    assert all(rows.max() < 10 for rows in mixed_rows([10, 5], [1.0, 0.0], 3, 0))
    with pytest.raises(ValueError, match="add up to 1"):
        list(mixed_rows([10, 10], [0.5, 0.6], 3, 0))


def test_the_classifier_reads_digits_and_repeats_itself(digits: Labelled, judge: Any) -> None:
    assert judge.accuracies(digits.test, digits.test_labels)[0] > 93
    again = train_classifier([(Images(digits.train, digits.labels), 1.0)], 10, 300, 0)
    assert again.digest == judge.digest
    moved = train_classifier([(Images(digits.train, digits.labels), 1.0)], 10, 300, 0, classic=True)
    assert moved.digest != judge.digest and moved.accuracies(digits.test, digits.test_labels)[0] > 90


def test_rarest_classes_are_those_with_fewest_images() -> None:
    labels = np.repeat(np.arange(5), [9, 2, 7, 3, 1])
    assert scoring.rarest(labels, 5).tolist() == [1, 3, 4]
    assert scoring.rarest(np.arange(10), 10).tolist() == [7, 8, 9]


def test_scores_say_what_the_set_is_worth(
    workdir: pathlib.Path, tmp_path: pathlib.Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = report.augment(workdir, tmp_path / "set.npz", count=500, steps=200)
    rows, found = facts["scores"]["rows"], facts["scores"]
    assert found["cas"] == rows["generated"]["accuracy"] > 50 and rows["real"]["accuracy"] > 85
    assert found["gain"] == rows["both"]["accuracy"] - rows["classic"]["accuracy"]
    assert json.loads((tmp_path / "set.scores.json").read_text()) == found
    assert f"{found['gain']:+.2f}" in capsys.readouterr().out


# ---------------------------------------------------------------- labels


def test_few_labels_become_many(tmp_path: pathlib.Path, digits: Labelled) -> None:
    config, out = Config().replace(DIGITS), tmp_path / "all.npz"
    found = labelling.label_file(config, out, labels=100, method="classifier", steps=200)
    assert found["known"] == 100 and found["inferred"] == len(digits.labels) - 100 and found["right"] > 70
    made = config.replace({"data.source": "npz", "data.path": str(out)})
    source = load_source(made.data)
    assert isinstance(source, ArraySource) and source.class_names == digits.class_names
    with np.load(out) as archive:
        known, labels = archive["known"], archive["labels"]
    np.testing.assert_array_equal(labels[known], digits.labels[known])
    assert 100 * np.mean(labels[~known] == digits.labels[~known]) == pytest.approx(found["right"])
    kept = scoring.labelled_set(made)  # inferred labels are no real ones
    np.testing.assert_array_equal(kept.train, digits.train[known])
    np.testing.assert_array_equal(kept.test, digits.test)


@pytest.mark.parametrize(("method", "steps"), [("gan", 30), ("fixmatch", 30), ("curriculum", 100)])
def test_methods_that_see_all_images_know_the_given_labels(method: str, steps: int, digits: Labelled) -> None:
    rows = np.concatenate([np.flatnonzero(digits.labels == number)[:10] for number in range(10)])
    found = labelling.infer(digits.train, rows, digits.labels[rows], 10, method, steps, 0)
    np.testing.assert_array_equal(found.labels[rows], digits.labels[rows])
    assert found.known.sum() == 100 and np.mean(found.labels == digits.labels) > 0.5  # of ten classes, after few steps
    assert (found.confidence[rows] == 1).all() and found.confidence.max() <= 1


def test_photos_without_labels_join_labelled_ones(tmp_path: pathlib.Path, digits: Labelled) -> None:
    for index in range(6):
        (tmp_path / "more").mkdir(exist_ok=True)
        Image.fromarray(digits.test[index, ..., 0]).save(tmp_path / "more" / f"{index}.png")
    config = Config().replace(DIGITS)
    found = labelling.label_file(config, tmp_path / "all.npz", unlabelled=str(tmp_path / "more"), method="classifier",
                                 steps=100)  # fmt: skip
    assert found["inferred"] == 6 and "right" not in found
    with pytest.raises(InputError, match="has its label already"):
        labelling.label_file(config, tmp_path / "all.npz", method="classifier")
    with pytest.raises(InputError, match="--method=guess"):
        labelling.label_file(config, tmp_path / "all.npz", labels=100, method="guess")


def test_class_names_of_an_archive_are_checked(tmp_path: pathlib.Path) -> None:
    images, labels = np.zeros((4, 8, 8), np.uint8), np.arange(4) % 2
    np.savez(tmp_path / "a.npz", images=images, labels=labels, class_names=np.array(["cat"]))
    config = Config().replace(DIGITS | {"data.source": "npz", "data.path": str(tmp_path / "a.npz")})
    with pytest.raises(InputError, match="class_names"):
        load_source(config.data)
    np.savez(tmp_path / "a.npz", images=images, labels=labels, class_names=np.array(["cat", "dog"]))
    assert load_source(config.data).class_names == ("cat", "dog")


# ---------------------------------------------------------------- doorways


def command(*words: str) -> list[str]:
    return [sys.executable, "-m", *words]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"chosen": "best"}, "--filter=best"),
        ({"form": "tar"}, "--format=tar"),
        ({"form": "npz"}, "ends in .npz"),
        ({"form": "array_record", "out": "My-Set"}, "small letters"),
        ({"count": 3}, "--count=3"),
        ({"truncation": -1.0}, "--truncation"),
        ({"share": 1.5}, "--share=1.5"),
        ({"checkpoint": "first"}, "--checkpoint=first"),
    ],
)
def test_bad_input_writes_nothing(
    changes: dict[str, Any], text: str, small_run: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    changes = {"scored": False, **changes}
    with pytest.raises(InputError, match=text):
        report.augment(small_run, tmp_path / changes.pop("out", "x"), **changes)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", [["--count=3", "--out=x"], [], ["--from=none.json", "--out=x"]])
def test_bad_input_is_one_line(words: list[str], small_run: pathlib.Path, tmp_path: pathlib.Path) -> None:
    line = command("gan_jax.augment", f"--workdir={small_run}", "--noscore", *words)
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert (words[0] if words else "--out is missing") in done.stderr and not list(tmp_path.iterdir())


def test_the_doorway_stops_at_once_and_goes_on(workdir: pathlib.Path, tmp_path: pathlib.Path) -> None:
    out = tmp_path / "set"
    line = command("gan_jax.augment", f"--workdir={workdir}", f"--out={out}", "--noscore", "--count=60000")
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        end, draft = time.monotonic() + 120, tmp_path / ".set.partial"  # to list it might take as long as to write it
        while not draft.exists() and time.monotonic() < end and process.poll() is None:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "Traceback" not in errors, errors
    assert not list(tmp_path.iterdir())
    done = subprocess.run([*line[:-1], "--count=20"], capture_output=True, text=True, timeout=300, check=True)
    assert "20 images of 10 classes" in done.stdout
    record = out / "provenance.json"
    again = command("gan_jax.augment", f"--from={record}", f"--out={tmp_path / 'again'}")
    assert "bit for bit" in subprocess.run(again, capture_output=True, text=True, timeout=300, check=True).stdout


def test_the_doorway_of_labels(tmp_path: pathlib.Path, root: pathlib.Path) -> None:
    line = command("gan_jax.label", f"--config={root / 'configs' / 'digits.py'}", "--labels=50", "--method=classifier")
    done = subprocess.run([*line, "--steps=60", f"--out={tmp_path / 'all.npz'}"], capture_output=True, text=True,
                          timeout=300, check=True)  # fmt: skip
    assert "50 labels given, 1,387 inferred" in done.stdout and (tmp_path / "all.npz").exists()
    failed = subprocess.run([*line, "--out=all.txt"], capture_output=True, text=True, timeout=300)
    assert failed.returncode == 2 and failed.stderr.count("\n") == 1


# ---------------------------------------------------------------- the suite


def test_the_suite_runs_on_digits(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path, root: pathlib.Path) -> None:
    monkeypatch.setenv("GAN_JAX_CACHE", str(tmp_path / "cache"))
    small = {"model.g_width": 32, "model.d_width": 32, "log.samples_images": 0, "watchdog.class_share": 0.0}
    study = Study(
        changes=DIGITS | {"data.path": "", "total_images": 6_400} | small, sizes=("100", "longtail"), head=60,
        steps=dict.fromkeys(("100", "longtail", "all"), 60), shares=(0.25, 0.5), validation=200, generated=300,
        method="classifier", label_steps=60,
    )  # fmt: skip
    made = suite.make_suite(study)
    common = {f"{regime}_{size}" for regime in ("open", "closed") for size in ("100", "longtail")}
    named = {f"{name}_{arm}" for name in common for arm in ("real", "classic", "generated", "both")}
    assert named | {"cas", "open_100_pseudo"} <= set(made.arms)
    assert "closed_100_pseudo" not in made.arms
    json.dumps(dict(made.protocol()))
    assert all(json.dumps(dict(arm.recipe())) for arm in made.arms.values())
    chosen = [name for name in made.arms if name.startswith(("cas", "open_100"))]
    records = [
        {"arm": name, "seed": 0, "metrics": dict(made.arms[name].run(0).metrics), "seconds": 1.0, "images": 0}
        for name in chosen
    ]
    found = {record["arm"]: record["metrics"] for record in records}
    assert made.arms["closed_100_classic"].run(0).metrics == found["open_100_classic"]  # no GAN took part
    assert found["open_100_real"]["accuracy"] > 40 and found["cas"]["gap"] == pytest.approx(
        found["cas"]["real_accuracy"] - found["cas"]["accuracy"]
    )
    both = found["open_100_both"]
    assert both["share"] in (25, 50) and both[f"validation_{both['share']:.0f}"] == max(
        both["validation_25"], both["validation_50"]
    )
    kept = study.real("longtail", 0).labels
    assert np.bincount(kept).tolist() == [60, 36, 21, 12, 7, 4, 2, 1, 1, 1]
    held = study.data["validation"]
    assert len(held) == 200 and len(study.data["train"]) == 1_437 - 200
    assert study.pair_config("closed", 0).augment.method == "diffaugment"
    assert study.pair_config("closed", 0).data.balanced and not study.pair_config("open", 0).data.balanced
    for arm, rare in (("both", 80.0), ("classic", 70.0), ("balanced", 75.0)):
        values = {"accuracy": 80.0, "rare3_accuracy": rare}
        records.append({"arm": f"closed_longtail_{arm}", "seed": 0, "metrics": values, "seconds": 1.0, "images": 0})
    lines = augmentation_page.difference_table({"records": records})
    assert any("+10.00, one draw" in line for line in lines)
    assert any("one draw" in line for line in lines) and any("rarest 3" in line for line in lines)
    assert len(augmentation_page.arm_table({"records": records}, "accuracy")) == 2 + 2
    assert augmentation_page.verdict("+1.00 [+0.50, +1.50], 5 draws") == "helps"
    assert augmentation_page.verdict("+1.00 [-0.50, +2.50], 5 draws") == "no difference shown"
    assert augmentation_page.verdict("-1.00 [-1.50, -0.50], 5 draws") == "harms"


def test_the_closed_regime_is_compared_with_arms_that_no_pair_has_touched() -> None:
    def record(arm: str, value: float) -> dict:
        return {"arm": arm, "seed": 0, "metrics": {"accuracy": value}}

    records = [record("open_100_classic", 70.0), record("open_100_inferred", 60.0), record("closed_100_both", 71.5)]
    rows = [line for line in augmentation_page.difference_table({"records": records}) if line.startswith("| closed")]
    assert len(rows) == 1 and "minus classic |" in rows[0] and "+1.50, one draw" in rows[0]
