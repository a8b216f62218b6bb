"""The house's one rule: imports run from the doorways down to the rooms, never back or across."""

import ast
import pathlib
import subprocess
import sys

import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / "gan_jax"
# Who may import whom. A name stands for a module or a whole room of the package.
BASE = {"errors", "config"}
ROOMS = {
    "errors": set(),
    "config": {"errors"},
    "cli": BASE | {"runtime"},
    "adversarial": BASE,
    "models": BASE,
    "data": BASE,
    "runtime": BASE,
    "metrics": BASE,
    "latents": {"errors"},
    "inversion": {"errors", "latents"},
    "exported": {"errors", "latents"},  # needs JAX and NumPy only
    "program": BASE | {"adversarial", "models", "runtime"},
    "population": BASE | {"adversarial", "data", "program", "runtime"},
    "theory": BASE | {"adversarial"},
    "gan": BASE | {"adversarial", "inversion", "latents", "program", "runtime"},
    "exporting": BASE | {"exported", "gan", "models", "runtime"},
    "recognition": BASE | {"adversarial", "data", "gan", "metrics", "models", "program", "runtime"},
    "augmentation": BASE | {"adversarial", "data", "gan", "latents", "metrics", "models", "recognition", "runtime"},
    "sampling": BASE | {"gan", "runtime"},
    "inspection": BASE | {"data", "program", "runtime"},
    "studio": BASE | {"data", "gan", "latents", "runtime"},
    "reporting": BASE | {"data", "gan", "metrics", "runtime"},
    "evaluation": BASE | {"data", "gan", "metrics", "runtime"},
    "search": BASE | {"adversarial", "data", "evaluation", "gan", "population", "program", "runtime"},
    "training": BASE | {"adversarial", "data", "evaluation", "program", "gan", "runtime"},
    "benchmark": BASE
    | {
        "adversarial",
        "augmentation",
        "data",
        "evaluation",
        "gan",
        "metrics",
        "models",
        "population",
        "program",
        "recognition",
        "runtime",
        "search",
        "theory",
        "training",
    },
}
DOORWAYS = {"augment", "label", "main", "sample", "evaluate", "export", "features", "playground", "recognize", "report"}
DOORWAYS |= {"tune"}


def room(path: pathlib.Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return parts[0]


def imported_rooms(path: pathlib.Path) -> set[str]:
    """Rooms of the package that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are absolute"
            whole = node.module == "gan_jax"
            names = [f"gan_jax.{alias.name}" for alias in node.names] if whole else [node.module]
        found |= {name.split(".")[1] for name in names if name.startswith("gan_jax.")}
    return found - {"__version__"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_run_one_way(path: pathlib.Path) -> None:
    name = room(path)
    if name == "__init__":
        assert not imported_rooms(path), "the package loads its public names lazily"
        return
    if name in DOORWAYS or path.name == "__main__.py":
        assert path.read_text().count("\n") <= 70, "a doorway holds flags and one call"
        assert not imported_rooms(path) & DOORWAYS
        return
    assert name in ROOMS, f"{name} is no room of the house: add it here and to docs/architecture.md"
    assert imported_rooms(path) <= ROOMS[name] | {name}


def test_only_checkpoints_import_orbax() -> None:
    users = [path.name for path in PACKAGE.rglob("*.py") if "orbax" in {
        alias.name.split(".")[0]
        for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import)
        for alias in node.names
    } | {
        (node.module or "").split(".")[0]
        for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom)
    }]  # fmt: skip
    assert sorted(users) == ["checkpoint.py", "orbax_leaks.py"]


def test_importing_the_package_is_quick_and_loads_no_jax() -> None:
    code = "import sys, gan_jax; assert not {'jax', 'flax', 'tensorflow_datasets', 'sklearn'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
