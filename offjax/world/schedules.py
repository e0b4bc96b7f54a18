"""Schedules: what is up, and how much of it is left, in a slot."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from offjax.world.records import CellState, Params, ServerState, Steps, Windows


def windows(spans: Sequence[Sequence[tuple[int, int]]], least: int = 1) -> Windows:
    """Windows from ``spans[n]``, a list of (start, stop) slots for each of the n things.

    Rows are filled up with empty spans to the longest list, and to ``least``: scenarios of one shape share one
    compiled program.
    """
    longest = max([least, *map(len, spans)])
    rows = [list(row) + [(0, 0)] * (longest - len(row)) for row in spans]
    table = jnp.asarray(rows, jnp.int32).reshape(len(rows), longest, 2)
    return Windows(start=table[:, :, 0], stop=table[:, :, 1])


def steps(changes: Sequence[Sequence[tuple[int, float]]], least: int = 1) -> Steps:
    """Steps from ``changes[n]``, a list of (slot, value) for each of the n things; zero before the first."""
    longest = max([least, *map(len, changes)])
    rows = [list(row) or [(0, 0.0)] for row in changes]
    rows = [row + [row[-1]] * (longest - len(row)) for row in rows]
    return Steps(
        start=jnp.asarray([[slot for slot, _ in row] for row in rows], jnp.int32),
        value=jnp.asarray([[value for _, value in row] for row in rows], jnp.float32),
    )


def no_steps(things: int = 1) -> Steps:
    """Zero for ever."""
    return steps([[]] * things)


def is_up(spans: Windows, slot: jax.Array) -> jax.Array:
    """Whether each of the n things is up in ``slot``: bool [n]."""
    return ~jnp.any((slot >= spans.start) & (slot < spans.stop), axis=1)


def value_at(changes: Steps, slot: jax.Array) -> jax.Array:
    """The value of each of the n things in ``slot``: [n]."""
    passed = jnp.sum(slot >= changes.start, axis=1, dtype=jnp.int32)
    row = jnp.maximum(passed - 1, 0)[:, None]
    value = jnp.take_along_axis(changes.value, row, axis=1)[:, 0]
    return jnp.where(passed > 0, value, 0.0)


def of_cells(values: jax.Array, params: Params) -> jax.Array:
    """Values of one thing for all cells, or of one in each, as [A]."""
    return jnp.broadcast_to(values, (params.access_points,))


def backhaul_links(slot: jax.Array, params: Params) -> tuple[jax.Array, jax.Array]:
    """The links between access points and cloud: does either work, and is it the redundant one; bool [A] each.

    The redundant link takes over ``failover`` slots after the start of an outage; until then there is none.
    """
    primary = params.schedule.backhaul
    up = of_cells(is_up(primary, slot), params)
    if not params.redundant:
        return up, jnp.zeros_like(up)
    switching = Windows(primary.start, jnp.minimum(primary.stop, primary.start + params.schedule.failover))
    switched = ~up & of_cells(is_up(switching, slot), params)
    on_backup = switched & of_cells(is_up(params.schedule.backup, slot), params)
    return up | on_backup, on_backup


def left_air(slot: jax.Array, params: Params) -> jax.Array:
    """[A] share of the air that the background traffic of a cell leaves to its devices.

    Each virtual device takes its rate; where they ask for more than there is, a device still gets the share of one
    among all of them (guess: the paper gives no scheduler).
    """
    schedule = params.schedule
    count = of_cells(value_at(schedule.traffic, slot), params)
    taken = jnp.where(count > 0, count * schedule.traffic_rate / params.radio.cell_rate, 0.0)
    return jnp.maximum(1.0 - taken, 1.0 / (1.0 + count))


def open_cells(slot: jax.Array, server: ServerState, params: Params) -> CellState:
    """The cells in ``slot``; nobody has uploaded yet. Free resources are told where the access point knows them."""
    schedule = params.schedule
    backhaul_up, on_backup = backhaul_links(slot, params)
    reachable = backhaul_up[:, None] | ~jnp.asarray(params.cloud)[None, :]
    return CellState(
        active=jnp.zeros(params.access_points, jnp.float32),
        up=of_cells(is_up(schedule.link, slot), params),
        backhaul_up=backhaul_up,
        on_backup=on_backup,
        air=left_air(slot, params),
        delay=of_cells(value_at(schedule.delay, slot), params),
        delay_deviation=of_cells(value_at(schedule.jitter, slot), params),
        told=jnp.where(reachable, server.share * params.servers.speed[None, :], 0.0),
        told_slot=jnp.broadcast_to(slot, (params.access_points,)),
    )


def open_servers(slot: jax.Array, backlog: jax.Array, uniform: jax.Array, params: Params) -> ServerState:
    """The servers in ``slot``, with ``uniform`` [Z, A] for their free share; work in a dropped server is gone."""
    up = is_up(params.schedule.server, slot)[None, :] & jnp.ones((params.access_points, 1), bool)
    share = jnp.where(up, free_share(uniform, slot, params), 0.0)
    if params.outage == "drop":
        backlog = jnp.where(share > 0, backlog, 0.0)
    return ServerState(backlog=backlog, share=share, up=up)


def free_share(uniform: jax.Array, slot: jax.Array, params: Params) -> jax.Array:
    """Free share of each server's speed, [A, Z], from ``uniform`` [Z, A]; a cloud server has one share for all."""
    shared = jnp.asarray(params.cloud)[:, None]
    uniform = jnp.where(shared, jnp.broadcast_to(uniform[:, :1], uniform.shape), uniform)
    low, high = params.servers.share_low[:, None], params.servers.share_high[:, None]
    free = low + (high - low) * uniform
    return (free * (1.0 - value_at(params.schedule.load, slot))[:, None]).T
