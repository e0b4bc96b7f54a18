"""The replay memory: the newest experiences in a ring, sampled by index with replacement.

Uniform, or in proportion to a priority (Schaul et al. 2016, the proportional variant, section 3.3). The cumulative sum
of the priorities is made anew for every batch: O(capacity), and on a vector machine less than a tree's scattered reads.
"""

import jax
import jax.numpy as jnp
from flax import struct

from offjax.replay.experience import Experience


class Ring(struct.PyTreeNode):
    """The newest ``capacity`` experiences, each of them one row of a matrix: writing a batch is one scatter.

    A scatter for each field would cost more, and XLA's fusion of :mod:`offjax.xla_flags` fails on several of them.
    """

    rows: jax.Array  # [capacity, 2 F + 3 or 4] float32, see pack
    head: jax.Array  # int32, the slot that is written next
    size: jax.Array  # int32, filled slots, at most capacity
    priority: jax.Array | None  # [capacity] >= 0, of a prioritised memory; 0 where never filled
    features: int = struct.field(pytree_node=False)  # F

    @property
    def capacity(self) -> int:
        """Experiences that fit (static)."""
        return self.rows.shape[0]

    @property
    def experience(self) -> Experience:
        """All slots; those that were never filled are invalid."""
        return unpack(self, self.rows, jnp.arange(self.capacity) < self.size)


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
    return Ring(
        rows=jnp.zeros((capacity, 2 * observation_size + 3 + steps)),
        head=jnp.zeros((), jnp.int32),
        size=jnp.zeros((), jnp.int32),
        priority=jnp.zeros((capacity,)) if prioritised else None,
        features=observation_size,
    )


def pack(batch: Experience) -> jax.Array:
    """The rows [B, 2 F + 3] of a batch: s, s', a, r, terminated; then ``steps`` where it has them."""
    numbers = (batch.decision, batch.reward, batch.terminated, *(() if batch.steps is None else (batch.steps,)))
    columns = [number.astype(jnp.float32)[:, None] for number in numbers]
    return jnp.concatenate([batch.observation, batch.next_observation, *columns], axis=1)


def unpack(ring: Ring, rows: jax.Array, valid: jax.Array) -> Experience:
    """The experiences of ``rows`` [B, ...] of a ring, bit for bit as they came."""
    size = ring.features
    decision, reward, terminated, *steps = jnp.moveaxis(rows[:, 2 * size :], 1, 0)
    return Experience(
        observation=rows[:, :size],
        decision=decision.astype(jnp.int32),
        reward=reward,
        next_observation=rows[:, size : 2 * size],
        terminated=terminated != 0,
        valid=valid,
        steps=steps[0].astype(jnp.int32) if steps else None,
    )


def add(ring: Ring, batch: Experience) -> Ring:
    """The ring with the valid rows of ``batch [B]`` in their order, the oldest overwritten.

    In a prioritised memory they get the highest priority so far (1 in an empty one): each is seen soon.

    Raises:
        ValueError: (at trace time) B above the capacity, where one batch could write a slot twice.
    """
    if batch.valid.shape[0] > ring.capacity:
        raise ValueError(f"a batch of {batch.valid.shape[0]} does not fit a ring of {ring.capacity}")
    return write(ring, pack(batch), batch.valid)


def write(ring: Ring, rows: jax.Array, valid: jax.Array) -> Ring:
    """The ring with the ``valid`` [B] of ``rows`` [B, ...] in their order, the oldest overwritten; B <= capacity."""
    rank = jnp.cumsum(valid, dtype=jnp.int32) - 1
    # An invalid row goes to the slot one past the end, which the scatter drops.
    slots = jnp.where(valid, (ring.head + rank) % ring.capacity, ring.capacity)
    count = jnp.sum(valid, dtype=jnp.int32)
    return ring.replace(
        rows=ring.rows.at[slots].set(rows, mode="drop"),
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
    return _read(ring, slots)


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
    return _read(ring, slots).replace(weight=weight / jnp.max(weight)), slots


def _read(ring: Ring, slots: jax.Array) -> Experience:
    return unpack(ring, ring.rows[slots], slots < ring.size)


def prioritise(priority: jax.Array, slots: jax.Array, fresh: jax.Array, valid: jax.Array) -> jax.Array:
    """Priorities [capacity] with those of the ``slots`` [n] that are ``valid`` set to ``fresh`` [n]."""
    return priority.at[jnp.where(valid, slots, priority.shape[0])].set(fresh, mode="drop")
