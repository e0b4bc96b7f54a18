"""One unit of a run: members of one structure on worlds of one shape, round by round, resumable at checkpoints.

Members are training seeds, and in a sweep also settings: everything numeric may differ. ``chunk`` of them are trained
by one call of a vmapped program; the calls of a round go side by side.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from offjax.learning import train
from offjax.learning.train import Plan, TrainState
from offjax.memory import bytes_of, require_fits
from offjax.problems.spec import Problem
from offjax.runs.checkpoint import Checkpoints
from offjax.runs.log import MetricRow, MetricsLog
from offjax.runs.loggers import Loggers
from offjax.typed_jit import compile_ahead

COPIES = 2  # of the states: the one that goes on, and the one that is saved

Validate = Callable[[int, TrainState], Mapping[str, Any]]  # place and state of a chunk -> numbers, or arrays [chunk]
Report = Callable[[int, Mapping[str, float]], None]  # rounds done, means over the members


class Best(struct.PyTreeNode):
    """The policy of each member that validated best so far."""

    learnt: Any  # the algorithm's states [K, ...]
    reward: jax.Array  # [K] its validation reward, -inf before the first
    round: jax.Array  # [K] int32 rounds that it had trained, 0 before the first


class UnitState(struct.PyTreeNode):
    """Everything that a unit needs to go on; save it whole."""

    chunks: tuple[TrainState, ...]  # of `chunk` members each, stacked where chunk > 1
    best: Best | None  # where there is a validation


@dataclass(frozen=True)
class Unit:
    """What is trained, and for how long."""

    name: str  # names its checkpoints and its rows of the metrics
    agents: tuple[Any, ...]  # [K] records of one structure, of what ``trainer`` trains
    problems: tuple[Problem, ...]  # [K] of the devices of one world, one structure
    seeds: tuple[int, ...]  # [K] the number of each member in the metrics
    keys: tuple[jax.Array, ...]  # [K]
    plan: Plan
    rounds: int  # of plan.round_slots slots
    checkpoint_rounds: int  # rounds between two checkpoints, and between two validations
    chunk: int = 1  # members that one program trains at once
    own_problems: bool = False  # members differ in their problem
    devices: tuple[jax.Device, ...] = ()  # that chunks are dealt out to, one by one; by default all on jax's own
    trainer: Any = train  # the module: of algorithms, or of architectures (:mod:`offjax.learning.lives`)

    def __post_init__(self) -> None:
        """Refuse members whose problems differ where only one would be used, with a ValueError."""
        if not self.own_problems and any(problem is not self.problems[0] for problem in self.problems):
            raise ValueError(f"{self.name}: members with own problems need own_problems=True")

    @property
    def members(self) -> int:
        """K."""
        return len(self.seeds)

    @property
    def algorithms(self) -> tuple[Any, ...]:
        """[K] the algorithm record of each member."""
        return tuple(self.trainer.algorithm(agent) for agent in self.agents)

    @property
    def round_steps(self) -> int:
        """Device-steps of one round of all members."""
        return self.plan.round_slots * self.plan.worlds * self.problems[0].params.devices * self.members

    @cached_property
    def groups(self) -> tuple[tuple[int, ...], ...]:
        """Indices of the members of each chunk; the last one is filled up with copies of the last member."""
        padded = [min(index, self.members - 1) for index in range(-(-self.members // self.chunk) * self.chunk)]
        return tuple(tuple(padded[start : start + self.chunk]) for start in range(0, len(padded), self.chunk))

    @cached_property
    def records(self) -> tuple[tuple[Any, Problem], ...]:
        """The agents and problems of each chunk, stacked where they are."""
        return tuple(self.put(place, self._records(group)) for place, group in enumerate(self.groups))

    def _records(self, group: tuple[int, ...]) -> tuple[Any, Problem]:
        if self.chunk == 1:
            return self.agents[group[0]], self.problems[group[0]]
        problems = stack([self.problems[i] for i in group]) if self.own_problems else self.problems[0]
        return stack([self.agents[i] for i in group]), problems

    def start(self) -> UnitState:
        """Fresh states of all members."""
        return UnitState(tuple(self.start_chunk(place) for place in range(len(self.groups))), best=None)

    def start_chunk(self, place: int) -> TrainState:
        """Fresh states of one chunk."""
        (agent, problem), keys = self.records[place], [self.keys[i] for i in self.groups[place]]
        keys = self.put(place, keys)
        if self.chunk == 1:
            return self.trainer.init(keys[0], agent, problem, self.plan)
        return self.trainer.init_many(jnp.stack(keys), agent, problem, self.plan, self.own_problems)

    def step(self, place: int, state: TrainState) -> tuple[TrainState, dict[str, jax.Array]]:
        """One round of one chunk, whose state is donated."""
        agent, problem = self.records[place]
        if self.chunk == 1:
            return self.trainer.train_round(agent, problem, state, self.plan)
        return self.trainer.train_rounds(agent, problem, state, self.plan, self.own_problems)

    def compile(self) -> None:
        """Compile the program of a round; meant to run beside ``start_chunk``, which compiles another one.

        Where chunks are dealt out to devices each compiles its own.
        """
        if self.devices:
            return
        (agent, problem), state = self.records[0], jax.eval_shape(lambda: self.start_chunk(0))
        if self.chunk == 1:
            compile_ahead(self.trainer.train_round, agent, problem, state, self.plan)
        else:
            compile_ahead(self.trainer.train_rounds, agent, problem, state, self.plan, self.own_problems)

    def put(self, place: int, tree: Any) -> Any:
        """What a chunk needs, on its device."""
        return jax.device_put(tree, self.devices[place % len(self.devices)]) if self.devices else tree

    def gathered(self, trees: Sequence[Any]) -> Sequence[Any]:
        """What chunks have, all on one device."""
        return [jax.device_put(tree, self.devices[0]) for tree in trees] if self.devices else trees

    def member(self, state: UnitState, index: int) -> TrainState:
        """What one member has."""
        place, row = divmod(index, self.chunk)
        chunk = state.chunks[place]
        return chunk if self.chunk == 1 else jax.tree.map(lambda leaf: leaf[row], chunk)

    def learnt(self, state: UnitState) -> Any:
        """The algorithms' states of all members, stacked [K, ...]."""
        own = self.gathered([chunk.agent for chunk in state.chunks])
        if self.chunk == 1:
            return stack(own)
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[: self.members], *own)


def stack(trees: Sequence[Any]) -> Any:
    """Trees of one structure as one, leaves [K, ...]."""
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *trees)


_stack = jax.jit(stack)  # one program in place of one for every leaf


def train_unit(
    unit: Unit,
    folder: Path,
    validate: Validate | None = None,
    report: Report = lambda done, metrics: None,
    loggers: Sequence[str] = (),
) -> UnitState:
    """Train a unit to its end, from its newest checkpoint if it has one.

    The result is the same bits whether or not it was interrupted: checkpoints fall on the edges of rounds and hold
    everything, keys included.

    Args:
        unit: what to train.
        folder: of the run; checkpoints go to ``checkpoints/NAME``, metrics to ``metrics/NAME``.
        validate: metrics of the greedy policies of a chunk; with ``reward`` among them the best policies are kept.
        report: called after every round with the rounds done and some of its metrics.
        loggers: names of optional loggers, see :mod:`offjax.runs.loggers`.
    """
    log, others = MetricsLog(folder, unit.name), Loggers(loggers, folder, unit.name)
    pool = ThreadPoolExecutor(max_workers=max(min(unit.members, os.cpu_count() or 1), 2))
    with Checkpoints(folder / "checkpoints" / unit.name) as checkpoints, others, pool:
        assert unit.records  # made here: threads share them
        compiling = pool.submit(unit.compile)
        state, done = _first(unit, validate is not None), 0
        found = checkpoints.restore(jax.eval_shape(lambda: _packed(unit, state)))
        if found is not None:
            state, done = _unpacked(unit, found[0]), int(found[1]["round"])
        log.drop_from(done)
        if done < unit.rounds:
            others.start(done)
        compiling.result()
        while done < unit.rounds:
            chunks, metrics = _one_round(unit, state.chunks, pool)
            state, done = state.replace(chunks=chunks), done + 1
            edge = done % unit.checkpoint_rounds == 0 or done == unit.rounds
            rows = _rows(unit, done, metrics)
            if edge and validate is not None:
                state, found_now = _validated(unit, state, done, validate, pool)
                metrics |= {name: values[:, None] for name, values in found_now.items()}
                rows += _last_rows(unit, done, found_now)
            log.write_round(done - 1, rows)
            others.write_round(done - 1, rows)
            if edge:
                checkpoints.save(done, _packed(unit, state), {"round": done, "unit": unit.name})
            report(done, {name: float(np.mean(values)) for name, values in metrics.items()})
    return state


def load_unit(unit: Unit, folder: Path, validated: bool = True) -> tuple[UnitState, int] | None:
    """The newest state of a unit and the rounds that it has trained, without touching the run.

    Args:
        unit: what was trained.
        folder: of the run.
        validated: whether it was trained with a validation.
    """
    path = folder / "checkpoints" / unit.name
    if not path.is_dir():
        return None
    assert unit.records  # made here: inside eval_shape they would be traced
    with Checkpoints(path, read_only=True) as checkpoints:
        found = checkpoints.restore(jax.eval_shape(lambda: _packed(unit, _first(unit, validated))))
    return None if found is None else (_unpacked(unit, found[0]), int(found[1]["round"]))


def require_memory(unit: Unit) -> None:
    """Refuse a unit whose states do not fit, before it is made.

    Raises:
        MachineError: with the numbers.
    """
    assert unit.records  # made here: inside eval_shape they would be traced
    state = jax.eval_shape(lambda: unit.start_chunk(0))
    learners = unit.problems[0].params.devices if unit.plan.independent else 1
    what = f"{unit.members:,} x {learners:,} learners of {unit.name} and their worlds"
    require_fits(what, COPIES * bytes_of(state) * len(unit.groups))


def _first(unit: Unit, validated: bool) -> UnitState:
    state = unit.start()
    if not validated:
        return state
    lowest = jnp.full(unit.members, -jnp.inf)
    learnt = jax.tree.map(jnp.copy, unit.learnt(state))  # of one chunk it is the state itself, which is donated
    return state.replace(best=Best(learnt, lowest, jnp.zeros(unit.members, jnp.int32)))


def _packed(unit: Unit, state: UnitState) -> Any:
    """The chunks stacked: a few large arrays in a checkpoint rather than thousands of small ones."""
    return {"chunks": _stack(unit.gathered(state.chunks)), "best": state.best}


def _unpacked(unit: Unit, packed: Any) -> UnitState:
    places = range(len(unit.groups))
    own = (jax.tree.map(lambda leaf, i=place: leaf[i], packed["chunks"]) for place in places)
    return UnitState(tuple(unit.put(place, chunk) for place, chunk in enumerate(own)), packed["best"])


def _one_round(
    unit: Unit, chunks: Sequence[TrainState], pool: ThreadPoolExecutor
) -> tuple[tuple[TrainState, ...], dict[str, np.ndarray]]:
    """A round of every chunk, side by side.

    Returns:
        the states, and every metric [K, points].
    """

    def step(place: int, state: TrainState) -> tuple[TrainState, dict[str, jax.Array]]:
        return jax.block_until_ready(unit.step(place, state))  # or all chunks would be under way at once

    results = list(pool.map(step, range(len(chunks)), chunks))
    rows = [jax.device_get(metrics) for _, metrics in results]
    shape = (-1, unit.plan.points)
    columns = {name: np.concatenate([row[name].reshape(shape) for row in rows])[: unit.members] for name in rows[0]}
    return tuple(state for state, _ in results), columns


def _validated(
    unit: Unit, state: UnitState, done: int, validate: Validate, pool: ThreadPoolExecutor
) -> tuple[UnitState, dict[str, np.ndarray]]:
    """What every member's policy is worth now [K], and the best of each so far."""
    results = [validate(0, state.chunks[0]), *pool.map(validate, range(1, len(unit.groups)), state.chunks[1:])]

    def column(name: str) -> np.ndarray:
        return np.concatenate([np.reshape(row[name], -1) for row in results])[: unit.members]

    columns = {f"validation_{name}": column(name) for name in results[0]}
    if "reward" not in results[0] or state.best is None:
        return state, columns
    reward = jnp.asarray(columns["validation_reward"], jnp.float32)
    return state.replace(best=_better(state.best, unit.learnt(state), reward, done)), columns


@jax.jit
def _better(best: Best, learnt: Any, reward: jax.Array, done: int) -> Best:
    higher = reward > best.reward

    def pick(new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where(higher.reshape(-1, *[1] * (new.ndim - 1)), new, old)

    return Best(
        learnt=jax.tree.map(pick, learnt, best.learnt),
        reward=jnp.where(higher, reward, best.reward),
        round=jnp.where(higher, done, best.round).astype(jnp.int32),
    )


def _rows(unit: Unit, done: int, metrics: Mapping[str, np.ndarray]) -> list[MetricRow]:
    """Rows of every metric [K, points] of the round that ended with ``done`` rounds."""
    part = unit.plan.round_slots // unit.plan.points
    start = (done - 1) * unit.plan.round_slots
    return [
        MetricRow(seed, start + (point + 1) * part, name, float(values[row, point]))
        for name, values in metrics.items()
        for point in range(unit.plan.points)
        for row, seed in enumerate(unit.seeds)
    ]


def _last_rows(unit: Unit, done: int, metrics: Mapping[str, np.ndarray]) -> list[MetricRow]:
    """Rows of every metric [K] of the end of a round."""
    slot = done * unit.plan.round_slots
    return [
        MetricRow(seed, slot, name, float(values[row]))
        for name, values in metrics.items()
        for row, seed in enumerate(unit.seeds)
    ]
