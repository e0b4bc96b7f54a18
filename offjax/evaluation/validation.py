"""What a policy is worth while it is trained."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from offjax.baselines.lookahead import Oracle
from offjax.evaluation.rollout import Learned, episodes
from offjax.learning.train import TrainState
from offjax.learning.unit import Unit


class Validator:
    """Greedy policies on a small fleet that neither training nor evaluation meets."""

    def __init__(self, problems: Sequence[Any], unit: Unit, keys: jax.Array) -> None:
        """Validate member k of ``unit`` on ``problems[k]``, one world per key [S]."""
        self.problems, self.unit, self.keys = problems, unit, keys
        self._best: dict[int, float] = {}

    def __call__(self, index: int, state: TrainState) -> dict[str, float]:
        """Reward per device and slot of a member, and its regret to the oracle's."""
        problem = self.problems[index]
        if id(problem) not in self._best:
            self._best[id(problem)] = self._reward(Oracle(jnp.zeros(())), problem)
        reward = self._reward(Learned(self.unit.agents[index], state.agent, self.unit.plan.independent), problem)
        return {"reward": reward, "regret": self._best[id(problem)] - reward}

    def _reward(self, policy: Any, problem: Any) -> float:
        """Reward per device and slot, which is per task where each slot brings one."""
        slots = self.unit.plan.horizon
        sums = jax.device_get(episodes(policy, problem, self.keys, slots).reward)
        return float(sums.sum(dtype=np.float64) / (len(self.keys) * slots * problem.params.devices))
