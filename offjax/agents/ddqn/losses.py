"""The target of double deep Q-learning, van Hasselt et al. 2016."""

import jax
import jax.numpy as jnp

from offjax.agents.common import Scalar, take_decision, td_target
from offjax.replay.experience import Experience


def double_q_target(next_evaluation: jax.Array, next_target: jax.Array, batch: Experience, gamma: Scalar) -> jax.Array:
    """Target r + gamma^n Q_target(s', argmax Q_evaluation(s')) (1 - terminated), ``[B]``, without gradient.

    n is the number of decisions that an experience spans.

    Args:
        next_evaluation: the evaluation network's Q(s', .), ``[B, A]``: it picks the decision.
        next_target: the target network's Q(s', .), ``[B, A]``: it says what the decision is worth.
        batch: scaled rewards and terminations.
        gamma: discount per decision.
    """
    return td_target(batch, take_decision(next_target, jnp.argmax(next_evaluation, axis=-1)), gamma)
