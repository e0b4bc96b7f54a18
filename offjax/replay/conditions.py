"""The discrete columns of a table as conditions of a generator, and the rows that have them."""

from itertools import accumulate

import jax
import jax.numpy as jnp
from flax import struct

from offjax.errors import ConfigError
from offjax.replay.codec import Columns

FREQUENCIES = ("log", "true", "uniform")


class Conditions(struct.PyTreeNode):
    """How often each category occurs, D discrete columns with at most G categories each."""

    counts: jax.Array  # [D, G] int32, 0 beyond a column's categories


class Rows(struct.PyTreeNode):
    """Where the rows of each category are: the first are those of category 0, then 1, ..., invalid ones last."""

    order: jax.Array  # [D, capacity] int32
    offsets: jax.Array  # [D, G] int32, into ``order``


def require_frequency(frequency: str) -> None:
    """Refuse an unknown law of the categories.

    Raises:
        ConfigError: it is none of ``FREQUENCIES``.
    """
    if frequency not in FREQUENCIES:
        raise ConfigError("sample_frequency", frequency, f"of {', '.join(FREQUENCIES)}")


def no_conditions(columns: Columns) -> Conditions:
    """Counts of an empty table."""
    return Conditions(jnp.zeros((len(columns.discrete), max(columns.categories)), jnp.int32))


def index_rows(conditions: Conditions, discrete: jax.Array, valid: jax.Array) -> tuple[Conditions, Rows]:
    """Counts and places of the categories of ``discrete`` [capacity, D], of which the rows ``valid`` count."""
    most = conditions.counts.shape[1]
    category = jnp.where(valid[:, None], discrete, most)
    counts = jax.vmap(lambda column: jnp.bincount(column, length=most + 1)[:most], in_axes=1)(category)
    order = jnp.argsort(category.T, axis=1, stable=True).astype(jnp.int32)
    return Conditions(counts.astype(jnp.int32)), Rows(order, (jnp.cumsum(counts, axis=1) - counts).astype(jnp.int32))


def log_weights(counts: jax.Array, frequency: str) -> jax.Array:
    """Logits of categories that occur ``counts`` times; what does not occur is never drawn.

    Args:
        counts: int.
        frequency: static; ``log`` is CTGAN's log(count + 1), ``true`` the share of the rows, ``uniform`` all alike.
    """
    weight = {"log": jnp.log1p, "true": lambda count: count, "uniform": jnp.sign}[frequency](counts.astype(jnp.float32))
    return jnp.where(counts > 0, jnp.log(jnp.where(counts > 0, weight, 1.0)), -jnp.inf)


def draw_conditions(conditions: Conditions, key: jax.Array, n: int, frequency: str) -> tuple[jax.Array, jax.Array]:
    """``n`` (static) pairs of a discrete column, all equally likely, and one of its categories, both [n] int32."""
    column_key, category_key = jax.random.split(key)
    column = jax.random.randint(column_key, (n,), 0, conditions.counts.shape[0])
    return column, jax.random.categorical(category_key, log_weights(conditions.counts, frequency)[column])


def draw_rows(conditions: Conditions, rows: Rows, key: jax.Array, column: jax.Array, category: jax.Array) -> jax.Array:
    """A row [n] int32 of the table for each condition, uniform among those that have it."""
    count = conditions.counts[column, category]
    rank = jnp.floor(jax.random.uniform(key, column.shape) * count).astype(jnp.int32)
    return rows.order[column, rows.offsets[column, category] + jnp.minimum(rank, count - 1)]


def ends_of(columns: Columns) -> list[int]:
    """Where, in a one-hot of all discrete columns, one ends and the next begins."""
    return list(accumulate(columns.categories))[:-1]


def vector_of(columns: Columns, column: jax.Array, category: jax.Array) -> jax.Array:
    """[n, sum of all categories] 1 at ``category`` [n] of ``column`` [n], 0 elsewhere: CTGAN's conditional vector."""
    starts = jnp.array([0, *ends_of(columns)])
    return jax.nn.one_hot(starts[column] + category, sum(columns.categories))
