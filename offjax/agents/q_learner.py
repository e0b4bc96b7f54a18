"""What the learners of Q values share: network, exploration, loss, Adam step; each adds its own target."""

import jax
import jax.numpy as jnp
import optax
from flax import struct

from offjax.agents import common
from offjax.agents.common import Scalar
from offjax.agents.networks import ACTIVATIONS, MLP, Layer, Params, apply_mlp, init_mlp, mlp_layers
from offjax.agents.normaliser import Normaliser, fold, make_normaliser, normalise
from offjax.agents.specs import Specs
from offjax.replay.experience import Experience

LOSSES = ("huber", "squared")


class QState(struct.PyTreeNode):
    """What a learner of Q values has learnt; save it whole to continue."""

    params: Params  # evaluation network, [F] -> Q values [A] in scaled reward units, or their dueling streams [A + 1]
    target_params: Params  # target network, a past copy of params
    optimiser: optax.OptState  # Adam moments
    updates: jax.Array  # int32, updates that had at least one valid experience
    normaliser: Normaliser | None  # of observations, where they are normalised


@struct.dataclass
class QLearner:
    """A network of Q values, epsilon-greedy, trained by Adam on a TD target.

    Numbers are leaves (sweep them with ``vmap``), structure is static.
    """

    gamma: Scalar = 0.99
    """Discount per decision (guess)."""
    learning_rate: Scalar = 1e-3
    """Adam's step (guess; the default of Keras and PyTorch)."""
    lr_decay_updates: Scalar = 0
    """Updates of linear decay of the learning rate; 0 = constant."""
    lr_final_fraction: Scalar = 0.0
    """Fraction of the learning rate that is left after the decay; unused while it is constant."""
    adam_eps: Scalar = 1e-8
    """Adam's epsilon (the default of PyTorch)."""
    reward_scale: Scalar = 1.0
    """Multiplies rewards inside the update only; rewards of 1e-6 are below what Adam and Huber resolve."""
    max_grad_norm: Scalar = 0.0
    """Global norm at which the gradient is clipped, 0 = none (the papers mention no clip)."""
    huber_delta: Scalar = 1.0
    """Where the Huber loss turns linear, in scaled reward units (guess)."""
    epsilon_start: Scalar = 1.0
    """Probability of a random decision at the first update (guess)."""
    epsilon_final: Scalar = 0.05
    """Probability of a random decision after the decay (guess)."""
    epsilon_decay_updates: Scalar = 10_000
    """Updates of linear decay of that probability (guess)."""
    target_update_period: Scalar = 250
    """Updates between two copies into the target network; 0 = no target network (a copy after every update)."""
    hidden: tuple[int, ...] = struct.field(pytree_node=False, default=(64, 64))
    """Widths of the hidden layers (guess)."""
    activation: str = struct.field(pytree_node=False, default="relu")
    """Of the hidden layers, relu or tanh."""
    loss: str = struct.field(pytree_node=False, default="huber")
    """Of the TD error, huber or squared."""
    normalise_observations: bool = struct.field(pytree_node=False, default=False)
    """Observations less their running mean, over their running deviation; a choice of ours."""

    def __post_init__(self) -> None:
        """Refuse an impossible structure with a ConfigError."""
        common.require_widths("hidden", self.hidden)
        common.require_choice("activation", self.activation, ACTIVATIONS)
        common.require_choice("loss", self.loss, LOSSES)

    # ------------------------------------------------------------------------------ what a subclass may change

    def streams(self, decisions: int) -> int:
        """Outputs of the network for a number of decisions A."""
        return decisions

    def join(self, streams: jax.Array) -> jax.Array:
        """Q values ``[..., A]`` from the network's outputs; linear."""
        return streams

    def target(self, params: Params, target_params: Params, batch: Experience) -> jax.Array:
        """What Q should be for every row of ``batch [B]``, without gradient."""
        raise NotImplementedError

    # ----------------------------------------------------------------------------------------------------------

    def init(self, key: jax.Array, specs: Specs) -> QState:
        """A fresh evaluation network (LeCun normal), cloned into the target network."""
        network = MLP(self.hidden, self.streams(specs.decisions), self.activation)
        params = init_mlp(network, key, specs.observation_size)
        return QState(
            params=params,
            # A real copy: two names for one buffer cannot both be donated to a jitted step.
            target_params=jax.tree.map(jnp.copy, params),
            optimiser=common.init_moments(params),
            updates=jnp.zeros((), jnp.int32),
            normaliser=make_normaliser(specs.observation_size) if self.normalise_observations else None,
        )

    def act(self, state: QState, observation: jax.Array, key: jax.Array, explore: bool) -> jax.Array:
        """Decisions int32 ``[B]`` for ``observation [B, F]``: epsilon-greedy, or greedy.

        ``explore`` is static; without it ``key`` is not used.
        """
        values = self.q_values(state.params, normalise(state.normaliser, observation))
        greedy = jnp.argmax(values, axis=-1).astype(jnp.int32)
        if not explore:
            return greedy
        coin_key, pick_key = jax.random.split(key)
        explores = jax.random.uniform(coin_key, greedy.shape) < self.epsilon(state)
        return jnp.where(explores, jax.random.randint(pick_key, greedy.shape, 0, values.shape[-1]), greedy)

    def epsilon(self, state: QState) -> jax.Array:
        """Probability of a random decision now."""
        return common.epsilon_at(state.updates, self.epsilon_start, self.epsilon_final, self.epsilon_decay_updates)

    def outputs(self, state: QState, observation: jax.Array) -> jax.Array:
        """Q values ``[B, A]`` in reward units for ``observation [B, F]``."""
        return self.q_values(state.params, normalise(state.normaliser, observation)) / self.reward_scale

    def layers(self, state: QState) -> list[Layer]:
        """The evaluation network as dense layers whose forward pass equals ``outputs``."""
        *hidden, last = mlp_layers(state.params, self.activation, "linear")
        kernel, bias = (self.join(part) / self.reward_scale for part in (last.kernel, last.bias))
        return fold(state.normaliser, [*hidden, Layer(kernel, bias, "linear")])

    def q_values(self, params: Params, observation: jax.Array) -> jax.Array:
        """Q values ``[B, A]`` in scaled reward units for a normalised ``observation [B, F]``."""
        return self.join(apply_mlp(params, self.activation, observation))

    def objective(
        self, params: Params, target_params: Params, batch: Experience
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Loss of the evaluation network against the target, and its metrics.

        ``batch`` is as the networks see it: rewards scaled, observations normalised.
        """
        value = self._value(params, batch)
        error = self.target(params, target_params, batch) - value
        loss = q_loss(error, batch, self.loss, self.huber_delta)
        metrics = {
            "loss": loss,
            "td_error": common.masked_mean(jnp.abs(error), batch.valid) / self.reward_scale,
            "value": common.masked_mean(value, batch.valid) / self.reward_scale,
        }
        return loss, metrics

    def error(self, state: QState, batch: Experience) -> jax.Array:
        """TD error ``[B]`` in reward units of every row of a plain ``batch`` under ``state``."""
        batch = common.as_seen(batch, self.reward_scale, state.normaliser)
        target = self.target(state.params, state.target_params, batch)
        return (target - self._value(state.params, batch)) / self.reward_scale

    def _value(self, params: Params, batch: Experience) -> jax.Array:
        return common.take_decision(self.q_values(params, batch.observation), batch.decision)

    def update(self, state: QState, batch: Experience, key: jax.Array) -> tuple[QState, dict[str, jax.Array]]:
        """One step of Adam on the mean over the valid rows of ``batch``; a target copy when it is due.

        ``key`` is not used.

        Returns:
            The next state (unchanged if no row is valid) and f32 scalars: ``loss`` (scaled reward units),
            ``td_error`` (mean size) and ``value`` (reward units), ``gradient_norm`` (before the clip, 0 without),
            ``epsilon`` (before the update), ``experiences`` (valid rows).
        """
        normaliser, batch = common.prepare(batch, self.reward_scale, state.normaliser)
        gradients, metrics = jax.grad(self.objective, has_aux=True)(state.params, state.target_params, batch)
        gradients, norm = common.clip_by_norm(gradients, self.max_grad_norm)
        experiences = jnp.sum(batch.valid).astype(jnp.float32)
        metrics |= {"gradient_norm": norm, "epsilon": self.epsilon(state), "experiences": experiences}
        learnt = self._step(state.replace(normaliser=normaliser), gradients)
        return common.choose(experiences > 0, learnt, state), metrics

    def _step(self, state: QState, gradients: Params) -> QState:
        learning_rate = common.learning_rate_at(
            state.updates, self.learning_rate, self.lr_final_fraction, self.lr_decay_updates
        )
        params, optimiser = common.adam_step(state.params, gradients, state.optimiser, learning_rate, self.adam_eps)
        updates = state.updates + 1
        target = common.refresh_target(params, state.target_params, updates, self.target_update_period)
        return state.replace(params=params, target_params=target, optimiser=optimiser, updates=updates)


def q_loss(error: jax.Array, batch: Experience, loss: str, huber_delta: Scalar) -> jax.Array:
    """Mean over the valid rows of the ``squared`` error, or of its ``huber`` loss, times the rows' weights.

    Inside the delta Huber is half the square, so its gradient there is half that of ``squared``.
    """
    per_row = jnp.square(error) if loss == "squared" else optax.huber_loss(error, delta=huber_delta)
    return common.masked_mean(per_row if batch.weight is None else per_row * batch.weight, batch.valid)
