"""Continuous columns as Gaussian ranks, which every law becomes: the encoding of a flow.

A value that many rows share gets one of their ranks at random, so that the encoded column has no gap or peak, and every
rank decodes to exactly that value. Between ranks of single values the decoder interpolates; it never leaves the range.
"""

import jax
import jax.numpy as jnp
from flax import struct
from jax.scipy.special import ndtr, ndtri


class Quantiles(struct.PyTreeNode):
    """The values of C columns in order."""

    ordered: jax.Array  # [C, capacity] unit of the column, the first ``count`` of each count; inf after them
    count: jax.Array  # [C] int32


def no_quantiles(columns: int, capacity: int) -> Quantiles:
    """Quantiles that were not fitted yet, of static sizes."""
    return Quantiles(jnp.full((columns, capacity), jnp.inf, jnp.float32), jnp.zeros(columns, jnp.int32))


def fit(values: jax.Array, valid: jax.Array) -> Quantiles:
    """The quantiles of ``values`` [capacity, C], of which those ``valid`` [capacity, C] count."""
    ordered = jnp.sort(jnp.where(valid, values, jnp.inf).T, axis=1)
    return Quantiles(ordered, jnp.sum(valid, axis=0, dtype=jnp.int32))


def encode(quantiles: Quantiles, values: jax.Array, key: jax.Array) -> jax.Array:
    """Standard normal values [N, C] of ``values`` [N, C]."""

    def column(ordered: jax.Array, count: jax.Array, given: jax.Array, share: jax.Array) -> jax.Array:
        first = jnp.searchsorted(ordered, given, side="left", method="sort")
        ties = jnp.searchsorted(ordered, given, side="right", method="sort") - first
        within = jnp.minimum(jnp.floor(share * ties), jnp.maximum(ties - 1, 0))
        return (jnp.minimum(first + within, count - 1.0) + 0.5) / count

    shares = jax.random.uniform(key, values.T.shape)
    return ndtri(jax.vmap(column)(quantiles.ordered, quantiles.count, values.T, shares)).T


def decode(quantiles: Quantiles, normal: jax.Array) -> jax.Array:
    """Values [N, C] of standard normal ones [N, C]; between a value of several rows and another, the nearer."""

    def column(ordered: jax.Array, count: jax.Array, given: jax.Array) -> jax.Array:
        last = jnp.maximum(count - 1, 0)
        place = jnp.clip(ndtr(given) * count - 0.5, 0.0, last)
        below = jnp.floor(place).astype(jnp.int32)
        above = jnp.minimum(below + 1, last)
        tied = _tied(ordered, below, last) | _tied(ordered, above, last)
        part = place - below
        part = jnp.where(tied, jnp.round(part), part)
        return jnp.where(part >= 1.0, ordered[above], ordered[below] + part * (ordered[above] - ordered[below]))

    return jax.vmap(column, in_axes=(0, 0, 1), out_axes=1)(quantiles.ordered, quantiles.count, normal)


def _tied(ordered: jax.Array, place: jax.Array, last: jax.Array) -> jax.Array:
    """Does a value occur more than once?"""
    before, after = ordered[jnp.maximum(place - 1, 0)], ordered[jnp.minimum(place + 1, last)]
    return ((place > 0) & (before == ordered[place])) | ((place < last) & (after == ordered[place]))
