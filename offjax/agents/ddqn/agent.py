"""Double deep Q-learning: van Hasselt et al. 2016, and algorithm 1 of paper A."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from offjax.agents import common
from offjax.agents.common import Scalar
from offjax.agents.ddqn.losses import double_q_target
from offjax.agents.networks import Params, join_streams
from offjax.agents.q_learner import QLearner, QState
from offjax.agents.specs import Specs
from offjax.errors import ConfigError
from offjax.replay.experience import Experience
from offjax.replay.ring import Ring, make_ring, sample, sample_prioritised


@struct.dataclass
class DDQN(QLearner):
    """Double deep Q-learning with an evaluation and a target network, learning from sampled batches.

    Numbers are leaves (sweep them with ``vmap``), structure is static. Paper A prints none of the numbers and
    no exploration: the defaults are guesses in the range of public DQN configurations. The learning room
    samples ``updates_per_step`` batches of ``batch_size`` from a ring of ``replay_capacity``.
    """

    name: ClassVar[str] = "ddqn"
    replays: ClassVar[bool] = True
    sequential: ClassVar[bool] = False

    priority_exponent: Scalar = 0.6
    """Priority = (TD error + priority_floor) to this power; 0 is uniform (Schaul et al. 2016, table 3)."""
    priority_correction: Scalar = 0.4
    """How much of the sampling's bias is undone by the weights at the first update; 1 = all of it."""
    priority_correction_updates: Scalar = 100_000
    """Updates over which the correction grows linearly to 1."""
    priority_floor: Scalar = 1e-6
    """Added to every TD error, in reward units, so that none is never seen again."""
    dueling: bool = struct.field(pytree_node=False, default=False)
    """Value and advantage as linear heads on one trunk (Wang et al. 2016), which fold into one layer."""
    replay_capacity: int = struct.field(pytree_node=False, default=10_000)
    """Experiences that the replay memory holds (guess)."""
    batch_size: int = struct.field(pytree_node=False, default=64)
    """Experiences of one update (guess)."""
    updates_per_step: int = struct.field(pytree_node=False, default=1)
    """Updates in one step of the learning room, which is a rollout."""
    rollout_slots: int = struct.field(pytree_node=False, default=1)
    """Slots between two steps of the learning room; at least n_steps."""
    n_steps: int = struct.field(pytree_node=False, default=1)
    """Decisions that an experience spans at most."""
    prioritised: bool = struct.field(pytree_node=False, default=False)
    """Sample by TD error (Schaul et al. 2016) instead of uniformly."""

    def __post_init__(self) -> None:
        """Refuse an impossible structure with a ConfigError."""
        super().__post_init__()
        for field in ("replay_capacity", "batch_size", "updates_per_step", "rollout_slots", "n_steps"):
            common.require_positive(field, getattr(self, field))
        if self.batch_size > self.replay_capacity:
            allowed = f"use at most replay_capacity = {self.replay_capacity}"
            raise ConfigError("batch_size", self.batch_size, allowed)
        if self.n_steps > self.rollout_slots:
            raise ConfigError("n_steps", self.n_steps, f"use at most rollout_slots = {self.rollout_slots}")

    def streams(self, decisions: int) -> int:
        """Outputs of the network: A Q values, or A advantages and a value."""
        return decisions + 1 if self.dueling else decisions

    def join(self, streams: jax.Array) -> jax.Array:
        """Q values ``[..., A]`` from the network's outputs; linear."""
        return join_streams(streams) if self.dueling else streams

    def target(self, params: Params, target_params: Params, batch: Experience) -> jax.Array:
        """The double-Q target ``[B]`` of ``batch``."""
        picks, prices = (self.q_values(net, batch.next_observation) for net in (params, target_params))
        return double_q_target(picks, prices, batch, self.gamma)

    def memory(self, specs: Specs) -> Ring:
        """The empty replay memory for a problem of ``specs``."""
        return make_ring(self.replay_capacity, specs.observation_size, self.n_steps > 1, self.prioritised)

    def draw(self, ring: Ring, key: jax.Array, state: QState) -> tuple[Experience, jax.Array | None]:
        """A batch ``[batch_size]`` from the memory, and where in it the rows stand if it is prioritised."""
        if not self.prioritised:
            return sample(ring, key, self.batch_size), None
        progress = jnp.clip(state.updates / jnp.maximum(self.priority_correction_updates, 1), 0.0, 1.0)
        correction = self.priority_correction + (1.0 - self.priority_correction) * progress
        return sample_prioritised(ring, key, self.batch_size, correction)

    def priorities(self, state: QState, batch: Experience) -> jax.Array:
        """What a prioritised memory keeps for each row of ``batch [B]``, from its TD error under ``state``."""
        return (jnp.abs(self.error(state, batch)) + self.priority_floor) ** self.priority_exponent
