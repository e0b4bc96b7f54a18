"""Advantage actor-critic, the synchronous form of Mnih et al. 2016: one update per rollout."""

from typing import ClassVar

import jax
from flax import struct

from offjax.agents.a2c.losses import a2c_loss
from offjax.agents.common import Scalar
from offjax.agents.networks import Params
from offjax.agents.policy_learner import Metrics, PolicyState, RolloutLearner
from offjax.replay.experience import Experience


@struct.dataclass
class A2C(RolloutLearner):
    """Advantage actor-critic: rollouts of ``rollout_slots`` slots, n-step advantages or GAE, one update each.

    Numbers are leaves (sweep them with ``vmap``), structure is static. The source trains Atari players with one
    joint network and RMSProp; here it is Adam, and the networks of [29] unless ``networks`` says otherwise.
    """

    name: ClassVar[str] = "a2c"

    learning_rate: Scalar = 7e-4
    """Adam's step of every network (guess; public configurations)."""
    gae_lambda: Scalar = 1.0
    """Decay of the advantage's sum over later decisions; 1 = the n-step advantage of the source."""
    rollout_slots: int = struct.field(pytree_node=False, default=5)
    """Slots between two updates (the source's t_max)."""

    def objective(self, params: dict[str, Params], rollout: Experience) -> tuple[jax.Array, Metrics]:
        """The loss of a rollout ``[T, B, ...]`` as the networks see it, and its metrics."""
        logits, value, advantage, target = self.judge(params, rollout)
        loss, metrics = a2c_loss(
            logits, value, rollout, advantage, target, self.value_coefficient, self.entropy_coefficient
        )
        return loss, metrics | self.report(value, target, rollout.valid)

    def update(self, state: PolicyState, batch: Experience, key: jax.Array) -> tuple[PolicyState, Metrics]:
        """One step of each Adam on the valid rows of a rollout ``batch [T, B, ...]``; ``key`` is not used.

        Returns:
            The next state (unchanged if no row is valid) and the f32 scalars of
            :meth:`offjax.agents.ac.agent.ActorCritic.update`; ``td_error`` is the mean size of the advantage.
        """
        state, rollout = self.prepare(state, batch)
        return self.descend(state, lambda params: self.objective(params, rollout), rollout.valid)
