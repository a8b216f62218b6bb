"""A set of images as a folder, an .npz file or a TFDS set of array_records, each read without our code.

Written beside its place and moved there when whole, so that Ctrl-C leaves nothing half. Imports the config and
this room.
"""

import io
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gan_jax.augmentation.classifier import Images
from gan_jax.config import Config
from gan_jax.errors import InputError

FORMATS = ("folder", "npz", "array_record")
_VERSION = "1.0.0"  # of the TFDS set


def format_of(out: Path, wanted: str) -> str:
    """The format asked for; by default that of the path's ending.

    Raises:
        InputError: it is unknown, or path and format do not fit.
    """
    chosen = wanted or ("npz" if out.suffix == ".npz" else "folder")
    if chosen not in FORMATS:
        raise InputError(f"--format={wanted}: choose of {', '.join(FORMATS)}")
    if (chosen == "npz") != (out.suffix == ".npz"):
        raise InputError(f"--out={out}: format npz is a file that ends in .npz, the others are folders without it")
    if chosen == "array_record" and not re.fullmatch(r"[a-z][a-z0-9_]*", out.name):
        raise InputError(f"--out={out}: TFDS takes the folder's name for the set's: small letters, digits and _")
    return chosen


def config_of(config: Config, path: str) -> Config:
    """A config whose data are the images of a folder or an .npz file."""
    return config.replace({"data.source": "npz" if path.endswith(".npz") else "folder", "data.path": path})


def provenance_path(out: Path) -> Path:
    """Where the record of a set lies: in its folder, beside its file."""
    return out.with_suffix(".provenance.json") if out.suffix == ".npz" else out / "provenance.json"


def write_set(found: Images, class_names: Sequence[str], out: Path, form: str, provenance: str) -> None:
    """Writes a set and its provenance; whole or not at all.

    Args:
        found: the images.
        class_names: one a class.
        out: where to; must not exist.
        form: of `FORMATS`.
        provenance: JSON text.

    Raises:
        InputError: the place cannot be written.
    """
    draft = out.with_name(f".{out.name}.partial")
    writers: dict[str, Callable[..., None]] = {"folder": _folder, "npz": _npz, "array_record": _records}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _remove(draft)  # of a command that was killed
        try:
            writers[form](found, list(class_names), draft, out.name)
            if form == "npz":
                provenance_path(out).write_text(provenance)
            else:
                (draft / "provenance.json").write_text(provenance)
            os.replace(draft, out)
        except BaseException:
            _remove(draft)
            raise
    except OSError as error:
        raise InputError(f"--out={out} cannot be written: {error.strerror or error}") from None


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _folder(found: Images, class_names: list[str], draft: Path, name: str) -> None:
    """One sub-folder a class, one PNG an image: torchvision's ImageFolder, Keras, fastai and our `folder` read it."""
    unsafe = [text for text in class_names if not re.fullmatch(r"[^/\\\0]+", text) or text in (".", "..")]
    if unsafe:
        raise InputError(f"class {unsafe[0]!r} is no name for a folder: take --format=npz")
    width = len(str(len(class_names) - 1))
    # Readers sort the names; those that would not come in the order of the labels are numbered.
    names = class_names if sorted(class_names) == class_names else [
        f"{number:0{width}d}_{text}" for number, text in enumerate(class_names)
    ]  # fmt: skip
    for text in names:
        (draft / text).mkdir(parents=True)
    for index, label in enumerate(found.labels):
        (draft / names[label] / f"{index:06d}.png").write_bytes(_png(found.images[index]))


def _npz(found: Images, class_names: list[str], draft: Path, name: str) -> None:
    """Arrays `images`, `labels` and `class_names`; NumPy alone reads it, and our `npz`."""
    with draft.open("wb") as file:
        np.savez_compressed(file, images=found.images, labels=found.labels, class_names=np.array(class_names))


def _records(found: Images, class_names: list[str], draft: Path, name: str) -> None:
    """A prepared set of TFDS in array_records: `tfds.builder_from_directory(OUT).as_data_source()` reads it."""
    import tensorflow_datasets as tfds  # takes seconds

    # Not registered, or a second set of the same name would be refused.
    class Generated(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
        """The set, as TFDS prepares one."""

        VERSION = tfds.core.Version(_VERSION)

        def _info(self) -> Any:
            image = tfds.features.Image(shape=found.images.shape[1:])
            features = tfds.features.FeaturesDict(
                {"image": image, "label": tfds.features.ClassLabel(names=class_names)}
            )
            about = "Generated by gan_jax; provenance.json says how."
            return tfds.core.DatasetInfo(builder=self, features=features, description=about)

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            return {"train": self._generate_examples()}

        def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
            for index, label in enumerate(found.labels):
                yield index, {"image": io.BytesIO(_png(found.images[index])), "label": int(label)}

    Generated.name = name
    place = draft / "tfds"
    tfds.disable_progress_bar()
    Generated(data_dir=str(place), file_format="array_record").download_and_prepare()
    for path in list((place / name / _VERSION).iterdir()):
        path.rename(draft / path.name)
    shutil.rmtree(place)


def _png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image).save(file, "PNG")
    return file.getvalue()
