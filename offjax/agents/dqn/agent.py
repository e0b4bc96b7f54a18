"""The deep Q-learning of paper B: one update per step on the fresh batch, no memory, no target network."""

from typing import ClassVar

import jax
from flax import struct

from offjax.agents.common import Scalar
from offjax.agents.dqn.losses import q_target
from offjax.agents.networks import Params
from offjax.agents.q_learner import QLearner
from offjax.replay.experience import Experience


@struct.dataclass
class DQN(QLearner):
    """Deep Q-learning as a device does it in paper B: it learns from each experience once, when it is made.

    Numbers are leaves (sweep them with ``vmap``), structure is static. Paper B gives the layers, epsilon-greedy,
    Adam and the update per step; its numbers are lost.
    """

    name: ClassVar[str] = "dqn"
    replays: ClassVar[bool] = False
    sequential: ClassVar[bool] = False
    rollout_slots: ClassVar[int] = 1

    adam_eps: Scalar = 1e-7
    """Adam's epsilon; paper B gives none and used Keras 2.14, whose default this is."""
    epsilon_decay_updates: Scalar = 1_000
    """Updates of linear decay of the exploration: half of a device's 2,000 decisions (guess)."""
    target_update_period: Scalar = 0
    """Updates between two copies into the target network; 0 = none (paper B mentions none)."""
    hidden: tuple[int, ...] = struct.field(pytree_node=False, default=(256, 256, 256, 256))
    """Widths of the hidden layers (paper B)."""
    loss: str = struct.field(pytree_node=False, default="squared")
    """Of the TD error, squared (guess) or huber."""

    def target(self, params: Params, target_params: Params, batch: Experience) -> jax.Array:
        """The Q-learning target ``[B]`` of ``batch``."""
        return q_target(self.q_values(target_params, batch.next_observation), batch, self.gamma)
