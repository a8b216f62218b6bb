"""THE PAGE: a training run from top to bottom. Imports every room; only doorways import it."""

import collections
import json
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from gan_jax.adversarial.state import State, renewed
from gan_jax.config import Config
from gan_jax.data.pipeline import Pipeline
from gan_jax.data.sources import load_source
from gan_jax.errors import UnstableRun
from gan_jax.evaluation.making import judge_for
from gan_jax.evaluation.scoring import following, score_gan
from gan_jax.gan import Gan, from_state
from gan_jax.program import Program, build
from gan_jax.runtime.agreement import first_then_others, together
from gan_jax.runtime.checkpoint import Checkpoints
from gan_jax.runtime.closing import closing_words
from gan_jax.runtime.files import plain_folder, write_atomically
from gan_jax.runtime.journal import Journal
from gan_jax.runtime.mesh import batch_sharding, make_mesh, put, replicated
from gan_jax.runtime.signals import StopSignal
from gan_jax.runtime.watchdog import Alarm, Watchdog
from gan_jax.runtime.workdir import CHECKPOINTS, DATASET, fixed_settings, flat_settings, open_workdir

GRID = 64  # samples in the pictures that show progress
AHEAD = 2  # calls of the step that wait for the devices, at most: Ctrl-C has to wait for them, too


def train(
    config: Config,
    workdir: str | Path,
    devices: Sequence[jax.Device] | None = None,
    make_program: Callable[..., Program] = build,
) -> Gan:
    """Trains a GAN in a workdir, or goes on where the workdir stopped.

    Args:
        config: the run.
        workdir: folder of the run; made if missing.
        devices: to train on; None = all.
        make_program: builds the program; for networks and losses of your own, see docs/own_parts.md.

    Returns:
        The trained pair.

    Raises:
        InputError: config, data, workdir and devices do not fit together.
        KeyboardInterrupt: Ctrl-C; everything was saved first.
        SystemExit: 143 after SIGTERM; everything was saved first.
        UnstableRun: the watchdog gave up; the last healthy checkpoint is kept.
    """
    workdir = plain_folder(workdir)
    # -------------------------------------------------------------------- devices, data, program
    mesh = make_mesh(devices)
    # Process 0 first: sets that have to be downloaded and prepared are, once.
    source = first_then_others(lambda: load_source(config.data, "train", config.seed))
    program = together(lambda: make_program(config, source.shape, source.num_classes, mesh))
    here = jax.process_index() == 0

    # -------------------------------------------------------------------- workdir: config.json, lock
    with open_workdir(workdir, config) as folder:
        if here:
            facts = {
                "shape": source.shape,
                "num_classes": source.num_classes,
                "class_names": source.class_names,
                "examples": len(source),
            }
            write_atomically(folder / DATASET, json.dumps(facts, indent=2).encode())

        # ---------------------------------------------------------------- state: the newest checkpoint, or a fresh one
        with Checkpoints(folder / CHECKPOINTS, config.log.keep, "fid", fixed_settings(config)) as checkpoints:
            restored = checkpoints.restore_newest(program.abstract_state)
            state, start = restored or (program.init(put(np.uint32(config.seed), replicated(mesh))), 0)

            # ------------------------------------------------------------ loop
            order = _data_seed(config, int(state.rollbacks))
            lead = program.passes, program.micro_batch
            with (
                Pipeline(source, config.data, order, *lead, batch_sharding(mesh, axis=1)) as pipeline,
                Journal(
                    folder,
                    active=here,
                    total_images=config.total_images,
                    start_step=start,
                    images_per_step=config.images_per_step,
                    boards=config.log.boards,
                    settings=flat_settings(config),
                ) as journal,
                StopSignal() as stop,
            ):
                if start < config.total_steps:
                    resumed = f"going on from step {start:,} of {config.total_steps:,}"
                    journal.say(f"{resumed if start else f'training on {len(source):,} examples'}; compiling first")
                for damaged, reason in checkpoints.damaged.items():
                    journal.event(start, "damaged", f"checkpoint {damaged} was unusable: {reason}")
                state, step = _loop(program, state, start, pipeline, journal, checkpoints, stop)

            # ------------------------------------------------------------ close
            if step < config.total_steps:
                if here:
                    kept = "saved" if step in checkpoints.steps() else "not saved, since it did not look healthy"
                    print(f"stopped at step {step:,} of {config.total_steps:,}; {kept}; the same command resumes")
                if stop.signal == signal.SIGTERM:
                    raise SystemExit(128 + signal.SIGTERM)
                raise KeyboardInterrupt
            if here:
                print(closing_words(folder, config, source.shape))
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
        found = score_gan(gan, judge, config.evaluation.count, following(config), config.seed) if judge else {}
        return {name: value for name, value in found.items() if name != "count"}

    if step == 0 and config.log.samples_images:
        journal.grid(0, 0, picture())
    watchdog, stopping = Watchdog(config), False
    ahead: collections.deque[dict[str, jax.Array]] = collections.deque()
    while step < config.total_steps and not stopping:
        count = min(program.per_dispatch - step % program.per_dispatch, config.total_steps - step)
        # Any implicit copy between host and device inside the loop is an error.
        with jax.transfer_guard("disallow"):
            batch = pipeline.batch(step, program.per_dispatch)
            state, metrics = program.step(state, batch, put(np.int32(count), place))
        ahead.append(metrics)
        if len(ahead) > AHEAD:
            jax.block_until_ready(ahead.popleft())
        before, step = step, step + count
        stopping, last = stop.requested(step), step == config.total_steps
        images = step * config.images_per_step
        journal.tick(step)
        if last or stopping or _crossed(config.log.metrics_images, before, step, config):
            journal.metrics(step, images, jax.device_get(metrics))
        scoring = bool(judge) and (last or _crossed(config.evaluation.every_images, before, step, config))
        saving = last or stopping or scoring or _crossed(config.log.checkpoint_images, before, step, config)
        due = watchdog.due(before, step)
        if due or saving:
            alarm = watchdog.look(step, jax.device_get(metrics), due=due, last=last)
            if alarm and alarm.ruinous:
                state, step = _roll_back(program, state, step, alarm, pipeline, journal, checkpoints)
                watchdog.reset()
                continue
            _warn(journal, step, alarm)
        if config.log.samples_images and (last or _crossed(config.log.samples_images, before, step, config)):
            journal.grid(step, images, picture())
        found = scores() if scoring else None
        if found:
            journal.metrics(step, images, found)
            _warn(journal, step, watchdog.look_at_scores(step, found, program.num_classes))
        if saving and watchdog.healthy:
            checkpoints.save(step, state, metrics=found)
        elif saving:
            journal.event(step, "unsaved", f"step {step:,} does not look healthy and was not saved")
    checkpoints.wait()
    return state, step


def _roll_back(
    program: Program,
    state: State,
    step: int,
    alarm: Alarm,
    pipeline: Pipeline,
    journal: Journal,
    checkpoints: Checkpoints,
) -> tuple[State, int]:
    """The last healthy state, or a fresh one, with fresh noise and data order from there on.

    The count of rollbacks lives in the state, and all that differs follows from it. A run that is killed before its
    next checkpoint does the steps that failed again, fails again and rolls back again.
    """
    config, place = program.config, replicated(program.mesh)
    rollbacks = int(state.rollbacks) + 1
    what = f"{alarm.quantity} at step {step:,}: {alarm.text}"
    facts = {"quantity": alarm.quantity, "noticed": step, "rollbacks": rollbacks}
    if rollbacks > config.watchdog.rollbacks:
        message = f"given up after {rollbacks - 1} rollbacks; {what}; {alarm.advice}"
        journal.event(step, "given_up", message, **facts)
        raise UnstableRun(message)
    restored = checkpoints.return_to(alarm.trusted, program.abstract_state)
    state, back = restored or (program.init(put(np.uint32(config.seed), place)), 0)
    state = state.replace(rollbacks=put(np.int32(rollbacks), place))
    pipeline.reseed(_data_seed(config, rollbacks))
    journal.rewind(back)
    # Filed under the step it returned to, so that a resume from there keeps the line.
    journal.event(back, "rollback", f"{what}; back to step {back:,} with fresh noise and data order", **facts)
    return state, back


def _warn(journal: Journal, step: int, alarm: Alarm | None) -> None:
    if alarm:
        message = f"{alarm.quantity} at step {step:,}: {alarm.text}; {alarm.advice}"
        journal.event(step, "warning", message, quantity=alarm.quantity)


def _data_seed(config: Config, rollbacks: int) -> int:
    """Seed of the order of the examples."""
    return int(renewed(jnp.uint32(config.seed), jnp.int32(rollbacks)))


def _crossed(interval: int, before: int, after: int, config: Config) -> bool:
    """Whether a multiple of `interval` images was reached between two steps; 0 = never."""
    seen = config.images_per_step
    return bool(interval) and (after * seen) // interval > (before * seen) // interval
