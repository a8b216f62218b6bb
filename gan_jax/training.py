"""THE PAGE: a training run from top to bottom. Imports every room; only doorways import it."""

import json
import signal
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from gan_jax.adversarial.state import State
from gan_jax.config import Config
from gan_jax.data.pipeline import Pipeline
from gan_jax.data.sources import load_source
from gan_jax.evaluation import POINT_METRICS, POINT_SETS, TRAINING_METRICS, judge_for, score_gan
from gan_jax.gan import Gan, from_state
from gan_jax.program import Program, build
from gan_jax.runtime.checkpoint import Checkpoints
from gan_jax.runtime.files import write_atomically
from gan_jax.runtime.journal import Journal
from gan_jax.runtime.mesh import batch_sharding, make_mesh, replicated
from gan_jax.runtime.signals import StopSignal
from gan_jax.runtime.workdir import CHECKPOINTS, DATASET, open_workdir

GRID = 64  # samples in the pictures that show progress


def train(config: Config, workdir: str | Path, devices: Sequence[jax.Device] | None = None) -> Gan:
    """Trains a GAN in a workdir, or goes on where the workdir stopped.

    Args:
        config: the run.
        workdir: folder of the run; made if missing.
        devices: to train on; None = all.

    Returns:
        The trained pair.

    Raises:
        InputError: config, data, workdir and devices do not fit together.
        KeyboardInterrupt: Ctrl-C; everything was saved first.
        SystemExit: 143 after SIGTERM; everything was saved first.
    """
    # -------------------------------------------------------------------- devices, data, program
    mesh = make_mesh(devices)
    source = load_source(config.data, "train", config.seed)
    program = build(config, source.shape, source.num_classes, mesh)
    here = jax.process_index() == 0

    # -------------------------------------------------------------------- workdir: config.json, lock
    with open_workdir(Path(workdir), config) as folder:
        if here:
            facts = {
                "shape": source.shape,
                "num_classes": source.num_classes,
                "class_names": source.class_names,
                "examples": len(source),
            }
            write_atomically(folder / DATASET, json.dumps(facts, indent=2).encode())

        # ---------------------------------------------------------------- state: the newest checkpoint, or a fresh one
        with Checkpoints(folder / CHECKPOINTS, config.log.keep, best_metric="fid") as checkpoints:
            restored = checkpoints.restore_newest(program.abstract_state)
            state, start = restored or (program.init(jax.device_put(np.uint32(config.seed), replicated(mesh))), 0)

            # ------------------------------------------------------------ loop
            lead = program.passes, program.micro_batch
            with (
                Pipeline(source, config.data, config.seed, *lead, batch_sharding(mesh, axis=1)) as pipeline,
                Journal(
                    folder,
                    active=here,
                    total_images=config.total_images,
                    start_step=start,
                    images_per_step=config.images_per_step,
                ) as journal,
                StopSignal() as stop,
            ):
                for damaged, reason in checkpoints.damaged.items():
                    journal.event(start, "damaged", f"checkpoint {damaged} was unusable: {reason}")
                state, step = _loop(program, state, start, pipeline, journal, checkpoints, stop)

            # ------------------------------------------------------------ close
            if step < config.total_steps:
                print(f"stopped at step {step:,} of {config.total_steps:,}; saved, the same command resumes")
                if stop.signal == signal.SIGTERM:
                    raise SystemExit(128 + signal.SIGTERM)
                raise KeyboardInterrupt
            if here:
                print(f"done: {step:,} steps, {step * config.images_per_step:,} images; everything is in {folder}")
    return from_state(program, state, source.class_names)


def _loop(
    program: Program,
    state: State,
    step: int,
    pipeline: Pipeline,
    journal: Journal,
    checkpoints: Checkpoints,
    stop: StopSignal,
) -> tuple[State, int]:
    """Steps until the end or a stop signal; returns the state, saved, and the steps done."""
    config, place = program.config, replicated(program.mesh)
    noise = np.asarray(jax.random.normal(jax.random.key(config.seed), (GRID, config.model.latent_size)))

    def picture() -> np.ndarray:
        """Samples of the averaged generator from noise that stays the same, so that progress shows."""
        return np.asarray(from_state(program, state, ()).generate(noise))

    judge = judge_for(config, batch_sharding(program.mesh)) if config.evaluation.every_images else None

    def scores() -> dict[str, float]:
        gan = from_state(program, state, ())
        found = score_gan(gan, judge, config.evaluation.count, _following(config), config.seed) if judge else {}
        return {name: value for name, value in found.items() if name != "count"}

    if step == 0 and config.log.samples_images:
        journal.grid(0, 0, picture())
    stopping = False
    while step < config.total_steps and not stopping:
        count = min(program.per_dispatch - step % program.per_dispatch, config.total_steps - step)
        # Any implicit copy between host and device inside the loop is an error.
        with jax.transfer_guard("disallow"):
            batch = pipeline.batch(step, program.per_dispatch)
            state, metrics = program.step(state, batch, jax.device_put(np.int32(count), place))
        before, step = step, step + count
        stopping, last = stop.requested(step), step == config.total_steps
        images = step * config.images_per_step
        journal.tick(step)
        if last or stopping or _crossed(config.log.metrics_images, before, step, config):
            journal.metrics(step, images, jax.device_get(metrics))
        if config.log.samples_images and (last or _crossed(config.log.samples_images, before, step, config)):
            journal.grid(step, images, picture())
        scoring = bool(judge) and (last or _crossed(config.evaluation.every_images, before, step, config))
        found = scores() if scoring else None
        if found:
            journal.metrics(step, images, found)
        if last or stopping or scoring or _crossed(config.log.checkpoint_images, before, step, config):
            checkpoints.save(step, state, metrics=found)
    checkpoints.wait()
    return state, step


def _following(config: Config) -> tuple[str, ...]:
    """Scores that follow a run: cheap ones."""
    return POINT_METRICS if config.data.source in POINT_SETS else TRAINING_METRICS


def _crossed(interval: int, before: int, after: int, config: Config) -> bool:
    """Whether a multiple of `interval` images was reached between two steps; 0 = never."""
    seen = config.images_per_step
    return bool(interval) and (after * seen) // interval > (before * seen) // interval
