"""What a save costs the loop, for networks of 20 M parameters. Imports the room's runs and suite, and program."""

import statistics
import time
from pathlib import Path

import jax
import numpy as np

from gan_jax.benchmark.faults import runs
from gan_jax.benchmark.suite import Outcome
from gan_jax.config import Config
from gan_jax.program import Program, build
from gan_jax.runtime.checkpoint import Checkpoints
from gan_jax.runtime.mesh import make_mesh, put, replicated

LIMIT = 0.15  # seconds that a save may hold up the loop
SAVES = 10
SHAPE, WIDTH, BATCH = (32, 32, 3), 1_600, 16


def blocking_save(seed: int, saves: int, width: int = WIDTH) -> Outcome:
    """Real steps of a dense pair of 20 M parameters with a save after each few, on the disk of the temporary folder.

    Args:
        seed: of the state.
        saves: how many; each begins when the one before is on disk, as in a run, and after the state is computed. The
            oldest checkpoint is deleted within it.
        width: of the networks.

    Returns:
        tried: saves. passed: those that held up the loop for at most `LIMIT`, if the last one came back bit for bit;
        else 0. worst and median_s: seconds that `Checkpoints.save` took. complete_s: median seconds until a save was
        on disk, steps going on. parameters: of both networks. state_mb: what is written.
    """
    begin = time.perf_counter()
    program = dense_pair(width)
    state = jax.block_until_ready(program.init(put(np.uint32(seed), replicated(program.mesh))))
    size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
    held, complete = [], []
    with runs.workspace() as name, Checkpoints(Path(name) / "checkpoints") as checkpoints:
        state = _step(program, state)  # compiles
        for number in range(1, saves + 1):
            state = _step(program, state)
            start = time.perf_counter()
            checkpoints.save(number, state)
            held.append(time.perf_counter() - start)
            kept = jax.device_get(state) if number == saves else None
            while number not in checkpoints.steps():
                state = _step(program, state)  # donates what is being saved
            complete.append(time.perf_counter() - start)
        found, _ = checkpoints.restore(saves, program.abstract_state)
        same = all(
            np.asarray(a).tobytes() == np.asarray(b).tobytes()
            for a, b in zip(jax.tree.leaves(jax.device_get(found)), jax.tree.leaves(kept), strict=True)
        )
    passed = sum(seconds <= LIMIT for seconds in held) if same else 0
    metrics = {"tried": saves, "passed": passed, "worst": max(held), "median_s": statistics.median(held)}
    metrics |= {"complete_s": statistics.median(complete), "parameters": parameters(program), "state_mb": size / 1e6}
    return Outcome(metrics, time.perf_counter() - begin, 0)


def dense_pair(width: int) -> Program:
    """Three hidden layers in each network, one device."""
    model = {"architecture": "mlp", "g_width": width, "d_width": width, "blocks": 3}
    changes = {"data.batch_size": BATCH, "step.per_dispatch": 1}
    config = Config().replace(changes | {f"model.{name}": value for name, value in model.items()})
    return build(config, SHAPE, 0, make_mesh(jax.local_devices()[:1]))


def parameters(program: Program) -> int:
    """Of both networks."""
    nets = program.abstract_state.g, program.abstract_state.d
    return sum(leaf.size for net in nets for leaf in jax.tree.leaves(net.params))


def _step(program: Program, state: object) -> object:
    """The state after one step on grey images; waits, so that a clock may be read."""
    place = program.abstract_batch["image"].sharding
    image = jax.device_put(np.full((1, BATCH, *SHAPE), 128, np.uint8), place)
    count = put(np.int32(1), replicated(program.mesh))
    return jax.block_until_ready(program.step(state, {"image": image}, count)[0])
