"""The page of a run: what it tells, what it leaves out with a reason, and that it needs nothing from outside."""

import dataclasses
import html.parser
import json
import pathlib
import re
import shutil
import subprocess
import sys
from typing import Any

import jax
import numpy as np
import pytest
from tiny import tiny_program

import gan_jax
from gan_jax.config import to_dict
from gan_jax.data.arrays import ArraySource
from gan_jax.data.sources import load_source
from gan_jax.errors import InputError
from gan_jax.gan import Gan, from_state
from gan_jax.reporting import page, views
from gan_jax.reporting.charts import charts
from gan_jax.reporting.page import write_report
from gan_jax.runtime.history import History, read_history


class Reader(html.parser.HTMLParser):
    """Addresses, identifiers, headings and text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.headings: list[str] = []
        self.words: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset")]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self.tags and self.tags[-1] == "h2" and data.strip():
            self.headings.append(data.strip())

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def whole(small_run: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The small run's page."""
    out = tmp_path_factory.mktemp("page") / "a.html"
    return write_report(small_run, out).read_text()


def test_everything_a_reader_asks_is_on_the_page(whole: str, small_run: pathlib.Path) -> None:
    found = Reader(whole)
    headings = ["Samples over time", "Curves", "Interpolation", "Samples of each class", "Is it copying?", "Events"]
    assert found.headings == [*headings, "Settings"]  # no scores and no recognition without their files
    for words in ("done", "192", "Losses", "Penalties and regularisers", "d_loss", "model.conditional"):
        assert words in found.text
    assert " ".join(read_history(small_run).start["command"].split()) in found.text
    frames = json.loads(re.search(r'id="frames">(.*?)</script>', whole, re.DOTALL)[1])["run"]  # type: ignore[index]
    assert [frame["step"] for frame in frames] == [0, 3, 6, 9, 12]
    for label in range(10):
        assert f"samples of class {label}" in whole
    near = views.neighbours(gan_jax.load(small_run), 0)
    assert f"ratio {near.ratio:.3g}" in found.text and near.held_out


def test_the_page_needs_no_network(whole: str) -> None:
    found = Reader(whole)
    outside = [a for a in found.addresses if not a.startswith(("data:", "#"))]
    assert not outside and "link" in found.tags and whole.count("<svg") >= 6
    assert "default-src 'none'" in whole and "@import" not in whole
    styles = re.findall(r"url\(([^)]*)\)", whole)
    assert all(address.startswith("#") for address in styles)
    anchors = {a[1:] for a in found.addresses if a.startswith("#") and not re.fullmatch(r"#[mpCDh][0-9a-f_]{6,}.*", a)}
    assert anchors <= set(found.ids) and "curves" in anchors


def test_scores_and_recognition_appear_where_they_exist(small_run: pathlib.Path, tmp_path: pathlib.Path) -> None:
    run = shutil.copytree(small_run, tmp_path / "run")
    (run / "scores.json").write_text(json.dumps({"scores": {"fid": 3.25, "nn_ratio": 1.5}, "floor": {"fid": 0.125}}))
    rows = [
        {"features": "ours", "labels": 100, "accuracy": 81.25, "seeds": [81.0, 81.5]},
        {"features": "ours", "labels": 1000, "accuracy": 91.25},
        {"features": "hog", "labels": 100, "kind": "rbf"},
    ]
    probe = {"step": 12, "accuracy": 90.5, "rows": rows, "confusion": [[1, 3], [0, 4]], "classes": ["cat", "<b>dog"]}
    other = {"rows": [{"labels": 3, "accuracy": 1.0, "more": 2.0}], "confusion": [[1, 2]]}
    (run / "recognition.json").write_text(json.dumps({"probe": probe, "other": other, "none": 3}))
    for name in ("confusion", "neighbours"):
        shutil.copy(run / "samples" / "step_00000012.png", run / f"recognition_{name}.png")
    found = Reader(write_report(run).read_text())
    assert "Scores" in found.headings and "fid 3.25 0.125" in found.text and "nn_ratio 1.5" in found.text
    assert "Recognition" in found.headings and "step 12, accuracy 90.5" in found.text
    # A column a number of labels, where there is one figure for each; else as it is.
    assert "features kind accuracy, 100 labels accuracy, 1,000 labels ours 81.25 ± 0.35 91.25 hog rbf" in found.text
    assert "labels accuracy more 3 1 2" in found.text
    text = (run / "report.html").read_text()
    assert "cat <b>dog cat 1 3 <b>dog 0 4" in found.text and "--share: 75%" in text and "&lt;b&gt;dog" in text
    assert "confusion of run" not in text and "nearest images of run" in text  # a table serves light and dark
    del probe["confusion"]
    (run / "recognition.json").write_text(json.dumps({"probe": probe}))
    assert "confusion of run" in write_report(run).read_text()
    (run / "scores.json").write_text("[")
    assert "Scores" not in Reader(write_report(run).read_text()).headings


def test_runs_side_by_side(small_run: pathlib.Path, tmp_path: pathlib.Path) -> None:
    other = shutil.copytree(small_run, tmp_path / "other")
    config = gan_jax.load(other).config.replace({"total_images": 10_000})
    (other / "config.json").write_text(json.dumps(to_dict(config)))
    shutil.rmtree(other / "checkpoints")
    found = Reader(write_report(small_run, tmp_path / "both.html", [other]).read_text())
    assert "total_images 192 10000" in found.text and "What differs" in found.text
    assert "at 2 % of 10,000 images" in found.text and "holds no checkpoint yet" in found.text
    both = charts({"a": read_history(small_run), "b": read_history(other)})
    assert [name for name, _ in next(chart for chart in both if chart.title == "d_loss").latest] == ["a", "b"]
    with pytest.raises(InputError, match="the same workdir twice"):
        write_report(small_run, tmp_path / "both.html", [small_run])


def test_hostile_names_stay_text(small_run: pathlib.Path, tmp_path: pathlib.Path) -> None:
    name = "<script>alert(1)<!--\"'"
    run = shutil.copytree(small_run, tmp_path / name)
    with (run / "metrics.jsonl").open("a") as file:
        file.write(json.dumps({"event": "<b>x", "step": 1, "time": 2.0, "message": "</script><img src=x>"}) + "\n")
        file.write(json.dumps({"step": 12, "images": 192, "time": 2e9, "<i>loss": 1.0}) + "\n")
    text = write_report(run, tmp_path / "a.html").read_text()
    found = Reader(text)
    assert found.tags.count("script") == 2 and "b" in found.tags and "i" not in found.tags
    assert found.addresses.count("x") == 0 and name in found.text


def test_what_cannot_be_had_is_said(
    small_run: pathlib.Path, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*arguments: Any) -> None:
        raise InputError("gone.npz: no such file")

    run = shutil.copytree(small_run, tmp_path / "run")
    monkeypatch.setattr(views, "load_source", gone)
    assert "cannot be had any more: gone.npz" in Reader(write_report(run).read_text()).text
    shutil.rmtree(run / "checkpoints")
    shutil.rmtree(run / "samples")
    (run / "metrics.jsonl").write_text('{"event": "start", "step": 0, "time": 1.0}\n{"step": 1, "ima')
    found = Reader(write_report(run).read_text())
    for words in ("drew no pictures", "holds no checkpoint yet", "Nothing was measured", "1 lines of metrics.jsonl"):
        assert words in found.text
    with pytest.raises(InputError, match="no checkpoint|not a checkpoint|holds no|no such"):
        write_report(run, checkpoint="7")
    with pytest.raises(InputError, match="is a workdir|is missing"):
        write_report(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"end it in \.html"):
        write_report(run, run / "page.pdf")


def test_points_have_a_page_too(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tiny_program("mlp")
    gan = from_state(program, program.init(np.uint32(0)), [])
    (tmp_path / "config.json").write_text(json.dumps(to_dict(program.config)))
    (tmp_path / "metrics.jsonl").write_text('{"event": "start", "step": 0, "time": 1.0}\n')
    monkeypatch.setattr(page, "load", lambda workdir, checkpoint: gan)
    found = Reader(write_report(tmp_path).read_text())
    assert "Only images are compared" in found.text and "Interpolation" not in found.headings


# ---------------------------------------------------------------------- is it copying?


@dataclasses.dataclass
class Stub:
    """A generator that draws given images."""

    gan: Gan
    images: np.ndarray

    @property
    def config(self) -> Any:
        return self.gan.config

    def sample(self, key: jax.Array, num: int) -> np.ndarray:
        return np.resize(self.images, (num, *self.images.shape[1:]))


def test_copies_are_told_from_new_images(small_run: pathlib.Path) -> None:
    gan = gan_jax.load(small_run)
    train = load_source(gan.config.data, "train").read(np.arange(300))["image"].astype(np.float32) / 127.5 - 1
    test = load_source(gan.config.data, "test").read(np.arange(256))["image"].astype(np.float32) / 127.5 - 1
    assert views.neighbours(Stub(gan, train), 0).ratio == 0  # type: ignore[arg-type]
    assert views.neighbours(Stub(gan, test), 0).ratio == pytest.approx(1, abs=0.1)  # type: ignore[arg-type]
    assert views.neighbours(gan, 0).ratio > 1.2  # an untrained one: noise is far from every digit


def test_a_small_set_without_a_test_split_is_compared_with_itself(
    small_run: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gan = gan_jax.load(small_run)
    source = load_source(gan.config.data, "train")
    for count in (2, 40, 300):
        few = ArraySource(source.read(np.arange(count)))

        def only_train(data: Any, split: str, seed: int, few: ArraySource = few) -> ArraySource:
            if split == "test":
                raise InputError("no test split")
            return few

        monkeypatch.setattr(views, "load_source", only_train)
        near = views.neighbours(gan, 0)
        assert near.searched == near.total == count and not near.held_out and near.real_distance > 0


# ---------------------------------------------------------------------- the record


def history(*lines: dict[str, Any]) -> History:
    return History(
        tuple(line for line in lines if "event" not in line), tuple(line for line in lines if "event" in line)
    )


def test_a_pause_is_no_time_at_work() -> None:
    start, later = {"event": "start", "step": 0, "time": 10.0}, {"event": "start", "step": 5, "time": 1000.0}
    line = {"step": 5, "images": 50, "time": 40.0, "fid": 3.0}
    again = {"step": 9, "images": 90, "time": 1005.0, "fid": 2.0}
    assert history(start, line).seconds == 30
    assert history(start, line, later, again).seconds == 35
    assert history().seconds == 0 and history().best("fid") is None
    assert history(start, line, later, again).best("fid") == (2.0, 9)


def test_what_is_not_finite_is_left_out_of_curves() -> None:
    lines = [{"step": n, "images": n, "time": n, "d_loss": value} for n, value in enumerate((1.0, None, 3.0))]
    assert history(*lines).series("d_loss") == ([0, 2], [1.0, 3.0])
    assert history(*lines).typical("d_loss") == 3.0 and history(*lines).names == ["d_loss"]
    (chart,) = charts({"run": history(*lines)})
    assert chart.latest == (("d_loss", "3"),) and "var(--series-0)" in chart.svg and "#0102" not in chart.svg


def test_a_wide_range_gets_a_logarithmic_axis() -> None:
    def svg(last: float) -> str:
        lines = [{"step": n, "images": n, "time": n, "fid": value} for n, value in enumerate((1000.0, last))]
        return charts({"run": history(*lines)})[0].svg

    assert "10^" in svg(1.0).replace("<tspan", "10^<tspan") and svg(1.0) != svg(900.0)


def test_the_command_says_where_the_page_is(small_run: pathlib.Path, tmp_path: pathlib.Path) -> None:
    line = [sys.executable, "-m", "gan_jax.report", f"--workdir={small_run}", f"--out={tmp_path / 'a.html'}"]
    done = subprocess.run(line, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0 and str(tmp_path / "a.html") in done.stdout, done.stderr
    bad = subprocess.run([*line, "--compare=nowhere"], capture_output=True, text=True, timeout=180)
    assert bad.returncode == 2 and "nowhere" in bad.stderr and "Traceback" not in bad.stderr


# ---------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def full(small_run: pathlib.Path, tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The page of a run with all that a page can have, and wide: scores, recognition, alarms, another run."""
    folder = tmp_path_factory.mktemp("full")
    run, other = shutil.copytree(small_run, folder / "run"), shutil.copytree(small_run, folder / ("other" * 12))
    (run / "scores.json").write_text(json.dumps({"scores": {"fid": 3.25}, "floor": {"fid": 0.125}}))
    rows = [{"features": "ours", "labels": n, "accuracy": 80.0, "seeds": [79.0, 81.0]} for n in (100, 1000, 10_000)]
    table = (1000 * np.eye(10, dtype=int)).tolist()
    probe = {"rows": rows, "confusion": table, "classes": [f"kind of shoe {n}" for n in range(10)]}
    (run / "recognition.json").write_text(json.dumps({"probe": probe}))
    with (run / "metrics.jsonl").open("a") as file:
        alarm = {"event": "rollback", "step": 5, "time": 2.0, "message": "d_loss at step 9: " + "far too large " * 20}
        file.write(json.dumps(alarm) + "\n")
    return write_report(run, folder / "a.html", [other])


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_the_page_opens_from_disk_without_errors_or_requests(
    full: pathlib.Path, chromium: Any, width: int, scheme: str
) -> None:
    shown = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    said: list[str] = []
    asked: list[str] = []
    shown.on("console", lambda message: said.append(message.text))
    shown.on("pageerror", lambda error: said.append(str(error)))
    shown.on("request", lambda request: asked.append(request.url))
    shown.goto(full.as_uri())
    shown.wait_for_load_state("networkidle")
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert shown.get_by_role("columnheader", name="kind of shoe 9").is_visible()
    player = shown.locator("figure", has=shown.locator("[data-player=run]"))
    picture = player.locator("[data-player]")
    last = picture.get_attribute("src")
    player.locator("[data-slide]").fill("0")
    assert picture.get_attribute("src") != last and "after 0 images" in player.inner_text()
    player.get_by_role("button", name="Play").click()
    player.get_by_role("button", name="Stop").wait_for()
    player.get_by_text("after 192 images").wait_for(timeout=10_000)
    player.get_by_role("button", name="Play").wait_for()  # it stops at the end
    assert picture.get_attribute("src") == last
    background = shown.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    assert not said and all(url.startswith(("file:", "data:")) for url in asked)
    shown.close()
