"""The two memories of algorithm 1 of paper A: basic (BRM), of what devices have sent, and augmented (ARM).

A memory is a ring whose rows carry two more columns: whether a generator made the row, and the iteration in which it
was stored. A generator is anything with the methods of :class:`Augment`: rows in, rows out.
"""

from typing import Any, ClassVar, Protocol, TypeVar

import jax
import jax.numpy as jnp
from flax import struct

from offjax.errors import ConfigError
from offjax.replay.experience import Experience
from offjax.replay.ring import Ring, make_ring, pack, unpack, write

Rows = TypeVar("Rows")


class Memory(struct.PyTreeNode):
    """The newest experiences, real and generated."""

    ring: Ring  # rows [capacity, 2 F + 5]: those of a ring, then generated (0 or 1), then the iteration

    @property
    def capacity(self) -> int:
        """Experiences that fit (static)."""
        return self.ring.capacity

    @property
    def size(self) -> jax.Array:
        """[] int32, experiences that it holds."""
        return self.ring.size

    @property
    def table(self) -> jax.Array:
        """[capacity, 2 F + 3] rows as ``offjax.replay.ring.pack`` makes them, the first ``size`` are filled."""
        return self.ring.rows[:, :-2]

    @property
    def generated(self) -> jax.Array:
        """[capacity] bool, rows that a generator made."""
        return self.ring.rows[:, -2] > 0

    @property
    def born(self) -> jax.Array:
        """[capacity] int32, iteration in which each row was stored; exact up to 2^24."""
        return self.ring.rows[:, -1].astype(jnp.int32)

    @property
    def experience(self) -> Experience:
        """All slots; those that were never filled are invalid."""
        return unpack(self.ring, self.table, jnp.arange(self.capacity) < self.size)


class Augment(Protocol):
    """What makes experiences out of experiences; a pytree whose structure is static."""

    fits: ClassVar[bool]
    """Does it learn from the basic memory?"""

    def init(self, key: jax.Array, features: int, capacity: int) -> Any:
        """The state of a fresh generator; a pytree, saved with the learner.

        Args:
            key: typed random key.
            features: F of an observation.
            capacity: of the basic memory.
        """

    def refit(self, state: Any, table: jax.Array, size: jax.Array, key: jax.Array) -> Any:
        """The state after a fit to the basic memory, see :meth:`generate`; called only of one that ``fits``."""

    def generate(
        self, state: Any, table: jax.Array, size: jax.Array, rows: jax.Array, key: jax.Array
    ) -> tuple[Any, jax.Array, jax.Array]:
        """Rows out of rows, all as :func:`offjax.replay.ring.pack` lays them out.

        Args:
            state: its own.
            table: [capacity, 2 F + 3] the basic memory.
            size: [] int32, how many of its rows are filled.
            rows: [B, 2 F + 3] the batch that algorithm 1 puts in.
            key: typed random key.

        Returns:
            the state, rows [G, 2 F + 3] with a fixed G, and which of them are valid [G] bool.
        """


def make_memory(field: str, capacity: int, features: int) -> Memory:
    """An empty memory for observations of length F.

    Args:
        field: named in the error.
        capacity: experiences that it holds.
        features: F.

    Raises:
        ConfigError: a capacity below 1.
    """
    if capacity < 1:
        raise ConfigError(field, capacity, "a whole number of at least 1")
    ring = make_ring(capacity, features)
    return Memory(ring.replace(rows=jnp.zeros((capacity, ring.rows.shape[1] + 2))))


def remember(memory: Memory, batch: Experience, iteration: jax.Array, generated: bool = False) -> Memory:
    """Store the valid rows of ``batch`` [B], the oldest overwritten.

    Args:
        memory: the memory.
        batch: of one decision each.
        iteration: [] int32, the one of now.
        generated: static, did a generator make them?
    """
    batch, valid = newest(batch, batch.valid, memory.capacity)
    return remember_rows(memory, pack(batch), valid, iteration, generated)


def remember_rows(
    memory: Memory, rows: jax.Array, valid: jax.Array, iteration: jax.Array, generated: bool = False
) -> Memory:
    """The same for ``rows`` [B, 2 F + 3], as ``pack`` makes them, where ``valid`` [B]."""
    rows, valid = newest(rows, valid, memory.capacity)
    made = jnp.full((rows.shape[0], 1), float(generated))
    born = jnp.full((rows.shape[0], 1), iteration.astype(jnp.float32))
    return Memory(write(memory.ring, jnp.concatenate([rows, made, born], axis=1), valid))


def newest(rows: Rows, valid: jax.Array, capacity: int) -> tuple[Rows, jax.Array]:
    """The last ``capacity`` (static) valid rows in their order, where there may be more rows than a memory holds.

    Args:
        rows: leaves [B, ...].
        valid: [B] bool.
        capacity: of the memory.

    Returns:
        rows, and which of them are valid: as they were, or [capacity] where B is larger.
    """
    if valid.shape[0] <= capacity:
        return rows, valid
    count = jnp.cumsum(valid, dtype=jnp.int32)
    wanted = count[-1] - capacity + 1 + jnp.arange(capacity, dtype=jnp.int32)
    places = jnp.searchsorted(count, wanted)
    return jax.tree.map(lambda leaf: leaf[jnp.minimum(places, valid.shape[0] - 1)], rows), wanted > 0


def recall(memory: Memory, key: jax.Array, n: int) -> Experience:
    """``n`` (static) experiences, uniform with replacement; none is valid in an empty memory."""
    slots = jax.random.randint(key, (n,), 0, jnp.maximum(memory.size, 1))
    return _read(memory, slots, slots < memory.size)


def recall_mixed(
    memory: Memory, key: jax.Array, n: int, share: float | jax.Array, age_limit: float | jax.Array, iteration: jax.Array
) -> Experience:
    """``n`` (static) experiences with replacement, a ``share`` of them generated.

    A kind that is missing is made up for by the other one; a batch without any row to draw is invalid.

    Args:
        memory: the memory.
        key: typed random key.
        n: static.
        share: of generated rows, 0..1, rounded to whole rows; negative: as they come, uniform over all.
        age_limit: iterations after which a generated row is not drawn any more.
        iteration: [] int32, the one of now.
    """
    filled = jnp.arange(memory.capacity) < memory.size
    fresh = filled & memory.generated & (iteration - memory.born <= age_limit)
    real = filled & ~memory.generated
    mixed = jnp.asarray(share) < 0
    there = jnp.stack([jnp.where(mixed, real | fresh, real), jnp.where(mixed, real | fresh, fresh)])
    counts = jnp.cumsum(there, axis=1, dtype=jnp.int32)
    wanted = (jnp.arange(n) < jnp.round(share * n)).astype(jnp.int32)
    kind = jnp.where(counts[wanted, -1] > 0, wanted, 1 - wanted)
    pick = jnp.floor(jax.random.uniform(key, (n,)) * counts[kind, -1]).astype(jnp.int32)
    pick = jnp.minimum(pick, counts[kind, -1] - 1)
    slots = jnp.stack([jnp.searchsorted(row, pick, side="right") for row in counts])
    slots = jnp.take_along_axis(slots, kind[None, :], axis=0)[0]
    return _read(memory, jnp.minimum(slots, memory.capacity - 1), counts[kind, -1] > 0)


def _read(memory: Memory, slots: jax.Array, valid: jax.Array) -> Experience:
    return unpack(memory.ring, memory.ring.rows[slots, :-2], valid)
