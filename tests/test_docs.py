"""README, docs and notebooks say what is true: every link leads somewhere, every code block runs."""

import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time
import tomllib

import jax
import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

import gan_jax
from gan_jax.config import load_config
from gan_jax.data.sources import load_source

ROOT = pathlib.Path(__file__).parent.parent
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")] + sorted((ROOT / "docs").glob("*.md"))
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FENCE = re.compile(r"^```([a-z]*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
# Pages whose commands are run, in order, in one folder, and what that leaves, among other things.
# Of the commands of other pages the flags are checked.
RUN = {
    "README.md": ("samples.npz", "walk.png", "generator/card.json", "runs/photos/report.html"),
    "start.md": ("grid.png",),
    "own_images.md": ("runs/photos/report.html", "runs/mine/metrics.jsonl"),
    "look.md": ("both.html",),
    "augmentation.md": ("generated/provenance.json", "labelled.npz", "all.npz", "few/provenance.json"),
    "domains.md": ("runs/mnist1d/metrics.jsonl", "words.txt", "digits.wav", "runs/sensor/metrics.jsonl"),
    "recognition.md": ("runs/recognition/recognition.json", "runs/recognition/recogniser.npz"),
    "tuning.md": ("runs/tune/tuning.md", "runs/best/metrics.jsonl"),
}
# Not of these, which have tests of their own: they serve until Ctrl-C, or train for long whatever they are told. The
# README's search is tuning.md's.
NOT_HERE = {"gan_jax.playground", "gan_jax.benchmark", "--task=detect", "--budget=10m"}
# Programs that pages name and that this machine need not have.
ELSEWHERE = {
    "apt-get",
    "cd",
    "docker",
    "export",
    "gcloud",
    "git",
    "kubectl",
    "mkdocs",
    "sbatch",
    "scancel",
    "source",
    "ssh",
}
ELSEWHERE |= {".", "cat", "mkdir", "nvidia-smi", "rsync", "squeue", "srun", "tail", "tensorboard", "gsutil", "gcsfuse"}
TINY = [
    *("--config.total_images=2560", "--config.model.g_width=16", "--config.model.d_width=16"),
    *("--config.log.samples_images=1280", "--config.data.batch_size=32"),
]
FEW = "--config.total_images=640"  # for networks that take long
DIGITS = ["--config.data.source=digits", "--config.data.path=", "--config.data.image_size=8"]
# By what a command says of its data: flags that make them small, or take what the fixture `folder` holds. Else digits.
DATA = {
    "--config=auto:": ["--config.data.image_size=16"],
    "--config=folder": ["--config.data.image_size=16", FEW],
    "--config.data.source=npz": [],
    "--config=configs/mnist1d.py": [],
    "--config=configs/words.py": ["--config.data.path=dictionary.txt", FEW],
    "--config=configs/spoken_digits.py": ["--config.data.source=wav", "--config.data.path=sounds", FEW],
    "--config=runs/tune/best.py": [],
}
SMALL = {
    "gan_jax.main": TINY,
    "gan_jax.augment": ["--count=100", "--steps=20"],
    "gan_jax.evaluate": ["--num=200"],
    "gan_jax.label": ["--steps=20"],
    "gan_jax.recognize": ["--label_seeds=1", "--labels=20", "--steps=20"],
    "gan_jax.tune": [*TINY, "--trials=2"],
}


def blocks(page: pathlib.Path, python: bool) -> list[str]:
    """Code blocks of a page: Python's, or those of shells."""
    found = FENCE.findall(page.read_text())
    return [
        text
        for language, text in found
        if (language == "python") == python and language in ("", "python", "sh", "bash")
    ]


def commands(page: pathlib.Path) -> list[list[str]]:
    """The commands of a page's shell blocks, as words."""
    found = []
    for text in blocks(page, python=False):
        for line in text.replace("\\\n", " ").splitlines():
            for part in re.split(r"\s&&\s|\s;\s", line):
                words = shlex.split(part, comments=True)
                while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
                    words.pop(0)  # variables set for the command
                if words:
                    found.append(words)
    return found


def modules(page: pathlib.Path) -> list[list[str]]:
    """The page's own commands, from the name of the doorway on."""
    return [words[2:] for words in commands(page) if words[:2] == ["python", "-m"] and words[2].startswith("gan_jax.")]


# ---------------------------------------------------------------------- links and names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_link_is_dead(page: pathlib.Path) -> None:
    text = re.sub(FENCE, "", page.read_text())
    generated = {"changes.md", "settings.md"}  # by docs/hooks.py
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if target.startswith(("http://", "https://", "mailto:")):
            continue
        path, _, anchor = target.partition("#")
        if path in generated and page.parent.name == "docs":
            continue
        place = (page.parent / path).resolve() if path else page
        assert place.exists(), f"{page.name}: {target}"
        if anchor and place.suffix == ".md":
            headings = re.findall(r"^#+ (.*)$", place.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_name_what_there_is(page: pathlib.Path) -> None:
    languages = {language for language, _ in FENCE.findall(page.read_text())}
    assert languages <= {"", "sh", "bash", "python", "text"}, f"{page.name}: a block that no test would run"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras, markers = project["project"]["optional-dependencies"], project["tool"]["pytest"]["ini_options"]["markers"]
    for words in commands(page):
        line = " ".join(words)
        if words[0] in ("pip", "pytest"):
            for extra in re.findall(r"\[([\w,]+)\]", line):
                assert set(extra.split(",")) <= extras.keys(), line
            if "-m" in words:
                assert words[words.index("-m") + 1] in {marker.split(":")[0] for marker in markers}, line
        elif words[:2] == ["python", "-m"]:
            if words[2].startswith("gan_jax."):
                name = words[2].replace(".", "/")
                assert (ROOT / f"{name}.py").exists() or (ROOT / name / "__main__.py").exists(), line
        elif words[0].startswith(("launch/", ".ci/", "./")):
            assert (ROOT / words[0]).exists(), line
        else:
            assert words[0] in ELSEWHERE | {"python", "python3"}, f"{page.name}: a command that no test knows: {line}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_training_commands_hold_valid_settings(page: pathlib.Path) -> None:
    for words in modules(page):
        configs = [word.removeprefix("--config=") for word in words if word.startswith("--config=")]
        overrides = [word.removeprefix("--config.") for word in words if word.startswith("--config.")]
        for config in configs:
            if config.startswith("auto:") or not (config in load_names() or (ROOT / config).exists()):
                continue  # a placeholder such as configs/X.py
            load_config(config if config in load_names() else ROOT / config, overrides)


def load_names() -> set[str]:
    return {path.stem for path in (ROOT / "configs").glob("*.py")}


# ---------------------------------------------------------------------- everything runs


@pytest.fixture(scope="module")
def folder(small_run: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Where a reader works: configs/, photos of two kinds, sounds, signals, words, and two runs."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "configs").symlink_to(ROOT / "configs")
    for name in ("digits", "other"):
        shutil.copytree(small_run, folder / "runs" / name)
    images = load_source(gan_jax.load(small_run).config.data, "train").read(np.arange(80))["image"]
    for index, image in enumerate(images):
        path = folder / "photos" / ("odd" if index % 2 else "even") / f"{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[..., 0]).resize((90, 70)).save(path)
    shutil.copy(path, folder / "shoe.png")
    np.savez(folder / "mine.npz", images=images, labels=np.arange(80) % 10)
    (folder / "labelled").symlink_to(folder / "photos")
    (folder / "more").symlink_to(folder / "photos" / "odd")
    rng = np.random.default_rng(0)
    np.savez(folder / "sensor.npz", signals=rng.uniform(-1, 1, (80, 40)), labels=np.arange(80) % 10)
    for index in range(40):
        path = folder / "sounds" / ("high" if index % 2 else "low") / f"{index}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        wave = np.sin(np.arange(8000) * (0.2 if index % 2 else 0.1)) * rng.uniform(0.5, 1)
        wavfile.write(path, 8000, (20_000 * wave).astype(np.int16))
    letters = list("abcdefgh")
    words = {"".join(rng.choice(letters, rng.integers(3, 9))) for _ in range(200)}
    (folder / "dictionary.txt").write_text("\n".join(sorted(words)))
    return folder


@pytest.fixture(scope="module")
def ran() -> set[tuple[str, ...]]:
    """Commands that a page before has run in the same folder."""
    return set()


@pytest.mark.docs
@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, python=True)], ids=lambda page: page.name)
def test_python_blocks_run(
    page: pathlib.Path, folder: pathlib.Path, small_run: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sybil import Sybil
    from sybil.parsers.markdown import PythonCodeBlockParser

    monkeypatch.chdir(folder)
    one = jax.devices()[:1]
    if page.name == "look.md" and not (folder / "generator").exists():
        from gan_jax.exporting import export

        export(small_run, folder / "generator")
    if page.name == "recognition.md":  # which speaks of a run and the classifier made from it
        from gan_jax.recognition.report import recognize

        tiny = [flag.removeprefix("--config.") for flag in (*TINY, *DIGITS)]
        gan_jax.train(load_config("recognition", tiny), folder / "runs" / "recognition", devices=one)
        recognize(folder / "runs" / "recognition", "probe", labels=[20], label_seeds=1)
    real = gan_jax.load_config

    def smaller(path: str, overrides: object = ()) -> gan_jax.Config:
        """Runs of the pages end after a few thousand images here."""
        config = real(path, overrides)  # type: ignore[arg-type]
        few = {"total_images": min(config.total_images, 12_800)}
        return config.replace(
            few if path == "digits" and overrides else few | {"model.g_width": 16, "model.d_width": 16}
        )

    monkeypatch.setattr(gan_jax, "load_config", smaller, raising=False)
    whole_train = gan_jax.train
    monkeypatch.setattr(
        gan_jax,
        "train",
        lambda config, workdir, **rest: whole_train(config, workdir, devices=one, **rest),
        raising=False,
    )
    document = Sybil(parsers=[PythonCodeBlockParser()], patterns=["*.md"], path=str(page.parent)).parse(page)
    examples = list(document.examples())
    assert len(examples) == len(blocks(page, python=True))
    for example in examples:
        example.evaluate()


def run(folder: pathlib.Path, words: list[str], timeout: int = 300) -> subprocess.CompletedProcess:
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, timeout=timeout, cwd=folder, env=environment
    )


def smaller_command(words: list[str]) -> list[str]:
    """A page's command with a few images, small networks and few trials; what it says itself stays."""
    small = SMALL.get(words[0], [])
    if any(word.startswith("--config=") for word in words):
        known = (flags for start, flags in DATA.items() if any(word.startswith(start) for word in words))
        small = [*small, *next(known, DIGITS)]
    words = [word for word in words if not word.startswith(("--budget=", "--count=", "--filter="))]  # too much, too few
    return words + [flag for flag in small if flag.split("=")[0] not in {word.split("=")[0] for word in words}]


@pytest.mark.docs
@pytest.mark.parametrize("name", RUN)
def test_a_page_s_commands_run_in_order(name: str, folder: pathlib.Path, ran: set[tuple[str, ...]]) -> None:
    (page,) = [page for page in PAGES if page.name == name]
    for words in modules(page):
        if NOT_HERE & {*words} or tuple(words) in ran:
            continue
        ran.add(tuple(words))
        workdir = folder / next(
            (w.removeprefix("--workdir=") for w in words if w.startswith("--workdir=")), "runs/photos"
        )
        if words[0] in ("gan_jax.main", "gan_jax.tune") and "--dry_run" not in words:
            shutil.rmtree(workdir, ignore_errors=True)  # of another page, with other settings
        start = time.monotonic()
        done = run(folder, smaller_command(words))
        print(f"{time.monotonic() - start:6.1f} s  {' '.join(words)}")
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stderr}"
    for made in RUN[name]:
        assert (folder / made).stat().st_size > 500, made


@pytest.mark.docs
def test_the_flags_of_every_command_are_known(folder: pathlib.Path) -> None:
    lines = {tuple(words) for page in PAGES for words in modules(page) if page.name not in RUN}
    code = """
import importlib, json, sys
from absl import flags
from gan_jax import cli
for words in json.loads(sys.argv[1]):
    rest = [word for word in words if not word.startswith("--config.")]
    flags.FLAGS([rest[0], *(word for word in rest[1:] if word.startswith("--"))])
"""
    doors: dict[str, list[list[str]]] = {}
    for words in sorted(lines):
        doors.setdefault(words[0], []).append(list(words))
    import json

    for door, used in doors.items():
        module = f"{door}.__main__" if (ROOT / door.replace(".", "/")).is_dir() else door
        text = code.replace("from gan_jax import cli", f"importlib.import_module({module!r})")
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", text, json.dumps(used)], capture_output=True, text=True, timeout=120, env=environment
        )
        assert done.returncode == 0, f"{door}: {done.stderr}"


@pytest.mark.docs
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(path: pathlib.Path, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    book = nbformat.read(path, as_version=4)
    source = book.cells[1].source
    assert source.startswith("IMAGES = 400_000")
    book.cells[1].source = source.replace("400_000", "6_400")
    assert not any(cell.get("outputs") for cell in book.cells)  # committed without outputs
    NotebookClient(book, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    assert any(output for cell in book.cells for output in cell.get("outputs", []))


@pytest.mark.docs
def test_the_site_builds_without_a_warning(tmp_path: pathlib.Path) -> None:
    line = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, cwd=ROOT, env=environment)
    assert done.returncode == 0 and "WARNING" not in done.stderr, done.stderr
    settings = (tmp_path / "settings" / "index.html").read_text()
    for field in ("data.batch_size", "penalty.r1", "watchdog.rollbacks", "log.boards"):
        assert field in settings
    assert "load_exported" in (tmp_path / "reference" / "index.html").read_text()
    outside = re.compile(r'<(?:script|link|img)[^>]*(?:src|href)="(https?:)?//(?!localhost)')
    pages = list(tmp_path.rglob("*.html"))
    assert len(pages) > 12
    for path in pages:
        assert not outside.search(path.read_text()), path


@pytest.mark.browser
def test_the_pictures_of_pages_are_drawn(small_run: pathlib.Path, tmp_path: pathlib.Path) -> None:
    line = [sys.executable, ROOT / "docs" / "pictures.py", f"--workdir={small_run}", f"--out={tmp_path}"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(line, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    for name in ("report_light", "report_dark", "playground"):
        with Image.open(tmp_path / f"{name}.png") as drawn, Image.open(ROOT / "docs" / f"{name}.png") as shown:
            assert drawn.size == shown.size and len(drawn.convert("L").getcolors() or []) > 50  # not an empty page
