"""What a run writes down can be read back, and a resumed run goes on where its checkpoint is."""

import io
import itertools
import json
import os
import pathlib
import shutil
import struct
import subprocess
import sys
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto.event_pb2 import Event, SessionLog

from gan_jax.errors import InputError
from gan_jax.runtime import progress as progress_module
from gan_jax.runtime.journal import Journal
from gan_jax.runtime.pictures import draw_picture, image_grid, scatter, to_png, to_uint8
from gan_jax.runtime.progress import Progress


def open_journal(workdir: pathlib.Path, start_step: int = 0, active: bool = True) -> Journal:
    return Journal(workdir, active=active, total_images=10_000, start_step=start_step, images_per_step=10)


def lines(workdir: pathlib.Path) -> list[dict[str, Any]]:
    """metrics.jsonl by the letter of JSON: no NaN, no half lines."""
    text = (workdir / "metrics.jsonl").read_text()
    assert text.endswith("\n")
    return [json.loads(line, parse_constant=lambda name: pytest.fail(name)) for line in text.splitlines()]


def read_png(content: bytes) -> np.ndarray:
    """Pixels of a PNG file."""
    return np.asarray(Image.open(io.BytesIO(content)))


def tensorboard(workdir: pathlib.Path) -> list[Event]:
    """All events, read by the TFRecord format: length, its CRC, bytes, their CRC."""
    events = []
    for path in sorted((workdir / "tensorboard").iterdir()):
        content = path.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            events.append(Event.FromString(content[12 : 12 + length]))
            content = content[16 + length :]
    return events


# ---------------------------------------------------------------------- the journal


def test_measurements_and_events_are_lines_of_json(
    tmp_path: pathlib.Path, capfd: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "orig_argv", ["/usr/bin/python3", "-m", "gan_jax.main", "--workdir=my runs/1"])
    with open_journal(tmp_path) as journal:
        journal.metrics(5, 50, {"d_loss": np.float32(0.1), "g_loss": jnp.float32("nan"), "kid": float("-inf")})
        journal.metrics(9, 90, {"d_loss": 1})
        journal.event(9, "damaged", "checkpoint 8 is damaged", reason={"crc": float("nan"), "at": np.int64(3)})
    start, first, second, event = lines(tmp_path)
    assert start["event"] == "start" and start["step"] == 0 and start["devices"] == 8 and start["platform"] == "cpu"
    assert {"python", "jax", "flax", "gan_jax"} <= start["versions"].keys()
    assert start["command"] == "python -m gan_jax.main '--workdir=my runs/1'"
    assert first["step"] == 5 and first["images"] == 50 and first["d_loss"] == float(np.float32(0.1))
    assert first["g_loss"] is None and first["kid"] is None
    assert "images_per_second" not in first and second["images_per_second"] > 0
    assert event["event"] == "damaged" and event["message"] == "checkpoint 8 is damaged"
    assert event["reason"] == {"crc": None, "at": 3}
    assert start["time"] <= first["time"] <= event["time"]
    assert "checkpoint 8 is damaged\n" in capfd.readouterr().err


def test_tensorboard_does_without_pytorch(tmp_path: pathlib.Path) -> None:
    """tensorboardX loads PyTorch where it finds one, which would cost every start seconds."""
    (tmp_path / "torch.py").write_text("raise SystemExit('PyTorch was loaded')")
    code = (
        "import pathlib, sys; from gan_jax.runtime import board\n"
        "board.TensorBoard(pathlib.Path('board'), 0).scalars(5, {'loss': 2.0})\n"
        "(path,) = pathlib.Path('board').iterdir()\n"
        "assert 'torch' not in sys.modules and path.stat().st_size > 100"
    )
    path = os.pathsep.join([str(tmp_path), str(pathlib.Path(__file__).parents[1])])
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path})


def test_lines_are_on_disk_at_once(tmp_path: pathlib.Path) -> None:
    journal = open_journal(tmp_path)
    journal.metrics(1, 10, {"d_loss": 1.0})
    assert lines(tmp_path)[-1]["d_loss"] == 1.0
    journal.close()
    journal.say("may be said after closing")


def test_tensorboard_gets_scalars_and_pictures(tmp_path: pathlib.Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), np.uint8)
    with open_journal(tmp_path, start_step=4) as journal:
        journal.metrics(5, 50, {"d_loss": 0.25})
        journal.grid(5, 50, images)
    events = tensorboard(tmp_path)
    scalars = [(v.tag, v.simple_value, e.step) for e in events for v in e.summary.value if v.HasField("simple_value")]
    assert scalars == [("d_loss", 0.25, 50)]
    (picture,) = [v.image.encoded_image_string for e in events for v in e.summary.value if v.HasField("image")]
    shown = np.asarray(Image.open(io.BytesIO(picture)).convert("L"))
    np.testing.assert_array_equal(shown, draw_picture(images))
    # TensorBoard drops what an earlier attempt wrote after the step that was resumed.
    assert [e.step for e in events if e.session_log.status == SessionLog.START] == [41]


def test_pictures_are_png_files_of_images_and_of_points(tmp_path: pathlib.Path) -> None:
    generator = np.random.default_rng(0)
    images = generator.uniform(-1, 1, (5, 6, 7, 3)).astype(np.float32)
    with open_journal(tmp_path) as journal:
        journal.grid(1000, 10_000, images)
        journal.grid(12, 120, generator.normal(size=(20, 2)))
    assert sorted(p.name for p in (tmp_path / "samples").iterdir()) == ["step_00000012.png", "step_00001000.png"]
    shown = read_png((tmp_path / "samples" / "step_00001000.png").read_bytes())
    np.testing.assert_array_equal(shown, image_grid(images))
    assert read_png((tmp_path / "samples" / "step_00000012.png").read_bytes()).shape == (448, 448, 3)


def test_resumed_run_drops_what_it_does_again(tmp_path: pathlib.Path) -> None:
    with open_journal(tmp_path) as journal:
        for step in range(1, 8):
            journal.metrics(step, 10 * step, {"d_loss": step})
            journal.grid(step, 10 * step, np.zeros((1, 4, 4, 1)))
        journal.event(6, "note", "late")
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 3, "images": 30, "d_lo')  # killed while writing
    (tmp_path / "samples" / "step_mine.png").write_bytes(b"somebody else's")
    with open_journal(tmp_path, start_step=4) as journal:
        journal.metrics(5, 50, {"d_loss": 50})
    kept = lines(tmp_path)
    assert [(line.get("event"), line["step"]) for line in kept] == [
        ("start", 0),
        *((None, step) for step in (1, 2, 3, 4)),
        ("start", 4),
        (None, 5),
    ]
    assert kept[-1]["d_loss"] == 50
    assert sorted(p.name for p in (tmp_path / "samples").iterdir()) == [
        *(f"step_{step:08d}.png" for step in (1, 2, 3, 4)),
        "step_mine.png",
    ]
    assert not [p for p in tmp_path.rglob("*.tmp")]


def test_run_from_the_beginning_starts_an_empty_journal(tmp_path: pathlib.Path) -> None:
    with open_journal(tmp_path) as journal:
        journal.metrics(0, 0, {"d_loss": 1})
        journal.grid(0, 0, np.zeros((1, 4, 4, 1)))
    open_journal(tmp_path).close()
    assert [line.get("event") for line in lines(tmp_path)] == ["start"]
    assert not list((tmp_path / "samples").iterdir())


def test_other_processes_write_nothing(tmp_path: pathlib.Path, capfd: pytest.CaptureFixture) -> None:
    with open_journal(tmp_path, active=False) as journal:
        journal.tick(1)
        journal.metrics(1, 10, {"d_loss": 1})
        journal.grid(1, 10, np.zeros((1, 4, 4, 1)))
        journal.event(1, "note", "x")
        journal.say("x")
    assert not list(tmp_path.iterdir()) and capfd.readouterr() == ("", "")


def test_metrics_must_not_take_the_names_of_the_columns(tmp_path: pathlib.Path) -> None:
    with open_journal(tmp_path) as journal, pytest.raises(ValueError, match="must not be called images, step"):
        journal.metrics(1, 10, {"step": 1, "images": 2, "d_loss": 3})


def test_workdir_that_becomes_unwritable_is_one_line(tmp_path: pathlib.Path, capfd: pytest.CaptureFixture) -> None:
    with open_journal(tmp_path / "run") as journal:
        journal.metrics(1, 10, {"d_loss": 1})
        shutil.rmtree(tmp_path / "run")
        with pytest.raises(InputError, match=r"metrics.jsonl cannot be written \(No such file or directory\)"):
            journal.metrics(2, 20, {"d_loss": 1})
        with pytest.raises(InputError, match="step_00000002.png cannot be written"):
            journal.grid(2, 20, np.zeros((1, 4, 4, 1)))
    with pytest.raises(InputError, match="cannot be written"):
        (tmp_path / "file").write_text("")
        open_journal(tmp_path / "file")
    assert "Traceback" not in capfd.readouterr().err


# ---------------------------------------------------------------------- progress


class Terminal(io.StringIO):
    """A file that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_plain_progress_is_a_line_now_and_then_and_leaves_compiling_out(monkeypatch: pytest.MonkeyPatch) -> None:
    # Compiling ends at second 1000; then a hundred images in ten seconds, again and again.
    clock = itertools.count(1000, 10)
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: float(next(clock)))
    file = io.StringIO()
    progress = Progress(1_000, file)
    for images in range(100, 1_200, 100):
        progress.values({"d_loss": 0.123456, "d_gradient": 3.0})  # a line has no room for all
        progress.update(images)
        if images == 500:
            progress.values({"fid": 7.0})  # which stays until the next one
    progress.close()
    assert file.getvalue().splitlines() == [
        "400 of 1,000 images, 10 images/s, 0:01:00 left, d_loss 0.1235",
        "700 of 1,000 images, 10 images/s, 0:00:30 left, d_loss 0.1235, fid 7",
        "1,000 of 1,000 images, 10 images/s, 0:00:00 left, d_loss 0.1235, fid 7",
    ]


def test_terminal_gets_a_bar() -> None:
    file = Terminal()
    progress = Progress(2_000, file)
    for images in (500, 1_000, 2_000):
        progress.update(images)
        progress.values({"g_loss": 1.5})
    progress.say("a note")
    progress.close()
    shown = file.getvalue()
    assert "2.00k/2.00k" in shown and "100%" in shown and "g_loss 1.5" in shown and "a note\n" in shown


# ---------------------------------------------------------------------- pictures


def test_bytes_and_floats_are_the_same_pixels() -> None:
    pixels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(to_uint8(pixels / np.float32(127.5) - 1), pixels)
    np.testing.assert_array_equal(to_uint8(pixels), pixels)
    np.testing.assert_array_equal(to_uint8(np.array([-9, 9, np.nan, np.inf, -np.inf])), [0, 255, 0, 255, 0])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("count", "columns", "rows_by_columns"), [(6, 3, (2, 3)), (5, None, (2, 3)), (2, 8, (1, 2))])
def test_grid_holds_each_image_in_its_place(
    channels: int, count: int, columns: int | None, rows_by_columns: tuple[int, int]
) -> None:
    height, width = 50, 64  # large enough to stay as they are
    images = np.random.default_rng(0).integers(0, 256, (count, height, width, channels), np.uint8)
    grid = image_grid(images, columns)
    rows, across = rows_by_columns
    assert grid.dtype == np.uint8 and grid.shape == (rows * (height + 2) + 2, across * (width + 2) + 2, channels)
    rest = np.ones(grid.shape[:2], bool)
    for index, image in enumerate(images):
        top, left = 2 + index // across * (height + 2), 2 + index % across * (width + 2)
        np.testing.assert_array_equal(grid[top : top + height, left : left + width], image)
        rest[top : top + height, left : left + width] = False
    assert len(np.unique(grid[rest])) == 1  # lines and empty places have one colour


def test_tiny_images_are_enlarged_pixel_by_pixel() -> None:
    images = np.random.default_rng(0).uniform(-1, 1, (4, 8, 8, 1)).astype(np.float32)
    grid = image_grid(images)
    factor = (grid.shape[0] - 6) // 16  # three lines of two pixels, two images of eight
    assert grid.shape == (16 * factor + 6, 16 * factor + 6, 1) and 8 * factor >= 32
    for dy, dx in ((0, 0), (factor - 1, factor - 1)):
        np.testing.assert_array_equal(
            grid[2 + dy : 2 + 8 * factor : factor, 2 + dx : 2 + 8 * factor : factor], to_uint8(images[0])
        )


@pytest.mark.parametrize("shape", [(0, 8, 8, 1), (2, 8, 8, 2), (8, 8, 1), (2, 8, 0, 1)])
def test_grid_of_other_shapes_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="a grid needs images"):
        image_grid(np.zeros(shape))


def test_scatter_draws_points_where_they_are() -> None:
    points = np.array([[3.0, 1.0], [np.nan, 0.0], [-1.0, -2.0]])
    picture = scatter(points, size=300)
    assert picture.shape == (300, 300, 3) and picture.dtype == np.uint8
    rows, columns = np.nonzero(picture[..., 2].astype(int) - picture[..., 0] > 60)  # blue
    right = columns > 150
    scale = (columns[right].mean() - 149.5) / 3  # pixels a unit
    assert scale > 30
    np.testing.assert_allclose([149.5 - rows[right].mean()], [scale], atol=1.5)  # y upwards
    np.testing.assert_allclose(columns[~right].mean() - 149.5, -scale, atol=1.5)
    np.testing.assert_allclose(149.5 - rows[~right].mean(), -2 * scale, atol=1.5)


def test_reference_sets_the_scale_of_a_scatter() -> None:
    data = np.array([[2.0, 0.0], [0.0, -2.0]])
    near, far = scatter(data, data), scatter(np.array([[100.0, 0.0], [2.0, 0.0], [0.0, -2.0]]), data)
    np.testing.assert_array_equal(near, far)
    with pytest.raises(InputError, match="a scatter plot needs points"):
        draw_picture(np.zeros((3, 3)))


def test_pictures_become_png_files() -> None:
    for shape in ((2, 8, 8, 1), (2, 8, 8, 3), (7, 2)):
        picture = draw_picture(np.random.default_rng(0).uniform(-1, 1, shape))
        np.testing.assert_array_equal(read_png(to_png(picture)), picture)
