"""The lane of each device: which job it takes, and the tasks that wait for it."""

from typing import TypeVar

import jax
import jax.numpy as jnp

from offjax.workload.tasks import Tasks
from offjax.world.records import Decision, End, Job, Kind, Left, Params, Passed, Pending, State, Update


def idle_job(devices: int) -> Job:
    """A lane with nothing to do, for each of ``devices``."""
    zero = jnp.zeros(devices, jnp.float32)
    byte = jnp.zeros(devices, jnp.int8)
    return Job(
        kind=byte + jnp.int8(Kind.NONE),
        place=byte - jnp.int8(1),
        asks=jnp.zeros(devices, bool),
        task_class=byte,
        left=Left(*[zero] * 7),
        passed=Passed(*[zero] * 7),
        deadline=zero,
        energy=zero,
        credit=zero,
    )


def empty_pending(buffer: int, devices: int) -> Pending:
    """A buffer of ``buffer`` places without a task."""
    zero = jnp.zeros((buffer, devices), jnp.float32)
    return Pending(
        task_class=jnp.full((buffer, devices), -1, jnp.int8),
        bits=zero,
        cycles=zero,
        result_bits=zero,
        deadline=zero,
        offset=zero,
        waited=jnp.zeros((buffer, devices), jnp.int32),
    )


def no_update(devices: int) -> Update:
    """No training job for any device."""
    zero = jnp.zeros(devices, jnp.float32)
    return Update(place=jnp.full(devices, -1, jnp.int8), hold=zero, bits=zero, cycles=zero, result_bits=zero)


Record = TypeVar("Record")


def select(where: jax.Array, new: Record, old: Record) -> Record:
    """The records of ``new`` where ``where`` [D] holds, else of ``old``."""
    return jax.tree.map(lambda a, b: jnp.where(where, a, b), new, old)


def task_job(tasks: Tasks, wait: jax.Array, credit: jax.Array) -> Job:
    """A task that takes the lane and asks for a decision, having waited ``wait`` [D] s."""
    devices = tasks.bits.shape[0]
    job = idle_job(devices)
    return job.replace(
        kind=jnp.full(devices, Kind.TASK, jnp.int8),
        asks=jnp.ones(devices, bool),
        task_class=tasks.task_class,
        left=job.left.replace(uplink=tasks.bits, service=tasks.cycles, downlink=tasks.result_bits),
        passed=job.passed.replace(wait=wait),
        deadline=tasks.deadline,
        credit=credit,
    )


def update_job(update: Update, credit: jax.Array, params: Params) -> Job:
    """A training job that goes to a server like a task."""
    job = idle_job(update.place.shape[0])
    left = job.left.replace(uplink=update.bits, service=update.cycles, downlink=update.result_bits)
    job = job.replace(kind=jnp.full(job.kind.shape, Kind.UPDATE, jnp.int8), left=left, credit=credit)
    return send(job, update.place, params)


def send(job: Job, place: jax.Array, params: Params) -> Job:
    """Fix where a job runs: at home nothing travels, at a server the backhaul is paid from its size."""
    remote = place > 0
    index = jnp.maximum(place.astype(jnp.int32) - 1, 0)
    crossing = job.left.uplink / params.servers.backhaul_rate[index] + params.servers.backhaul_delay[index]
    left = job.left.replace(
        uplink=jnp.where(remote, job.left.uplink, 0.0),
        backhaul=jnp.where(remote, crossing, 0.0),
        downlink=jnp.where(remote, job.left.downlink, 0.0),
    )
    return job.replace(place=place, left=left)


def decide(state: State, decision: Decision, params: Params) -> tuple[Job, Update | None]:
    """Read the decision where a device asks; it is fixed from here on."""
    job = state.job
    answered = job.asks & (decision.place >= 0)
    decided = send(job, decision.place, params)
    decided = decided.replace(asks=jnp.zeros_like(job.asks), left=decided.left.replace(decide=decision.delay))
    update = state.update
    if decision.update is not None:
        if update is None:
            raise ValueError("decision.update: this world has no updates; make its params with updates=True")
        hold = jnp.where(decision.update.place == 0, decision.update.hold, 0.0)
        decided = decided.replace(left=decided.left.replace(hold=hold))
        update = select(answered, decision.update, update)
    return select(answered, decided, job), update


def next_job(
    job: Job,
    pending: Pending,
    update: Update | None,
    free: jax.Array,
    finish: jax.Array,
    params: Params,
) -> tuple[Job, Pending, Update | None]:
    """Give every free lane its next job: the promised update, else the oldest task that waits, else none.

    Args:
        job: [D] the job of lanes that are not free.
        pending: [B, D] tasks that wait.
        update: promised updates, or none in this world.
        free: [D] bool.
        finish: [D] s relative to the slot, when the lane became free.
        params: the world's numbers.
    """
    job = select(free, idle_job(params.devices), job)
    if update is not None:
        trains = free & (update.place > 0)
        job = select(trains, update_job(update, params.slot_duration - finish, params), job)
        update = update.replace(place=jnp.where(free, jnp.int8(-1), update.place))
        free = free & ~trains
    if params.buffer > 0:
        job, pending = take_oldest(job, pending, free, finish, params)
    return job, pending, update


def take_oldest(job: Job, pending: Pending, free: jax.Array, finish: jax.Array, params: Params) -> tuple[Job, Pending]:
    """Start the oldest waiting task of every free lane, from the moment when both were there."""
    oldest: Pending = jax.tree.map(lambda row: row[0], pending)
    takes = free & (oldest.task_class >= 0)
    came = oldest.offset - oldest.waited.astype(jnp.float32) * params.slot_duration
    start = jnp.maximum(finish, came)
    tasks = Tasks(oldest.task_class, oldest.bits, oldest.cycles, oldest.result_bits, oldest.deadline)
    job = select(takes, task_job(tasks, wait=start - came, credit=params.slot_duration - start), job)
    rest = jax.tree.map(lambda rows, none: jnp.concatenate([rows[1:], none]), pending, empty_pending(1, params.devices))
    return job, jax.tree.map(lambda new, old: jnp.where(takes[None, :], new, old), rest, pending)


def admit(job: Job, pending: Pending, tasks: Tasks, came: jax.Array, params: Params) -> tuple[Job, Pending, jax.Array]:
    """Let the tasks of the coming slot in: to a free lane, else into the buffer, else dropped with a cause.

    Args:
        job: [D] jobs of the lanes.
        pending: [B, D] tasks that wait.
        tasks: [D] one task per device.
        came: [D] bool, whether it came.
        params: the world's numbers.

    Returns:
        lanes, buffers, and the End [D] int8 of tasks that were refused.
    """
    zero = jnp.zeros(params.devices, jnp.float32)
    undecided = (job.kind == Kind.TASK) & (job.asks | (job.left.decide > 0))
    cause = jnp.where(undecided, jnp.int8(End.NO_DECISION), jnp.int8(End.BUFFER_FULL))
    lane_free = job.kind == Kind.NONE
    waits = came & ~lane_free
    job = select(came & lane_free, task_job(tasks, wait=zero, credit=zero), job)
    if params.buffer == 0:
        return job, pending, jnp.where(waits, cause, jnp.int8(End.NONE))
    count = jnp.sum(pending.task_class >= 0, axis=0, dtype=jnp.int32)
    pending = put(pending, tasks, waits, count)
    return job, pending, jnp.where(waits & (count >= params.buffer), cause, jnp.int8(End.NONE))


def put(pending: Pending, tasks: Tasks, where: jax.Array, count: jax.Array) -> Pending:
    """Put tasks behind the ``count`` [D] that wait already; everything in the buffer has waited one slot more."""
    buffer, devices = pending.bits.shape
    row = jnp.arange(buffer, dtype=jnp.int32)
    here = where[None, :] & (row[:, None] == count[None, :])
    new = empty_pending(1, devices).replace(
        task_class=tasks.task_class[None],
        bits=tasks.bits[None],
        cycles=tasks.cycles[None],
        result_bits=tasks.result_bits[None],
        deadline=tasks.deadline[None],
    )
    aged = pending.replace(waited=pending.waited + 1)
    return jax.tree.map(lambda a, b: jnp.where(here, jnp.broadcast_to(a, b.shape), b), new, aged)
