"""Time to a threshold: one stopping rule for every trainer, whoever wrote it.

A trainer hands over its greedy policy now and then. It is run through held-out worlds by our own simulator, the reward
per task that it misses to the oracle is its regret, and the first regret at or below the threshold ends the race. The
clock stands still while a policy is looked at, for everybody.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from offjax import world
from offjax.agents.networks import Params, apply_mlp
from offjax.baselines.lookahead import Oracle
from offjax.evaluation.rollout import episodes
from offjax.problems import nieto2024
from offjax.problems.spec import Problem

THRESHOLD = 1e-5  # reward per task; a needless local execution costs 8e-5, a failure 0.1
SETTING: dict[str, Any] = {"preset": "text", "scenario": "scenario1", "mix": "uniform"}
HELD_OUT = 20_240_000  # first seed of the worlds in which policies are judged; no trainer starts there
WORLDS, DEVICES = 2, 100  # 400,000 tasks: one failure is a regret of 2.5e-7
GENERATOR = "philox4x32"


class Network(struct.PyTreeNode):
    """A multilayer perceptron from elsewhere as a policy: the place with the largest output."""

    params: Params  # as of offjax.agents.networks.MLP
    activation: str = struct.field(pytree_node=False)

    def decide(self, problem: Problem, state: world.State, observation: jax.Array, key: jax.Array) -> jax.Array:
        """[D] int8."""
        return jnp.argmax(apply_mlp(self.params, self.activation, observation), axis=-1).astype(jnp.int8)


def network(layers: Sequence[tuple[np.ndarray, np.ndarray]], activation: str) -> Network:
    """The policy of dense layers (kernel [in, out], bias [out]), first to last, the last one linear."""
    params = {
        f"layer_{index}": {"kernel": jnp.asarray(kernel), "bias": jnp.asarray(bias)}
        for index, (kernel, bias) in enumerate(layers)
    }
    return Network(params, activation)


class Judge:
    """Regret of greedy policies in held-out worlds."""

    def __init__(self, worlds: int = WORLDS, devices: int = DEVICES, horizon: int | None = None) -> None:
        """Judge in worlds that are made when they are needed, off every clock.

        Args:
          worlds: seeds.
          devices: of each world, in whole cells of 20.
          horizon: slots of an episode; the paper's if not given.
        """
        self._arguments = SETTING | {"devices": devices} | ({} if horizon is None else {"horizon": horizon})
        self._seeds = range(HELD_OUT, HELD_OUT + worlds)

    def __call__(self, policy: Any) -> float:
        """Reward per task that ``policy`` misses to the oracle."""
        return self._best - self._reward(policy)

    @cached_property
    def _best(self) -> float:
        return self._reward(Oracle(jnp.zeros((), jnp.float32)))

    @cached_property
    def _worlds(self) -> tuple[Problem, jax.Array]:
        keys = [jax.random.key(seed, impl=GENERATOR) for seed in self._seeds]
        return nieto2024.make(**self._arguments), jnp.stack(keys)

    def _reward(self, policy: Any) -> float:
        """Per device and slot, which is per task: each slot brings one."""
        problem, keys = self._worlds
        rewards = jax.device_get(episodes(policy, problem, keys, int(problem.horizon)).reward)
        return float(rewards.sum(dtype=np.float64) / (rewards.size * problem.params.devices))


class Point(NamedTuple):
    """Where a trainer stood when its policy was looked at."""

    seconds: float  # of training, without any look
    steps: int  # of environments, all together
    updates: int  # steps of the optimiser
    regret: float  # reward per task


@dataclass
class Race:
    """A running clock and the curve so far."""

    judge: Callable[[Any], float]
    threshold: float = THRESHOLD
    limit: float = float("inf")  # s of training
    clock: Callable[[], float] = time.perf_counter
    points: list[Point] = field(default_factory=list)
    _start: float = 0.0

    def start(self) -> None:
        """Start the clock."""
        self._start = self.clock()

    def goes_on(self, policy: Callable[[], Any], steps: int, updates: int) -> bool:
        """Look at a policy, off the clock.

        Args:
          policy: makes it.
          steps: of environments so far.
          updates: of the optimiser so far.

        Returns:
          whether it has neither come to the threshold nor used up its time.
        """
        stopped = self.clock()
        seconds = stopped - self._start
        self.points.append(Point(seconds, steps, updates, self.judge(policy())))
        self._start += self.clock() - stopped
        return self.points[-1].regret > self.threshold and seconds < self.limit

    def result(self) -> "Result":
        """What came out."""
        return outcome(self.points, self.threshold)


@dataclass(frozen=True)
class Result:
    """The end of a race."""

    reached: bool  # the threshold
    seconds: float  # to the threshold, or all that was given
    steps: int
    updates: int
    best_regret: float
    curve: tuple[Point, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self) | {"curve": [list(point) for point in self.curve]}

    @classmethod
    def from_dict(cls, line: Mapping[str, Any]) -> "Result":
        """Back from JSON; other keys are not looked at."""
        curve = tuple(Point(*point) for point in line["curve"])
        kept = {name: line[name] for name in ("reached", "seconds", "steps", "updates", "best_regret")}
        return cls(**kept, curve=curve)


def outcome(points: Sequence[Point], threshold: float) -> Result:
    """The first of some points that is at the threshold, or the last if none is.

    Raises:
      ValueError: no points.
    """
    if not points:
        raise ValueError("points: a race without a look has no result")
    end = next((point for point in points if point.regret <= threshold), points[-1])
    best = min(point.regret for point in points)
    return Result(end.regret <= threshold, end.seconds, end.steps, end.updates, best, tuple(points))
