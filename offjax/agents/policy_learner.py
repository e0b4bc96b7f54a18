"""What the learners of a policy and a value share: networks, decisions, Adam steps; each adds its own loss."""

from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax
from flax import struct

from offjax.agents import common
from offjax.agents.common import Scalar
from offjax.agents.networks import ACTIVATIONS, MLP, Layer, Params, apply_mlp, init_mlp, mlp_layers
from offjax.agents.normaliser import Normaliser, fold, make_normaliser, normalise
from offjax.agents.returns import advantages
from offjax.agents.specs import Specs
from offjax.replay.experience import Experience

NETWORKS = ("separate", "joint")
Metrics = dict[str, jax.Array]


class PolicyState(struct.PyTreeNode):
    """What a learner of a policy has learnt; save it whole to continue.

    Separate networks: ``actor``, [F] -> [A] logits, and ``critic``, [F] -> [1] value in scaled reward units. A
    joint one: ``joint``, [F] -> [A + 1], the logits and then the value, two linear heads on one trunk.
    """

    params: dict[str, Params]
    optimisers: dict[str, optax.OptState]  # Adam moments of each network
    updates: jax.Array  # int32, steps of Adam that had at least one valid experience
    normaliser: Normaliser | None  # of observations, where they are normalised


@struct.dataclass
class PolicyLearner:
    """A softmax policy and a value, in separate networks or in a joint one; every network has its own Adam.

    Numbers are leaves (sweep them with ``vmap``), structure is static.
    """

    gamma: Scalar = 0.99
    """Discount per decision."""
    lr_decay_updates: Scalar = 0
    """Updates of linear decay of the learning rates; 0 = constant."""
    lr_final_fraction: Scalar = 0.0
    """Fraction of the learning rates that is left after the decay; unused while it is constant."""
    adam_eps: Scalar = 1e-7
    """Adam's epsilon."""
    reward_scale: Scalar = 1.0
    """Multiplies rewards inside the update only; a choice of ours."""
    max_grad_norm: Scalar = 0.0
    """Global norm at which each network's gradient is clipped, 0 = none."""
    entropy_coefficient: Scalar = 0.0
    """Weight of an entropy bonus on the policy, per nat."""
    hidden: tuple[int, ...] = struct.field(pytree_node=False, default=(256, 256))
    """Widths of the hidden layers of every network."""
    activation: str = struct.field(pytree_node=False, default="tanh")
    """Of the hidden layers, tanh or relu."""
    networks: str = struct.field(pytree_node=False, default="separate")
    """separate, or joint: the policy and the value share the hidden layers."""
    normalise_observations: bool = struct.field(pytree_node=False, default=False)
    """Observations less their running mean, over their running deviation; a choice of ours."""

    def __post_init__(self) -> None:
        """Refuse an impossible structure with a ConfigError."""
        common.require_widths("hidden", self.hidden)
        common.require_choice("activation", self.activation, ACTIVATIONS)
        common.require_choice("networks", self.networks, NETWORKS)

    def learning_rates(self) -> dict[str, Scalar]:
        """Adam's step of each kind of network: ``actor``, ``critic``, ``joint``."""
        raise NotImplementedError

    def init(self, key: jax.Array, specs: Specs) -> PolicyState:
        """Fresh networks (LeCun normal) and moments for a problem of ``specs``."""
        if self.networks == "joint":
            outputs, keys = {"joint": specs.decisions + 1}, key[None]
        else:
            outputs, keys = {"actor": specs.decisions, "critic": 1}, jax.random.split(key)
        params = {
            net: init_mlp(MLP(self.hidden, width, self.activation), net_key, specs.observation_size)
            for (net, width), net_key in zip(outputs.items(), keys, strict=True)
        }
        return PolicyState(
            params=params,
            optimisers={net: common.init_moments(own) for net, own in params.items()},
            updates=jnp.zeros((), jnp.int32),
            normaliser=make_normaliser(specs.observation_size) if self.normalise_observations else None,
        )

    def act(self, state: PolicyState, observation: jax.Array, key: jax.Array, explore: bool) -> jax.Array:
        """Decisions int32 ``[B]`` for ``observation [B, F]``: drawn from the policy, or its most likely one.

        ``explore`` is static; without it ``key`` is not used.
        """
        logits, _ = self.heads(state.params, normalise(state.normaliser, observation))
        decision = jax.random.categorical(key, logits) if explore else jnp.argmax(logits, axis=-1)
        return decision.astype(jnp.int32)

    def outputs(self, state: PolicyState, observation: jax.Array) -> jax.Array:
        """Probabilities of the decisions, ``[B, A]``, for ``observation [B, F]``."""
        return jax.nn.softmax(self.heads(state.params, normalise(state.normaliser, observation))[0])

    def value(self, state: PolicyState, observation: jax.Array) -> jax.Array:
        """Discounted return ``[B]`` of ``observation [B, F]``, in reward units."""
        return self.heads(state.params, normalise(state.normaliser, observation))[1] / self.reward_scale

    def layers(self, state: PolicyState) -> list[Layer]:
        """The policy as dense layers whose forward pass equals ``outputs``."""
        net = "joint" if self.networks == "joint" else "actor"
        *hidden, last = mlp_layers(state.params[net], self.activation, "softmax")
        if net == "joint":
            last = last._replace(kernel=last.kernel[:, :-1], bias=last.bias[:-1])
        return fold(state.normaliser, [*hidden, last])

    def heads(self, params: dict[str, Params], observation: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Logits ``[..., A]`` and values ``[...]`` (scaled) for a normalised ``observation [..., F]``."""
        if self.networks == "joint":
            both = apply_mlp(params["joint"], self.activation, observation)
            return both[..., :-1], both[..., -1]
        logits, value = (apply_mlp(params[net], self.activation, observation) for net in ("actor", "critic"))
        return logits, value[..., 0]

    def prepare(self, state: PolicyState, batch: Experience) -> tuple[PolicyState, Experience]:
        """The state with the batch's observations counted, and the batch as the networks see it."""
        normaliser, batch = common.prepare(batch, self.reward_scale, state.normaliser)
        return state.replace(normaliser=normaliser), batch

    def descend(
        self,
        state: PolicyState,
        objective: Callable[[dict[str, Params]], tuple[jax.Array, Metrics]],
        valid: jax.Array,
    ) -> tuple[PolicyState, Metrics]:
        """One step of every Adam against ``objective(params) -> (loss, metrics)``; none if no row is ``valid``."""
        gradients, metrics = jax.grad(objective, has_aux=True)(state.params)
        params, optimisers, rates = {}, {}, self.learning_rates()
        for net, gradient in gradients.items():
            clipped, metrics[f"{net}_gradient_norm"] = common.clip_by_norm(gradient, self.max_grad_norm)
            rate = common.learning_rate_at(state.updates, rates[net], self.lr_final_fraction, self.lr_decay_updates)
            params[net], optimisers[net] = common.adam_step(
                state.params[net], clipped, state.optimisers[net], rate, self.adam_eps
            )
        stepped = state.replace(params=params, optimisers=optimisers, updates=state.updates + 1)
        experiences = jnp.sum(valid).astype(jnp.float32)
        return common.choose(experiences > 0, stepped, state), metrics | {"experiences": experiences}

    def report(self, value: jax.Array, target: jax.Array, valid: jax.Array) -> Metrics:
        """``td_error``, the mean size of target - V(s), and the mean ``value``, both in reward units."""
        return {
            "td_error": common.masked_mean(jnp.abs(target - value), valid) / self.reward_scale,
            "value": common.masked_mean(value, valid) / self.reward_scale,
        }


@struct.dataclass
class RolloutLearner(PolicyLearner):
    """A learner of a policy that updates once per rollout, from advantages over its rows in the order of time."""

    replays: ClassVar[bool] = False
    sequential: ClassVar[bool] = True

    adam_eps: Scalar = 1e-5
    """Adam's epsilon (guess; public configurations of A2C and PPO)."""
    max_grad_norm: Scalar = 0.5
    """Global norm at which each network's gradient is clipped, 0 = none (guess; public configurations)."""
    entropy_coefficient: Scalar = 0.01
    """Weight of the entropy bonus, per nat (both sources, Atari)."""
    learning_rate: Scalar = 3e-4
    """Adam's step of every network."""
    value_coefficient: Scalar = 0.5
    """Weight of the value loss (guess; public configurations); with separate networks Adam all but undoes it."""
    gae_lambda: Scalar = 0.95
    """Decay of the advantage's sum over later decisions; 1 = n-step advantages."""
    rollout_slots: int = struct.field(pytree_node=False, default=25)
    """Slots between two updates."""

    def __post_init__(self) -> None:
        """Refuse an impossible structure with a ConfigError."""
        super().__post_init__()
        common.require_positive("rollout_slots", self.rollout_slots)

    def learning_rates(self) -> dict[str, Scalar]:
        """Adam's step of each kind of network."""
        return dict.fromkeys(("actor", "critic", "joint"), self.learning_rate)

    def judge(
        self, params: dict[str, Params], rollout: Experience
    ) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
        """Logits ``[T, B, A]``, values, advantages and value targets ``[T, B]`` of a rollout as the networks see it.

        Advantages and targets are constants to the gradient.
        """
        logits, value = self.heads(params, rollout.observation)
        _, next_value = self.heads(params, rollout.next_observation)
        advantage = advantages(value, next_value, rollout, self.gamma, self.gae_lambda)
        return logits, value, advantage, advantage + jax.lax.stop_gradient(value)
