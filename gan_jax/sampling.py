"""Samples of a workdir and the files they are written to. Imports gan and runtime."""

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from gan_jax.errors import InputError
from gan_jax.gan import load
from gan_jax.runtime.pictures import draw_picture, to_uint8

COLUMNS = 8  # of an interpolation


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


def write_samples(images: np.ndarray, labels: np.ndarray | None, out: Path) -> str:
    """Writes a grid (.png), arrays (.npz) or one PNG an image (a folder) and says where.

    Raises:
        InputError: the place cannot be written, or points cannot be written as PNG files.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.suffix == ".png":
            Image.fromarray(draw_picture(images)).save(out)
        elif out.suffix == ".npz":
            arrays = {"images": to_uint8(images) if images.ndim == 4 else images}
            if labels is not None:
                arrays["labels"] = labels
            np.savez_compressed(out, allow_pickle=False, **arrays)
        elif out.suffix:
            raise InputError(f"--out={out}: end it in .png, .npz or, for a folder, in no suffix")
        elif images.ndim != 4:
            raise InputError(f"--out={out}: points are no images; write them to a .npz or .png")
        else:
            for index, image in enumerate(to_uint8(images)):
                folder = out if labels is None else out / f"{labels[index]:03d}"
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(folder / f"{index:06d}.png")
    except OSError as error:
        raise InputError(f"--out={out} cannot be written: {error.strerror or error}") from None
    return f"{len(images)} samples in {out}"
