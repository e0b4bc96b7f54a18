"""Observations made zero mean and unit variance by running statistics, linear, so that they fold into a dense layer."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import struct

from offjax.agents.networks import Layer

SMALLEST_DEVIATION = 1e-2
"""Of a feature's unit range: one that hardly moves is not blown up, and its fold loses no digits."""


class Normaliser(struct.PyTreeNode):
    """Mean and variance of the valid observations so far; part of an agent's state."""

    count: jax.Array  # [] f32 observations counted
    mean: jax.Array  # [F]
    variance: jax.Array  # [F] of the population; 1 before the first observation


def make_normaliser(features: int) -> Normaliser:
    """One that has seen nothing and changes nothing."""
    return Normaliser(jnp.zeros(()), jnp.zeros(features), jnp.ones(features))


def merge(normaliser: Normaliser | None, observation: jax.Array, valid: jax.Array) -> Normaliser | None:
    """The statistics with the ``valid [...]`` rows of ``observation [..., F]`` counted as well.

    Invalid rows must be finite. Chan, Golub and LeVeque (1979), the pairwise update.
    """
    if normaliser is None:
        return None
    rows = observation.reshape(-1, observation.shape[-1])
    mask = valid.reshape(-1, 1)
    new = jnp.sum(mask).astype(jnp.float32)
    mean = jnp.sum(jnp.where(mask, rows, 0.0), axis=0) / jnp.maximum(new, 1)
    variance = jnp.sum(jnp.where(mask, jnp.square(rows - mean[None]), 0.0), axis=0) / jnp.maximum(new, 1)
    share = new / jnp.maximum(normaliser.count + new, 1)
    apart = mean - normaliser.mean
    merged = Normaliser(
        count=normaliser.count + new,
        mean=normaliser.mean + share * apart,
        variance=(1 - share) * normaliser.variance + share * variance + share * (1 - share) * jnp.square(apart),
    )
    return jax.tree.map(lambda after, before: jnp.where(new > 0, after, before), merged, normaliser)


def normalise(normaliser: Normaliser | None, observation: jax.Array) -> jax.Array:
    """``observation [..., F]`` less the mean, over the deviation; as it is without a normaliser."""
    if normaliser is None:
        return observation
    shape = (1,) * (observation.ndim - 1) + (-1,)
    return (observation - normaliser.mean.reshape(shape)) / _deviation(normaliser).reshape(shape)


def fold(normaliser: Normaliser | None, layers: Sequence[Layer]) -> list[Layer]:
    """Dense layers that do to plain observations what ``layers`` do to normalised ones, exactly but for rounding."""
    if normaliser is None:
        return list(layers)
    first, *rest = layers
    kernel = first.kernel / _deviation(normaliser)[:, None]
    return [Layer(kernel, first.bias - normaliser.mean @ kernel, first.activation), *rest]


def _deviation(normaliser: Normaliser) -> jax.Array:
    return jnp.maximum(jnp.sqrt(normaliser.variance), SMALLEST_DEVIATION)
