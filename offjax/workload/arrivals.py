"""When tasks come: periodic, Bernoulli, Poisson, closed loop, or at given instants.

A device gets at most one task per slot. Poisson, closed-loop and given arrivals know their instant below the slot;
where two fall into one slot the second is let in a slot later and its wait counted from its true instant, so neither
rate nor waiting time is lost.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from offjax.errors import ConfigError

NEVER = 2**30  # a slot that no clock reaches


class Arrivals(struct.PyTreeNode):
    """The arrival process of every device; only the numbers of its ``kind`` are there."""

    kind: str = struct.field(pytree_node=False)  # "periodic", "bernoulli", "poisson", "closed", "given"
    period: jax.Array = struct.field(default=None)  # [] or [D] int32 slots between two tasks ("periodic")
    phase: jax.Array = struct.field(default=None)  # [] or [D] int32 slot of the first task ("periodic")
    chance: jax.Array = struct.field(default=None)  # [] or [D] probability of a task in a slot ("bernoulli")
    mean: jax.Array = struct.field(
        default=None
    )  # [] or [D] s between tasks ("poisson"); from free to the next task ("closed")
    slots: jax.Array = struct.field(
        default=None
    )  # [D, K] int32 slot of each task, rising, NEVER where there is none ("given")
    offsets: jax.Array = struct.field(default=None)  # [D, K] s after the start of that slot ("given")
    classes: jax.Array = struct.field(default=None)  # [D, K] task class ("given"), or drawn
    limit: jax.Array = struct.field(default=None)  # [] or [D] int32 tasks that a device gets in all; or no end of them

    @property
    def remembers(self) -> bool:
        """Is there a :class:`Source` in the state?"""
        return self.kind in ("poisson", "closed", "given") or (self.kind == "bernoulli" and self.limit is not None)

    @property
    def draws(self) -> bool:
        """Does a slot need a random number?"""
        return self.kind in ("bernoulli", "poisson", "closed")


class Source(struct.PyTreeNode):
    """When the next task of each device comes."""

    due: jax.Array  # [D] int32 slot; NEVER where none will come
    offset: jax.Array  # [D] s after the start of that slot, less than a slot
    index: jax.Array = struct.field(default=None)  # [D] int32 tasks that have come ("given", or with a limit)


def periodic(period: object, phase: object = 0) -> Arrivals:
    """A task every ``period`` slots from slot ``phase`` on; each [] or [D]."""
    return Arrivals("periodic", period=jnp.asarray(period, jnp.int32), phase=jnp.asarray(phase, jnp.int32))


def bernoulli(chance: object) -> Arrivals:
    """A task in each slot with probability ``chance``, [] or [D], at the slot's start."""
    return Arrivals("bernoulli", chance=jnp.asarray(chance, jnp.float32))


def poisson(mean: object) -> Arrivals:
    """Tasks at exponential intervals of ``mean`` s, [] or [D], whatever the device does."""
    return Arrivals("poisson", mean=jnp.asarray(mean, jnp.float32))


def closed(mean: object) -> Arrivals:
    """The next task comes an exponential time of ``mean`` s, [] or [D], after the device became free."""
    return Arrivals("closed", mean=jnp.asarray(mean, jnp.float32))


def given(
    times: Sequence[Sequence[float]] | np.ndarray, slot_duration: float, classes: np.ndarray | None = None
) -> Arrivals:
    """Tasks at given instants.

    Args:
        times: [D, K] s, rising along each row; rows may differ in length, or be filled up with infinity.
        slot_duration: s; instants are split into slot and rest in float64.
        classes: [D, K] task class of each, or none to draw it.

    Raises:
        ConfigError: an instant that is negative, not a number, or out of order.
    """
    longest = max([1, *map(len, times)])
    table = np.full((len(times), longest), np.inf)
    for device, row in enumerate(times):
        table[device, : len(row)] = row
    if np.isnan(table).any() or (table < 0).any():
        raise ConfigError("arrivals.times", float(np.nanmin(table)), "instants must be numbers >= 0 s")
    if (table[:, 1:] < table[:, :-1]).any():
        raise ConfigError("arrivals.times", "unsorted", "the instants of each device must rise")
    finite = np.where(np.isfinite(table), table, 0.0)
    slots = np.floor(finite / slot_duration)
    return Arrivals(
        "given",
        slots=jnp.asarray(np.where(np.isfinite(table), slots, NEVER), jnp.int32),
        offsets=jnp.asarray(finite - slots * slot_duration, jnp.float32),
        **({} if classes is None else {"classes": jnp.asarray(classes, jnp.int32)}),
    )


def limited(arrivals: Arrivals, tasks: object) -> Arrivals:
    """The same process, but a device gets no more than ``tasks``, [] or [D]; given instants are as many as they are."""
    if arrivals.kind == "given":
        raise ConfigError("arrivals.limit", tasks, "given instants end by themselves: leave it out")
    return arrivals.replace(limit=jnp.asarray(tasks, jnp.int32))


def exponential(uniform: jax.Array, mean: jax.Array) -> jax.Array:
    """Exponential with ``mean`` from ``uniform`` in [0, 1), by inversion."""
    return -mean * jnp.log1p(-uniform)


def start(arrivals: Arrivals, uniform: jax.Array, slot: jax.Array, slot_duration: jax.Array) -> Source | None:
    """The first arrival at or after ``slot`` of every device, or none where nothing is remembered.

    Args:
        arrivals: the process.
        uniform: [D] in [0, 1).
        slot: [] int32.
        slot_duration: [] s.
    """
    if not arrivals.remembers:
        return None
    if arrivals.kind == "given":
        index = jnp.sum(arrivals.slots < slot, axis=1, dtype=jnp.int32)
        return look_up(arrivals, index)
    delay = jnp.zeros_like(uniform) if arrivals.kind == "bernoulli" else exponential(uniform, arrivals.mean)
    first = after(slot, delay, slot_duration)
    return first if arrivals.limit is None else first.replace(index=jnp.zeros_like(first.due))


def after(slot: jax.Array, delay: jax.Array, slot_duration: jax.Array) -> Source:
    """The instant ``delay`` [D] s after the start of ``slot``."""
    whole = jnp.minimum(jnp.floor(delay / slot_duration), NEVER / 2)
    rest = jnp.clip(delay - whole * slot_duration, 0.0, slot_duration)
    return Source(due=slot + whole.astype(jnp.int32), offset=rest)


def look_up(arrivals: Arrivals, index: jax.Array) -> Source:
    """The given arrival number ``index`` [D] of every device."""
    column = jnp.minimum(index, arrivals.slots.shape[1] - 1)[:, None]
    due = jnp.take_along_axis(arrivals.slots, column, axis=1)[:, 0]
    offset = jnp.take_along_axis(arrivals.offsets, column, axis=1)[:, 0]
    return Source(due=jnp.where(index < arrivals.slots.shape[1], due, NEVER), offset=offset, index=index)


def given_classes(arrivals: Arrivals, source: Source) -> jax.Array:
    """[D] class of the task that is due."""
    column = jnp.minimum(source.index, arrivals.classes.shape[1] - 1)[:, None]
    return jnp.take_along_axis(arrivals.classes, column, axis=1)[:, 0]


def arrive(
    arrivals: Arrivals, source: Source | None, uniform: jax.Array, slot: jax.Array, slot_duration: jax.Array
) -> tuple[jax.Array, jax.Array, Source | None]:
    """Which devices get a task in ``slot``, when, and what comes after it.

    Args:
        arrivals: the process.
        source: what is due, where that is remembered.
        uniform: [D] in [0, 1).
        slot: [] int32.
        slot_duration: [] s.

    Returns:
        ``came`` [D] or [] bool, the instant [D] or [] s relative to the slot's start (negative: it came before and
        is let in only now), and the source. A closed loop is set going again by :func:`reopen`.
    """
    if arrivals.kind == "periodic":
        since = slot - arrivals.phase
        more = True if arrivals.limit is None else since // arrivals.period < arrivals.limit
        return (since >= 0) & (since % arrivals.period == 0) & more, jnp.float32(0), None
    if arrivals.kind == "bernoulli":
        came = uniform < arrivals.chance
        if source is None:
            return came, jnp.float32(0), None
        came = came & (source.index < arrivals.limit)
        return came, jnp.float32(0), source.replace(index=source.index + came.astype(jnp.int32))
    assert source is not None
    came = source.due <= slot
    instant = source.offset - (slot - source.due).astype(jnp.float32) * slot_duration
    if arrivals.kind == "closed":
        following = Source(due=jnp.full_like(source.due, NEVER), offset=source.offset)
    elif arrivals.kind == "given":
        following = look_up(arrivals, source.index + 1)
    else:
        following = after(source.due, source.offset + exponential(uniform, arrivals.mean), slot_duration)
    if arrivals.limit is not None:
        index = source.index + 1
        following = following.replace(index=index, due=jnp.where(index < arrivals.limit, following.due, NEVER))
    return came, instant, jax.tree.map(lambda new, old: jnp.where(came, new, old), following, source)


def reopen(
    arrivals: Arrivals,
    source: Source | None,
    uniform: jax.Array,
    free: jax.Array,
    instant: jax.Array,
    slot: jax.Array,
    slot_duration: jax.Array,
) -> Source | None:
    """In a closed loop, the next arrival of the devices that became free.

    Args:
        arrivals: the process; any other kind stays as it is.
        source: what is due.
        uniform: [D] in [0, 1).
        free: [D] bool, became free in the slot.
        instant: [D] s relative to the start of ``slot``, when.
        slot: [] int32.
        slot_duration: [] s.
    """
    if arrivals.kind != "closed":
        return source
    assert source is not None
    again = after(slot, instant + exponential(uniform, arrivals.mean), slot_duration).replace(index=source.index)
    goes_on = free if arrivals.limit is None else free & (source.index < arrivals.limit)
    return jax.tree.map(lambda new, old: jnp.where(goes_on, new, old), again, source)


def exhausted(arrivals: Arrivals, source: Source | None, slot: jax.Array) -> jax.Array:
    """[D] or [] bool: has the last task of a device come by ``slot`` [] int32? Never without a limit."""
    if arrivals.limit is None:
        return jnp.zeros((), bool)
    if source is not None:
        return source.index >= arrivals.limit
    return (slot - arrivals.phase) // arrivals.period + 1 >= arrivals.limit
