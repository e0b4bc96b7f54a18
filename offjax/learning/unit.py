"""One unit of a run: an algorithm on a problem, K training seeds, round by round, resumable at checkpoints."""

import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from offjax.learning import train
from offjax.learning.train import TrainState
from offjax.problems.spec import Problem
from offjax.runs.checkpoint import Checkpoints
from offjax.runs.log import MetricsLog, metric_rows
from offjax.runs.loggers import Loggers

Validate = Callable[[Sequence[TrainState]], Mapping[str, Sequence[float]]]
Report = Callable[[int, Mapping[str, float]], None]  # rounds done, means over the seeds


@dataclass(frozen=True)
class Unit:
    """What is trained, and for how long."""

    name: str  # names its checkpoints and its rows of the metrics
    agent: Any  # the algorithm record
    problem: Problem  # of the devices of one world
    seeds: tuple[int, ...]
    keys: tuple[jax.Array, ...]  # one per seed
    worlds: int  # W side by side
    horizon: int  # slots of an episode
    rounds: int  # of horizon / worlds slots
    checkpoint_rounds: int  # rounds between two checkpoints, and between two validations

    @property
    def round_slots(self) -> int:
        """Slots of one round."""
        return self.horizon // self.worlds

    @property
    def round_steps(self) -> int:
        """Device-steps of one round of all seeds."""
        return self.round_slots * self.worlds * self.problem.params.devices * len(self.seeds)

    def start(self) -> tuple[TrainState, ...]:
        """Fresh states of all seeds."""
        return tuple(train.init(key, self.agent, self.problem, self.worlds, self.horizon) for key in self.keys)


def train_unit(
    unit: Unit,
    folder: Path,
    validate: Validate,
    report: Report = lambda done, metrics: None,
    loggers: Sequence[str] = (),
) -> tuple[TrainState, ...]:
    """Train a unit to its end, from its newest checkpoint if it has one.

    The result is the same bits whether or not it was interrupted: checkpoints fall on the edges of rounds and hold
    everything, keys included.

    Args:
        unit: what to train.
        folder: of the run; checkpoints go to ``checkpoints/NAME``, metrics to ``metrics/NAME``.
        validate: metrics of the greedy policies, one value per seed.
        report: called after every round with the rounds done and some of its metrics.
        loggers: names of optional loggers, see :mod:`offjax.runs.loggers`.

    Returns:
        the final states, one per seed.
    """
    log, others = MetricsLog(folder, unit.name), Loggers(loggers, folder, unit.name)
    with Checkpoints(folder / "checkpoints" / unit.name) as checkpoints, others:
        states, done = unit.start(), 0
        found = checkpoints.restore(states)
        if found is not None:
            states, done = found[0], int(found[1]["round"])
        log.drop_from(done)
        if done < unit.rounds:
            others.start(done)
        with ThreadPoolExecutor(max_workers=min(len(states), os.cpu_count() or 1)) as pool:
            while done < unit.rounds:
                results = _one_round(unit, states, pool)
                states = tuple(state for state, _ in results)
                metrics = _columns([row for _, row in results])
                done += 1
                edge = done % unit.checkpoint_rounds == 0 or done == unit.rounds
                if edge:
                    metrics = metrics | {f"validation_{name}": row for name, row in validate(states).items()}
                rows = metric_rows(unit.seeds, done * unit.round_slots, metrics)
                log.write_round(done - 1, rows)
                others.write_round(done - 1, rows)
                if edge:
                    checkpoints.save(done, states, {"round": done, "unit": unit.name})
                report(done, {name: float(np.mean(values)) for name, values in metrics.items()})
    return states


def load_unit(unit: Unit, folder: Path) -> tuple[tuple[TrainState, ...], int] | None:
    """The newest states of a unit and the rounds that they have trained, without touching the run."""
    path = folder / "checkpoints" / unit.name
    if not path.is_dir():
        return None
    with Checkpoints(path, read_only=True) as checkpoints:
        found = checkpoints.restore(jax.eval_shape(unit.start))
    return None if found is None else (found[0], int(found[1]["round"]))


def _one_round(
    unit: Unit, states: Sequence[TrainState], pool: ThreadPoolExecutor
) -> list[tuple[TrainState, dict[str, jax.Array]]]:
    """A round of every seed, side by side; the first goes ahead, so that the program is compiled once."""

    def step(state: TrainState) -> tuple[TrainState, dict[str, jax.Array]]:
        return train.train_round(unit.agent, unit.problem, state, unit.horizon)

    first = step(states[0])
    return [first, *pool.map(step, states[1:])]


def _columns(rows: Sequence[Mapping[str, jax.Array]]) -> dict[str, Sequence[float]]:
    """Metrics of every seed: name -> one value per seed."""
    return {name: [float(row[name]) for row in rows] for name in rows[0]}
