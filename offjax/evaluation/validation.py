"""What a policy is worth while it is trained."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from offjax.baselines.lookahead import Oracle
from offjax.evaluation.rollout import Learned, episodes, episodes_together
from offjax.learning.train import TrainState
from offjax.learning.unit import Unit, stack


class Validator:
    """Greedy policies on a small fleet that neither training nor evaluation meets."""

    def __init__(self, problems: Sequence[Any], unit: Unit, keys: jax.Array) -> None:
        """Validate member k of ``unit`` on ``problems[k]``, one world per key [S]."""
        self.problems, self.unit, self.keys = problems, unit, keys
        self._best: dict[int, float] = {}

    def __call__(self, place: int, state: TrainState) -> dict[str, np.ndarray]:
        """Rewards per device and slot of the members of a chunk, and their regrets to the oracle's: [chunk]."""
        unit, group = self.unit, self.unit.groups[place]
        policy = Learned(unit.trainer.algorithm(unit.records[place][0]), state.agent, unit.plan.independent)
        reward = self._rewards(policy, [self.problems[index] for index in group])
        return {"reward": reward, "regret": np.asarray([self._oracle(self.problems[i]) for i in group]) - reward}

    def _oracle(self, problem: Any) -> float:
        if id(problem) not in self._best:
            sums = episodes(Oracle(jnp.zeros(())), problem, self.keys, self.unit.plan.horizon).reward
            self._best[id(problem)] = float(self._mean(sums[None], problem)[0])
        return self._best[id(problem)]

    def _rewards(self, policy: Learned, problems: Sequence[Any]) -> np.ndarray:
        """[chunk]"""
        unit, slots = self.unit, self.unit.plan.horizon
        if unit.chunk == 1:
            return self._mean(episodes(policy, problems[0], self.keys, slots).reward[None], problems[0])
        there = stack(problems) if unit.own_problems else problems[0]
        return self._mean(episodes_together(policy, there, self.keys, slots, unit.own_problems).reward, problems[0])

    def _mean(self, sums: jax.Array, problem: Any) -> np.ndarray:
        """[K] reward per device and slot, which is per task where each slot brings one, from sums [K, S, T]."""
        total = np.asarray(sums).sum(axis=(1, 2), dtype=np.float64)
        return total / (len(self.keys) * self.unit.plan.horizon * problem.params.devices)
