"""THE PAGE: a training run from top to bottom. Imports every room; nothing but doorways imports it."""

import json
import signal
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np

from gan_jax.config import Config
from gan_jax.data.pipeline import Pipeline
from gan_jax.data.sources import load_source
from gan_jax.gan import Gan, from_state
from gan_jax.program import build
from gan_jax.runtime.checkpoint import Checkpoints
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
    # ---------------------------------------------------------------- devices, data, program
    mesh = make_mesh(devices)
    source = load_source(config.data, "train", config.seed)
    program = build(config, source.shape, source.num_classes, mesh)
    here = jax.process_index() == 0
    with open_workdir(Path(workdir), config) as folder:
        if here:
            facts = {"shape": source.shape, "class_names": source.class_names, "examples": len(source)}
            (folder / DATASET).write_text(json.dumps(facts, indent=2))

        # ------------------------------------------------------------ state: the newest checkpoint, or a fresh one
        with Checkpoints(folder / CHECKPOINTS, keep=config.log.keep) as checkpoints:
            restored = checkpoints.restore_newest(program.abstract_state)
            state, start = restored or (program.init(jax.device_put(np.uint32(config.seed), replicated(mesh))), 0)
            journal = Journal(
                folder,
                active=here,
                total_images=config.total_images,
                start_step=start,
                images_per_step=config.images_per_step,
            )
            lead = program.passes, program.micro_batch
            pipeline = Pipeline(source, config.data, config.seed, *lead, batch_sharding(mesh, axis=1))
            noise = np.asarray(jax.random.normal(jax.random.key(config.seed), (GRID, config.model.latent_size)))

            def look() -> np.ndarray:
                """Samples of the averaged generator from noise that stays the same, so that progress shows."""
                return np.asarray(from_state(program, state, source.class_names).generate(noise))

            with journal, pipeline, StopSignal() as stop:
                # ---------------------------------------------------- loop
                step = start
                if step == 0:
                    journal.grid(0, 0, look())
                while step < config.total_steps:
                    count = min(program.per_dispatch - step % program.per_dispatch, config.total_steps - step)
                    # Any implicit copy between host and device inside the loop is an error.
                    with jax.transfer_guard("disallow"):
                        batch = pipeline.batch(step, program.per_dispatch)
                        state, metrics = program.step(state, batch, jax.device_put(np.int32(count), replicated(mesh)))
                    before, step = step, step + count
                    stopping = stop.requested(step)

                    def due(images: int, last: bool = True, a: int = before, b: int = step) -> bool:
                        return _crossed(images, a, b, config) or (last and (b == config.total_steps or stopping))

                    journal.tick(step)
                    if due(config.log.metrics_images):
                        journal.metrics(step, step * config.images_per_step, jax.device_get(metrics))
                    if due(config.log.samples_images, last=not stopping):
                        journal.grid(step, step * config.images_per_step, look())
                    if due(config.log.checkpoint_images):
                        checkpoints.save(step, state)
                    if stopping:
                        break

            # -------------------------------------------------------- close
            checkpoints.wait()
            if step < config.total_steps:
                journal.say(f"stopped at step {step:,} of {config.total_steps:,}, saved; the same command resumes")
                if stop.signal == signal.SIGTERM:
                    raise SystemExit(128 + signal.SIGTERM)
                raise KeyboardInterrupt
            journal.say(f"done: {step:,} steps, {folder}")
        return from_state(program, state, source.class_names)


def _crossed(images: int, before: int, after: int, config: Config) -> bool:
    """Whether a multiple of `images` was reached between two steps; 0 = never."""
    seen = config.images_per_step
    return bool(images) and (after * seen) // images > (before * seen) // images
