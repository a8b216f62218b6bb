"""Any picture made into uint8 [height, width, channels] of one size. Imports Pillow and NumPy only."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("PNG", "JPEG", "WEBP")
MAX_PIXELS = 2**26  # larger files are refused before they are decoded: 67 million pixels, 200 MB as RGB

Size = tuple[int, int]


def fit_image(image: Image.Image, size: Size, channels: int) -> np.ndarray:
    """Resizes an image to cover a size, crops the centre and converts the colours.

    Antialiased bicubic. Transparency is laid on white. Grey is 0.299 R + 0.587 G + 0.114 B
    (ITU-R BT.601). 16-bit grey keeps its upper byte. An image that has the right size and
    colours comes back unchanged.

    Args:
        image: of any size and mode.
        size: (height, width).
        channels: 1 = grey, 3 = RGB.

    Returns:
        uint8 [height, width, channels].
    """
    if image.mode.startswith("I"):  # Pillow would clip 16 bits to 8
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if channels == 1 else "RGB")
    height, width = size
    if image.size != (width, height):
        image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
    return np.asarray(image).reshape(height, width, channels)  # grey has no channel axis in Pillow


def decode_file(path: str | Path, size: Size, channels: int) -> np.ndarray:
    """Reads a PNG, JPEG or WebP file, upright by its EXIF orientation; the first frame of an animation.

    A JPEG much larger than needed is decoded at a half, a quarter or an eighth, never below twice the size.

    Args:
        path: the file.
        size: (height, width), see `fit_image`.
        channels: 1 = grey, 3 = RGB.

    Returns:
        uint8 [height, width, channels].

    Raises:
        ValueError: the image has more than `MAX_PIXELS`.
        Exception: Pillow's, of many types, when the file is no image, is damaged or cannot be read.
    """
    with Image.open(path, formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels are more than {MAX_PIXELS}")
        image.draft(None, (2 * max(size), 2 * max(size)))
        ImageOps.exif_transpose(image, in_place=True)
        return fit_image(image, size, channels)


def fit_array(images: np.ndarray, size: Size, channels: int, threads: int = 1) -> np.ndarray:
    """Brings a stack of images to one size and number of channels.

    Args:
        images: uint8 [N, h, w] or [N, h, w, c] with c of 1, 3 or 4 (RGBA).
        size: (height, width), see `fit_image`.
        channels: 1 = grey, 3 = RGB.
        threads: that work at the same time.

    Returns:
        uint8 [N, height, width, channels].
    """
    if images.ndim == 3:
        images = images[..., None]  # [N, h, w] -> [N, h, w, 1]
    if images.shape[1:] == (*size, channels):
        return images
    pictures = images[..., 0] if images.shape[-1] == 1 else images
    out = np.empty((len(images), *size, channels), np.uint8)

    def work(index: int) -> None:
        out[index] = fit_image(Image.fromarray(pictures[index]), size, channels)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(len(images))))
    return out
