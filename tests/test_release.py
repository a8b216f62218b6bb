"""What is released: built twice the same, accepted by the index, and at work in an empty folder."""

import hashlib
import os
import pathlib
import re
import subprocess
import sys
import sysconfig
import zipfile

import numpy as np
import pytest
import yaml
from PIL import Image

import gan_jax
from gan_jax.config import preset_names

EPOCH = "1700000000"  # of the archives' entries


def build(root: pathlib.Path, out: pathlib.Path) -> list[pathlib.Path]:
    """The sdist, and the wheel made of it."""
    line = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(root)]
    done = subprocess.run(
        line, capture_output=True, text=True, timeout=300, env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return sorted(out.iterdir())


@pytest.fixture(scope="module")
def built(root: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> list[pathlib.Path]:
    return build(root, tmp_path_factory.mktemp("dist"))


@pytest.mark.environment
def test_two_builds_are_the_same_byte_for_byte(
    root: pathlib.Path, built: list[pathlib.Path], tmp_path: pathlib.Path
) -> None:
    again = build(root, tmp_path)
    assert [path.name for path in again] == [path.name for path in built] and len(built) == 2
    for first, second in zip(built, again, strict=True):
        assert hashlib.sha256(first.read_bytes()).digest() == hashlib.sha256(second.read_bytes()).digest(), first.name


@pytest.mark.environment
def test_the_index_would_take_them(built: list[pathlib.Path]) -> None:
    line = [sys.executable, "-m", "twine", "check", "--strict", *map(str, built)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.count("PASSED") == 2, done.stdout + done.stderr


@pytest.mark.environment
def test_the_wheel_works_in_an_empty_folder(built: list[pathlib.Path], tmp_path: pathlib.Path) -> None:
    (wheel,) = [path for path in built if path.suffix == ".whl"]
    names = zipfile.ZipFile(wheel).namelist()
    for needed in ("gan_jax/configs/digits.py", "gan_jax/reporting/page.html.j2", "gan_jax/main.py"):
        assert needed in names
    assert not [name for name in names if name.startswith(("tests/", "configs/", "docs/"))]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    environment.pop("PYTHONPATH", None)
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, timeout=120)
    python = tmp_path / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", wheel]
    subprocess.run(install, check=True, timeout=120, env=environment)
    # Its dependencies are those of this environment, which pip has checked; only gan_jax is the wheel's.
    (place,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    paths = [path for path in sys.path if path.endswith("site-packages")] or [sysconfig.get_path("purelib")]
    (place / "others.pth").write_text("\n".join(paths) + "\n")
    empty = tmp_path / "empty"
    empty.mkdir()
    tiny = ["--config.total_images=640", "--config.model.g_width=16", "--config.model.d_width=16"]
    where = subprocess.run(
        [python, "-c", "import gan_jax; print(gan_jax.__file__)"],
        capture_output=True, text=True, check=True, timeout=60, cwd=empty, env=environment,
    )  # fmt: skip
    assert where.stdout.startswith(str(place)), where.stdout
    for line in (
        ["main", "--config=digits", "--workdir=run", *tiny],
        ["report", "--workdir=run"],
        ["sample", "--workdir=run", "--num=4", "--out=grid.png"],
    ):
        done = subprocess.run(
            [python, "-m", f"gan_jax.{line[0]}", *line[1:]],
            capture_output=True, text=True, timeout=300, cwd=empty, env=environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert (empty / "run" / "report.html").stat().st_size > 10_000 and (empty / "grid.png").exists()


@pytest.mark.environment
def test_from_a_clone_to_a_page_in_the_three_commands_of_the_readme(root: pathlib.Path, tmp_path: pathlib.Path) -> None:
    section = (root / "README.md").read_text().partition("## Your own pictures")[2]
    lines = section.split("```")[1].strip().splitlines()
    assert len(lines) == 3
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, timeout=120)
    (place,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (place / "others.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")) + "\n")
    rng = np.random.default_rng(0)
    for index in range(70):
        path = tmp_path / "photos" / f"{index}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8)).save(path)
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "PATH": f"{tmp_path / 'venv' / 'bin'}:{os.environ['PATH']}",
        "JAX_PLATFORMS": "cpu",
    }  # pip finds the dependencies that it would install here already
    small = "--config.total_images=128 --config.data.image_size=16 --config.model.g_width=8 --config.model.d_width=8"
    script = [
        lines[0].replace("<this repository>", f"'{root}'"),
        "mv ../photos .",
        lines[1].partition("#")[0] + f" {small} --config.log.checkpoint_images=64",
        lines[2],
    ]
    done = subprocess.run(
        ["bash", "-euc", "\n".join(script)], capture_output=True, text=True, timeout=500, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stdout + done.stderr
    page = tmp_path / "gan_jax" / "runs" / "photos" / "report.html"
    assert page.stat().st_size > 10_000 and "Is it copying?" in page.read_text()
    assert "gan_jax" in done.stdout


def test_the_same_facts_stand_everywhere(root: pathlib.Path) -> None:
    citation = yaml.safe_load((root / "CITATION.cff").read_text())
    project = (root / "pyproject.toml").read_text()
    assert citation["version"] == gan_jax.__version__ and f'version = "{gan_jax.__version__}"' in project
    assert citation["cff-version"] == "1.2.0" and citation["authors"] and citation["license"] == "Apache-2.0"
    workflow = yaml.safe_load((root / ".github" / "workflows" / "ci.yml").read_text())
    versions = workflow["jobs"]["ci"]["strategy"]["matrix"]["python"]
    assert versions == re.findall(r"Python :: (3\.\d+)", project)
    assert any(step.get("run") == ".ci/run" for step in workflow["jobs"]["ci"]["steps"])


def test_every_config_of_the_checkout_is_built_in(root: pathlib.Path) -> None:
    assert preset_names() == sorted(path.stem for path in (root / "configs").glob("*.py"))
