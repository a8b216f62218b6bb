"""Where a set of generated images comes from: enough to make it again, bit for bit. Imports gan, runtime, errors.

provenance.json: {"format": 1, "workdir", "checkpoint": {"step", "sha256" of both networks' weights}, "recipe":
{"count", "seed", "filter", "truncation"}, "classes": [names], "classifier": null or {"sha256", "labels", "data",
"steps", "seed"}, "kept": [share of the candidates of each class], "sha256" of images and labels, "written": format,
"config": the run's settings, "versions", "platform", "cores"}.
"""

import importlib.metadata
import json
import platform
from pathlib import Path
from typing import Any

import jax
import numpy as np

import gan_jax
from gan_jax.augmentation.classifier import Images
from gan_jax.augmentation.generation import Filter, Recipe
from gan_jax.config import to_dict
from gan_jax.errors import InputError
from gan_jax.gan import Gan
from gan_jax.metrics.storage import digest
from gan_jax.runtime.cores import usable_cores
from gan_jax.runtime.integrity import named_leaves

_FORMAT = 1
_NEEDED = ("workdir", "checkpoint", "recipe", "classes", "classifier", "sha256", "written", "versions")


def weights_digest(gan: Gan) -> str:
    """sha256 of the averaged generator and the discriminator: what a checkpoint is to a sample."""
    tree = {"ema": gan.ema, "d": {"params": gan.d.params, "stats": gan.d.stats}}
    return digest({name: np.asarray(leaf) for name, leaf in named_leaves(tree).items()})


def set_digest(found: Images) -> str:
    """sha256 of images and labels."""
    return digest({"images": found.images, "labels": found.labels})


def versions() -> dict[str, str]:
    """Of what the images depend on."""
    packages = {name: importlib.metadata.version(name) for name in ("jax", "jaxlib", "flax", "numpy")}
    return {"gan_jax": gan_jax.__version__, "python": platform.python_version(), **packages}


def recipe_of(facts: dict[str, Any]) -> Recipe:
    """The recipe that a record holds."""
    recipe = facts["recipe"]
    return Recipe(recipe["count"], recipe["seed"], Filter.parse(recipe["filter"]), recipe["truncation"])


def describe(
    gan: Gan, workdir: Path, recipe: Recipe, classes: list[str], classifier: dict[str, Any] | None, form: str
) -> dict[str, Any]:
    """What is known before a set is drawn."""
    return {
        "format": _FORMAT,
        "workdir": str(workdir),
        "checkpoint": {"step": gan.step, "sha256": weights_digest(gan)},
        "recipe": {
            "count": recipe.count,
            "seed": recipe.seed,
            "filter": str(recipe.filter),
            "truncation": recipe.truncation,
        },
        "classes": classes,
        "classifier": classifier,
        "written": form,
        "config": json.loads(json.dumps(to_dict(gan.config))),
        "versions": versions(),
        "platform": f"{jax.default_backend()} {platform.machine()}",
        "cores": usable_cores(),
    }


def read_provenance(path: Path) -> dict[str, Any]:
    """What `gan_jax.augment` wrote beside a set.

    Raises:
        InputError: the file is missing, damaged or something else.
    """
    try:
        facts = json.loads(path.read_text())
    except OSError as error:
        raise InputError(f"--from={path}: {error.strerror}: name the provenance.json of a set") from None
    except ValueError:
        facts = None
    if not isinstance(facts, dict) or facts.get("format") != _FORMAT or not set(_NEEDED) <= set(facts):
        raise InputError(f"--from={path} is no provenance file of gan_jax.augment: name the one of a set")
    try:
        recipe_of(facts)
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"--from={path} holds no recipe: name the provenance.json of a set") from None
    return facts


def check_same(facts: dict[str, Any], now: dict[str, Any]) -> None:
    """Checks that a regenerated set is the recorded one.

    Raises:
        InputError: it is not; the message says what differs.
    """
    if facts["sha256"] == now["sha256"]:
        return
    names = [name for name in ("versions", "platform", "cores") if facts.get(name) != now[name]]
    shown = "; ".join(f"{name} was {facts.get(name)} and is {now[name]}" for name in names)
    raise InputError(
        f"the set came out differently ({shown or 'on the same versions and cores'}) and was not written: XLA's last"
        " bits depend on versions, platform and number of cores"
    )
