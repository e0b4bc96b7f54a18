"""Double deep Q-learning: van Hasselt et al. 2016, and algorithm 1 of paper A."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import optax
from flax import struct

from offjax.agents import common
from offjax.agents.common import Scalar
from offjax.agents.ddqn import losses
from offjax.agents.networks import ACTIVATIONS, MLP, Layer, Params, apply_mlp, init_mlp, mlp_layers
from offjax.agents.specs import Specs
from offjax.errors import ConfigError
from offjax.replay.experience import Experience
from offjax.replay.ring import Ring, make_ring, sample, sample_prioritised


@struct.dataclass
class DDQNState:
    """What a double deep Q-learner has learnt; save it whole to continue."""

    params: Params  # evaluation network, [F] -> [A] Q values in scaled reward units
    target_params: Params  # target network, a past copy of params
    optimiser: optax.OptState  # Adam moments
    updates: jax.Array  # int32, updates that had at least one valid experience


@struct.dataclass
class DDQN:
    """Double deep Q-learning with an evaluation and a target network, learning from sampled batches.

    Numbers are leaves (sweep them with ``vmap``), structure is static. Paper A prints none of the numbers and
    no exploration: the defaults are guesses in the range of public DQN configurations. The learning room
    samples ``updates_per_step`` batches of ``batch_size`` from a ring of ``replay_capacity``.
    """

    name: ClassVar[str] = "ddqn"
    replays: ClassVar[bool] = True
    sequential: ClassVar[bool] = False

    gamma: Scalar = 0.99
    """Discount per decision (guess)."""
    learning_rate: Scalar = 1e-3
    """Adam's step (guess; the default of Keras and PyTorch)."""
    lr_decay_updates: Scalar = 0
    """Updates of linear decay of the learning rate; 0 = constant."""
    lr_final_fraction: Scalar = 0.0
    """Fraction of the learning rate that is left after the decay; unused while it is constant."""
    adam_eps: Scalar = 1e-8
    """Adam's epsilon (the default of PyTorch, which paper A used)."""
    reward_scale: Scalar = 1.0
    """Multiplies rewards inside the update only; rewards of 1e-6 are below what Adam and Huber resolve."""
    max_grad_norm: Scalar = 0.0
    """Global norm at which the gradient is clipped, 0 = none (the papers mention no clip)."""
    huber_delta: Scalar = 1.0
    """Where the Huber loss turns linear, in scaled reward units (guess)."""
    epsilon_start: Scalar = 1.0
    """Probability of a random decision at the first update (guess; paper A mentions no exploration)."""
    epsilon_final: Scalar = 0.05
    """Probability of a random decision after the decay (guess)."""
    epsilon_decay_updates: Scalar = 10_000
    """Updates of linear decay of that probability (guess)."""
    target_update_period: Scalar = 250
    """Updates between two copies into the target network (guess; paper A: 'after time steps')."""
    priority_exponent: Scalar = 0.6
    """Priority = (TD error + priority_floor) to this power; 0 is uniform (Schaul et al. 2016, table 3)."""
    priority_correction: Scalar = 0.4
    """How much of the sampling's bias is undone by the weights at the first update; 1 = all of it."""
    priority_correction_updates: Scalar = 100_000
    """Updates over which the correction grows linearly to 1."""
    priority_floor: Scalar = 1e-6
    """Added to every TD error, in reward units, so that none is never seen again."""
    hidden: tuple[int, ...] = struct.field(pytree_node=False, default=(64, 64))
    """Widths of the hidden layers (guess)."""
    activation: str = struct.field(pytree_node=False, default="relu")
    """Of the hidden layers, relu or tanh."""
    loss: str = struct.field(pytree_node=False, default="huber")
    """Of the TD error, huber or squared."""
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
        common.require_widths("hidden", self.hidden)
        common.require_choice("activation", self.activation, ACTIVATIONS)
        common.require_choice("loss", self.loss, losses.LOSSES)
        for field in ("replay_capacity", "batch_size", "updates_per_step", "rollout_slots", "n_steps"):
            common.require_positive(field, getattr(self, field))
        if self.batch_size > self.replay_capacity:
            allowed = f"use at most replay_capacity = {self.replay_capacity}"
            raise ConfigError("batch_size", self.batch_size, allowed)
        if self.n_steps > self.rollout_slots:
            raise ConfigError("n_steps", self.n_steps, f"use at most rollout_slots = {self.rollout_slots}")

    def init(self, key: jax.Array, specs: Specs) -> DDQNState:
        """A fresh evaluation network (LeCun normal), cloned into the target network."""
        network = MLP(self.hidden, specs.decisions, self.activation)
        params = init_mlp(network, key, specs.observation_size)
        return DDQNState(
            params=params,
            # A real copy: two names for one buffer cannot both be donated to a jitted step.
            target_params=jax.tree.map(jnp.copy, params),
            optimiser=common.init_moments(params),
            updates=jnp.zeros((), jnp.int32),
        )

    def memory(self, specs: Specs) -> Ring:
        """The empty replay memory for a problem of ``specs``."""
        return make_ring(self.replay_capacity, specs.observation_size, self.n_steps > 1, self.prioritised)

    def draw(self, ring: Ring, key: jax.Array, state: DDQNState) -> tuple[Experience, jax.Array | None]:
        """A batch ``[batch_size]`` from the memory, and where in it the rows stand if it is prioritised."""
        if not self.prioritised:
            return sample(ring, key, self.batch_size), None
        progress = jnp.clip(state.updates / jnp.maximum(self.priority_correction_updates, 1), 0.0, 1.0)
        correction = self.priority_correction + (1.0 - self.priority_correction) * progress
        return sample_prioritised(ring, key, self.batch_size, correction)

    def priorities(self, state: DDQNState, batch: Experience) -> jax.Array:
        """What a prioritised memory keeps for each row of ``batch [B]``, from its TD error under ``state``."""
        error = self._error(state.params, state.target_params, common.blank_invalid(batch)) / self.reward_scale
        return (jnp.abs(error) + self.priority_floor) ** self.priority_exponent

    def act(self, state: DDQNState, observation: jax.Array, key: jax.Array, explore: bool) -> jax.Array:
        """Decisions int32 ``[B]`` for ``observation [B, F]``: epsilon-greedy, or greedy.

        ``explore`` is static; without it ``key`` is not used.
        """
        values = apply_mlp(state.params, self.activation, observation)
        greedy = jnp.argmax(values, axis=-1).astype(jnp.int32)
        if not explore:
            return greedy
        coin_key, pick_key = jax.random.split(key)
        explores = jax.random.uniform(coin_key, greedy.shape) < self.epsilon(state)
        return jnp.where(explores, jax.random.randint(pick_key, greedy.shape, 0, values.shape[-1]), greedy)

    def epsilon(self, state: DDQNState) -> jax.Array:
        """Probability of a random decision now."""
        return common.epsilon_at(state.updates, self.epsilon_start, self.epsilon_final, self.epsilon_decay_updates)

    def outputs(self, state: DDQNState, observation: jax.Array) -> jax.Array:
        """Q values ``[B, A]`` in reward units for ``observation [B, F]``."""
        return apply_mlp(state.params, self.activation, observation) / self.reward_scale

    def layers(self, state: DDQNState) -> list[Layer]:
        """The evaluation network as dense layers whose forward pass equals ``outputs``."""
        *hidden, last = mlp_layers(state.params, self.activation, "linear")
        return [*hidden, Layer(last.kernel / self.reward_scale, last.bias / self.reward_scale, "linear")]

    def objective(
        self, params: Params, target_params: Params, batch: Experience
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Loss of the evaluation network against the double-Q target, and its metrics."""
        value = self._value(params, batch)
        error = self._target(params, target_params, batch) - value
        loss = losses.q_loss(error, batch, self.loss, self.huber_delta)
        metrics = {
            "loss": loss,
            "td_error": common.masked_mean(jnp.abs(error), batch.valid) / self.reward_scale,
            "value": common.masked_mean(value, batch.valid) / self.reward_scale,
        }
        return loss, metrics

    def _value(self, params: Params, batch: Experience) -> jax.Array:
        return common.take_decision(apply_mlp(params, self.activation, batch.observation), batch.decision)

    def _target(self, params: Params, target_params: Params, batch: Experience) -> jax.Array:
        return losses.double_q_target(
            apply_mlp(params, self.activation, batch.next_observation),
            apply_mlp(target_params, self.activation, batch.next_observation),
            batch,
            self.gamma,
            self.reward_scale,
        )

    def _error(self, params: Params, target_params: Params, batch: Experience) -> jax.Array:
        return self._target(params, target_params, batch) - self._value(params, batch)

    def update(self, state: DDQNState, batch: Experience, key: jax.Array) -> tuple[DDQNState, dict[str, jax.Array]]:
        """One step of Adam on the mean over the valid rows of ``batch``; a target copy when it is due.

        ``key`` is not used.

        Returns:
            The next state (unchanged if no row is valid) and f32 scalars: ``loss`` (scaled reward units),
            ``td_error`` (mean size) and ``value`` (reward units), ``gradient_norm`` (before the clip),
            ``epsilon`` (before the update), ``experiences`` (valid rows).
        """
        batch = common.blank_invalid(batch)
        gradients, metrics = jax.grad(self.objective, has_aux=True)(state.params, state.target_params, batch)
        gradients, norm = common.clip_by_norm(gradients, self.max_grad_norm)
        experiences = jnp.sum(batch.valid).astype(jnp.float32)
        metrics |= {"gradient_norm": norm, "epsilon": self.epsilon(state), "experiences": experiences}
        return common.choose(experiences > 0, self._step(state, gradients), state), metrics

    def _step(self, state: DDQNState, gradients: Params) -> DDQNState:
        learning_rate = common.learning_rate_at(
            state.updates, self.learning_rate, self.lr_final_fraction, self.lr_decay_updates
        )
        params, optimiser = common.adam_step(state.params, gradients, state.optimiser, learning_rate, self.adam_eps)
        updates = state.updates + 1
        return DDQNState(
            params=params,
            target_params=common.refresh_target(params, state.target_params, updates, self.target_update_period),
            optimiser=optimiser,
            updates=updates,
        )
