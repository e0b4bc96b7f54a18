"""The losses of the actor-critic with separate networks, [29] 'DRL-based proposed solution'."""

import jax
import jax.numpy as jnp

from offjax.agents.common import Scalar, bootstrap_discount, masked_mean, take_decision
from offjax.replay.experience import Experience


def td_error(
    value: jax.Array, next_value: jax.Array, batch: Experience, gamma: Scalar, reward_scale: Scalar
) -> jax.Array:
    """TD error r + gamma V(s') (1 - terminated) - V(s), ``[B]``.

    The bootstrapped target is a constant to the gradient (semi-gradient TD(0)).
    """
    target = reward_scale * batch.reward + bootstrap_discount(batch, gamma) * next_value
    return jax.lax.stop_gradient(target) - value


def critic_loss(error: jax.Array, valid: jax.Array) -> jax.Array:
    """Mean square of the TD error ``[B]`` over the valid rows."""
    return masked_mean(jnp.square(error), valid)


def actor_loss(logits: jax.Array, decision: jax.Array, error: jax.Array, valid: jax.Array) -> jax.Array:
    """Mean of -log pi(a|s) times the TD error ``[B]``, which is a constant to the gradient."""
    log_probability = take_decision(jax.nn.log_softmax(logits), decision)
    return masked_mean(-log_probability * jax.lax.stop_gradient(error), valid)


def entropy(logits: jax.Array, valid: jax.Array) -> jax.Array:
    """Mean entropy of the policy over the valid rows, in nats."""
    log_probabilities = jax.nn.log_softmax(logits)
    return masked_mean(-jnp.sum(jnp.exp(log_probabilities) * log_probabilities, axis=-1), valid)
