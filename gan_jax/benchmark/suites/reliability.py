"""Suite `reliability`: is work ever lost? Faults done to real runs, counted. See gan_jax/benchmark/faults."""

import dataclasses
import functools
from typing import Any

from gan_jax.benchmark.faults import damage, disk, hostile, kills, processes, saving, soak
from gan_jax.benchmark.suite import Arm, Range, Suite


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How much is tried.

    Attributes:
        kills: of one run.
        steps_between: steps from one kill to the next.
        save_every: steps between checkpoints of the runs that are killed or lose their disk.
        damages: kinds of damage to a checkpoint.
        steps: of a run that loses its disk.
        process_steps: of a run of several processes.
        mutations: of each kind of file.
        soak_minutes: of the long run.
        warmup_minutes: of these, at the beginning, that do not count.
    """

    kills: int = 20
    steps_between: int = 40
    save_every: int = 8
    damages: int = len(damage.DAMAGES)
    steps: int = 2_000
    process_steps: int = 20
    mutations: int = 200
    soak_minutes: float = 60.0
    warmup_minutes: float = 5.0


def make_suite(protocol: Protocol) -> Suite:
    """The suite under a protocol; tests take a small one."""
    p = protocol

    def text(of: Any) -> str:
        """The first line of what an arm runs, without its full stop."""
        return str(of.__doc__).splitlines()[0].rstrip(".")

    arms = {
        "resume_kill": Arm(
            f"{text(kills.resume_kill)}. A quarter of the kills falls into the start, a half into a save. worst:"
            " largest difference of the final states.",
            lambda seed: kills.resume_kill(seed, p.kills, p.steps_between, p.save_every),
        ),
        "damage": Arm(
            f"{text(damage.damage)} (the last one tried). Damage: {', '.join(list(damage.DAMAGES)[: p.damages])}."
            " worst: largest difference of the final states.",
            lambda seed: damage.damage(seed, p.damages),
        ),
        "disk": Arm(
            "a disk that fills up, a workdir that turns read-only, a data folder that goes away; then mended, the same"
            " command again. worst: largest difference of the final states.",
            lambda seed: disk.outages(seed, p.steps, p.save_every),
        ),
        **{
            f"processes_{number}": Arm(
                f"{number} processes of launch/local.sh against one: final state, scores, SIGTERM to one of them,"
                " resume by one process. worst: largest difference of the states.",
                functools.partial(processes.several, number=number, steps=p.process_steps),
            )
            for number in (2, 4)
        },
        "bad_input": Arm(
            f"{text(hostile.bad_input)}. worst: seconds that the slowest of the changed files took.",
            lambda seed: hostile.bad_input(seed, p.mutations),
        ),
        "save": Arm(
            f"{text(saving.blocking_save)}. Measured on an idle machine. worst: seconds that the longest held up the"
            " loop.",
            lambda seed: saving.blocking_save(seed, saving.SAVES),
            recipe=lambda: {"saves": saving.SAVES, "width": saving.WIDTH, "limit_s": saving.LIMIT},
        ),
        "soak": Arm(
            f"{text(soak.soak)}. worst: growth of memory after the warm-up, percent.",
            lambda seed: soak.soak(seed, p.soak_minutes, p.warmup_minutes),
        ),
    }
    return Suite(
        name="reliability",
        description=(
            "Faults done to real runs on the CPU, started by the project's own commands. tried: faults or inputs;"
            " passed: those after which nothing was lost and all was said in one line; a state counts only if it is bit"
            " for bit that of the undisturbed run (1e-5 between different numbers of processes)."
        ),
        arms=arms,
        protocol=lambda: dataclasses.asdict(protocol),
        checks={"damage": {"passed": Range(p.damages + 1, p.damages + 1), "worst": Range(0.0, 0.0)}},
        headline=("tried", "passed", "worst"),
    )


SUITE = make_suite(Protocol())
