"""What `gan_jax.augment` does: makes a set of a workdir, or makes a recorded one again.

Imports gan, recognition, runtime and this room.
"""

import json
from pathlib import Path
from typing import Any

from gan_jax.augmentation import generation, provenance, scoring
from gan_jax.augmentation.classifier import Classifier, Images, load_classifier, save_classifier, train_classifier
from gan_jax.augmentation.files import format_of, provenance_path, write_set
from gan_jax.augmentation.generation import Filter, Recipe, generate
from gan_jax.errors import InputError
from gan_jax.gan import Gan, load
from gan_jax.recognition.probe import Labelled
from gan_jax.runtime.files import plain_folder, write_atomically, writing

CLASSIFIER = "augmentation_classifier.npz"  # in the workdir, kept so that a set can be made again
_CLASSIFIER_STEPS = 1_500


def augment(
    workdir: str | Path,
    out: str | Path,
    *,
    form: str = "",
    count: int = 10_000,
    chosen: str = "none",
    truncation: float | None = None,
    seed: int = 0,
    checkpoint: str = "newest",
    labelled: str = "",
    steps: int = scoring.STEPS,
    share: float = scoring.SHARE,
    scored: bool = True,
) -> dict[str, Any]:
    """Writes a balanced set of generated images with its provenance, and scores it.

    Args:
        workdir: of a run on images.
        out: a folder, or a file that ends in .npz; what it holds already is left alone.
        form: of `files.FORMATS`; empty = by the ending.
        count: of images.
        chosen: filter, see `generation.Filter`.
        truncation: see `generation.Recipe`.
        seed: of the noise, and of the trainings that score.
        checkpoint: newest, best or a step number.
        labelled: a folder or .npz of real images with labels; empty = the run's own data.
        steps: of each training that scores.
        share: of a batch that is generated where real images fill the rest.
        scored: False writes the set alone.

    Returns:
        The provenance, with "scores" if it was scored.

    Raises:
        InputError: run, recipe, data and place do not fit together.
    """
    workdir, out = plain_folder(workdir), Path(out)
    form = format_of(out, form)
    recipe = Recipe(count, seed, Filter.parse(chosen), truncation)
    scoring.check_share(share)
    if truncation is not None and not truncation > 0:
        raise InputError(f"--truncation={truncation} must be above 0: 0.5 is strong, 2 is weak")
    gan = load(workdir, checkpoint)
    needs_classes = not gan.config.model.conditional or bool(recipe.filter.confidence)
    data = scoring.labelled_set(gan.config, labelled) if scored or needs_classes else None
    classes = _classes(gan, data)
    generation.check(gan, recipe, len(classes), data is not None)
    classifier, about = _judge(workdir, gan, data) if needs_classes and data else (None, None)
    facts = provenance.describe(gan, workdir, recipe, classes, about, form)
    if (before := _before(out, facts)) is None:
        found = _drawn(gan, recipe, facts, classifier)
        write_set(found, facts["classes"], out, form, _text(facts))
        print(f"{count:,} images of {len(facts['classes'])} classes in {out}; {provenance_path(out)} says how")
    else:
        facts = before
        print(f"{out} holds this set already")
        if not scored:
            return facts
        found = _drawn(gan, recipe, dict(facts), classifier)
    if scored and data:
        facts["scores"] = scoring.score(found, data, steps, share, seed)
        write_atomically(provenance_path(out).with_name(_scores_name(out)), _text(facts["scores"]).encode())
        print(scoring.table(facts["scores"]))
    return facts


def regenerate(path: str | Path, out: str | Path, *, workdir: str | Path = "", form: str = "") -> dict[str, Any]:
    """Makes a recorded set again, and writes it only if it comes out bit for bit the same.

    Args:
        path: a provenance.json.
        out: where to.
        workdir: of the run, if it was moved.
        form: another format than the recorded one.

    Raises:
        InputError: record, run and checkpoint do not belong together, or the images differ.
    """
    facts, out = provenance.read_provenance(Path(path)), Path(out)
    form = format_of(out, form or (facts["written"] if (out.suffix == ".npz") == (facts["written"] == "npz") else ""))
    workdir = plain_folder(workdir or facts["workdir"])
    step = facts["checkpoint"]["step"]
    try:
        gan = load(workdir, str(step))
    except InputError as error:
        raise InputError(f"--from={path} needs step {step} of {workdir}: {error}") from None
    if provenance.weights_digest(gan) != facts["checkpoint"]["sha256"]:
        raise InputError(f"--from={path}: step {step} of {workdir} has other weights than those recorded")
    recipe, classifier = provenance.recipe_of(facts), None
    if facts["classifier"]:
        classifier, about = _judge(workdir, gan, None, facts["classifier"])
    now = provenance.describe(gan, workdir, recipe, facts["classes"], facts["classifier"], form)
    if _before(out, now) is not None:
        print(f"{out} holds this set already")
        return now
    found = _drawn(gan, recipe, now, classifier)
    provenance.check_same(facts, now)
    write_set(found, now["classes"], out, form, _text(now))
    print(f"{len(found):,} images in {out}, bit for bit those of {path}")
    return now


def _drawn(gan: Gan, recipe: Recipe, facts: dict[str, Any], classifier: Classifier | None) -> Images:
    """The set; its digest and the shares that passed go into the facts."""
    judge = classifier.probabilities if classifier else None
    found, facts["kept"] = generate(gan, recipe, len(facts["classes"]), judge)
    facts["sha256"] = provenance.set_digest(found)
    return found


def _classes(gan: Gan, data: Labelled | None) -> list[str]:
    names = gan.class_names or (data.class_names if data else ())
    return list(names) or [str(number) for number in range(gan.program.num_classes)]


def _before(out: Path, facts: dict[str, Any]) -> dict[str, Any] | None:
    """The record of the same set at this place; None = the place is free.

    Raises:
        InputError: something else is there.
    """
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        if out.is_dir():
            out.rmdir()
        return None
    known = provenance_path(out)
    before = provenance.read_provenance(known) if known.exists() else {}
    asked = ("checkpoint", "recipe", "classes", "classifier", "written")
    if any(before.get(name) != facts[name] for name in asked):
        raise InputError(f"--out={out} holds something else already: remove it, or take another --out")
    return before


def _judge(
    workdir: Path, gan: Gan, data: Labelled | None, recorded: dict[str, Any] | None = None
) -> tuple[Classifier, dict[str, Any]]:
    """The classifier that filters: the workdir's, or one trained now on real images and kept there.

    Args:
        workdir: of the run.
        gan: its pair.
        data: real images.
        recorded: what a provenance file says of it; then no other will do.

    Raises:
        InputError: the recorded one is gone, or the kept one is damaged or of other images.
    """
    path = workdir / CLASSIFIER
    if path.exists():
        classifier, about = load_classifier(path)
        about = {name: about[name] for name in ("labels", "data", "steps", "seed")} | {"sha256": classifier.digest}
        if recorded is not None and recorded["sha256"] != classifier.digest:
            raise InputError(f"{path} is another classifier than the recorded one: restore that file")
        if data is None or about["data"] == _fingerprint(data):
            return classifier, about
    if data is None:
        raise InputError(f"{path} is missing: the recorded set was filtered by it, restore the file")
    about = {"labels": len(data.labels), "data": _fingerprint(data), "steps": _CLASSIFIER_STEPS, "seed": 0}
    print(f"training the classifier that filters, on {len(data.labels):,} real images", flush=True)
    real = Images(data.train, data.labels)
    classifier = train_classifier([(real, 1.0)], data.num_classes, _CLASSIFIER_STEPS, 0, classic=True)
    with writing(path):
        save_classifier(classifier, path, about)
    return classifier, about | {"sha256": classifier.digest}


def _fingerprint(data: Labelled) -> str:
    return provenance.set_digest(Images(data.train, data.labels))


def _scores_name(out: Path) -> str:
    return f"{out.stem}.scores.json" if out.suffix == ".npz" else "scores.json"


def _text(facts: dict[str, Any]) -> str:
    return json.dumps(facts, indent=1) + "\n"
