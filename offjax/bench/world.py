"""How fast worlds step: blocks of cells that stay in the cache, each for many slots, on every device of the host.

Access points share nothing but a cloud that grows with its load, so a fleet is a batch of blocks of whole cells, each a
world of its own with a key of its own: the numbers do not depend on how blocks are dealt to shards. A shard (a host
device or an accelerator) walks over its blocks and scans a chunk of slots in each.
"""

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from offjax.agents.networks import MLP, apply_mlp, init_mlp
from offjax.memory import bytes_of
from offjax.problems import nieto2024
from offjax.problems.nieto2024 import Nieto2024, Scenario
from offjax.workload.arrivals import poisson
from offjax.world import Decision, End, Outcome, State, advance, draw, init

CELL = nieto2024.CELL
BLOCK = {"cpu": 12_500, "gpu": 1_000_000, "tpu": 1_000_000}  # devices; on a CPU about a core's cache
INTERVAL = 0.125  # s, mean time between two tasks of a device where they come at random
SERVICE = 8.0e-3  # s, mean time of an edge task at a free server: the longest shared phase
LONG = 0.5 * INTERVAL  # s, a slot that brings a task to every other device; it can bring one at most
BATTERY = 1e9  # J: nobody stops working while the clock runs
WARM_UP = 1.0  # s of simulated time before anything is counted
EDGE = 1
BITS = 10  # of the packed counters: a chunk has fewer than 2 ** BITS slots
HIDDEN = (64, 64)


@dataclass(frozen=True)
class Case:
    """What is stepped: a row of the benchmark, but for the number of devices."""

    coupling: str  # "none", "slot", "exact"
    queue: str = "none"  # of the edge servers: "none", "fifo", "ps"
    slot: float = 1.0  # s
    policy: str = "random"  # or "mlp"
    generator: str = "philox4x32"  # or "threefry2x32"
    cell: int = CELL  # devices per access point

    def problem(self, devices: int) -> Nieto2024:
        """Nieto et al. 2024 as it stands, or with Poisson tasks that share the band and queue at the edge."""
        problem = nieto2024.make(devices=devices, devices_per_cell=min(self.cell, devices), scenario=Scenario())
        params = problem.params
        params = params.replace(fleet=params.fleet.replace(battery=jnp.float32(BATTERY)))
        if self.coupling == "none":
            return problem.replace(params=params)
        params = params.replace(
            coupling=self.coupling,
            uplink="active",
            queue=(self.queue, "none"),
            slot_duration=jnp.float32(self.slot),
            radio=params.radio.replace(bandwidth=params.radio.bandwidth * CELL),
            workload=params.workload.replace(arrivals=poisson(INTERVAL)),
        )
        return problem.replace(params=params)


class Counts(struct.PyTreeNode):
    """What a chunk of slots came to in one block."""

    checksum: jax.Array  # [] every field of every outcome, and all that was observed and rewarded, added up
    tasks: jax.Array  # [] int32, that ended
    offloaded: jax.Array  # [] int32, of these at a server
    succeeded: jax.Array  # [] int32, of those in time
    edge_tasks: jax.Array  # [] int32, done by the edge server
    edge_latency: jax.Array  # [] s, of those, added up


class Total(NamedTuple):
    """The same for a whole fleet, on the host."""

    checksum: float
    tasks: int
    offloaded: int
    succeeded: int
    edge_tasks: int
    edge_latency: float  # s


def random_places(problem: Nieto2024, weights: Any, state: State, key: jax.Array) -> jax.Array:
    """[D] any place, each about as often: a byte of random bits is enough."""
    byte = jax.random.bits(key, (problem.params.devices,), jnp.uint8)
    return ((byte.astype(jnp.int32) * len(problem.decisions)) >> 8).astype(jnp.int8)


def network_places(problem: Nieto2024, weights: Any, state: State, key: jax.Array) -> jax.Array:
    """[D] the place that a network of 64 x 64 units likes best."""
    values = apply_mlp(weights, "tanh", problem.normalise(problem.observe(state)))
    return jnp.argmax(values, axis=-1).astype(jnp.int8)


POLICIES = {"random": random_places, "mlp": network_places}


def network_weights(problem: Nieto2024) -> Any:
    """Random weights of the benchmark's network."""
    network = MLP(HIDDEN, len(problem.decisions), "tanh")
    return init_mlp(network, jax.random.key(0), len(problem.features))


def network_flops(problem: Nieto2024) -> int:
    """Multiplications and additions of one decision."""
    widths = [len(problem.features), *HIDDEN, len(problem.decisions)]
    return 2 * sum(fan_in * fan_out for fan_in, fan_out in pairwise(widths))


class Marks(struct.PyTreeNode):
    """What is added up per device within a chunk; sums over devices wait for its end."""

    checksum: jax.Array  # [D]
    counts: jax.Array  # [D] int32: tasks, offloaded and succeeded, BITS bits each
    edge_tasks: jax.Array  # [D] int32
    edge_latency: jax.Array  # [D] s


def no_marks(devices: int) -> Marks:
    """Nothing yet."""
    zero, none = jnp.zeros(devices, jnp.float32), jnp.zeros(devices, jnp.int32)
    return Marks(zero, none, none, zero)


def mark(marks: Marks, outcome: Outcome, reward: jax.Array, observation: jax.Array) -> Marks:
    """Add one slot."""
    over = outcome.result != End.NONE
    away = over & (outcome.place > 0)
    good = away & (outcome.result == End.IN_TIME)
    edge = away & (outcome.place == EDGE) & (outcome.result <= End.LATE)
    fields = [leaf.astype(jnp.float32) for leaf in jax.tree.leaves(outcome)]
    seen = [observation[:, index] for index in range(observation.shape[1])]
    packed = over.astype(jnp.int32) + (away.astype(jnp.int32) << BITS) + (good.astype(jnp.int32) << 2 * BITS)
    return Marks(
        checksum=marks.checksum + sum([*fields, *seen], start=reward),
        counts=marks.counts + packed,
        edge_tasks=marks.edge_tasks + edge.astype(jnp.int32),
        edge_latency=marks.edge_latency + jnp.where(edge, outcome.latency, 0.0),
    )


def add_up(marks: Marks) -> Counts:
    """Sums over the devices of a block."""
    tasks, offloaded, succeeded = [(marks.counts >> shift) & (2**BITS - 1) for shift in (0, BITS, 2 * BITS)]
    return Counts(
        checksum=jnp.sum(marks.checksum),
        tasks=jnp.sum(tasks, dtype=jnp.int32),
        offloaded=jnp.sum(offloaded, dtype=jnp.int32),
        succeeded=jnp.sum(succeeded, dtype=jnp.int32),
        edge_tasks=jnp.sum(marks.edge_tasks, dtype=jnp.int32),
        edge_latency=jnp.sum(marks.edge_latency),
    )


def step_chunk(
    problem: Nieto2024, weights: Any, state: State, key: jax.Array, policy: str, slots: int
) -> tuple[State, Counts]:
    """``slots`` slots of one block: decisions, physics, observation and reward."""
    params, decide = problem.params, POLICIES[policy]

    def slot(carry: tuple[State, Marks], key: jax.Array) -> tuple[tuple[State, Marks], None]:
        state, marks = carry
        policy_key, world_key = jax.random.split(key)
        place = decide(problem, weights, state, policy_key)
        after, outcome = advance(state, Decision(place), draw(world_key, params), params)
        return (after, mark(marks, outcome, problem.reward(outcome, state), problem.observe(after))), None

    (state, marks), _ = jax.lax.scan(slot, (state, no_marks(params.devices)), jax.random.split(key, slots))
    return state, add_up(marks)


# ------------------------------------------------------------------------------------------------- fleets


def deal(devices: int, cell: int, shards: int, block: int) -> tuple[int, int]:
    """How a fleet is cut: number of blocks, a multiple of the shards where there is enough, and devices in each.

    Every block holds the same number of whole cells.
    """
    cells = max(devices // cell, 1)
    blocks = max(-(-devices // block), min(shards, cells))
    while cells % blocks or (blocks % shards and blocks > 1 and cells >= shards):
        blocks += 1
        if blocks > cells:
            return 1, devices
    return blocks, devices // blocks


@dataclass
class Fleet:
    """A fleet under way: one compiled chunk per shard, and the state of every block."""

    problem: Nieto2024  # of one block
    shards: list[jax.Device]
    chunks: list[Any]
    inputs: list[tuple[Nieto2024, Any]]  # problem and weights on each shard
    states: list[list[State]]  # [shard][block]
    key: jax.Array
    slots: int
    compile_seconds: float
    turn: int = 0

    @property
    def devices(self) -> int:
        """D."""
        return self.problem.params.devices * sum(map(len, self.states))

    @property
    def bytes_per_device(self) -> float:
        """State that is carried from slot to slot."""
        return bytes_of(self.states[0][0]) / self.problem.params.devices

    def advance(self) -> Total:
        """One chunk of slots of every block, all shards at once."""
        key = jax.random.fold_in(self.key, self.turn)
        self.turn += 1
        with ThreadPoolExecutor(len(self.shards)) as pool:
            counts = list(pool.map(partial(self._walk, key), range(len(self.shards))))
        rows = [jax.tree.leaves(count) for shard in counts for count in shard]
        checksum, *whole, latency = (np.array(column) for column in zip(*rows, strict=True))
        tasks, offloaded, succeeded, edge = (int(column.sum(dtype=np.int64)) for column in whole)
        sums = [float(column.sum(dtype=np.float64)) for column in (checksum, latency)]
        return Total(sums[0], tasks, offloaded, succeeded, edge, sums[1])

    def _walk(self, key: jax.Array, shard: int) -> list[Counts]:
        chunk, (problem, weights), states = self.chunks[shard], self.inputs[shard], self.states[shard]
        first = shard * len(states)
        keys = [jax.random.fold_in(key, first + index) for index in range(len(states))]
        counts = []
        for index, block_key in enumerate(jax.device_put(keys, self.shards[shard])):
            states[index], count = chunk(problem, weights, states[index], block_key)
            counts.append(count)
        return jax.device_get(counts)


def warm_slots(case: Case) -> int:
    """Slots until a world has forgotten that it started empty."""
    return max(round(WARM_UP / case.slot), 8) if case.coupling != "none" else 8


def make_fleet(
    case: Case, devices: int, slots: int, seed: int = 0, shards: Sequence[jax.Device] | None = None
) -> Fleet:
    """A fleet at work: one block is warmed up, every other starts as its copy and goes on with a key of its own.

    Args:
        case: what is stepped.
        devices: D.
        slots: in a chunk, fewer than ``2 ** BITS``.
        seed: of everything random.
        shards: devices of the host; all of them if not given, as far as there are cells for them.
    """
    given = list(jax.devices() if shards is None else shards)
    blocks, size = deal(devices, case.cell, len(given), BLOCK[given[0].platform])
    used = given[: min(len(given), blocks)]
    problem = case.problem(size)
    key = jax.random.key(seed, impl=case.generator)
    chunks: list[Any] = []
    step = partial(step_chunk, policy=case.policy, slots=slots)
    inputs = [jax.device_put((problem, network_weights(problem)), shard) for shard in used]
    first = jax.jit(init)(jax.random.fold_in(key, 2**31 - 1), problem.params)
    start = time.perf_counter()
    for shard, (own, weights) in zip(used, inputs, strict=True):
        example = jax.device_put((first, key), shard)
        chunks.append(jax.jit(step, donate_argnums=2).lower(own, weights, *example).compile())
    seconds = (time.perf_counter() - start) / len(used)
    fleet = Fleet(problem, used, chunks, inputs, [[first]], key, slots, seconds)
    for _ in range(-(-warm_slots(case) // slots)):
        replace_first(fleet)
    warm = fleet.states[0][0]
    fleet.states = [[_copy(warm, shard) for _ in range(blocks // len(used))] for shard in used]
    return fleet


def replace_first(fleet: Fleet) -> None:
    """Let the first block alone go on for a chunk."""
    fleet.turn += 1
    (problem, weights), key = (
        fleet.inputs[0],
        jax.device_put(jax.random.fold_in(fleet.key, fleet.turn), fleet.shards[0]),
    )
    fleet.states[0][0], _ = fleet.chunks[0](problem, weights, fleet.states[0][0], key)


def _copy(state: State, shard: jax.Device) -> State:
    """Buffers of its own, which a chunk may overwrite."""
    return jax.tree.map(lambda leaf: jax.device_put(np.array(leaf), shard), state)
