"""Random numbers: the only place in the world that has keys."""

from enum import IntEnum

import jax
import jax.numpy as jnp

from offjax.world.records import Draws, Params


class Draw(IntEnum):
    """What a device draws in each slot; a world has a row of ``Draws.device`` for what it needs."""

    CLASS = 0
    SIZE = 1
    SHADOWING = 2
    ARRIVAL = 3
    FACTOR = 4
    JITTER = 5


def kinds(params: Params) -> tuple[Draw, ...]:
    """The rows of ``Draws.device`` in this world."""
    workload = params.workload
    needed = {
        Draw.CLASS: workload.arrivals.classes is None,
        Draw.SIZE: True,
        Draw.SHADOWING: True,
        Draw.ARRIVAL: workload.arrivals.draws,
        Draw.FACTOR: workload.deadline == "uniform",
        Draw.JITTER: params.impaired,
    }
    return tuple(kind for kind in Draw if needed[kind])


def draw(key: jax.Array, params: Params) -> Draws:
    """Raw bits of one slot: ``device`` uint32 [kind, D] and ``server`` uint32 [Z, A].

    Draw once per slot and carry the result: XLA would inline the generator into every consumer.
    """
    device_key, server_key = jax.random.split(key)
    return Draws(
        device=jax.random.bits(device_key, (len(kinds(params)), params.devices)),
        server=jax.random.bits(server_key, (params.server_count, params.access_points)),
    )


def row(draws: Draws, kind: Draw, params: Params) -> jax.Array:
    """The bits [D] of one kind; zeros where this world draws none."""
    rows = kinds(params)
    if kind not in rows:
        return jnp.zeros(params.devices, jnp.uint32)
    return draws.device[rows.index(kind)]


def uniform(bits: jax.Array) -> jax.Array:
    """Uniform float32 in [0, 1) from uint32: the upper 24 bits, each value exact."""
    return (bits >> 8).astype(jnp.float32) * jnp.float32(2.0**-24)


def normal(bits: jax.Array) -> jax.Array:
    """Standard normal float32 from uint32, by inversion of one uniform number; within +-5.4."""
    centred = (bits >> 8).astype(jnp.int32) - 2**23
    symmetric = (centred.astype(jnp.float32) + 0.5) * jnp.float32(2.0**-23)
    return jnp.float32(2.0**0.5) * jax.lax.erf_inv(symmetric)
