"""The target and the loss of double deep Q-learning, van Hasselt et al. 2016."""

import jax
import jax.numpy as jnp
import optax

from offjax.agents.common import Scalar, bootstrap_discount, masked_mean, take_decision
from offjax.replay.experience import Experience

LOSSES = ("huber", "squared")


def double_q_target(
    next_evaluation: jax.Array,
    next_target: jax.Array,
    batch: Experience,
    gamma: Scalar,
    reward_scale: Scalar,
) -> jax.Array:
    """Target r + gamma^n Q_target(s', argmax Q_evaluation(s')) (1 - terminated), ``[B]``, without gradient.

    n is the number of decisions that an experience spans.

    Args:
        next_evaluation: the evaluation network's Q(s', .), ``[B, A]``: it picks the decision.
        next_target: the target network's Q(s', .), ``[B, A]``: it says what the decision is worth.
        batch: rewards and terminations.
        gamma: discount per decision.
        reward_scale: multiplies the rewards.
    """
    worth = take_decision(next_target, jnp.argmax(next_evaluation, axis=-1))
    target = reward_scale * batch.reward + bootstrap_discount(batch, gamma) * worth
    return jax.lax.stop_gradient(target)


def q_loss(error: jax.Array, batch: Experience, loss: str, huber_delta: Scalar) -> jax.Array:
    """Mean over the valid rows of the ``squared`` error, or of its ``huber`` loss, times the rows' weights.

    Inside the delta Huber is half the square, so its gradient there is half that of ``squared``.
    """
    per_row = jnp.square(error) if loss == "squared" else optax.huber_loss(error, delta=huber_delta)
    return masked_mean(per_row if batch.weight is None else per_row * batch.weight, batch.valid)
