"""The web page on a trained run: what it can do, and that a person in a browser can do it and sees no traceback."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image
from tiny import tiny_program

import gan_jax
from gan_jax.data.sources import load_source
from gan_jax.errors import InputError
from gan_jax.gan import from_state
from gan_jax.runtime.pictures import image_grid
from gan_jax.studio.looking import Studio, open_studio
from gan_jax.studio.page import wait_for_signal


@pytest.fixture(scope="module")
def studio(small_run: pathlib.Path) -> Studio:
    """The small run's."""
    return open_studio(small_run)


@pytest.fixture(scope="module")
def files(small_run: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """A training image as a picture, a text, and a picture that is cut off."""
    folder = tmp_path_factory.mktemp("files")
    source = load_source(gan_jax.load(small_run).config.data, "train")
    Image.fromarray(source.read(np.array([4]))["image"][0, ..., 0]).save(folder / "digit.png")
    (folder / "notes.txt").write_text("no picture")
    (folder / "renamed.png").write_text("no picture")
    (folder / "cut.png").write_bytes((folder / "digit.png").read_bytes()[:60])
    return folder


def test_samples_are_those_of_the_seed(studio: Studio) -> None:
    picture = studio.sample(6, 3, None, None)
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    expected = image_grid(np.asarray(studio.gan.sample(jax.random.key(3), 6))).repeat(3, axis=2)
    np.testing.assert_array_equal(picture, expected)
    assert not np.array_equal(studio.sample(6, 3, 0.5, None), picture)
    assert not np.array_equal(studio.sample(6, 3, None, "7"), picture)


def test_a_walk_starts_and_ends_at_the_samples_of_its_seeds(studio: Studio) -> None:
    side = studio.walk(1, 2, "4").shape[0]
    walk, back = studio.walk(1, 2, "4"), studio.walk(2, 1, "4")
    tile = walk[:, : side - 2], walk[:, -side + 2 :]
    np.testing.assert_array_equal(tile[0][:, 2:], back[:, -side + 2 :][:, :-2])
    assert not np.array_equal(tile[0], tile[1])


def test_an_edit_moves_along_a_direction_and_nothing_else_changes(studio: Studio) -> None:
    still = studio.edit(5, [0.0] * 6, "1")
    middle = still.shape[1] // 2
    np.testing.assert_array_equal(still[:, 2 : middle - 1], still[:, middle + 1 : -2])
    moved = studio.edit(5, [3.0] + [0.0] * 5, "1")
    np.testing.assert_array_equal(moved[:, :middle], still[:, :middle])
    assert not np.array_equal(moved, still)


def test_a_training_image_finds_itself_and_its_class(studio: Studio, files: pathlib.Path) -> None:
    found = studio.recognise(files / "digit.png")
    source = load_source(studio.gan.config.data, "train").read(np.array([4]))
    assert f"**{source['label'][0]}**" in found.text and "%" in found.text
    assert found.seen.shape[0] > 190 and found.neighbours.shape[2] == 3
    image = studio._read(files / "digit.png")
    np.testing.assert_array_equal(image, source["image"][0])
    nearest, share = studio._nearest(image[None] / np.float32(127.5) - 1)
    assert nearest[0] == 4 and 0 <= share <= 1


def test_bad_input_is_one_line(studio: Studio, files: pathlib.Path) -> None:
    for name in ("notes.txt", "renamed.png", "cut.png", "gone.png"):
        with pytest.raises(InputError, match=f"{name} is no picture for this page"):
            studio.recognise(files / name)
    for num, seed in ((0, 0), (101, 0), (2.5, 0), (None, 0), (1, -1), (1, float("nan"))):
        with pytest.raises(InputError, match="must be a whole number"):
            studio.sample(num, seed, None, None)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'eleven' is no class"):
        studio.sample(1, 0, None, "eleven")
    program = tiny_program("mlp")
    with pytest.raises(InputError, match="draws points"):
        Studio(from_state(program, program.init(np.uint32(0)), []))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_page_is_shown_until_a_signal_comes(number: signal.Signals) -> None:
    former = signal.signal(number, signal.SIG_IGN)  # as for a job in the background
    try:
        waiting = threading.Thread(target=lambda: (time.sleep(0.2), os.kill(os.getpid(), number)))
        waiting.start()
        wait_for_signal()
        waiting.join(timeout=10)
        assert signal.getsignal(number) == signal.SIG_IGN
    finally:
        signal.signal(number, former)


# ---------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def address(small_run: pathlib.Path) -> Iterator[str]:
    """Of the page, served by the command itself."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    line = [sys.executable, "-m", "gan_jax.playground", f"--workdir={small_run}", f"--port={port}"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+", said)
        assert found, said
        yield found[0]
        process.send_signal(signal.SIGINT)
        try:
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()  # or the end of this block would wait for ever


class Visitor:
    """A page and what went on behind it."""

    def __init__(self, chromium: Any, address: str, width: int) -> None:
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page = chromium.new_page(viewport={"width": width, "height": 1000})
        self.page.set_default_timeout(60_000)
        self.page.on("console", lambda message: self.said.append(message.text) if message.type == "error" else None)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)
        self.page.get_by_role("heading", name="gan_jax").wait_for()

    def press(self, tab: str, button: str) -> str:
        """Opens a tab, presses its button and waits for its picture; returns the picture's address."""
        self.page.get_by_role("tab", name=tab).click()
        self.page.get_by_role("button", name=button, exact=True).click()
        picture = self.page.locator(".picture img:visible")
        picture.first.wait_for()
        return str(picture.first.get_attribute("src"))


@pytest.fixture(params=[1280, 400])
def visitor(chromium: Any, address: str, request: pytest.FixtureRequest) -> Iterator[Visitor]:
    """On a desk and on a phone; whatever they did, nothing failed and nothing left the machine."""
    visitor = Visitor(chromium, address, request.param)
    yield visitor
    assert visitor.page.evaluate("document.documentElement.scrollWidth") <= request.param
    assert "Traceback" not in visitor.page.content()
    assert not visitor.said
    outside = [url for url in visitor.asked if not url.startswith((address, "data:", "blob:"))]
    assert not outside
    visitor.page.close()


@pytest.mark.browser
def test_a_visitor_samples_walks_and_edits(visitor: Visitor) -> None:
    assert visitor.press("Sample", "Sample")
    assert visitor.press("Walk", "Walk")
    first = visitor.press("Edit", "Show")
    visitor.page.get_by_label("Seed").locator("visible=true").first.fill("7")
    visitor.page.get_by_role("button", name="Show", exact=True).click()
    visitor.page.wait_for_function(
        "before => [...document.querySelectorAll('.picture img')].some(i => i.checkVisibility() && i.src !== before)",
        arg=first,
    )


@pytest.mark.browser
def test_a_visitor_uploads_a_picture_and_then_a_text(visitor: Visitor, files: pathlib.Path) -> None:
    page = visitor.page
    page.get_by_role("tab", name="Recognise").click()
    page.locator("input[type=file]:not([webkitdirectory])").locator("visible=true").or_(
        page.locator("input[type=file]")
    ).last.set_input_files(files / "digit.png")
    page.get_by_text("What it recognises").wait_for()
    page.locator(".picture img:visible").nth(1).wait_for()  # pictures may come after the words
    assert page.locator(".picture img:visible").count() == 2
    page.get_by_role("button", name=re.compile("clear|remove|delete", re.I)).locator("visible=true").first.click()
    page.locator(".picture img:visible").first.wait_for(state="hidden")
    page.locator("input[type=file]").last.set_input_files(files / "notes.txt")
    page.get_by_text("notes.txt is no picture for this page").wait_for()
    assert page.locator(".picture img:visible").count() == 0


@pytest.mark.browser
def test_the_page_listens_on_this_machine_alone(address: str, small_run: pathlib.Path) -> None:
    port = int(address.rsplit(":", 1)[1])
    places = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in pathlib.Path(table).read_text().splitlines()[1:]:
            local, state = line.split()[1], line.split()[3]
            if state == "0A" and int(local.split(":")[1], 16) == port:
                places.append(local.split(":")[0])
    assert places == ["0100007F"]  # 127.0.0.1
    again = [sys.executable, "-m", "gan_jax.playground", f"--workdir={small_run}", f"--port={port}"]
    done = subprocess.run(again, capture_output=True, text=True, timeout=180)
    assert done.returncode == 2 and f"--port={port}" in done.stderr and "Traceback" not in done.stderr
