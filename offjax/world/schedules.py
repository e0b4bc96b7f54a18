"""Schedules: what is up, and how much of a server is free, in a slot."""

import jax
import jax.numpy as jnp

from offjax.world.records import Params, Windows


def windows(spans: list[list[tuple[int, int]]], least: int = 1) -> Windows:
    """Windows from ``spans[n]``, a list of (start, stop) slots for each of the n things.

    Rows are filled up with empty spans to the longest list, and to ``least``: scenarios of one shape share one
    compiled program.
    """
    longest = max([least, *map(len, spans)])
    rows = [list(row) + [(0, 0)] * (longest - len(row)) for row in spans]
    table = jnp.asarray(rows, jnp.int32).reshape(len(rows), longest, 2)
    return Windows(start=table[:, :, 0], stop=table[:, :, 1])


def is_up(spans: Windows, slot: jax.Array) -> jax.Array:
    """Whether each of the n things is up in ``slot``: bool [n]."""
    return ~jnp.any((slot >= spans.start) & (slot < spans.stop), axis=1)


def cells_up(spans: Windows, slot: jax.Array, params: Params) -> jax.Array:
    """The same for a thing of each cell: bool [A]."""
    return jnp.broadcast_to(is_up(spans, slot), (params.access_points,))


def servers_up(slot: jax.Array, params: Params) -> jax.Array:
    """Which servers are up in ``slot``: bool [A, Z]."""
    up = is_up(params.schedule.server, slot)
    return jnp.broadcast_to(up[None, :], (params.access_points, params.server_count))


def free_share(uniform: jax.Array, params: Params) -> jax.Array:
    """Free share of each server's speed, [A, Z], from ``uniform`` [Z, A]; a cloud server has one share for all."""
    shared = jnp.asarray(params.cloud)[:, None]
    uniform = jnp.where(shared, jnp.broadcast_to(uniform[:, :1], uniform.shape), uniform)
    low, high = params.servers.share_low[:, None], params.servers.share_high[:, None]
    return (low + (high - low) * uniform).T
