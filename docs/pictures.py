"""Draws the pictures of the docs that show pages: of a finished run, in Debian's chromium.

    python -m gan_jax.main --config=digits --workdir=runs/digits
    python docs/pictures.py --workdir=runs/digits --out=docs

Takes the extras `browser` and `playground`.
"""

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

import gan_jax
from gan_jax.data.sources import load_source
from gan_jax.reporting.page import write_report


def main() -> None:
    """Flags to pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", required=True, type=Path, help="folder of a finished run of grey images")
    parser.add_argument("--out", default=Path("docs"), type=Path, help="folder of the pictures")
    flags = parser.parse_args()
    with sync_playwright() as player, tempfile.TemporaryDirectory() as folder:
        browser = player.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        draw_report(browser, write_report(flags.workdir, Path(folder) / "report.html"), flags.out)
        digit = Path(folder) / "digit.png"
        test = load_source(gan_jax.load(flags.workdir).config.data, "test").read(np.arange(1))["image"]
        Image.fromarray(test[0, ..., 0]).save(digit)
        with playground(flags.workdir) as address:
            draw_playground(browser, address, digit, flags.out)
        browser.close()


def draw_report(browser: Any, page: Path, out: Path) -> None:
    """The report from disk: light in a wide window, dark on a phone."""
    for name, scheme, width, height in (("report_light", "light", 1280, 1500), ("report_dark", "dark", 400, 1500)):
        shown = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
        shown.goto(page.resolve().as_uri())
        shown.screenshot(path=out / f"{name}.png")
        shown.close()


@contextlib.contextmanager
def playground(workdir: Path) -> Iterator[str]:
    """The address of the page that the command serves."""
    line = [sys.executable, "-m", "gan_jax.playground", f"--workdir={workdir}"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        try:
            yield found[0] if found else ""
        finally:
            process.send_signal(signal.SIGTERM)


def draw_playground(browser: Any, address: str, picture: Path, out: Path) -> None:
    """What it recognises in a held-out image."""
    shown = browser.new_page(viewport={"width": 1280, "height": 760}, color_scheme="light")
    shown.set_default_timeout(120_000)
    shown.goto(address)
    shown.get_by_role("tab", name="Recognise").click()
    shown.locator("input[type=file]").last.set_input_files(picture)
    shown.get_by_text("What it recognises").wait_for()
    shown.wait_for_load_state("networkidle")
    shown.screenshot(path=out / "playground.png")
    shown.close()


if __name__ == "__main__":
    main()
