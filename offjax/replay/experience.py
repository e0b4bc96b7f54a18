"""The experience: what one decision taught."""

from typing import TypeVar

import jax
import jax.numpy as jnp
from flax import struct


class Experience(struct.PyTreeNode):
    """A batch of semi-Markov transitions (s, a, r, s', terminated), one row per device.

    ``next_observation`` is the observation when the device was asked next, taken before any reset
    (gymnax's ``final_observation``); bootstrap from it and mask with ``terminated`` only.
    Rows whose ``valid`` is false carry no meaning and must not reach a loss or a memory.
    """

    observation: jax.Array  # [B, F] normalised
    decision: jax.Array  # [B] int32, 0 = local, z = server z
    reward: jax.Array  # [B] discounted sum over the decisions that it spans
    next_observation: jax.Array  # [B, F] normalised
    terminated: jax.Array  # [B] bool
    valid: jax.Array  # [B] bool
    steps: jax.Array | None = None  # [B] int32 decisions that it spans; None where every row spans one
    weight: jax.Array | None = None  # [B] importance weight in a loss; None where all weigh the same


Rows = TypeVar("Rows")


def is_finite(batch: Experience) -> jax.Array:
    """[B] bool, rows of ``batch`` in which every number is finite; nothing can be learnt from the others."""
    seen = jnp.isfinite(batch.observation) & jnp.isfinite(batch.next_observation)
    return jnp.all(seen, axis=-1) & jnp.isfinite(batch.reward)


def merge_slots(rollout: Rows) -> Rows:
    """[T, B, ...] to [T B, ...]: the rows of some slots as one batch."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), rollout)


def n_step(rollout: Experience, gamma: float | jax.Array, n: int) -> Experience:
    """Experiences over up to ``n`` decisions of a device, from its experiences in a rollout.

    A row spans fewer decisions where its device terminates, or where the rollout ends: it bootstraps there. Rows
    of a device follow each other without a gap, so no episodes are mixed as long as worlds are renewed between
    rollouts only. Sutton and Barto (2018), section 7.1; Hessel et al. (2018).

    Args:
        rollout: [T, B, ...] of one decision each, rows in the order of time.
        gamma: discount per decision.
        n: static, at least 1.

    Returns:
        [T, B, ...] with ``steps``.
    """
    slots = rollout.valid.shape[0]
    numbers = jnp.arange(slots, dtype=jnp.int32)[:, None]
    found = jax.lax.cummin(jnp.where(rollout.valid, numbers, slots), axis=0, reverse=True)
    following = jnp.concatenate([found[1:], jnp.full_like(found[:1], slots)])  # [T, B] slot of the next row, or T
    goes_on = ~rollout.terminated & (following < slots)
    at = jnp.minimum(following, slots - 1)
    one = rollout.replace(steps=jnp.ones_like(rollout.decision))
    spans = one
    for _ in range(n - 1):
        spans = _longer(one, spans, at, goes_on, gamma)
    return spans


def _longer(
    one: Experience, spans: Experience, at: jax.Array, goes_on: jax.Array, gamma: float | jax.Array
) -> Experience:
    """Rows of one decision, each followed by what the next row of its device spans."""
    assert spans.steps is not None

    def after(leaf: jax.Array) -> jax.Array:
        return jnp.take_along_axis(leaf, at.reshape(at.shape + (1,) * (leaf.ndim - 2)), axis=0)

    return one.replace(
        reward=jnp.where(goes_on, one.reward + gamma * after(spans.reward), one.reward),
        next_observation=jnp.where(goes_on[..., None], after(spans.next_observation), one.next_observation),
        terminated=jnp.where(goes_on, after(spans.terminated), one.terminated),
        steps=jnp.where(goes_on, 1 + after(spans.steps), 1),
    )
