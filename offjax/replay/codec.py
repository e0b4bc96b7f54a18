"""Tables of experiences: what their columns are, and what every encoding of them shares.

A table is a matrix [capacity, columns] whose first ``n_valid`` rows count, so that a memory that grows keeps one shape
and one program. Continuous columns are encoded by :mod:`offjax.replay.mixture` or :mod:`offjax.replay.quantile`, as
their difference to another column where one is named: s' - s is nearer to what a generator can learn than s'.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from offjax.errors import ConfigError


@dataclass(frozen=True)
class Column:
    """One column of a table; static."""

    name: str
    categories: int = 0
    """Its values are 0 ... categories - 1; 0 = it is continuous."""
    minus: str | None = None
    """Continuous column whose value is taken off this one before it is encoded."""
    low: float = -math.inf
    """Least value that is decoded."""
    high: float = math.inf
    """Largest value that is decoded."""


@dataclass(frozen=True)
class Columns:
    """All columns of a table in their order; static and hashable. The first discrete one is the decision."""

    of: tuple[Column, ...]

    def __post_init__(self) -> None:
        """Refuse columns that do not fit together.

        Raises:
            ConfigError: no continuous or no discrete column, bounds the wrong way round, or a difference to a column
                that is not there, discrete, or a difference itself.
        """
        if not self.continuous or not self.discrete:
            raise ConfigError(
                "columns", [column.name for column in self.of], "at least one continuous and one discrete"
            )
        plain = {self.of[place].name for place in self.continuous if self.of[place].minus is None}
        for column in self.of:
            if column.minus is not None and (column.categories or column.minus not in plain):
                raise ConfigError(f"columns.{column.name}.minus", column.minus, f"of {', '.join(sorted(plain))}")
            if not column.low <= column.high:
                raise ConfigError(f"columns.{column.name}.low", column.low, f"at most high, which is {column.high}")

    @cached_property
    def continuous(self) -> tuple[int, ...]:
        """Places of the continuous columns."""
        return tuple(place for place, column in enumerate(self.of) if not column.categories)

    @cached_property
    def discrete(self) -> tuple[int, ...]:
        """Places of the discrete columns."""
        return tuple(place for place, column in enumerate(self.of) if column.categories)

    @cached_property
    def categories(self) -> tuple[int, ...]:
        """How many categories each discrete column has."""
        return tuple(self.of[place].categories for place in self.discrete)

    @cached_property
    def differences(self) -> tuple[tuple[int, int], ...]:
        """(column, column that is taken off it), as numbers of continuous columns."""
        number = {self.of[place].name: index for index, place in enumerate(self.continuous)}
        named = [(index, self.of[place].minus) for index, place in enumerate(self.continuous)]
        return tuple((index, number[minus]) for index, minus in named if minus is not None)


def ring_columns(
    features: int,
    decisions: int,
    steps: int = 0,
    differences: Collection[int] = (),
    low: float = 0.0,
    high: float = 1.0,
) -> Columns:
    """The columns of the rows of a :class:`offjax.replay.ring.Ring`: s, s', a, r, terminated.

    Args:
        features: F of an observation.
        decisions: that a device has.
        steps: most decisions that an experience spans; 0 = the ring does not say, every one spans one.
        differences: features of which s' is encoded as s' - s: those that follow from s, not a new task's size.
        low: of a feature.
        high: of a feature.
    """
    now = [Column(f"s{index}", low=low, high=high) for index in range(features)]
    following = [
        Column(f"next_s{index}", minus=f"s{index}" if index in differences else None, low=low, high=high)
        for index in range(features)
    ]
    rest = [Column("decision", decisions), Column("reward"), Column("terminated", 2)]
    spans = [Column("steps", steps + 1)] if steps else []
    return Columns((*now, *following, *rest, *spans))


def check_table(columns: Columns, table: Any, n_valid: int, least: int) -> None:
    """Refuse, on the host and before anything is compiled, a table from which nothing can be learnt.

    Args:
        columns: of the table.
        table: [capacity, columns].
        n_valid: rows that count.
        least: of them that a generator needs, one batch.

    Raises:
        ConfigError: a wrong number of columns or rows, a value that is not a number, or a category that is none.
    """
    rows = np.asarray(table)
    if rows.ndim != 2 or rows.shape[1] != len(columns.of):
        raise ConfigError("table", rows.shape, f"a matrix of {len(columns.of)} columns")
    if not least <= n_valid <= len(rows):
        raise ConfigError("table", f"{n_valid} rows", f"at least a batch of {least}, at most its {len(rows)}")
    rows = rows[:n_valid]
    if not np.isfinite(rows).all():
        row, place = np.argwhere(~np.isfinite(rows))[0]
        value = float(rows[row, place])
        raise ConfigError(f"table.{columns.of[place].name}", value, f"finite numbers (row {row})")
    for place in columns.discrete:
        values, count = rows[:, place], columns.of[place].categories
        wrong = (values < 0) | (values >= count) | (values != np.floor(values))
        if wrong.any():
            value = float(values[wrong][0])
            raise ConfigError(f"table.{columns.of[place].name}", value, f"whole numbers from 0 to {count - 1}")


def split(columns: Columns, table: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The parts of a table [N, columns]: continuous [N, C], differences taken, and discrete [N, D] int32."""
    values = table[:, jnp.array(columns.continuous)]
    for column, minus in columns.differences:
        values = values.at[:, column].add(-table[:, columns.continuous[minus]])
    return values, table[:, jnp.array(columns.discrete)].astype(jnp.int32)


def merge(columns: Columns, values: jax.Array, discrete: jax.Array) -> jax.Array:
    """The table [N, columns] of its parts, the way back of :func:`split`, within the bounds of every column."""
    low, high = (jnp.array([[getattr(column, end) for column in columns.of]], jnp.float32) for end in ("low", "high"))
    plain = jnp.array(columns.continuous)
    values = jnp.where(_is_difference(columns)[None], values, jnp.clip(values, low[:, plain], high[:, plain]))
    for column, minus in columns.differences:
        values = values.at[:, column].add(values[:, minus])
    parts = jnp.concatenate([values, discrete.astype(values.dtype)], axis=1)
    order = np.argsort(np.array([*columns.continuous, *columns.discrete]))
    return jnp.clip(parts[:, order], low, high)


def _is_difference(columns: Columns) -> jax.Array:
    taken = {column for column, _ in columns.differences}
    return jnp.array([index in taken for index in range(len(columns.continuous))])


def one_hot(categories: Sequence[int], discrete: jax.Array) -> jax.Array:
    """[N, sum of all categories] of discrete columns [N, D], side by side."""
    parts = [jax.nn.one_hot(discrete[:, index], count) for index, count in enumerate(categories)]
    return jnp.concatenate(parts, axis=1)
