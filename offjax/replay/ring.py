"""The replay memory: the newest experiences in a ring, sampled by index with replacement.

Uniform, or in proportion to a priority (Schaul et al. 2016, the proportional variant, section 3.3). The cumulative sum
of the priorities is made anew for every batch: O(capacity), and on a vector machine less than a tree's scattered reads.
"""

import jax
import jax.numpy as jnp
from flax import struct

from offjax.replay.experience import Experience


class Ring(struct.PyTreeNode):
    """The newest ``capacity`` experiences; slots that were never filled are invalid."""

    experience: Experience  # [capacity, ...]
    head: jax.Array  # int32, the slot that is written next
    size: jax.Array  # int32, filled slots, at most capacity
    priority: jax.Array | None = None  # [capacity] >= 0, of a prioritised memory; 0 where never filled

    @property
    def capacity(self) -> int:
        """Experiences that fit (static)."""
        return self.experience.valid.shape[0]


def make_ring(capacity: int, observation_size: int, steps: bool = False, prioritised: bool = False) -> Ring:
    """An empty ring.

    Args:
        capacity: experiences that it holds, at least 1.
        observation_size: F, the length of an observation.
        steps: its experiences may span several decisions.
        prioritised: it keeps a priority for each.

    Raises:
        ValueError: a capacity below 1.
    """
    if capacity < 1:
        raise ValueError(f"a ring needs a capacity of at least 1, not {capacity}")
    experience = Experience(
        observation=jnp.zeros((capacity, observation_size)),
        decision=jnp.zeros((capacity,), jnp.int32),
        reward=jnp.zeros((capacity,)),
        next_observation=jnp.zeros((capacity, observation_size)),
        terminated=jnp.zeros((capacity,), bool),
        valid=jnp.zeros((capacity,), bool),
        steps=jnp.ones((capacity,), jnp.int32) if steps else None,
    )
    priority = jnp.zeros((capacity,)) if prioritised else None
    return Ring(experience, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32), priority)


def add(ring: Ring, batch: Experience) -> Ring:
    """The ring with the valid rows of ``batch [B]`` in their order, the oldest overwritten.

    In a prioritised memory they get the highest priority so far (1 in an empty one): each is seen soon.

    Raises:
        ValueError: (at trace time) B above the capacity, where one batch could write a slot twice.
    """
    rows = batch.valid.shape[0]
    if rows > ring.capacity:
        raise ValueError(f"a batch of {rows} does not fit a ring of {ring.capacity}")
    rank = jnp.cumsum(batch.valid, dtype=jnp.int32) - 1
    # An invalid row goes to the slot one past the end, which the scatter drops.
    slots = jnp.where(batch.valid, (ring.head + rank) % ring.capacity, ring.capacity)
    count = jnp.sum(batch.valid, dtype=jnp.int32)
    return Ring(
        experience=jax.tree.map(lambda memory, row: memory.at[slots].set(row, mode="drop"), ring.experience, batch),
        head=(ring.head + count) % ring.capacity,
        size=jnp.minimum(ring.size + count, ring.capacity),
        priority=None if ring.priority is None else _newest_first(ring.priority, slots),
    )


def _newest_first(priority: jax.Array, slots: jax.Array) -> jax.Array:
    highest = jnp.max(priority)
    return priority.at[slots].set(jnp.where(highest > 0, highest, 1.0), mode="drop")


def sample(ring: Ring, key: jax.Array, n: int) -> Experience:
    """``n`` (static) experiences, uniform with replacement over the filled slots.

    All rows are valid, unless the ring is empty: then none is, and an update with them changes nothing.
    """
    slots = jax.random.randint(key, (n,), 0, jnp.maximum(ring.size, 1))
    return jax.tree.map(lambda memory: memory[slots], ring.experience)


def sample_prioritised(
    ring: Ring, key: jax.Array, n: int, correction: float | jax.Array
) -> tuple[Experience, jax.Array]:
    """``n`` (static) experiences in proportion to their priorities, and their slots [n].

    Args:
        ring: a prioritised one.
        key: typed random key.
        n: static.
        correction: beta of Schaul et al., 0 = none, 1 = the bias of the sampling is undone by ``weight``, which is
            scaled to at most 1 in the batch.
    """
    assert ring.priority is not None
    total = jnp.cumsum(ring.priority)
    # Below 1 strictly: the last filled slot is found at most, also where the sum is rounded.
    targets = jax.random.uniform(key, (n,)) * total[-1]
    slots = jnp.minimum(jnp.searchsorted(total, targets, side="right"), jnp.maximum(ring.size, 1) - 1)
    chance = ring.priority[slots] / jnp.maximum(total[-1], jnp.finfo(jnp.float32).tiny)
    weight = (jnp.maximum(chance, jnp.finfo(jnp.float32).tiny) * jnp.maximum(ring.size, 1)) ** -correction
    batch = jax.tree.map(lambda memory: memory[slots], ring.experience)
    return batch.replace(weight=weight / jnp.max(weight)), slots


def prioritise(priority: jax.Array, slots: jax.Array, fresh: jax.Array, valid: jax.Array) -> jax.Array:
    """Priorities [capacity] with those of the ``slots`` [n] that are ``valid`` set to ``fresh`` [n]."""
    return priority.at[jnp.where(valid, slots, priority.shape[0])].set(fresh, mode="drop")
