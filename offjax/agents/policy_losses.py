"""The terms that the losses of all learners of a policy are made of."""

import jax
import jax.numpy as jnp

from offjax.agents.common import masked_mean, take_decision


def log_probability(logits: jax.Array, decision: jax.Array) -> jax.Array:
    """log pi(a|s) ``[...]`` of ``decision [...]`` under ``logits [..., A]``."""
    return take_decision(jax.nn.log_softmax(logits), decision)


def score_loss(logits: jax.Array, decision: jax.Array, advantage: jax.Array, valid: jax.Array) -> jax.Array:
    """Mean of -log pi(a|s) times the advantage ``[...]``, which is a constant to the gradient."""
    return masked_mean(-log_probability(logits, decision) * jax.lax.stop_gradient(advantage), valid)


def value_loss(target: jax.Array, value: jax.Array, valid: jax.Array) -> jax.Array:
    """Mean square of target - V(s) ``[...]`` over the valid rows; the target is a constant to the gradient."""
    return masked_mean(jnp.square(jax.lax.stop_gradient(target) - value), valid)


def entropy(logits: jax.Array, valid: jax.Array) -> jax.Array:
    """Mean entropy of the policy over the valid rows, in nats."""
    log_probabilities = jax.nn.log_softmax(logits)
    return masked_mean(-jnp.sum(jnp.exp(log_probabilities) * log_probabilities, axis=-1), valid)
