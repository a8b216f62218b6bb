"""For MkDocs: pages that are made from files outside docs/, so that nothing is written twice.

benchmarks/ and CHANGELOG.md are shown as they are; the table of settings is read from gan_jax/config/.
"""

import ast
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

_MOVED = (  # how files of the checkout name one another, and where the site has them
    (r"\]\(\.\./benchmarks/", "](benchmarks/"),
    (r"\]\(\.\./CHANGELOG\.md", "](changes.md"),
    (r"\]\(benchmarks/README\.md", "](benchmarks/README.md"),
)


def on_config(config: Any) -> Any:
    """Puts pages that the navigation does not name yet at its end, so that none is lost."""
    named = str(config.nav)
    pages = sorted(path.name for path in Path(config.docs_dir).glob("*.md"))
    if unnamed := [page for page in pages if f"'{page}'" not in named]:
        config.nav.append({"More": unnamed})
    return config


def on_files(files: Files, config: Any) -> Files:
    """Adds the pages."""
    root = Path(config.config_file_path).parent
    for path in sorted((root / "benchmarks").iterdir()):
        if path.suffix in (".md", ".png"):
            files.append(File.generated(config, f"benchmarks/{path.name}", abs_src_path=str(path)))
    files.append(File.generated(config, "changes.md", abs_src_path=str(root / "CHANGELOG.md")))
    source = "".join((root / "gan_jax" / "config" / name).read_text() for name in ("settings.py", "groups.py"))
    files.append(File.generated(config, "settings.md", content=settings_page(source)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Turns links to files of the checkout into links of the site."""
    for pattern, replacement in _MOVED:
        markdown = re.sub(pattern, replacement, markdown)
    return markdown


def settings_page(source: str) -> str:
    """Every field of the config with its type, default and comment, a table a group."""
    lines, classes = source.splitlines(), {}
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef) and node.name.endswith("Config") and ast.get_docstring(node):
            classes[node.name] = node
    groups = {
        ast.unparse(field.annotation): field.target.id  # type: ignore[attr-defined]
        for field in classes["Config"].body
        if isinstance(field, ast.AnnAssign) and ast.unparse(field.annotation) in classes
    }
    page = ["# Settings", "", "Every field of `gan_jax/config`: `--config.GROUP.FIELD=VALUE` on the command line."]
    page += ["Lengths and intervals count images seen.", ""]
    for name in ["Config", *(name for name in classes if name != "Config")]:
        prefix = f"{groups[name]}." if name in groups else ""
        page += [f"## {groups.get(name, 'The run')}", "", str(ast.get_docstring(classes[name])).splitlines()[0], ""]
        page += ["| field | type | default | what |", "|---|---|---|---|"]
        for field in classes[name].body:
            if isinstance(field, ast.AnnAssign) and ast.unparse(field.annotation) not in groups:
                page.append(_row(prefix, field, lines))
        page.append("")
    return "\n".join(page)


def _row(prefix: str, field: ast.AnnAssign, lines: list[str]) -> str:
    comment = lines[(field.end_lineno or field.lineno) - 1].partition("  # ")[2]
    default = ast.unparse(field.value) if field.value else ""
    default = re.sub(r"^Schedule\(start=(.*)\)$", r"\1", default)
    cells = [f"`{prefix}{field.target.id}`", f"`{ast.unparse(field.annotation)}`", f"`{default}`", comment]  # type: ignore[union-attr]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
