"""Signals: their data, the layers of their networks, their pictures and files; words beside them."""

import contextlib
import dataclasses
import os
import pathlib
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soundfile
from jax import lax
from PIL import Image
from scipy.io import wavfile
from scipy.signal import stft

from gan_jax.adversarial.game import Game
from gan_jax.config import ALPHABET, Config, DataConfig
from gan_jax.data import spoken
from gan_jax.data import words as words_module
from gan_jax.data.arrays import ArraySource
from gan_jax.data.folder import FolderSource
from gan_jax.data.sounds import fit, read_sound, resample
from gan_jax.data.sources import load_source
from gan_jax.data.words import encode
from gan_jax.errors import InputError
from gan_jax.models.conv import conv, up_conv
from gan_jax.models.r3gan_1d import Discriminator
from gan_jax.models.sequence import straight_through
from gan_jax.models.signals import downsample, halvings, phase_shuffle, spectrogram_kernel, strides, upsample
from gan_jax.program import build
from gan_jax.recognition.controls import train_on
from gan_jax.runtime.integrity import SETTINGS, Record, check_settings
from gan_jax.runtime.mesh import make_mesh
from gan_jax.runtime.pictures import draw_picture
from gan_jax.runtime.traces import is_text, spectrogram, spell, tiles
from gan_jax.sampling import write_samples

RATE = 8000


def config_of(path: pathlib.Path, **fields: object) -> DataConfig:
    """A folder of sounds, short ones."""
    return dataclasses.replace(DataConfig(source="wav", path=str(path), length=400, sample_rate=RATE), **fields)


def tone(hertz: float, rate: int, count: int, amplitude: float = 0.5) -> np.ndarray:
    """A sine, float32 [count]."""
    return (amplitude * np.sin(2 * np.pi * hertz * np.arange(count) / rate)).astype(np.float32)


@contextlib.contextmanager
def silently():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


# ---------------------------------------------------------------- sounds


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT"])
@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44100, 1), (16000, 2), (11025, 1)])
def test_a_tone_of_any_rate_and_width_comes_in_as_the_same_tone(
    tmp_path: pathlib.Path, subtype: str, rate: int, channels: int
) -> None:
    whole = np.repeat(tone(440, rate, rate // 4)[:, None], channels, 1)
    soundfile.write(tmp_path / "a.wav", whole, rate, subtype=subtype)
    found = read_sound(str(tmp_path / "a.wav"), 1000, RATE)
    assert found.shape == (1000, 1) and found.dtype == np.float32
    middle = slice(100, 900)  # a filter rings at the edges
    np.testing.assert_allclose(found[middle, 0], tone(440, RATE, 1000)[middle], atol=0.02)


def test_resampling_leaves_no_alias() -> None:
    high = resample(tone(6000, 44100, 44100), 44100, RATE)  # above half of 8 kHz
    assert np.abs(high[200:-200]).max() < 0.01


@pytest.mark.parametrize("residency", ["device", "stream"])
def test_damaged_empty_stereo_and_24_bit_files_are_counted_and_named(tmp_path: pathlib.Path, residency: str) -> None:
    for label in ("no", "yes"):
        (tmp_path / label).mkdir()
    for index in range(4):
        soundfile.write(tmp_path / "no" / f"{index}.wav", tone(200, RATE, 300), RATE, subtype="PCM_24")
    soundfile.write(tmp_path / "yes" / "stereo.wav", np.stack([tone(300, 16000, 900)] * 2, 1), 16000)
    (tmp_path / "yes" / "zero.wav").write_bytes(b"")
    soundfile.write(tmp_path / "yes" / "nothing.wav", np.zeros(0, np.float32), RATE)
    whole = (tmp_path / "no" / "0.wav").read_bytes()
    (tmp_path / "yes" / "noise.wav").write_bytes(os.urandom(200))
    (tmp_path / "yes" / "cut.wav").write_bytes(whole[:30])
    soundfile.write(tmp_path / "yes" / "nan.wav", np.full(300, np.nan, np.float32), RATE, subtype="FLOAT")
    with pytest.warns(UserWarning) as caught:
        source = load_source(config_of(tmp_path, residency=residency))
    (text,) = [str(warning.message) for warning in caught]
    for part in (
        "of 10 sounds",
        f"3 damaged, left out (first: {tmp_path}/yes/cut.wav)",
        f"1 empty, left out (first: {tmp_path}/yes/zero.wav)",
        f"1 without a sample, left out (first: {tmp_path}/yes/nothing.wav)",
        f"1 of several channels, mixed to one (first: {tmp_path}/yes/stereo.wav)",
        f"1 resampled to 8000 Hz (first: {tmp_path}/yes/stereo.wav)",
    ):
        assert part in text, text
    assert "\n" not in text
    assert isinstance(source, ArraySource if residency == "device" else FolderSource)
    assert len(source) == 5 and source.skipped == 5 and source.class_names == ("no", "yes")
    batch = source.read(np.arange(5))
    assert batch["image"].shape == (5, 400, 1) and batch["image"].dtype == np.float32
    assert batch["label"].tolist() == [0, 0, 0, 0, 1]
    np.testing.assert_allclose(batch["image"][0, :300, 0], tone(200, RATE, 300), atol=1e-6)  # 24 bits are kept
    assert not batch["image"][0, 300:].any()  # silence behind


def test_whole_sounds_are_taken_without_a_word(tmp_path: pathlib.Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(200, RATE, 500), RATE)
    source = load_source(config_of(tmp_path))
    assert source.num_classes == 0 and source.shape == (400, 1)  # the beginning of the longer sound


def test_long_files_are_read_no_further_than_needed(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(60 * RATE, np.float32), RATE)
    read, counts = soundfile.SoundFile.read, []
    monkeypatch.setattr(
        soundfile.SoundFile, "read", lambda self, frames=-1, **rest: counts.append(frames) or read(self, frames, **rest)
    )
    read_sound(str(tmp_path / "a.wav"), 400, RATE)
    assert counts == [400 + RATE]


def test_sounds_that_cannot_serve_say_so(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="no such folder: name a folder of WAV files"):
        load_source(config_of(tmp_path / "absent"))
    with pytest.raises(InputError, match="holds no sounds: put WAV, FLAC or Ogg files there"):
        load_source(config_of(tmp_path))
    with pytest.raises(InputError, match="source wav needs --config.data.path"):
        load_source(dataclasses.replace(config_of(tmp_path), path=""))
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    with pytest.raises(InputError, match="neither this nor any other sound can be decoded"):
        load_source(config_of(tmp_path))
    with pytest.raises(InputError, match="has no test split: put sounds in its sub-folders"):
        load_source(config_of(tmp_path), "test")
    monkeypatch.setitem(__import__("sys").modules, "soundfile", None)
    with pytest.raises(InputError, match=r"pip install 'gan_jax\[audio\]'"):
        load_source(config_of(tmp_path))


def test_a_sound_that_vanishes_is_named(tmp_path: pathlib.Path) -> None:
    for index in range(2):
        soundfile.write(tmp_path / f"{index}.wav", tone(200, RATE, 500), RATE)
    source = load_source(config_of(tmp_path, residency="stream"))
    (tmp_path / "1.wav").unlink()
    with pytest.raises(InputError, match=r"1\.wav can no longer be read"):
        source.read(np.arange(2))


def test_fit_cuts_fills_and_clips() -> None:
    assert fit(np.full(3, 2.0, np.float32), 5)[:, 0].tolist() == [1, 1, 1, 0, 0]
    assert fit(np.arange(9, dtype=np.float32) / 9, 2).shape == (2, 1)


# ---------------------------------------------------------------- made signals


def test_mnist1d_is_the_packages_own_set() -> None:
    before = np.random.get_state()[1].copy()
    train, test = (load_source(DataConfig(source="mnist1d"), split) for split in ("train", "test"))
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    assert (len(train), len(test), train.shape, train.num_classes) == (4000, 1000, (40, 1), 10)
    values = np.concatenate([train.arrays["image"], test.arrays["image"]])
    assert np.abs(values).max() < 1  # nothing is clipped
    np.testing.assert_allclose((6 * values).std(), 1, atol=1e-3)  # the package's scale
    assert np.bincount(train.arrays["label"]).min() > 350


def test_missing_espeak_and_packages_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setenv("GAN_JAX_CACHE", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="apt-get install espeak-ng"):
        load_source(DataConfig(source="spoken"))
    monkeypatch.setitem(__import__("sys").modules, "mnist1d", None)
    monkeypatch.setitem(__import__("sys").modules, "mnist1d.data", None)
    with pytest.raises(InputError, match=r"pip install 'gan_jax\[audio\]'"):
        load_source(DataConfig(source="mnist1d"))
    monkeypatch.setattr(words_module, "DEBIAN", tmp_path / "absent")
    with pytest.raises(InputError, match="apt-get install wamerican"):
        load_source(DataConfig(source="words", length=10))


@pytest.mark.parametrize("body", ["#!/bin/sh\nexit 1\n", "#!/bin/sh\necho noise\n"])
def test_a_broken_espeak_is_one_line(body: str, monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    (tmp_path / "espeak-ng").write_text(body)
    (tmp_path / "espeak-ng").chmod(0o755)
    monkeypatch.setenv("GAN_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(InputError, match="is espeak-ng whole"):
        load_source(DataConfig(source="spoken", length=256))


@pytest.mark.speech
def test_espeak_speaks_digits_that_differ_by_digit_and_voice() -> None:
    def said(*what: object) -> np.ndarray:
        return spoken.speak("espeak-ng", *what, RATE)

    seven = said(7, "en-us", "f2", 50, 160)
    assert 0.2 * RATE < len(seven) < 1.1 * RATE and np.abs(seven).max() == pytest.approx(0.9, abs=1e-3)
    assert not seven[: int(0.03 * RATE)].any() and np.abs(seven[int(0.03 * RATE)]) > 0.02  # the onset's place
    np.testing.assert_array_equal(seven, said(7, "en-us", "f2", 50, 160))
    others = said(8, "en-us", "f2", 50, 160), said(7, "en-us", "m3", 50, 160), said(7, "en-us", "f2", 65, 160)
    assert all(len(other) != len(seven) or np.abs(other - seven).max() > 0.1 for other in others)
    assert len(said(7, "en-us", "f2", 50, 190)) < len(seven)
    assert not set(spoken.VOICES["train"]) & set(spoken.VOICES["test"])


@pytest.mark.speech
def test_spoken_digits_are_made_once_and_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    monkeypatch.setenv("GAN_JAX_CACHE", str(tmp_path))
    monkeypatch.setattr(spoken, "ACCENTS", ("en-gb",))
    monkeypatch.setattr(spoken, "PITCHES", (50,))
    monkeypatch.setattr(spoken, "SPEEDS", (160,))
    config = DataConfig(source="spoken", length=8192, sample_rate=RATE)
    first = load_source(config, "test")
    assert len(first) == 10 * len(spoken.VOICES["test"]) and first.class_names[3] == "three"
    assert first.shape == (8192, 1) and not first.arrays["image"][:, -200:].any()  # digits fit into a second
    monkeypatch.setenv("PATH", "")
    np.testing.assert_array_equal(load_source(config, "test").arrays["image"], first.arrays["image"])


@pytest.mark.parametrize("shape", [(30, 16), (30, 16, 2)])
def test_signals_from_npz(tmp_path: pathlib.Path, shape: tuple[int, ...]) -> None:
    values = np.random.default_rng(0).uniform(-1, 1, shape)
    np.savez(tmp_path / "a.npz", signals=values, labels=np.arange(30) % 3, test_signals=values[:5], test_labels=[0] * 5)
    config = DataConfig(source="npz", path=str(tmp_path / "a.npz"))
    source = load_source(config)
    assert source.shape == (16, shape[2] if len(shape) == 3 else 1) and source.num_classes == 3
    np.testing.assert_allclose(source.arrays["image"].reshape(values.shape), values, atol=1e-7)
    assert len(load_source(config, "test")) == 5


@pytest.mark.parametrize(
    ("signals", "message"),
    [
        (np.zeros((3, 4), np.int16), "save floats"),
        (np.zeros(3), "save floats"),
        (np.full((3, 4), 1.5), r"outside \[-1, 1\]"),
        (np.full((3, 4), np.nan), r"outside \[-1, 1\]"),
    ],
)
def test_bad_signals_in_npz(tmp_path: pathlib.Path, signals: np.ndarray, message: str) -> None:
    np.savez(tmp_path / "a.npz", signals=signals)
    with pytest.raises(InputError, match=message):
        load_source(DataConfig(source="npz", path=str(tmp_path / "a.npz")))


# ---------------------------------------------------------------- words


def write_words(path: pathlib.Path, count: int = 60) -> list[str]:
    """Different made-up words, among lines that are none."""
    rng, made = np.random.default_rng(0), set()
    while len(made) < count:
        made.add("".join(rng.choice(list("abcde"), rng.integers(3, 6))))
    path.write_text("\n".join(["Anna", "it's", "ab", "abcdefgh", "", *made, *list(made)[:5]]) + "\n")
    return sorted(made)


def words_config(changes: dict) -> Config:
    """A run on words of three letters."""
    rates = {"optimizer.g_lr": 1e-2, "optimizer.d_lr": 1e-2, "optimizer.beta1": 0.0, "ema_half_life": 200}
    tiny = {"data.length": 3, "model.latent_size": 3 * 27 + 8, "model.g_width": 16, "model.d_width": 8}
    words = {"data.source": "words", "model.architecture": "sequence", "loss.name": "relativistic"}
    return Config().replace({**words, **tiny, **rates, **changes})


def test_words_of_a_file(tmp_path: pathlib.Path) -> None:
    made = write_words(tmp_path / "words.txt")
    config = DataConfig(source="words", path=str(tmp_path / "words.txt"), length=5)
    train, test = load_source(config), load_source(config, "test")
    assert len(test) == 6 and train.shape == (5, 27) and train.num_classes == 0
    found = spell(train.arrays["image"]), spell(test.arrays["image"])
    assert not set(found[0]) & set(found[1]) and sorted(found[0] + found[1]) == made
    (tmp_path / "words.txt").write_text("one\ntwo\n")
    with pytest.raises(InputError, match="holds 2 words of 3 to 5 letters"):
        load_source(config)


def test_letters_come_back_from_one_hot() -> None:
    words = ["abc", "zebra", "a b"]
    letters = encode(words, 6)
    assert letters.shape == (3, 6, len(ALPHABET)) and is_text(letters) and spell(letters) == words
    assert not is_text(0.9 * letters) and not is_text(np.zeros((2, 6, 27)))


@pytest.mark.speech
def test_debians_word_list() -> None:
    source = load_source(DataConfig(source="words", length=10))
    assert len(source) > 30_000 and "friend" in spell(source.arrays["image"])


# ---------------------------------------------------------------- layers


@pytest.mark.parametrize(("length", "window", "stride"), [(40, 25, 4), (41, 7, 2), (64, 16, 8), (30, 2, 3), (12, 3, 1)])
def test_convolutions_of_signals_are_xlas_own(length: int, window: int, stride: int) -> None:
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 1, length, 3)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(1, window, 3, 4)), jnp.float32)

    def reference(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return lax.conv_general_dilated(x[:, 0], kernel[0], (stride,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"))[
            :, None
        ]

    def both(function):
        def penalised(x, kernel):  # the derivatives that a gradient penalty takes
            return jnp.sum(jnp.square(jax.grad(lambda x: jnp.sum(jnp.tanh(function(x, kernel))))(x)))

        y, pull = jax.vjp(function, x, kernel)
        return y, pull(jnp.cos(y)), jax.grad(penalised, (0, 1))(x, kernel)

    ours, theirs = both(lambda x, kernel: conv(x, kernel, stride)), both(reference)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4), ours, theirs)


@pytest.mark.parametrize(("window", "stride"), [(25, 4), (16, 8), (5, 2)])
def test_up_convolution_of_signals_is_the_adjoint(window: int, stride: int) -> None:
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 1, 5, 3)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(1, window, 3, 4)), jnp.float32)
    y = up_conv(x, kernel, stride)
    assert y.shape == (2, 1, 5 * stride, 4)
    other = jnp.asarray(rng.normal(size=y.shape), jnp.float32)
    back = conv(other, jnp.swapaxes(kernel, 2, 3), stride)
    np.testing.assert_allclose(jnp.vdot(y, other), jnp.vdot(x, back), rtol=1e-5)
    expected = lax.conv_transpose(
        x[:, 0],
        kernel[0].swapaxes(1, 2),
        (stride,),
        "SAME",
        dimension_numbers=("NWC", "WIO", "NWC"),
        transpose_kernel=True,
    )
    np.testing.assert_allclose(y[:, 0], expected, atol=1e-4)


def test_lengths_are_planned() -> None:
    assert [halvings(length) for length in (128, 40, 7, 8)] == [5, 3, 0, 1]
    assert [strides(length) for length in (40, 8192)] == [[4, 2], [4, 4, 4, 4, 4, 2]]


def test_resampling_of_features_keeps_a_level_and_is_its_own_adjoint() -> None:
    x = jnp.ones((1, 1, 8, 2))
    np.testing.assert_allclose(upsample(x)[:, :, 1:-1], 1)
    np.testing.assert_allclose(downsample(jnp.ones((1, 1, 8, 2)))[:, :, 1:-1], 1)
    rng = np.random.default_rng(0)
    a, b = (jnp.asarray(rng.normal(size=(2, 1, n, 3)), jnp.float32) for n in (5, 10))
    np.testing.assert_allclose(jnp.vdot(upsample(a), b), 2 * jnp.vdot(a, downsample(b)), rtol=1e-5)


def test_phase_shuffle_shifts_each_signal_by_its_own_whole_places() -> None:
    x = jnp.arange(20.0).reshape(1, 1, 10, 2).repeat(200, 0)
    moved = np.asarray(phase_shuffle(jax.random.key(0), x, 2))
    mirrored = np.pad(np.asarray(x[0, 0]), ((2, 2), (0, 0)), mode="reflect")
    found = [[np.array_equal(one[0], mirrored[s : s + 10]) for s in range(5)] for one in moved]
    assert (np.sum(found, 1) == 1).all() and np.sum(found, 0).min() > 20  # all five shifts, and nothing else


def test_the_discriminators_spectrogram_is_a_short_time_fourier_transform() -> None:
    signal = np.random.default_rng(0).normal(size=256).astype(np.float32)
    kernel = jnp.asarray(spectrogram_kernel(16))
    parts = np.asarray(conv(jnp.asarray(signal)[None, None, :, None], kernel, 16))[0, 0]
    found = np.hypot(*np.split(parts, 2, -1))[1:-1]  # [places, notes] without the padded edges
    # Ours are centred on the frames, so the second begins 8 samples after the first sample.
    _, _, theirs = stft(signal[8:], nperseg=32, noverlap=16, window="hann", boundary=None, padded=False)
    np.testing.assert_allclose(found[: theirs.shape[1]], 2 * np.abs(theirs.T)[: len(found)], atol=1e-5)


def test_a_discriminator_of_spectrograms_alone_is_deaf_to_phases() -> None:
    """It cannot hear the sign of a sound; one that sees samples beside can."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 64, 1)), jnp.float32)
    for seen, deaf in (("alone", True), ("beside", False), ("none", False)):
        d = Discriminator(width=8, blocks=1, frame=8, d_spectrogram=seen)
        params = d.init(jax.random.key(0), x, train=False)
        found, turned = d.apply(params, x, train=False)[0], d.apply(params, -x, train=False)[0]
        assert np.allclose(found, turned, rtol=1e-4) == deaf
        assert not np.allclose(found, d.apply(params, 2 * x, train=False)[0], rtol=1e-4)


def test_a_run_from_before_the_third_choice_still_loads() -> None:
    for written, meant in ((False, "none"), (True, "beside")):
        config = Config().replace({"model.frame": 8, "model.d_spectrogram": written})
        assert config.model.d_spectrogram == meant
        record = Record(0, {}, {}, {SETTINGS: {"model.d_spectrogram": written}})
        check_settings(record, {"model.d_spectrogram": meant})  # its checkpoints, too
        with pytest.raises(InputError, match="and is now 'alone'"):
            check_settings(record, {"model.d_spectrogram": "alone"})


def test_letters_are_the_highest_scores_and_their_gradient_is_the_softmaxs() -> None:
    scores = jnp.asarray(np.random.default_rng(0).normal(size=(4, 5)), jnp.float32)
    weights = jnp.arange(20.0).reshape(4, 5)
    for temperature in (0.5, 2.0):
        letters, pull = jax.vjp(lambda s, t=temperature: straight_through(s, t), scores)
        np.testing.assert_allclose(letters, np.eye(5)[np.argmax(scores, -1)], atol=1e-6)
        _, soft_pull = jax.vjp(lambda s, t=temperature: jax.nn.softmax(s / t), scores)
        np.testing.assert_allclose(pull(weights)[0], soft_pull(weights)[0], atol=1e-6)


def test_letters_follow_the_chances_that_the_network_gives() -> None:
    """Gumbel's trick: the noise picks letters as often as softmax says."""
    from gan_jax.models.sequence import Generator

    g = Generator(shape=(1, 4), latent_size=5, width=8, blocks=1)
    z = jax.random.normal(jax.random.key(0), (20_000, 5))
    params = jax.tree.map(jnp.zeros_like, g.init(jax.random.key(1), z[:1], train=False))
    wanted = np.array([0.1, 0.2, 0.3, 0.4])
    params["params"]["letters"]["bias"] = jnp.log(wanted)
    shares = np.asarray(g.apply(params, z, train=False)).mean((0, 1))
    np.testing.assert_allclose(shares, wanted, atol=0.015)


def test_what_a_letter_may_know_of_a_given_word() -> None:
    """Teacher forcing: logits of a place follow from the letters before it alone, and are those that drawing uses."""
    from gan_jax.models.sequence import Generator

    g = Generator(shape=(4, 27), latent_size=120, width=16, blocks=1)
    z = jax.random.normal(jax.random.key(0), (3, 120))
    params = g.init(jax.random.key(1), z, train=False)
    drawn = g.apply(params, z, train=False)
    logits = g.apply(params, z, train=False, given=drawn)
    other = drawn.at[:, 2].set(jnp.roll(drawn[:, 2], 1, -1))
    changed = g.apply(params, z, train=False, given=other)
    np.testing.assert_array_equal(logits[:, :3], changed[:, :3])
    assert not np.allclose(logits[:, 3], changed[:, 3])
    chances = jax.scipy.stats.norm.cdf(z[:, :108]).reshape(3, 4, 27)  # [B, L * V] -> [B, L, V]
    chosen = jnp.argmax(logits - jnp.log(-jnp.log(chances)), -1)
    np.testing.assert_array_equal(chosen, jnp.argmax(drawn, -1))


def test_likelihood_of_given_letters_in_closed_form() -> None:
    config = words_config({"penalty.likelihood": 1.0})
    program = build(config, (3, 27), 0, make_mesh(jax.devices()[:1]))
    state = program.init(jnp.uint32(0))
    params = jax.tree.map(jnp.zeros_like, state.g.params)
    chances = np.random.default_rng(0).dirichlet(np.ones(27))
    params["letters"]["bias"] = jnp.log(chances)
    real = jnp.asarray(encode(["abc", "add"], 3), jnp.float32)
    game = Game(program.g, program.d, config, lambda array: array)
    found = game.likelihood(params, jax.random.key(0), real, jnp.zeros(2, jnp.int32))
    wanted = -np.log(chances[[ALPHABET.index(letter) for letter in "abcadd"]]).mean()
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


def test_likelihood_teaches_what_the_game_alone_does_not_in_that_time() -> None:
    words = ["abc", "bcd", "cde", "dea"]
    source = ArraySource({"image": encode(words * 16, 3)})
    shares = {}
    for weight in (0.0, 3.0):
        config = words_config({"penalty.likelihood": weight, "total_images": 64 * 60})
        gan = train_on(build(config, (3, 27), 0, make_mesh(jax.devices()[:1])), source)
        shares[weight] = np.isin(spell(np.asarray(gan.sample(jax.random.key(0), 200))), words).mean()
    assert shares[3.0] > 0.8 > 2 * shares[0.0]


# ---------------------------------------------------------------- what does not fit


@pytest.mark.parametrize(
    ("changes", "shape", "message"),
    [
        ({"model.architecture": "dcgan"}, (40, 1), "needs images, the data are signals: use mlp, wavegan, r3gan_1d"),
        ({"model.architecture": "wavegan"}, (8, 8, 1), "needs signals, the data are images: use dcgan"),
        ({"model.architecture": "wavegan"}, (2,), "needs signals, the data are points: use mlp"),
        ({"model.architecture": "wavegan"}, (41, 1), "try --config.data.length=40"),
        ({"model.architecture": "r3gan_1d", "model.frame": 7}, (40, 1), "frame=7 does not divide"),
        ({"model.architecture": "r3gan_1d", "model.phase_shuffle": 2}, (40, 1), "phase_shuffle=2 has no effect"),
        ({"model.architecture": "wavegan", "model.frame": 8}, (40, 1), "frame=8 has no effect"),
        ({"model.architecture": "wavegan", "model.temperature": 0.5}, (40, 1), "temperature=0.5 has no effect"),
        ({"model.architecture": "wavegan", "augment.method": "ada", "augment.p": 0.5}, (40, 1), "transforms images"),
        ({"model.architecture": "wavegan", "model.head": "rotation"}, (40, 1), "head=rotation transforms images"),
        ({"model.architecture": "sequence", "data.source": "words"}, (5, 27), "latent_size=64 must be above 5 letters"),
    ],
)
def test_settings_that_do_not_fit_signals(changes: dict, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(Config().replace(changes), shape, 10, make_mesh(jax.devices()[:1]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.source": "words"}, "needs model.architecture=sequence"),
        ({"model.architecture": "sequence"}, "set data.source=words"),
        ({"model.architecture": "r3gan_1d", "model.d_spectrogram": "alone"}, "frames of 8 samples or more"),
        ({"model.temperature": 0.0}, "must stay above 0"),
        ({"penalty.likelihood": 1.0}, "is that of letters: set data.source=words"),
        ({"data.length": 0}, "greater than or equal to 1"),
    ],
)
def test_configs_that_cannot_be(changes: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Config().replace(changes)


# ---------------------------------------------------------------- pictures and files


def test_a_tone_is_a_line_at_its_note() -> None:
    picture = spectrogram(tone(1000, RATE, 8192))
    assert picture.shape == (64, 144) and picture.dtype == np.uint8
    row = np.argmin(picture[:, 5:-10].mean(1))  # the darkest
    assert row == 63 - (round(1000 / (RATE / 128)) - 1)


@pytest.mark.parametrize(("shape", "height"), [((5, 40, 1), 48), ((5, 2048, 1), 112), ((5, 40, 2), 48)])
def test_signals_are_drawn_as_waves(shape: tuple[int, ...], height: int) -> None:
    samples = np.random.default_rng(0).uniform(-1, 1, shape)
    drawn = tiles(samples)
    assert drawn.shape == (5, height, 144, 1)
    assert draw_picture(samples).ndim == 2
    assert tiles(np.full(shape, np.nan)).shape == drawn.shape  # a diverged generator


def test_words_are_written_into_a_picture() -> None:
    few, many = (draw_picture(encode(["abc"] * n, 5)) for n in (4, 12))
    assert few.ndim == 2 and many.shape[0] > few.shape[0] and (few < 100).any()


def test_sounds_are_written_as_wav(tmp_path: pathlib.Path) -> None:
    samples = np.stack([tone(200, RATE, 400), tone(300, RATE, 400)])[..., None]
    write_samples(samples, None, tmp_path / "all.wav", RATE)
    rate, whole = wavfile.read(tmp_path / "all.wav")
    assert rate == RATE and whole.dtype == np.int16 and len(whole) == 2 * (400 + RATE // 4)
    np.testing.assert_allclose(whole[:400] / 32767, samples[0, :, 0], atol=1e-4)
    write_samples(samples, np.array([0, 7]), tmp_path / "each", RATE)
    np.testing.assert_array_equal(
        wavfile.read(tmp_path / "each" / "007" / "000001.wav")[1][:, None], np.round(32767 * samples[1])
    )
    write_samples(samples, None, tmp_path / "a.npz", RATE)
    again = load_source(DataConfig(source="npz", path=str(tmp_path / "a.npz")))
    np.testing.assert_array_equal(again.arrays["image"], samples)
    write_samples(samples, None, tmp_path / "a.png", RATE)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size[1] > 48
    with silently():
        folder = load_source(config_of(tmp_path / "each"))
    assert len(folder) == 2 and folder.num_classes == 2


def test_words_are_written_as_lines(tmp_path: pathlib.Path) -> None:
    write_samples(encode(["tea", "coffee"], 8), None, tmp_path / "words.txt")
    assert (tmp_path / "words.txt").read_text() == "tea\ncoffee\n"
    for out, message in (("a.wav", r"end it in .txt, .png, .npz"), ("folder", "words are no images")):
        with pytest.raises(InputError, match=message):
            write_samples(encode(["tea"], 8), None, tmp_path / out)
