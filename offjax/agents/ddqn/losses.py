"""The target and the loss of double deep Q-learning, van Hasselt et al. 2016."""

import jax
import jax.numpy as jnp
import optax

from offjax.agents.common import Scalar, masked_mean, take_decision
from offjax.replay.experience import Experience

LOSSES = ("huber", "squared")


def double_q_target(
    next_evaluation: jax.Array,
    next_target: jax.Array,
    batch: Experience,
    gamma: Scalar,
    reward_scale: Scalar,
) -> jax.Array:
    """Target r + gamma Q_target(s', argmax Q_evaluation(s')) (1 - terminated), ``[B]``, without gradient.

    Args:
        next_evaluation: the evaluation network's Q(s', .), ``[B, A]``: it picks the decision.
        next_target: the target network's Q(s', .), ``[B, A]``: it says what the decision is worth.
        batch: rewards and terminations.
        gamma: discount per decision.
        reward_scale: multiplies the rewards.
    """
    worth = take_decision(next_target, jnp.argmax(next_evaluation, axis=-1))
    target = reward_scale * batch.reward + gamma * jnp.where(batch.terminated, 0.0, worth)
    return jax.lax.stop_gradient(target)


def q_loss(error: jax.Array, valid: jax.Array, loss: str, huber_delta: Scalar) -> jax.Array:
    """Mean over the valid rows of the ``squared`` error, or of its ``huber`` loss.

    Inside the delta Huber is half the square, so its gradient there is half that of ``squared``.
    """
    per_row = jnp.square(error) if loss == "squared" else optax.huber_loss(error, delta=huber_delta)
    return masked_mean(per_row, valid)
