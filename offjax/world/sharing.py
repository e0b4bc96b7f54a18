"""Sharing: what a job loses to the others of its cell, at a link they share or at a server they queue for.

Axes: ``A`` cells, ``N`` devices per cell, at most one job each. *Processor sharing*: a job that needs ``need`` seconds
of the whole resource goes on at rate ``1/n`` while ``n`` jobs are there. *FIFO*: a job waits for the work ahead of it,
then has a server of unit speed to itself; once it has joined, nothing that comes after it matters.

Each has a form that fixes the loss for one slot from sums over the cell, and an exact one that walks through the events
of the slot: one round per event of the busiest cell, all cells at once. The exact forms work on [N, A] inside: sums
over the devices of a cell are then sums of whole vectors, twice as fast on a CPU as along rows of 20.
"""

import jax
import jax.numpy as jnp

# The exact forms take up to 2 N rounds of O(N) per cell: meant for cells of at most so many devices.
EXACT_CELL = 64


def others(values: jax.Array) -> jax.Array:
    """[A, N]: the sum of ``values`` [A, N] over the other devices of the cell; exactly 0 where they are all 0."""
    return jnp.sum(values, axis=1, keepdims=True) - values


# ----------------------------------------------------------------------------------------- processor sharing


def shares_slot(need: jax.Array, budget: jax.Array, slot: jax.Array | float) -> jax.Array:
    """Number of jobs that each job shares with, itself included, taken as constant for the slot.

    A job stays until its budget is used up, or until it ends if all sharers of the slot stay with it. Every other job
    counts by its part of the span from the first coming to the last going, which is the slot unless all are short.
    What matters is the mean of ``1/n``: with others that come and go each on its own that is
    ``(1 + var(n) / mean(n)^2) / mean(n)`` to second order.

    The error is O(slot). Equal jobs that start together meet all of each other, in a slot of any length.

    Args:
        need: [A, N] s of the whole resource that the job still needs, 0 where there is none.
        budget: [A, N] s of this slot that it has left; a backdated job may have more than the slot.
        slot: [] s.

    Returns:
        ``n`` [A, N], at least 1; the job goes on at rate ``1/n`` for its budget.
    """
    rate = 1.0 / jnp.maximum(slot, 1e-30)
    most = jnp.where(need > 0, jnp.minimum(budget * rate, 1.0), 0.0)  # share of the slot from its coming to the end
    stay = jnp.minimum(most, need * ((1.0 + others(most)) * rate))
    gone = jnp.min(jnp.where(most > 0, most - stay, 1.0), axis=1, keepdims=True)  # ... from the last going to the end
    span = jnp.max(most, axis=1, keepdims=True) - gone
    present = jnp.minimum(stay / jnp.maximum(span, 1e-30), 1.0)
    mean, variance = 1.0 + others(present), others(present * (1.0 - present))
    return jnp.maximum(mean**3 / (mean**2 + variance), 1.0)


def share_exact(
    need: jax.Array,
    join: jax.Array,
    slot: jax.Array | float,
    slack: jax.Array | float = 0.0,
) -> tuple[jax.Array, jax.Array]:
    """Egalitarian processor sharing, with every arrival and departure of the slot as an event.

    Args:
        need: [A, N] s of the whole resource that the job needs, 0 where there is none.
        join: [A, N] s after the start of the slot; less than 0 counts as 0, ``slot`` or more as not in this slot.
        slot: [] s.
        slack: [] s by which a job may miss the end of the slot and is finished all the same, see ``links.serve``.

    Returns:
        ``(time, left)`` [A, N] s: spent at the resource within the slot, and what is left of ``need`` (0 if finished).
    """
    need, join = need.T, join.T
    join = jnp.where((need > 0) & (join < slot), join, jnp.inf)
    start = (jnp.zeros_like(need[0]), jnp.zeros_like(need), need)
    now, time, left = jax.lax.while_loop(
        lambda carry: jnp.any(carry[0] < slot),
        lambda carry: next_event(*carry, join, slot),
        start,
    )
    active, jobs = sharing(now, left, join)
    rest = left * jobs
    finished = active & (rest <= slack)
    return jnp.where(finished, time + rest, time).T, jnp.where(finished, 0.0, left).T


def sharing(now: jax.Array, left: jax.Array, join: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Who is there at ``now`` [A] s: a mask [N, A], and how many they are (1 if nobody) [1, A]."""
    active = (join <= now[None, :]) & (left > 0)
    return active, jnp.maximum(jnp.sum(active, axis=0, keepdims=True, dtype=left.dtype), 1.0)


def next_event(
    now: jax.Array, time: jax.Array, left: jax.Array, join: jax.Array, slot: jax.Array | float
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Let every cell go on to its next arrival or departure, or to the end of the slot.

    Args:
        now: [A] s.
        time: [N, A] s spent at the resource so far.
        left: [N, A] s of the whole resource still needed.
        join: [N, A] s, infinite where there is no job.
        slot: [] s.

    Returns:
        ``(now, time, left)`` after it. The shortest job departs with exactly 0 left: each round takes an event away.
    """
    active, jobs = sharing(now, left, join)
    coming = jnp.where(join > now[None, :], join, jnp.inf)
    then = jnp.minimum(jnp.min(coming, axis=0), slot)
    until = (then - now)[None, :]
    least = jnp.min(jnp.where(active, left, jnp.inf), axis=0, keepdims=True)
    departs = least * jobs <= until
    passed = jnp.where(departs, least * jobs, until)
    progress = jnp.where(departs, least, until / jobs)
    time = jnp.where(active, time + passed, time)
    left = jnp.where(active, jnp.maximum(left - progress, 0.0), left)
    return jnp.where(departs[0], jnp.minimum(now + passed[0], then), then), time, left


# ------------------------------------------------------------------------------------------------------ FIFO


def ahead_slot(
    work: jax.Array, join: jax.Array, backlog: jax.Array, slot: jax.Array | float
) -> tuple[jax.Array, jax.Array]:
    """Work that each job finds at a FIFO server, in the mean over the orders in which the jobs of the slot may come.

    What is there from before has drained until the job joins; of the others of this slot it finds one half. They leave
    the backlog that they would leave if they all came at their mean instant, weighted by work.

    Arguments and results as of :func:`ahead_exact`, which it equals where one job joins; the error is O(slot).
    """
    joins = work > 0
    total = jnp.sum(work, axis=1)
    mean = jnp.sum(jnp.where(joins, work * join, 0.0), axis=1) / jnp.where(total > 0, total, 1.0)
    busy = backlog > 0
    old = jnp.where(busy[:, None], jnp.maximum(backlog[:, None] - join, 0.0), 0.0)
    never_idle = jnp.where(busy, backlog + (total - slot), 0.0)
    after = jnp.maximum(jnp.maximum(never_idle, total - (slot - mean)), 0.0)
    return jnp.where(joins, old + 0.5 * others(work), 0.0), after


def ahead_exact(
    work: jax.Array, join: jax.Array, backlog: jax.Array, slot: jax.Array | float
) -> tuple[jax.Array, jax.Array]:
    """Work that each job finds at a FIFO server: Lindley's recursion over the jobs of the slot in their order.

    Args:
        work: [A, N] s that the job brings, 0 where none joins in this slot.
        join: [A, N] s after the start of the slot; ties are served by index. A backdated job (< 0) has found the
            server busy all the time if there is a backlog, and idle if there is none.
        backlog: [A] s of unfinished work at the start of the slot.
        slot: [] s.

    Returns:
        ``(ahead [A, N] s, backlog_after [A] s)``: found at its join (0 where none joins), left at the slot's end.
    """
    work, join = work.T, join.T
    todo = jnp.where(work > 0, join, jnp.inf)
    now = jnp.where(backlog > 0, 0.0, -jnp.inf)  # the instant of ``backlog``; an idle server has been so for ever
    now, backlog, _, ahead = jax.lax.while_loop(
        lambda carry: jnp.any(carry[2] < jnp.inf),
        lambda carry: next_join(*carry, work),
        (now, backlog, todo, jnp.zeros_like(work)),
    )
    return ahead.T, jnp.maximum(backlog - (slot - now), 0.0)


def next_join(
    now: jax.Array, backlog: jax.Array, todo: jax.Array, ahead: jax.Array, work: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Let the next job of every cell join.

    Args:
        now: [A] s, the instant of ``backlog``.
        backlog: [A] s.
        todo: [N, A] s, when each job joins; infinite where none does, or where it has.
        ahead: [N, A] s, what those that have joined have found.
        work: [N, A] s.

    Returns:
        ``(now, backlog, todo, ahead)`` after it.
    """
    index = jnp.arange(len(work), dtype=jnp.int32)[:, None]
    join = jnp.min(todo, axis=0)
    any_left = join < jnp.inf
    first = jnp.min(jnp.where(todo == join[None, :], index, len(work)), axis=0)
    joins = (index == first[None, :]) & any_left[None, :]
    found = jnp.maximum(backlog - (join - now), 0.0)
    backlog = jnp.where(any_left, found + jnp.sum(jnp.where(joins, work, 0.0), axis=0), backlog)
    return (
        jnp.where(any_left, join, now),
        backlog,
        jnp.where(joins, jnp.inf, todo),
        jnp.where(joins, found[None, :], ahead),
    )
