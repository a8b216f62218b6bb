"""Samples of a workdir and the files they are written to. Imports gan and runtime."""

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from gan_jax.config import read_json
from gan_jax.errors import InputError
from gan_jax.gan import load
from gan_jax.runtime.files import plain_folder
from gan_jax.runtime.pictures import draw_picture, to_uint8
from gan_jax.runtime.traces import is_text, spell
from gan_jax.runtime.workdir import CONFIG

COLUMNS = 8  # of an interpolation
_PAUSE = 0.25  # seconds between sounds in one file


def draw(
    workdir: Path,
    *,
    num: int,
    seed: int = 0,
    truncation: float | None = None,
    labels: Sequence[str] | Sequence[int] | None = None,
    interpolate: bool = False,
    checkpoint: str = "newest",
) -> tuple[np.ndarray, np.ndarray | None]:
    """Samples of a trained run.

    Returns:
        Images float32 [num, *shape] in [-1, 1] and their labels int32 [num], None if unconditional.

    Raises:
        InputError: no such run, or labels, truncation or checkpoint do not fit it.
    """
    try:
        wanted = None if labels is None else [int(label) for label in labels]
    except ValueError:
        raise InputError(f"--labels={','.join(map(str, labels or []))} must be class numbers, as in 0,1,2") from None
    if interpolate and (wanted is not None or truncation is not None):
        raise InputError("--interpolate takes neither --labels nor --truncation: leave them out")
    if interpolate and num % COLUMNS:
        raise InputError(f"--num={num} must be a multiple of {COLUMNS} with --interpolate: try {num + -num % COLUMNS}")
    gan, key = load(workdir, checkpoint), jax.random.key(seed)
    if interpolate:
        return np.asarray(gan.interpolate(key, num // COLUMNS, COLUMNS)), None
    images = np.asarray(gan.sample(key, num, wanted, truncation))
    return images, gan.check_labels(wanted, num) if gan.config.model.conditional else None


def sample_rate(workdir: Path) -> int:
    """Samples a second of a run's sounds."""
    return read_json(plain_folder(workdir) / CONFIG).data.sample_rate


def write_samples(images: np.ndarray, labels: np.ndarray | None, out: Path, rate: int = 8000) -> str:
    """Writes samples and says where.

    Images: a grid (.png), arrays (.npz), or one PNG an image (a folder). Signals [N, L, C]: a picture of waves (.png),
    arrays (.npz), one sound after the other (.wav), or one .wav a signal (a folder). Words: .txt, one a line. Points:
    .png or .npz.

    Args:
        images: the samples.
        labels: of them; a folder then has one sub-folder a class.
        out: the file or folder.
        rate: samples a second of sounds.

    Raises:
        InputError: the place cannot be written, or the samples cannot be written in that form.
    """
    sounds, text = images.ndim == 3 and images.shape[-1] <= 2, is_text(images)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".png":
            Image.fromarray(draw_picture(images)).save(out)
        elif out.suffix == ".npz":
            arrays = {"signals" if images.ndim == 3 else "images": to_uint8(images) if images.ndim == 4 else images}
            if labels is not None:
                arrays["labels"] = labels
            np.savez_compressed(out, allow_pickle=False, **arrays)
        elif out.suffix == ".txt" and text:
            out.write_text("".join(f"{word}\n" for word in spell(images)))
        elif out.suffix == ".wav" and sounds:
            pause = np.zeros((round(_PAUSE * rate), images.shape[-1]), images.dtype)
            _write_wav(out, np.concatenate([part for sound in images for part in (sound, pause)]), rate)
        elif out.suffix:
            raise InputError(f"--out={out}: end it in {_endings(images, sounds, text)}")
        elif images.ndim != 4 and not sounds:
            what = "words" if text else "signals of many channels" if images.ndim == 3 else "points"
            raise InputError(f"--out={out}: {what} are no images; end it in {_endings(images, sounds, text)}")
        else:
            for index, sample in enumerate(images if sounds else to_uint8(images)):
                folder = out if labels is None else out / f"{labels[index]:03d}"
                folder.mkdir(parents=True, exist_ok=True)
                if sounds:
                    _write_wav(folder / f"{index:06d}.wav", sample, rate)
                    continue
                image = sample.squeeze(-1) if sample.shape[-1] == 1 else sample
                Image.fromarray(image).save(folder / f"{index:06d}.png")
    except OSError as error:
        raise InputError(f"--out={out} cannot be written: {error.strerror or error}") from None
    return f"{len(images)} samples in {out}"


def _endings(images: np.ndarray, sounds: bool, text: bool) -> str:
    more = ".wav, " if sounds else ".txt, " if text else ""
    return f"{more}.png, .npz" + (" or, for a folder, in no suffix" if sounds or images.ndim == 4 else "")


def _write_wav(path: Path, samples: np.ndarray, rate: int) -> None:
    """Samples [N, C] in [-1, 1] as 16-bit PCM."""
    from scipy.io import wavfile

    whole = np.round(32767 * np.clip(np.nan_to_num(samples), -1, 1)).astype(np.int16)
    wavfile.write(path, rate, whole)
