"""Members that differ in seed and numbers, never in shape, and their one compiled step.

Imports adversarial, program, runtime and the room's likeness.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gan_jax.adversarial.schedules import NUMBERS, numbers_of
from gan_jax.adversarial.state import State
from gan_jax.adversarial.step import Batch, Metrics, to_float
from gan_jax.adversarial.vitals import state_signs
from gan_jax.config import Config
from gan_jax.errors import InputError
from gan_jax.population.likeness import check_alike, pays_side_by_side, structure
from gan_jax.program import Program, build
from gan_jax.runtime.mesh import batch_sharding, make_mesh, replicated

Tree = TypeVar("Tree")
Rounds = list[Tree]  # one a round of members; every leaf has the members of the round as its first axis


@dataclasses.dataclass(frozen=True, eq=False)
class Population:
    """Members trained together, each as if it were alone.

    Members are spread over the devices of this process. A device trains `width` of them at a time; if that is less
    than its share, they take turns, a round each.

    Attributes:
        configs: of the members; equal but for the seed and the numbers of `schedules.NUMBERS`.
        program: what they share, on one device; its config is `structure` of each member's.
        mesh: the devices.
        width: members that a device trains side by side.
    """

    configs: tuple[Config, ...]
    program: Program
    mesh: Mesh
    width: int

    @property
    def rounds(self) -> int:
        """Calls of the compiled step that take every member one call further."""
        return math.ceil(len(self.configs) / self.capacity)

    @property
    def capacity(self) -> int:
        """Members a round."""
        return self.mesh.size * self.width

    def slots(self, number: int) -> list[int]:
        """Members of a round; the last member fills up the last round."""
        first = number * self.capacity
        return [min(slot, len(self.configs) - 1) for slot in range(first, first + self.capacity)]

    def init(self) -> Rounds[State]:
        """Fresh states, each that of its member's seed."""
        seeds = [[self.configs[slot].seed for slot in self.slots(number)] for number in range(self.rounds)]
        return [self._compiled[0](self._place(np.array(row, np.uint32))) for row in seeds]

    def step(self, states: Rounds[State], batches: Rounds[Batch], count: int) -> tuple[Rounds[State], Rounds[Metrics]]:
        """Takes every member `count` steps further, at most `program.per_dispatch`.

        Args:
            states: donated.
            batches: of `Feed.batch`.
            count: steps.

        Returns:
            New states, and metrics of the last step; `gather` brings those to the host.
        """
        steps = jax.device_put(np.int32(count), replicated(self.mesh))
        done = [
            self._compiled[1](state, batch, steps, numbers)
            for state, batch, numbers in zip(states, batches, self._numbers, strict=True)
        ]
        return [state for state, _ in done], [metrics for _, metrics in done]

    def gather(self, rounds: Rounds[Metrics]) -> dict[str, np.ndarray]:
        """Arrays by name with one row a member, on the host; waits for them."""
        found = jax.device_get(rounds)
        return {name: np.concatenate([part[name] for part in found])[: len(self.configs)] for name in found[0]}

    def member(self, states: Rounds[State], index: int) -> State:
        """A copy of one member's state, as `program` takes it."""
        number, slot = divmod(index, self.capacity)
        state = states[number]
        own = jax.tree.map(lambda leaf: _row(leaf, slot), state.replace(step=None)).replace(step=state.step)
        return jax.device_put(own, replicated(self.program.mesh))

    def join(self, members: Sequence[State]) -> Rounds[State]:
        """The states of all members, e.g. from checkpoints, where `step` wants them; the inverse of `member`.

        Args:
            members: one state each, all of the same step.
        """
        found = [jax.device_get(state) for state in members]
        steps = {int(state.step) for state in found}
        if len(found) != len(self.configs) or len(steps) != 1:
            raise ValueError(f"{len(found)} states of steps {sorted(steps)} for {len(self.configs)} members")
        rounds = []
        for number in range(self.rounds):
            stacked = jax.tree.map(
                lambda *leaves: self._place(np.stack(leaves)), *(found[i] for i in self.slots(number))
            )
            rounds.append(stacked.replace(step=jax.device_put(found[0].step, replicated(self.mesh))))
        return rounds

    def signs(self, states: Rounds[State], batches: Rounds[Batch]) -> Rounds[Metrics]:
        """What the watchdog reads besides the step's metrics, see `vitals.state_signs`; for `gather`."""
        images = [batch["image"] for batch in batches]
        return [self._compiled[2](state, image) for state, image in zip(states, images, strict=True)]

    def with_member(self, states: Rounds[State], index: int, state: State) -> Rounds[State]:
        """States in which a member has the weights, moments and average of another state of the same step.

        The member keeps its own seed, so that its noise stays its own.
        """
        number, slot = divmod(index, self.capacity)
        changed = states[number]

        def put_in(old: jax.Array, new: jax.Array) -> jax.Array:
            whole = np.array(old)
            whole[slot] = jax.device_get(new)
            return jax.device_put(whole, old.sharding)

        parts = {
            name: jax.tree.map(put_in, getattr(changed, name), getattr(state, name))
            for name in (field.name for field in dataclasses.fields(State))
            if name not in ("step", "seed")
        }
        return [*states[:number], changed.replace(**parts), *states[number + 1 :]]

    def with_configs(self, configs: Sequence[Config]) -> "Population":
        """The same members with other numbers; nothing is compiled again.

        Raises:
            InputError: the configs differ from the members' in more than that.
        """
        if len(configs) != len(self.configs):
            raise InputError(f"a population of {len(self.configs)} cannot take {len(configs)} configs")
        check_alike([self.configs[0], *configs])
        return dataclasses.replace(self, configs=tuple(configs))

    def lower(self, states: Rounds[State], batches: Rounds[Batch]) -> jax.stages.Lowered:
        """The step of one round, lowered for its devices: what it exchanges, costs and holds can be read off it."""
        steps = jax.device_put(np.int32(1), replicated(self.mesh))
        lowered: jax.stages.Lowered = self._compiled[1].lower(states[0], batches[0], steps, self._numbers[0])
        return lowered

    @property
    def compiled_programs(self) -> int:
        """How often the step was compiled so far, by this population and those that share its program."""
        return int(self._compiled[1]._cache_size())

    @property
    def _compiled(self) -> tuple[Any, ...]:
        program = self.program
        return _compile(program.config, program.shape, program.num_classes, self.mesh, self.width)

    @functools.cached_property
    def _numbers(self) -> Rounds[dict[str, jax.Array]]:
        values = [numbers_of(config) for config in self.configs]
        return [
            {name: self._place(np.stack([values[slot][name] for slot in self.slots(number)])) for name in NUMBERS}
            for number in range(self.rounds)
        ]

    def _place(self, array: np.ndarray) -> jax.Array:
        return jax.device_put(array, batch_sharding(self.mesh))


def make_population(
    configs: Sequence[Config],
    shape: tuple[int, ...],
    num_classes: int,
    devices: Sequence[jax.Device] | None = None,
    side_by_side: bool | None = None,
) -> Population:
    """Checks that members can share one program, and spreads them over the devices.

    Args:
        configs: of the members, equal but for the seed and the numbers of `schedules.NUMBERS`; `structure` tells
            which configs are alike.
        shape: of one example.
        num_classes: of the data, 0 if unlabelled.
        devices: None = all of this process.
        side_by_side: whether a device trains its members in one call by `jax.vmap`, or one after another;
            None = by `pays_side_by_side`.

    Raises:
        InputError: there are no configs, they differ in shape, or one does not fit the data.
    """
    if not configs:
        raise InputError("a population needs at least one config")
    check_alike(configs)
    devices = jax.local_devices() if devices is None else devices
    share = math.ceil(len(configs) / len(devices))
    devices = devices[: math.ceil(len(configs) / share)]
    program = build(structure(configs[0]), shape, num_classes, make_mesh(devices[:1]))
    together = pays_side_by_side(configs[0], devices[0].platform) if side_by_side is None else side_by_side
    return Population(tuple(configs), program, make_mesh(devices), share if together else 1)


@functools.lru_cache(maxsize=8)
def _compile(common: Config, shape: tuple[int, ...], num_classes: int, mesh: Mesh, width: int) -> tuple[Any, ...]:
    """(init, step, signs) of a round, shared by all populations of one structure."""
    program = build(common, shape, num_classes, make_mesh(list(mesh.devices.flat)[:1]))
    advance = program.advance(lambda array: array)  # each member lives on one device
    # All members are at the same step, so that what is due at a step alone stays a branch and no selection.
    axes = _prefix(None, 0)
    spread, same = PartitionSpec("data"), PartitionSpec()
    specs = _prefix(same, spread)
    if width > 1:
        init = jax.vmap(program.init_one, out_axes=axes)
        step = jax.vmap(advance, in_axes=(axes, 0, None, 0), out_axes=(axes, 0))
    else:
        init, step = _init_of_one(program.init_one), _step_of_one(advance)

    def spread_over(function: Callable[..., Any], ins: Any, outs: Any) -> Callable[..., Any]:
        # Each device runs the program of its own members; nothing is exchanged.
        return jax.shard_map(function, mesh=mesh, in_specs=ins, out_specs=outs, check_vma=False)

    def placed(tree: Any) -> Any:
        return jax.tree.map(lambda spec: NamedSharding(mesh, spec), tree)

    ins, outs = (specs, spread, same, spread), (specs, spread)
    return (
        jax.jit(spread_over(init, spread, specs), out_shardings=placed(specs)),
        jax.jit(spread_over(step, ins, outs), in_shardings=placed(ins), out_shardings=placed(outs), donate_argnums=0),
        jax.jit(
            spread_over(jax.vmap(_signs, in_axes=(axes, 0)), (specs, spread), spread), out_shardings=placed(spread)
        ),
    )


def _row(leaf: jax.Array, slot: int) -> jax.Array:
    """A member's row of a leaf, where it lies: indexing the whole would have all devices talk, a program a leaf.

    Many such programs at once have stopped XLA's CPU devices for ever.
    """
    for shard in leaf.addressable_shards:
        start, stop, _ = shard.index[0].indices(len(leaf))
        if start <= slot < stop:
            return shard.data[slot - start]
    raise ValueError(f"no device of this process holds member {slot} of {len(leaf)}")


def _signs(state: State, images: jax.Array) -> Metrics:
    """Of one member; images of its call, of which the first micro-batch is read."""
    return state_signs(state, to_float(images[0]))


def _prefix(step: Any, rest: Any) -> Any:
    """One value for the step of a state, another for all that a member has of its own."""
    return State(**{field.name: step if field.name == "step" else rest for field in dataclasses.fields(State)})


def _init_of_one(init: Callable[..., State]) -> Callable[..., State]:
    """As `jax.vmap` of it over one member: an axis of length 1 would turn a convolution into a slower one."""

    def run(seeds: jax.Array) -> State:
        state = init(seeds[0])
        return _widened(state).replace(step=state.step)

    return run


def _step_of_one(advance: Callable[..., tuple[State, Metrics]]) -> Callable[..., tuple[State, Metrics]]:
    """The same for a call of the step."""

    def run(states: State, batch: Batch, count: jax.Array, numbers: Batch) -> tuple[State, Metrics]:
        alone, batch, numbers = _first((states.replace(step=states.step[None]), batch, numbers))
        state, metrics = advance(alone, batch, count, numbers)
        return _widened(state).replace(step=state.step), _widened(metrics)

    return run


def _first(tree: Tree) -> Tree:
    found: Tree = jax.tree.map(lambda leaf: leaf[0], tree)
    return found


def _widened(tree: Tree) -> Tree:
    found: Tree = jax.tree.map(lambda leaf: leaf[None], tree)
    return found
