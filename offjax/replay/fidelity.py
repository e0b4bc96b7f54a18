"""How like a table the rows of a generator are: SDMetrics' scores, near copies, and rewards, inside a program.

The first four equal those of the package SDMetrics 0.32 (Synthetic Data Vault) to 1e-6 and are 1 for equal laws. Real
and synthetic tables are whole: rows that do not count must be taken out first.
"""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp

from offjax.replay.codec import Columns

BINS = 10  # of a continuous column in a contingency table
BLOCK = 128  # rows whose distances to a whole table are held at once


def ks_complement(real: jax.Array, synthetic: jax.Array) -> jax.Array:
    """1 less the largest difference of the distribution functions of two columns [N], [M]."""
    places = jnp.concatenate([real, synthetic])
    shares = [
        jnp.searchsorted(jnp.sort(own), places, side="right", method="sort") / own.size for own in (real, synthetic)
    ]
    return 1.0 - jnp.max(jnp.abs(shares[0] - shares[1]))


def tv_complement(real: jax.Array, synthetic: jax.Array, categories: int) -> jax.Array:
    """1 less half the sum of the differences of the shares of categories; columns [N], [M] of 0 ... categories - 1."""
    return 1.0 - 0.5 * jnp.sum(jnp.abs(_shares(real, categories) - _shares(synthetic, categories)))


def correlation_similarity(real: jax.Array, synthetic: jax.Array) -> jax.Array:
    """1 less half the difference of Pearson's correlation, for all pairs of columns [N, C], [M, C]: [C, C].

    Not a number where a column is constant.
    """
    return 1.0 - 0.5 * jnp.abs(_correlation(real) - _correlation(synthetic))


def contingency_similarity(real: jax.Array, synthetic: jax.Array, categories: tuple[int, int]) -> jax.Array:
    """1 less the total variation of the contingency tables of two columns, rows [N, 2] and [M, 2] of categories."""
    left, right = (rows[:, 0] * categories[1] + rows[:, 1] for rows in (real, synthetic))
    return tv_complement(left, right, categories[0] * categories[1])


def bin_like(reference: jax.Array, values: jax.Array) -> jax.Array:
    """[M] int32 in 0 ... 9: ten bins as wide as each other over the range of ``reference`` [N], open at both ends."""
    low, high = jnp.min(reference), jnp.max(reference)
    edges = jnp.linspace(low, high, BINS + 1)[1:-1]
    return jnp.searchsorted(edges, values, side="right").astype(jnp.int32)


def shapes(columns: Columns, real: jax.Array, synthetic: jax.Array) -> jax.Array:
    """[columns] likeness of every column of two tables: KS of continuous, TV of discrete ones."""
    plain = jnp.array(columns.continuous)
    scores = jax.vmap(ks_complement, in_axes=1)(real[:, plain], synthetic[:, plain])
    result = jnp.zeros(len(columns.of)).at[plain].set(scores)
    for place in columns.discrete:
        alike = tv_complement(real[:, place], synthetic[:, place], columns.of[place].categories)
        result = result.at[place].set(alike)
    return result


def pair_trends(columns: Columns, real: jax.Array, synthetic: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Likeness of pairs of columns: correlations [C, C] of continuous ones, contingencies [D, C] with discrete ones.

    Continuous columns are cut at the real table's range (SDMetrics' report cuts each table at its own).
    """
    plain = jnp.array(columns.continuous)
    left, right = real[:, plain], synthetic[:, plain]
    cut = jax.vmap(bin_like, in_axes=1, out_axes=1)
    bins = cut(left, left), cut(left, right)
    rows = []
    for place in columns.discrete:
        count = columns.of[place].categories
        codes = [own.astype(jnp.int32)[:, place, None] for own in (real, synthetic)]
        pairs = [own * count + code for own, code in zip(bins, codes, strict=True)]
        rows.append(jax.vmap(partial(tv_complement, categories=BINS * count), in_axes=1)(*pairs))
    return correlation_similarity(left, right), jnp.stack(rows)


def closest(columns: Columns, rows: jax.Array, table: jax.Array, spans: jax.Array) -> jax.Array:
    """Distance [M] of each of ``rows`` [M, columns] to the nearest row of ``table`` [N, columns].

    Args:
        columns: of both.
        rows: asked about.
        table: all of it is searched.
        spans: [columns] what counts as a distance of 1; two different categories are 1 apart.
    """
    plain, kinds = jnp.array(columns.continuous), jnp.array(columns.discrete)

    def nearest(row: jax.Array) -> jax.Array:
        far = jnp.sum(jnp.abs(table[:, plain] - row[plain][None]) / spans[plain][None], axis=1)
        return jnp.min(far + jnp.sum(table[:, kinds] != row[kinds][None], axis=1))

    return jax.lax.map(nearest, rows, batch_size=BLOCK)


def spans_of(table: jax.Array) -> jax.Array:
    """[columns] range of each column of a table, 1 where it is constant."""
    span = jnp.max(table, axis=0) - jnp.min(table, axis=0)
    return jnp.where(span > 0, span, 1.0)


def copy_share(columns: Columns, rows: jax.Array, train: jax.Array, holdout: jax.Array) -> jax.Array:
    """Share of ``rows`` that are nearer to the rows they were learnt from than to others; ties count half.

    0.5 if nothing was learnt by heart and the tables are equally long, 1 for copies.
    """
    spans = spans_of(train)
    to_train, to_holdout = (closest(columns, rows, table, spans) for table in (train, holdout))
    return jnp.mean(jnp.where(to_train == to_holdout, 0.5, (to_train < to_holdout).astype(jnp.float32)))


def new_share(columns: Columns, rows: jax.Array, table: jax.Array, tolerance: float = 0.01) -> jax.Array:
    """Share of ``rows`` that match no row of ``table`` in every column, as SDMetrics' NewRowSynthesis.

    Args:
        columns: of both.
        rows: asked about.
        table: of which they were learnt.
        tolerance: relative, of a continuous value of ``table`` around the generated one.
    """
    slack = tolerance * jnp.abs(rows) * _is_plain(columns)[None]

    def known(inputs: tuple[jax.Array, jax.Array]) -> jax.Array:
        row, own = inputs
        return jnp.any(jnp.all(jnp.abs(table - row[None]) <= own[None], axis=1))

    return 1.0 - jnp.mean(jax.lax.map(known, (rows, slack), batch_size=BLOCK))


def reward_errors(
    rows: jax.Array, reward: jax.Array, exact: Callable[[jax.Array], jax.Array], threshold: float | jax.Array
) -> tuple[jax.Array, jax.Array]:
    """How wrong generated rewards are: mean error, and share of rows penalised wrongly.

    Args:
        rows: [M, columns] generated.
        reward: [M] generated.
        exact: rows to the rewards [M] that they should have.
        threshold: rewards below are penalties.
    """
    right = exact(rows)
    return jnp.mean(jnp.abs(reward - right)), jnp.mean((reward < threshold) != (right < threshold))


def _shares(codes: jax.Array, categories: int) -> jax.Array:
    return jnp.bincount(codes.astype(jnp.int32), length=categories) / codes.size


def _correlation(table: jax.Array) -> jax.Array:
    centred = table - jnp.mean(table, axis=0, keepdims=True)
    centred = centred / jnp.sqrt(jnp.sum(centred**2, axis=0, keepdims=True))
    return centred.T @ centred


def _is_plain(columns: Columns) -> jax.Array:
    return jnp.array([not column.categories for column in columns.of], jnp.float32)
