"""The lane of each device: which job it takes, and the tasks that wait for it."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp

from offjax.workload.tasks import Tasks, class_type, pick
from offjax.world.links import per_device
from offjax.world.records import CellState, Decision, End, Job, Kind, Left, Params, Passed, Pending, State, Update


def idle_job(params: Params) -> Job:
    """A lane with nothing to do, for each device."""
    zero = jnp.zeros(params.devices, jnp.float32)
    byte = jnp.zeros(params.devices, jnp.int8)
    stalls, queues, results = params.outage == "stall", "fifo" in params.queues, params.downlink != "none"

    def zero_where(there: bool) -> Any:
        return zero if there else None

    return Job(
        kind=byte + jnp.int8(Kind.NONE),
        place=byte - jnp.int8(1),
        asks=jnp.zeros(params.devices, bool),
        task_class=byte.astype(class_type(params.workload)),
        left=Left(
            decide=zero_where(params.delays),
            uplink=zero,
            backhaul=zero,
            ahead=zero_where(queues),
            service=zero,
            downlink=zero_where(results),
            hold=zero_where(params.updates),
        ),
        passed=Passed(
            wait=zero,
            decide=zero,
            uplink=zero,
            backhaul=zero,
            queue=zero_where(queues or stalls),
            service=zero,
            downlink=zero_where(results),
        ),
        deadline=zero,
        energy=zero,
        credit=zero,
        stalled=zero_where(stalls),
        cycles=zero_where(params.sizes),
    )


def phases_of(bits: jax.Array, cycles: jax.Array, result_bits: jax.Array, none: Left) -> Left:
    """What a job has before it, in a world with the phases of ``none``."""
    left = none.replace(uplink=bits, service=cycles)
    return left if none.downlink is None else left.replace(downlink=result_bits)


def empty_pending(params: Params, places: int) -> Pending:
    """``places`` places of a buffer without a task."""
    zero = jnp.zeros((places, params.devices), jnp.float32)
    return Pending(
        task_class=jnp.full(zero.shape, -1, class_type(params.workload)),
        bits=zero,
        cycles=zero,
        result_bits=zero,
        deadline=zero,
        slot=jnp.zeros(zero.shape, jnp.int32),
        offset=zero,
    )


def no_update(devices: int) -> Update:
    """No training job for any device."""
    zero = jnp.zeros(devices, jnp.float32)
    return Update(place=jnp.full(devices, -1, jnp.int8), hold=zero, bits=zero, cycles=zero, result_bits=zero)


Record = TypeVar("Record")


def select(where: jax.Array, new: Record, old: Record) -> Record:
    """The records of ``new`` where ``where`` [D] holds, else of ``old``."""
    return jax.tree.map(lambda a, b: jnp.where(where, a, b), new, old)


def task_job(tasks: Tasks, came: jax.Array, start: jax.Array, params: Params) -> Job:
    """A task that takes the lane and asks for a decision.

    Args:
        tasks: [D] tasks.
        came: [D] s relative to the coming slot, when it came.
        start: [D] s relative to the coming slot, when the lane took it.
        params: the world's numbers.
    """
    job = idle_job(params)
    return job.replace(
        kind=jnp.full_like(job.kind, Kind.TASK),
        asks=jnp.ones_like(job.asks),
        task_class=tasks.task_class,
        left=phases_of(tasks.bits, tasks.cycles, tasks.result_bits, job.left),
        passed=job.passed.replace(wait=start - came),
        deadline=tasks.deadline,
        credit=-start,
        cycles=tasks.cycles if params.sizes else None,
    )


def update_job(update: Update, start: jax.Array, cell: CellState, jitter: jax.Array | None, params: Params) -> Job:
    """A training job that goes to a server like a task, from ``start`` [D] s relative to the coming slot on."""
    job = idle_job(params)
    left = phases_of(update.bits, update.cycles, update.result_bits, job.left)
    job = job.replace(kind=jnp.full_like(job.kind, Kind.UPDATE), left=left, credit=-start)
    return send(job, update.place, cell, jitter, params)


def held_job(hold: jax.Array, params: Params) -> Job:
    """Training on the device that goes on for ``hold`` [D] s."""
    job = idle_job(params)
    kind, place = jnp.full_like(job.kind, Kind.UPDATE), jnp.zeros_like(job.place)
    return job.replace(kind=kind, place=place, left=job.left.replace(hold=hold))


def send(job: Job, place: jax.Array, cell: CellState, jitter: jax.Array | None, params: Params) -> Job:
    """Fix where a job runs: at home nothing travels, at a server the way is paid from its size."""
    remote = place > 0
    index = place - jnp.int8(1)
    crossing = crossing_time(job.left.uplink, index, cell, params)
    if jitter is not None:
        extra = per_device(cell.delay, params) + per_device(cell.delay_deviation, params) * jitter
        crossing = crossing + jnp.maximum(extra, 0.0)
    left = job.left.replace(
        uplink=jnp.where(remote, job.left.uplink, 0.0),
        backhaul=jnp.where(remote, crossing, 0.0),
    )
    if left.downlink is not None:
        left = left.replace(downlink=jnp.where(remote, left.downlink, 0.0))
    if left.ahead is not None:
        first_in_first_out = jnp.asarray([queue == "fifo" for queue in params.queues])
        left = left.replace(ahead=jnp.where(remote & pick(first_in_first_out, index), -1.0, 0.0))
    return job.replace(place=place, left=left)


def crossing_time(bits: jax.Array, index: jax.Array, cell: CellState, params: Params) -> jax.Array:
    """[D] s from the access point to server ``index`` [D] and back, over the link that carries the traffic now."""
    servers = params.servers
    primary = bits / pick(servers.backhaul_rate, index) + pick(servers.backhaul_delay, index)
    if not params.redundant:
        return primary
    backup = bits / pick(servers.backup_rate, index) + pick(servers.backup_delay, index)
    behind = pick(jnp.asarray(params.cloud), index) & per_device(cell.on_backup, params)
    return jnp.where(behind, backup, primary)


def decide(state: State, decision: Decision, params: Params) -> tuple[Job, Update | None]:
    """Read the decision where a device asks; it is fixed from here on."""
    job = state.job
    answered = job.asks & (decision.place >= 0)
    decided = send(job, decision.place, state.cell, state.device.jitter, params)
    decided = decided.replace(asks=jnp.zeros_like(job.asks))
    if decision.delay is not None:
        if job.left.decide is None:
            raise ValueError("decision.delay: in this world decisions take no time; make its params with delays=True")
        decided = decided.replace(left=decided.left.replace(decide=decision.delay))
    update = state.update
    if decision.update is not None:
        if update is None:
            raise ValueError("decision.update: this world has no updates; make its params with updates=True")
        hold = jnp.where(decision.update.place == 0, decision.update.hold, 0.0)
        decided = decided.replace(left=decided.left.replace(hold=hold))
        update = select(answered, decision.update, update)
    return select(answered, decided, job), update


def next_update(
    job: Job, state: State, free: jax.Array, since: jax.Array, params: Params
) -> tuple[Job, Update | None, jax.Array]:
    """Give every free lane the training job that was promised to follow its task.

    Args:
        job: [D] the jobs of the lanes.
        state: the world in the slot that ends.
        free: [D] bool.
        since: [D] s relative to the coming slot.
        params: the world's numbers.

    Returns:
        lanes, promises, and which lanes are still free [D] bool.
    """
    update = state.update
    if update is None:
        return job, None, free
    trains = free & (update.place > 0)
    job = select(trains, update_job(update, since, state.cell, state.device.jitter, params), job)
    return job, update.replace(place=jnp.where(free, jnp.int8(-1), update.place)), free & ~trains


def take_oldest(
    job: Job, pending: Pending, free: jax.Array, since: jax.Array, slot: jax.Array, params: Params
) -> tuple[Job, Pending, jax.Array]:
    """Give every free lane the oldest task that waits, from the moment when both were there.

    Args:
        job: [D] the jobs of the lanes.
        pending: [B, D] tasks that wait.
        free: [D] bool.
        since: [D] s relative to the coming slot.
        slot: [] int32, the coming slot.
        params: the world's numbers.

    Returns:
        lanes, buffers, and which lanes are still free [D] bool.
    """
    if params.buffer == 0:
        return job, pending, free
    oldest: Pending = jax.tree.map(lambda rows: rows[0], pending)
    takes = free & (oldest.task_class >= 0)
    came = oldest.offset - (slot - oldest.slot).astype(jnp.float32) * params.slot_duration
    tasks = Tasks(oldest.task_class, oldest.bits, oldest.cycles, oldest.result_bits, oldest.deadline)
    job = select(takes, task_job(tasks, came, jnp.maximum(since, came), params), job)
    rest = jax.tree.map(lambda rows, none: jnp.concatenate([rows[1:], none]), pending, empty_pending(params, 1))
    return job, jax.tree.map(lambda new, old: jnp.where(takes[None, :], new, old), rest, pending), free & ~takes


def admit(
    job: Job,
    pending: Pending,
    tasks: Tasks,
    came: jax.Array,
    instant: jax.Array,
    free: jax.Array,
    since: jax.Array,
    slot: jax.Array,
    params: Params,
) -> tuple[Job, Pending, jax.Array]:
    """Let the tasks of the coming slot in: to a free lane, else into the buffer, else dropped with a cause.

    Args:
        job: [D] the jobs of the lanes.
        pending: [B, D] tasks that wait.
        tasks: [D] one task per device.
        came: [D] bool, whether it came.
        instant: [D] s relative to the coming slot, when.
        free: [D] bool.
        since: [D] s relative to the coming slot, when the lane became free.
        slot: [] int32, the coming slot.
        params: the world's numbers.

    Returns:
        lanes, buffers, and the End [D] int8 of tasks that were refused.
    """
    waits_for_answer = job.asks if job.left.decide is None else job.asks | (job.left.decide > 0)
    undecided = (job.kind == Kind.TASK) & waits_for_answer
    cause = jnp.where(undecided, jnp.int8(End.NO_DECISION), jnp.int8(End.BUFFER_FULL))
    waits = came & ~free
    job = select(came & free, task_job(tasks, instant, jnp.maximum(since, instant), params), job)
    if params.buffer == 0:
        return job, pending, jnp.where(waits, cause, jnp.int8(End.NONE))
    count = jnp.sum(pending.task_class >= 0, axis=0, dtype=jnp.int32)
    pending = put(pending, tasks, waits, count, instant, slot)
    return job, pending, jnp.where(waits & (count >= params.buffer), cause, jnp.int8(End.NONE))


def put(
    pending: Pending, tasks: Tasks, where: jax.Array, count: jax.Array, instant: jax.Array, slot: jax.Array
) -> Pending:
    """Put tasks behind the ``count`` [D] that wait already."""
    row = jnp.arange(pending.bits.shape[0], dtype=jnp.int32)
    here = where[None, :] & (row[:, None] == count[None, :])
    new = Pending(
        task_class=tasks.task_class,
        bits=tasks.bits,
        cycles=tasks.cycles,
        result_bits=tasks.result_bits,
        deadline=tasks.deadline,
        slot=jnp.broadcast_to(slot, where.shape),
        offset=instant,
    )
    return jax.tree.map(lambda a, b: jnp.where(here, a[None, :], b), new, pending)
