"""The replay memory: the newest experiences in a ring, sampled by index with replacement."""

import jax
import jax.numpy as jnp
from flax import struct

from offjax.replay.experience import Experience


@struct.dataclass
class Ring:
    """The newest ``capacity`` experiences; slots that were never filled are invalid."""

    experience: Experience  # [capacity, ...]
    head: jax.Array  # int32, the slot that is written next
    size: jax.Array  # int32, filled slots, at most capacity

    @property
    def capacity(self) -> int:
        """Experiences that fit (static)."""
        return self.experience.valid.shape[0]


def make_ring(capacity: int, observation_size: int) -> Ring:
    """An empty ring.

    Args:
        capacity: experiences that it holds, at least 1.
        observation_size: F, the length of an observation.

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
    )
    return Ring(experience, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))


def add(ring: Ring, batch: Experience) -> Ring:
    """The ring with the valid rows of ``batch [B]`` in their order, the oldest overwritten.

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
    )


def sample(ring: Ring, key: jax.Array, n: int) -> Experience:
    """``n`` (static) experiences, uniform with replacement over the filled slots.

    All rows are valid, unless the ring is empty: then none is, and an update with them changes nothing.
    """
    slots = jax.random.randint(key, (n,), 0, jnp.maximum(ring.size, 1))
    return jax.tree.map(lambda memory: memory[slots], ring.experience)
