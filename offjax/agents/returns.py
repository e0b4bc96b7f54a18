"""Advantages over the rollouts of devices that are not asked in every slot."""

import jax
import jax.numpy as jnp

from offjax.agents.common import Scalar, bootstrap_discount, td_target
from offjax.replay.experience import Experience


def advantages(
    value: jax.Array, next_value: jax.Array, rollout: Experience, gamma: Scalar, gae_lambda: Scalar
) -> jax.Array:
    """Generalised advantage estimates ``[T, B]`` of a rollout, Schulman et al. 2016, eq 16; 0 in invalid rows.

    A_t = delta_t + gamma lambda (1 - terminated) A of the device's next valid row, delta_t = r + gamma V(s') - V(s).
    A device's last row of the rollout bootstraps from its V(s') alone. With lambda 1 this is the n-step advantage.

    Args:
        value: V(s) ``[T, B]``.
        next_value: V(s') ``[T, B]``.
        rollout: scaled rewards, rows in the order of time; invalid ones are finite.
        gamma: discount per decision.
        gae_lambda: decay of the sum over later rows.
    """
    error = td_target(rollout, next_value, gamma) - jax.lax.stop_gradient(value)
    decay = bootstrap_discount(rollout, gamma) * gae_lambda

    def back(later: jax.Array, row: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        delta, keep, valid = row
        advantage = delta + keep * later
        return jnp.where(valid, advantage, later), jnp.where(valid, advantage, 0.0)

    return jax.lax.scan(back, jnp.zeros_like(error[0]), (error, decay, rollout.valid), reverse=True)[1]
