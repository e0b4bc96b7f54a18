"""Experiences that can be told apart: every field carries the number of its row."""

import jax.numpy as jnp

from offjax.replay.experience import Experience


def numbered(first: int, valid) -> Experience:
    """Rows numbered from ``first``, as an episode and its step would be."""
    number = first + jnp.arange(len(valid), dtype=jnp.float32)
    return Experience(
        observation=jnp.stack([number, -number], axis=1),
        decision=number.astype(jnp.int32),
        reward=number,
        next_observation=jnp.stack([number + 0.5, number], axis=1),
        terminated=number % 2 == 0,
        valid=jnp.array(valid, bool),
    )
