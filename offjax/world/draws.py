"""Random numbers: the only place in the world that has keys."""

from enum import IntEnum

import jax
import jax.numpy as jnp

from offjax.world.records import Draws, Params


class Draw(IntEnum):
    """Rows of ``Draws.device``."""

    CLASS = 0
    SIZE = 1
    SHADOWING = 2


def draw(key: jax.Array, params: Params) -> Draws:
    """Raw bits of one slot: ``device`` uint32 [kind, D] and ``server`` uint32 [Z, A].

    Draw once per slot and carry the result: XLA would inline the generator into every consumer.
    """
    device_key, server_key = jax.random.split(key)
    return Draws(
        device=jax.random.bits(device_key, (len(Draw), params.devices)),
        server=jax.random.bits(server_key, (params.server_count, params.access_points)),
    )


def uniform(bits: jax.Array) -> jax.Array:
    """Uniform float32 in [0, 1) from uint32: the upper 24 bits, each value exact."""
    return (bits >> 8).astype(jnp.float32) * jnp.float32(2.0**-24)


def normal(bits: jax.Array) -> jax.Array:
    """Standard normal float32 from uint32, by inversion of one uniform number; within +-5.4."""
    centred = (bits >> 8).astype(jnp.int32) - 2**23
    symmetric = (centred.astype(jnp.float32) + 0.5) * jnp.float32(2.0**-23)
    return jnp.float32(2.0**0.5) * jax.lax.erf_inv(symmetric)
