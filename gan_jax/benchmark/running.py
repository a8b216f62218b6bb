"""What surrounds the step: time to the first one, and the data path. Imports data, program and runtime."""

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
from PIL import Image

from gan_jax.benchmark.checkout import ROOT
from gan_jax.benchmark.clock import step_seconds
from gan_jax.benchmark.suite import Outcome
from gan_jax.config import Config
from gan_jax.data.pipeline import Pipeline
from gan_jax.data.sources import load_source
from gan_jax.errors import InputError
from gan_jax.program import Program, build
from gan_jax.runtime.mesh import batch_sharding, make_mesh

_LONGEST_START = 600.0  # seconds after which a start is given up


def start_up(config: str, starts: int) -> Outcome:
    """Seconds from the command to its first step, with an empty compile cache and with a filled one.

    Args:
        config: name of a config of the checkout.
        starts: warm starts, whose median is taken.
    """
    begin = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="gan_jax_start_") as folder:
        cold, *warm = [_first_step(config, Path(folder), number) for number in range(1 + starts)]
    metrics = {
        "first_step_cold_s": cold,
        "first_step_warm_s": statistics.median(warm),
        "first_step_warm_s_max": max(warm),
    }
    return Outcome(metrics, time.perf_counter() - begin, 0)


def _first_step(config: str, folder: Path, number: int) -> float:
    """Starts a run of its own and stops it as soon as it has written the metrics of its first call of the step."""
    workdir = folder / str(number)
    # The user's own cache would make a cold start warm.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    environment |= {"GAN_JAX_CACHE": str(folder / "cache")}
    command = [sys.executable, "-m", "gan_jax.main", f"--config={ROOT / 'configs' / config}.py", f"--workdir={workdir}"]
    start = time.perf_counter()
    with (folder / f"{number}.log").open("w+") as log:
        process = subprocess.Popen(
            [*command, "--config.log.metrics_images=1"], env=environment, stdout=log, stderr=log, cwd=ROOT
        )
        try:
            while not _has_line(workdir / "metrics.jsonl"):
                if process.poll() is not None or time.perf_counter() - start > _LONGEST_START:
                    log.seek(0)
                    raise InputError(f"{' '.join(command)} took no step: {log.read()[-500:]}")
                time.sleep(0.01)
            return time.perf_counter() - start
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(_LONGEST_START)


def _has_line(path: Path) -> bool:
    try:
        return '"d_loss"' in path.read_text()
    except OSError:
        return False


def pipelines(config: Config, images: int, seconds: float, rounds: int) -> Outcome:
    """Images a second of the data path alone.

    Args:
        config: whose set lives on the device, and whose step is measured beside it.
        images: 64x64 PNG files to make and to stream.
        seconds: of a round.
        rounds: whose median is taken.
    """
    begin = time.perf_counter()
    resident, step = _paces(config.replace({"data.residency": "device"}), seconds, rounds)
    with tempfile.TemporaryDirectory(prefix="gan_jax_png_") as folder:
        _write_images(Path(folder), images)
        changes = {"data.source": "folder", "data.path": folder, "data.image_size": 64, "data.channels": 3}
        streamed, _ = _paces(
            Config().replace(changes | {"data.residency": "stream", "data.batch_size": 64}), seconds, rounds, False
        )
    metrics = {
        "images_per_s_resident": resident,
        "images_per_s_step": step,
        "resident_over_step": resident / step,
        "images_per_s_png64": streamed,
    }
    return Outcome(metrics, time.perf_counter() - begin, 0)


def _paces(config: Config, seconds: float, rounds: int, step_too: bool = True) -> tuple[float, float]:
    """Images a second that the pipeline delivers, and that pipeline and step together use."""
    mesh = make_mesh()
    source = load_source(config.data, "train", config.seed)
    program = build(config, source.shape, source.num_classes, mesh)
    lead = program.passes, program.micro_batch
    with Pipeline(source, config.data, config.seed, *lead, batch_sharding(mesh, axis=1)) as pipeline:
        delivered = [_deliver(program, pipeline, seconds, 1 + number) for number in range(rounds)]
        used = config.images_per_step / step_seconds(program, pipeline, seconds) if step_too else 0.0
    return statistics.median(delivered), used


def _deliver(program: Program, pipeline: Pipeline, seconds: float, number: int) -> float:
    """Images a second over one round; each begins where the one before is sure to have ended."""
    steps, calls = program.per_dispatch, 0
    first = number * 10**6 * steps
    jax.block_until_ready(pipeline.batch(first, steps))
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        calls += 1
        jax.block_until_ready(pipeline.batch(first + calls * steps, steps))
    return calls * steps * program.config.images_per_step / (time.perf_counter() - start)


def _write_images(folder: Path, count: int) -> None:
    """PNG files with soft shapes and a little noise, about as large as photographs of that size."""
    rng = np.random.default_rng(0)
    for number in range(count):
        soft = Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).resize((64, 64), Image.Resampling.BICUBIC)
        noisy = np.asarray(soft, np.int16) + rng.integers(-4, 5, (64, 64, 3))
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(folder / f"{number:05d}.png")
