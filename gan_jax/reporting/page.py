"""Gathers a run, or several, and writes the page. Imports config, gan, runtime and its own room."""

import dataclasses
import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

import gan_jax
from gan_jax.config import Config, read_json
from gan_jax.errors import InputError
from gan_jax.gan import Gan, load
from gan_jax.reporting import views
from gan_jax.reporting.charts import charts
from gan_jax.reporting.recognition import Task, tasks
from gan_jax.reporting.recognition import text as _text
from gan_jax.runtime.files import plain_folder, write_atomically, writing
from gan_jax.runtime.history import History, read_history
from gan_jax.runtime.workdir import CONFIG, flat_settings

SAMPLES = "samples"
SCORES = "scores.json"  # by gan_jax.evaluate
RECOGNITION = "recognition.json"  # results by task: facts, and "rows" that make a table
RECOGNITION_PICTURES = {"confusion": "recognition_confusion.png", "nearest images": "recognition_neighbours.png"}


@dataclasses.dataclass(frozen=True)
class Run:
    """All that the page shows of a run; what there is not is empty, with a reason where a reader would ask for one."""

    name: str
    workdir: Path
    config: Config
    history: History
    frames: list[views.Frame]
    gan: Gan | None
    latest: str
    walk: str
    classes: list[tuple[str, str]]
    neighbours: views.Neighbours | None
    missing: dict[str, str]  # reasons, by section
    scores: list[tuple[str, str, str]]  # name, value, value of real data
    recognition: list[Task]
    recognition_pictures: list[tuple[str, str]]  # name, data URI

    @property
    def status(self) -> str:
        """How far the run is."""
        last = self.history.events[-1]["event"] if self.history.events else ""
        if last == "given_up":
            return "given up by the watchdog"
        if self.history.step >= self.config.total_steps:
            return "done"
        share = 100 * self.history.images / self.config.total_images
        return f"at {share:.0f} % of {self.config.total_images:,} images"

    @property
    def tiles(self) -> list[tuple[str, str]]:
        """The run in a few figures."""
        history, found = self.history, [("status", self.status), ("images seen", f"{self.history.images:,}")]
        if best := history.best("fid"):
            found.append((f"best FID, at step {best[1]:,}", f"{best[0]:.4g}"))
        found.append(("time at work", str(datetime.timedelta(seconds=round(history.seconds)))))
        if speed := history.typical("images_per_second"):
            found.append(("images a second", f"{speed:,.0f}"))
        if self.neighbours:
            found.append(("neighbour distance, real = 1", f"{self.neighbours.ratio:.3g}"))
        start = history.start
        if start.get("device"):
            found.append(("device", f"{start.get('devices', 1)} x {start['device']}"))
        return found

    @property
    def settings(self) -> list[tuple[str, str, bool]]:
        """(Field, value, whether it differs from the default)."""
        usual = flat_settings(Config())
        return [(name, _text(value), value != usual.get(name)) for name, value in flat_settings(self.config).items()]

    @property
    def events(self) -> list[tuple[str, int, str, str]]:
        """(Time, step, kind, message), oldest first; a start after the first one is a resume."""
        rows = []
        for index, event in enumerate(self.history.events):
            at = datetime.datetime.fromtimestamp(event["time"], datetime.UTC).strftime("%Y-%m-%d %H:%M:%S")
            kind = "resume" if event["event"] == "start" and index else event["event"]
            versions = event.get("versions") or {}
            what = ", ".join(f"{name} {version}" for name, version in versions.items())
            rows.append((at, int(event["step"]), kind, str(event.get("message", what))))
        return rows

    @property
    def is_images(self) -> bool:
        """Whether the data are images, not points."""
        return self.gan is None or len(self.gan.shape) == 3


def write_report(
    workdir: str | Path,
    out: str | Path | None = None,
    compare: Sequence[str | Path] = (),
    checkpoint: str = "newest",
    seed: int = 0,
) -> Path:
    """Writes the page of a run: one HTML file that needs no network.

    Args:
        workdir: folder of the run.
        out: file to write; None = report.html in the workdir.
        compare: further workdirs, shown beside the first.
        checkpoint: newest, best or a step number.
        seed: of the samples' noise.

    Returns:
        Where the page is.

    Raises:
        InputError: a folder is no workdir, or the page cannot be written.
    """
    folders = [plain_folder(folder) for folder in (workdir, *compare)]
    out = Path(out) if out else folders[0] / "report.html"
    if out.suffix not in (".html", ".htm"):
        raise InputError(f"--out={out}: end it in .html")
    histories = dict(zip(_names(folders), map(read_history, folders), strict=True))  # all are checked before the work
    runs = [
        gather(folder, name, histories[name], checkpoint, seed) for folder, name in zip(folders, histories, strict=True)
    ]
    text = render(runs)
    with writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, text.encode())
    return out


def gather(workdir: Path, name: str, history: History, checkpoint: str = "newest", seed: int = 0) -> Run:
    """Looks at a run.

    Raises:
        InputError: config.json is missing or damaged, or `checkpoint` names none.
    """
    config = read_json(workdir / CONFIG)
    missing: dict[str, str] = {}
    gan, near, walk, latest, classes = None, None, "", "", []
    try:
        gan = load(workdir, checkpoint)
    except InputError as error:
        if checkpoint != "newest":
            raise
        missing["pair"] = str(error)
    if gan is not None:
        latest = views.latest(gan, seed)
        if len(gan.shape) == 3:
            walk, classes = views.interpolation(gan, seed), views.per_class(gan, seed)
            try:
                near = views.neighbours(gan, seed)
            except InputError as error:
                missing["neighbours"] = str(error)
    recognised = tasks(_json(workdir / RECOGNITION))
    drawn = any(task.confusion for task in recognised)  # on the page, in its own colours
    shown = [name for name in RECOGNITION_PICTURES if not (drawn and name == "confusion")]
    return Run(
        name=name,
        workdir=workdir,
        config=config,
        history=history,
        frames=views.frames(workdir / SAMPLES, config.images_per_step),
        gan=gan,
        latest=latest,
        walk=walk,
        classes=classes,
        neighbours=near,
        missing=missing,
        scores=_scores(workdir / SCORES),
        recognition=recognised,
        recognition_pictures=views.pictures(workdir, {name: RECOGNITION_PICTURES[name] for name in shown}),
    )


def render(runs: Sequence[Run]) -> str:
    """The page as text."""
    environment = Environment(
        loader=PackageLoader("gan_jax.reporting", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.j2").render(
        runs=runs,
        charts=charts({run.name: run.history for run in runs}),
        differing=_differing(runs),
        frames={run.name: [dataclasses.asdict(frame) for frame in run.frames] for run in runs},
        version=gan_jax.__version__,
        written=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )


def _names(folders: Sequence[Path]) -> list[str]:
    """Short names that differ: the folder's own, with as much of the path before it as it takes."""
    parts = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise InputError(f"--compare names the same workdir twice: {', '.join(map(str, folders))}")


def _differing(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """Settings that are not the same in all runs."""
    flat = [flat_settings(run.config) for run in runs]
    names = list(dict.fromkeys(name for settings in flat for name in settings))
    rows = [(name, [_text(settings.get(name)) for settings in flat]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return None


def _scores(path: Path) -> list[tuple[str, str, str]]:
    """Scores that gan_jax.evaluate wrote, beside those of real data."""
    found = _json(path)
    if not isinstance(found, Mapping) or not isinstance(found.get("scores"), Mapping):
        return []
    floor = found.get("floor")
    floor = floor if isinstance(floor, Mapping) else {}
    return [
        (name, _text(value), _text(floor[name]) if name in floor else "") for name, value in found["scores"].items()
    ]
