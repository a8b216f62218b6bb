"""What signals and words are scored by, from closed forms up to whole runs of the suite `domains`."""

import dataclasses
import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.io import wavfile
from scipy.spatial.distance import jensenshannon
from tiny import tiny_config

import gan_jax
from gan_jax.benchmark.suites import domains
from gan_jax.errors import InputError
from gan_jax.evaluation import making
from gan_jax.evaluation.scoring import evaluate
from gan_jax.metrics.classifier import signal_epochs, train_classifier
from gan_jax.metrics.features import extract
from gan_jax.metrics.pca import fit_pca
from gan_jax.metrics.spectra import as_picture, moved
from gan_jax.metrics.text import NgramModel, divergence, ngrams, word_scores
from gan_jax.recognition.probe import Labelled
from gan_jax.recognition.report import predict, recognize

# ---------------------------------------------------------------- words


def test_divergence_is_jensen_and_shannons() -> None:
    first, second = ngrams(["banana", "bandana"], 2, 8), ngrams(["ananas", "cabana"], 2, 8)
    grams = sorted(first | second)
    shares = [np.array([counts[gram] for gram in grams], float) for counts in (first, second)]
    expected = jensenshannon(shares[0], shares[1], base=2) ** 2
    assert divergence(first, second) == pytest.approx(expected)
    assert divergence(first, first) == 0
    assert divergence(ngrams(["aaa"], 1, 3), ngrams(["bbb"], 1, 3)) == pytest.approx(1)


def test_blanks_are_letters_and_grams_stay_within_words() -> None:
    assert ngrams(["ab", "cd"], 2, 3) == {"ab": 1, "b ": 1, "cd": 1, "d ": 1}


def test_word_scores_count() -> None:
    found = word_scores(["tea", "tea", "ale", "xyz"], train=["tea", "oil"], held_out=["ale", "rum"], length=3)
    assert found["word_share"] == 75 and found["unseen_share"] == pytest.approx(100 / 3)
    assert found["distinct_share"] == 75
    assert word_scores(["ale", "rum"], ["tea"], ["ale", "rum"], 3)["ngram3_divergence"] == 0
    with pytest.raises(InputError, match="at least one sample"):
        word_scores([], ["tea"], ["ale"], 3)


def test_the_ngram_model_draws_by_the_counts() -> None:
    words = ["ab", "ab", "ac", "b"]
    drawn = NgramModel(words, 2, 2).sample(np.random.default_rng(0), 4_000)
    assert set(drawn) == {"ab", "ac", "b"}  # only what pairs of letters allow
    assert drawn.count("b") / 4_000 == pytest.approx(0.25, abs=0.03)
    assert drawn.count("ab") / 4_000 == pytest.approx(0.5, abs=0.03)


def test_longer_models_come_nearer() -> None:
    """The third letter follows from the two before it, the fourth from the three before it."""
    rng, letters = np.random.default_rng(0), "abcdefgh"
    words = []
    for first, second, last in rng.integers(0, 8, (3_000, 3)):
        numbers = first, second, (first + second) % 2, first, last
        words.append("".join(letters[number] for number in numbers))
    gaps = []
    for n in (2, 3, 4):
        drawn = NgramModel(words[:2_000], n, 6).sample(rng, 2_000)
        gaps.append(word_scores(drawn, words[:2_000], words[2_000:], 6)["ngram4_divergence"])
    assert gaps[0] > gaps[1] > gaps[2]


# ---------------------------------------------------------------- signals


def tones(count: int, length: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noisy sines of two pitches and their labels: float32 [N, L, 1], int [N]."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    times = np.arange(length) / length
    phases = rng.uniform(0, 2 * np.pi, (count, 1))
    waves = np.sin(2 * np.pi * (3 + 5 * labels[:, None]) * times * length / 40 + phases)
    return (0.5 * waves + 0.1 * rng.standard_normal((count, length))).clip(-1, 1).astype(np.float32)[..., None], labels


@pytest.mark.parametrize("length", [40, 1024])
def test_the_small_classifier_hears(length: int) -> None:
    signals, labels = tones(512, length)
    test, test_labels = tones(128, length, seed=1)
    found = train_classifier(signals, labels, test, test_labels, epochs=8)
    assert found.accuracy > 0.95
    assert extract(found.network, test).features.shape == (128, 128)
    with pytest.raises(InputError, match="made for images"):
        extract(found.network, test[:, ::2])
    with pytest.raises(InputError, match=r"uint8 \[N, H, W, C\] or float32 \[N, L, C\]"):
        train_classifier(signals[..., 0], labels, test, test_labels)


def test_long_signals_are_looked_at_as_loudness_by_note() -> None:
    signal = np.sin(2 * np.pi * 1000 * np.arange(8192) / 8000).astype(np.float32)[None, :, None]
    picture = np.asarray(as_picture(signal))
    assert picture.shape == (1, 63, 32, 1)
    assert (picture[0, :, :, 0].argmax(1) == 8).all()  # bands of 125 Hz
    assert as_picture(signal[:, :40]).shape == (1, 40, 1, 1)


def test_principal_components_of_signals() -> None:
    signals, _ = tones(200, 40)
    network = fit_pca(signals, 8)
    found = extract(network, signals).features
    flat = signals.reshape(200, -1)
    expected = np.linalg.svd(flat - flat.mean(0), compute_uv=False)[:8] / np.sqrt(200)
    np.testing.assert_allclose(found.std(0), expected, rtol=1e-3)


def test_spectrograms_are_moved_whole_in_time_and_pitch() -> None:
    picture = np.arange(20.0 * 12).reshape(1, 20, 12, 1)
    found = np.asarray(moved(jax.random.key(0), jnp.asarray(picture).repeat(400, 0)))
    inner = {int(one[10, 6, 0] - picture[0, 10, 6, 0]) for one in found}
    assert inner == {12 * later + higher for later in range(-3, 4) for higher in range(-2, 3)}
    for one in found[:20]:  # within the edges it is the same picture
        later, higher = divmod(int(one[10, 6, 0]) - 10 * 12 - 6 + 2, 12)
        higher -= 2
        np.testing.assert_array_equal(one[3:-3, 2:-2], picture[0, 3 + later : 17 + later, 2 + higher : 10 + higher])


def test_the_gaussian_control_has_each_class_mean_and_covariance() -> None:
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(4, 4)) * 0.05
    train = np.concatenate([rng.normal(size=(4_000, 4)) @ mixing + shift for shift in (0.3, -0.3)])
    data = Labelled(train.astype(np.float32)[..., None], np.repeat([0, 1], 4_000), train, train, ("a", "b"))
    drawn, labels = domains.gaussian(data, rng)
    for label in (0, 1):
        ours, theirs = drawn[labels == label][..., 0], train[data.labels == label]
        np.testing.assert_allclose(ours.mean(0), theirs.mean(0), atol=0.02)
        np.testing.assert_allclose(np.cov(ours.T), np.cov(theirs.T), atol=0.002)


def test_as_many_steps_whatever_the_number_of_signals() -> None:
    for length in (40, 2048):
        counts = (200, 1_000, 4_000, 8_640)
        steps = [signal_epochs(np.zeros((count, length, 1), np.float32)) * (count // 128) for count in counts]
        assert max(steps) < 1.05 * min(steps)


# ---------------------------------------------------------------- whole runs


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A folder of sounds of two classes, with a test split, 64 samples each."""
    folder = tmp_path_factory.mktemp("sounds")
    for split, count in (("train", 160), ("test", 60)):
        signals, labels = tones(count, 64, seed=len(split))
        for index, (signal, label) in enumerate(zip(signals, labels, strict=True)):
            place = folder / split / f"class{label}"
            place.mkdir(parents=True, exist_ok=True)
            wavfile.write(place / f"{index:03d}.wav", 8000, np.round(32767 * signal).astype(np.int16))
    return folder


@pytest.fixture(scope="module")
def sound_run(sounds: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A finished, scored run on them."""
    workdir = tmp_path_factory.mktemp("run") / "run"
    changes = {
        "data.path": str(sounds),
        "model.conditional": True,
        "log.samples_images": 96,
        "evaluation.every_images": 96,
        "evaluation.count": 100,
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "signal_epochs", lambda signals: 20)  # the scoring classifier is kept for the tests
        gan_jax.train(tiny_config("r3gan_1d", changes), workdir)
    return workdir


def test_a_run_on_sounds_is_scored_drawn_and_probed(sound_run: pathlib.Path, sounds: pathlib.Path) -> None:
    lines = [json.loads(line) for line in (sound_run / "metrics.jsonl").read_text().splitlines()]
    assert any("fid" in line and "class_share_min" in line for line in lines)
    assert len(list((sound_run / "samples").glob("*.png"))) == 3
    found = evaluate(sound_run, num=100, metrics=["fid", "score", "memorisation"])
    assert found["features"]["name"] == "classifier" and found["scores"]["fid"] > found["floor"]["fid"]
    assert {"classifier_score", "nn_ratio"} <= found["scores"].keys()
    assert evaluate(sound_run, images=sounds / "test", metrics=["fid"])["scores"]["fid"] < found["scores"]["fid"]
    part = recognize(sound_run, "probe", labels=[20], label_seeds=1)
    assert {row["features"] for row in part["rows"]} == {"ours", "random", "pixels"}
    assert (sound_run / "recognition_neighbours.png").exists()
    (name, share), _ = predict(sound_run, next((sounds / "test" / "class1").iterdir()))
    assert name in ("class0", "class1") and 0.5 <= share <= 1
    with pytest.raises(InputError, match="these data are signals: choose probe"):
        recognize(sound_run, "detect")
    with pytest.raises(InputError, match="cannot be read as a sound"):
        predict(sound_run, sound_run / "config.json")


def test_a_run_on_words_is_scored_by_its_letters(tmp_path: pathlib.Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "words.txt").write_text("\n".join("".join(rng.choice(list("abc"), 5)) for _ in range(400)))
    changes = {"data.path": str(tmp_path / "words.txt"), "evaluation.every_images": 96, "evaluation.count": 200}
    gan_jax.train(tiny_config("sequence", changes | {"log.samples_images": 96}), tmp_path / "run")
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert any("ngram4_divergence" in line for line in lines)
    found = evaluate(tmp_path / "run", num=300)
    assert found["scores"]["count"] == 300 and found["floor"]["word_share"] == 100
    assert found["scores"]["ngram4_divergence"] > found["floor"]["ngram4_divergence"]
    with pytest.raises(InputError, match="draws no images"):
        evaluate(tmp_path / "run", images=tmp_path)
    with pytest.raises(InputError, match="choose of words"):
        evaluate(tmp_path / "run", metrics=["fid"])


def test_the_suite_measures_and_goes_on(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a size that says nothing of quality."""
    monkeypatch.setenv("GAN_JAX_CACHE", str(tmp_path))
    monkeypatch.setattr(domains, "signal_epochs", lambda signals: 1)
    rng = np.random.default_rng(0)
    (tmp_path / "words.txt").write_text("\n".join("".join(rng.choice(list("abc"), 6)) for _ in range(900)))
    small = {"total_images": 320, "data.batch_size": 32, "model.g_width": 16, "model.d_width": 16}
    words = {"data.path": str(tmp_path / "words.txt"), "model.blocks": 1}
    suite = domains.make_suite(
        {
            "mnist1d": domains.Protocol("mnist1d", small),
            "words": domains.Protocol("words", small | words, count=500),
        }
    )
    assert set(suite.arms) >= {"mnist1d_ours", "mnist1d_gaussian", "mnist1d_memoriser", "words_ours", "words_3gram"}
    ours = suite.arms["mnist1d_ours"].run(0)
    assert {"cas", "fid", "class_share_min", "few_real", "few_both", "probe_ours", "recognised"} <= ours.metrics.keys()
    assert ours.images == 320 and ours.seconds > 0
    again = domains.trained(domains.Protocol("mnist1d", small), 0)
    assert again[0].step == 10  # the kept run, not a new one
    copies = suite.arms["mnist1d_memoriser"].run(0).metrics
    assert copies["nn_ratio"] == 0 and copies["fid"] < ours.metrics["fid"]
    found = suite.arms["words_ours"].run(0).metrics
    assert {"word_share", "ngram4_divergence", "distinct_share", "unseen_share"} <= found.keys()
    three, memory = (suite.arms[name].run(0).metrics for name in ("words_3gram", "words_memoriser"))
    assert memory["word_share"] == 100 and three["ngram4_divergence"] < found["ngram4_divergence"]
    assert dataclasses.asdict(domains.SUITE.arms["spoken_ours"])["text"].startswith("`configs/spoken_digits.py`")
