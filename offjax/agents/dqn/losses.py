"""The target of deep Q-learning, Mnih et al. 2015."""

import jax
import jax.numpy as jnp

from offjax.agents.common import Scalar, td_target
from offjax.replay.experience import Experience


def q_target(next_target: jax.Array, batch: Experience, gamma: Scalar) -> jax.Array:
    """Target r + gamma max Q_target(s', .) (1 - terminated), ``[B]``, without gradient.

    Args:
        next_target: the target network's Q(s', .), ``[B, A]``.
        batch: scaled rewards and terminations.
        gamma: discount per decision.
    """
    return td_target(batch, jnp.max(next_target, axis=-1), gamma)
