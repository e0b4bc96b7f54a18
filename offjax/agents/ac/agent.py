"""The actor-critic with separate networks of Nieto et al. 2024 [29]."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import optax
from flax import struct

from offjax.agents import common
from offjax.agents.ac import losses
from offjax.agents.common import Scalar
from offjax.agents.networks import ACTIVATIONS, MLP, Layer, Params, apply_mlp, init_mlp, mlp_layers
from offjax.agents.specs import Specs
from offjax.replay.experience import Experience


@struct.dataclass
class ActorCriticState:
    """What an actor-critic has learnt; save it whole to continue."""

    params: dict[str, Params]  # "actor": [F] -> [A] logits; "critic": [F] -> [1] value in scaled reward units
    actor_optimiser: optax.OptState  # Adam moments
    critic_optimiser: optax.OptState  # Adam moments
    updates: jax.Array  # int32, updates that had at least one valid experience


@struct.dataclass
class ActorCritic:
    """One-step actor-critic, two networks, two Adams; an update per step on the fresh batch, no replay.

    Numbers are leaves (sweep them with ``vmap``), structure is static. Defaults are [29]'s where it gives
    one: J. Cloud Computing 13:94 (2024), section 'DRL-based proposed solution'.
    """

    name: ClassVar[str] = "ac"
    replays: ClassVar[bool] = False
    sequential: ClassVar[bool] = False
    rollout_slots: ClassVar[int] = 1

    gamma: Scalar = 0.99
    """Discount per decision ([29])."""
    actor_learning_rate: Scalar = 1e-5
    """Adam's step of the actor ([29])."""
    critic_learning_rate: Scalar = 1e-4
    """Adam's step of the critic ([29])."""
    lr_decay_updates: Scalar = 0
    """Updates of linear decay of both learning rates; 0 = constant ([29])."""
    lr_final_fraction: Scalar = 0.0
    """Fraction of the learning rates that is left after the decay; unused while it is constant."""
    adam_eps: Scalar = 1e-7
    """Adam's epsilon; [29] gives none and used Keras 2.14, whose default this is."""
    reward_scale: Scalar = 1.0
    """Multiplies rewards inside the update only; a choice of ours, 1 is [29]."""
    max_grad_norm: Scalar = 0.0
    """Global norm at which each network's gradient is clipped, 0 = none; the paper mentions no clip."""
    entropy_coefficient: Scalar = 0.0
    """Weight of an entropy bonus on the actor, per nat; the paper does not mention one."""
    hidden: tuple[int, ...] = struct.field(pytree_node=False, default=(256, 256))
    """Widths of the hidden layers of both networks ([29])."""
    activation: str = struct.field(pytree_node=False, default="tanh")
    """Of the hidden layers, tanh ([29]) or relu."""

    def __post_init__(self) -> None:
        """Refuse an impossible structure with a ConfigError."""
        common.require_widths("hidden", self.hidden)
        common.require_choice("activation", self.activation, ACTIVATIONS)

    def init(self, key: jax.Array, specs: Specs) -> ActorCriticState:
        """Fresh networks (LeCun normal) and moments for a problem of ``specs``."""
        actor_key, critic_key = jax.random.split(key)
        actor = init_mlp(MLP(self.hidden, specs.decisions, self.activation), actor_key, specs.observation_size)
        critic = init_mlp(MLP(self.hidden, 1, self.activation), critic_key, specs.observation_size)
        return ActorCriticState(
            params={"actor": actor, "critic": critic},
            actor_optimiser=common.init_moments(actor),
            critic_optimiser=common.init_moments(critic),
            updates=jnp.zeros((), jnp.int32),
        )

    def act(self, state: ActorCriticState, observation: jax.Array, key: jax.Array, explore: bool) -> jax.Array:
        """Decisions int32 ``[B]`` for ``observation [B, F]``: drawn from the policy, or its most likely one.

        ``explore`` is static; without it ``key`` is not used.
        """
        logits = apply_mlp(state.params["actor"], self.activation, observation)
        decision = jax.random.categorical(key, logits) if explore else jnp.argmax(logits, axis=-1)
        return decision.astype(jnp.int32)

    def outputs(self, state: ActorCriticState, observation: jax.Array) -> jax.Array:
        """Probabilities of the decisions, ``[B, A]``, for ``observation [B, F]``."""
        return jax.nn.softmax(apply_mlp(state.params["actor"], self.activation, observation))

    def value(self, state: ActorCriticState, observation: jax.Array) -> jax.Array:
        """The critic's discounted return ``[B]`` of ``observation [B, F]``, in reward units."""
        return self._value(state.params, observation) / self.reward_scale

    def layers(self, state: ActorCriticState) -> list[Layer]:
        """The actor as dense layers whose forward pass equals ``outputs``."""
        return mlp_layers(state.params["actor"], self.activation, "softmax")

    def objective(self, params: dict[str, Params], batch: Experience) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Actor loss + critic loss, and their metrics.

        The networks share nothing, so the gradient of the sum is each one's own gradient.
        """
        value = self._value(params, batch.observation)
        next_value = self._value(params, batch.next_observation)
        logits = apply_mlp(params["actor"], self.activation, batch.observation)
        error = losses.td_error(value, next_value, batch, self.gamma, self.reward_scale)
        critic_loss = losses.critic_loss(error, batch.valid)
        actor_loss = losses.actor_loss(logits, batch.decision, error, batch.valid)
        entropy = losses.entropy(logits, batch.valid)
        metrics = {
            "actor_loss": actor_loss,
            "critic_loss": critic_loss,
            "entropy": entropy,
            "td_error": common.masked_mean(jnp.abs(error), batch.valid) / self.reward_scale,
            "value": common.masked_mean(value, batch.valid) / self.reward_scale,
        }
        return actor_loss - self.entropy_coefficient * entropy + critic_loss, metrics

    def update(
        self, state: ActorCriticState, batch: Experience, key: jax.Array
    ) -> tuple[ActorCriticState, dict[str, jax.Array]]:
        """One step of both Adams on the mean over the valid rows of ``batch``; ``key`` is not used.

        Returns:
            The next state (unchanged if no row is valid) and f32 scalars: ``actor_loss``, ``critic_loss``
            (scaled reward units), ``td_error`` (mean size) and ``value`` (reward units), ``entropy`` (nats),
            ``actor_gradient_norm``, ``critic_gradient_norm`` (before the clip), ``experiences`` (valid rows).
        """
        batch = common.blank_invalid(batch)
        gradients, metrics = jax.grad(self.objective, has_aux=True)(state.params, batch)
        actor, actor_norm = common.clip_by_norm(gradients["actor"], self.max_grad_norm)
        critic, critic_norm = common.clip_by_norm(gradients["critic"], self.max_grad_norm)
        experiences = jnp.sum(batch.valid).astype(jnp.float32)
        metrics |= {
            "actor_gradient_norm": actor_norm,
            "critic_gradient_norm": critic_norm,
            "experiences": experiences,
        }
        return common.choose(experiences > 0, self._step(state, actor, critic), state), metrics

    def _step(self, state: ActorCriticState, actor_gradient: Params, critic_gradient: Params) -> ActorCriticState:
        actor, actor_optimiser = common.adam_step(
            state.params["actor"],
            actor_gradient,
            state.actor_optimiser,
            self._rate(self.actor_learning_rate, state.updates),
            self.adam_eps,
        )
        critic, critic_optimiser = common.adam_step(
            state.params["critic"],
            critic_gradient,
            state.critic_optimiser,
            self._rate(self.critic_learning_rate, state.updates),
            self.adam_eps,
        )
        return ActorCriticState(
            params={"actor": actor, "critic": critic},
            actor_optimiser=actor_optimiser,
            critic_optimiser=critic_optimiser,
            updates=state.updates + 1,
        )

    def _rate(self, start: Scalar, updates: jax.Array) -> jax.Array:
        return common.learning_rate_at(updates, start, self.lr_final_fraction, self.lr_decay_updates)

    def _value(self, params: dict[str, Params], observation: jax.Array) -> jax.Array:
        return apply_mlp(params["critic"], self.activation, observation)[:, 0]
