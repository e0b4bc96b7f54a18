"""The one-step actor-critic of Nieto et al. 2024 [29], with separate networks or a joint one."""

from typing import ClassVar

import jax
from flax import struct

from offjax.agents import common
from offjax.agents.ac.losses import actor_critic_loss
from offjax.agents.common import Scalar
from offjax.agents.networks import Params
from offjax.agents.policy_learner import Metrics, PolicyLearner, PolicyState
from offjax.replay.experience import Experience


@struct.dataclass
class ActorCritic(PolicyLearner):
    """One-step actor-critic, an update per step on the fresh batch, no replay.

    Numbers are leaves (sweep them with ``vmap``), structure is static. Defaults are those of [29], its section
    'DRL-based proposed solution' (J. Cloud Computing 13:94, 2024): gamma 0.99, two tanh layers of 256 units,
    constant learning rates, neither clip nor entropy bonus; Adam's epsilon is that of Keras 2.14, which it used.
    """

    name: ClassVar[str] = "ac"
    replays: ClassVar[bool] = False
    sequential: ClassVar[bool] = False
    rollout_slots: ClassVar[int] = 1

    actor_learning_rate: Scalar = 1e-5
    """Adam's step of the actor ([29])."""
    critic_learning_rate: Scalar = 1e-4
    """Adam's step of the critic ([29])."""
    joint_learning_rate: Scalar = 1e-4
    """Adam's step of a joint network (guess: [29] gives none for it; its trunk must follow the value)."""

    def learning_rates(self) -> dict[str, Scalar]:
        """Adam's step of each kind of network."""
        return {
            "actor": self.actor_learning_rate,
            "critic": self.critic_learning_rate,
            "joint": self.joint_learning_rate,
        }

    def objective(self, params: dict[str, Params], batch: Experience) -> tuple[jax.Array, Metrics]:
        """Actor loss + critic loss, and their metrics.

        Separate networks share nothing, so the gradient of the sum is each one's own gradient. ``batch`` is as the
        networks see it: rewards scaled, observations normalised.
        """
        logits, value = self.heads(params, batch.observation)
        _, next_value = self.heads(params, batch.next_observation)
        target = common.td_target(batch, next_value, self.gamma)
        loss, metrics = actor_critic_loss(logits, value, target, batch.decision, batch.valid, self.entropy_coefficient)
        return loss, metrics | self.report(value, target, batch.valid)

    def update(self, state: PolicyState, batch: Experience, key: jax.Array) -> tuple[PolicyState, Metrics]:
        """One step of each Adam on the mean over the valid rows of ``batch``; ``key`` is not used.

        Returns:
            The next state (unchanged if no row is valid) and f32 scalars: ``actor_loss``, ``critic_loss``
            (scaled reward units), ``td_error`` (mean size) and ``value`` (reward units), ``entropy`` (nats),
            ``actor_gradient_norm`` and ``critic_gradient_norm``, or ``joint_gradient_norm`` (before the clip,
            0 without), ``experiences`` (valid rows).
        """
        state, batch = self.prepare(state, batch)
        return self.descend(state, lambda params: self.objective(params, batch), batch.valid)
