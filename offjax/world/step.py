"""The step of the world: ``init``, ``advance`` and nothing that decides."""

import chex
import jax
import jax.numpy as jnp

from offjax.physics.radio import PATH_LOSSES, channel_gain
from offjax.workload import arrivals
from offjax.workload.tasks import Tasks, draw_class, make_tasks
from offjax.world import battery, checks, lane, phases, schedules
from offjax.world.draws import Draw, draw, normal, row, uniform
from offjax.world.records import Decision, DeviceState, Draws, End, Kind, Outcome, Params, Passed, State


def place_devices(key: jax.Array, params: Params) -> jax.Array:
    """Distance of each device to its base station, [D] m: drawn in the area, or as given."""
    if params.placement == "given":
        return jnp.broadcast_to(params.radio.distance, (params.devices,))
    offset = params.radio.area * jax.random.uniform(key, (2, params.devices), minval=-1.0, maxval=1.0)
    return jnp.maximum(jnp.sqrt(offset[0] * offset[0] + offset[1] * offset[1]), params.radio.nearest)


def init(key: jax.Array, params: Params, slot: jax.Array | int = 0) -> State:
    """A fresh world at the start of ``slot``, its first tasks included.

    Args:
        key: random key.
        params: the world's numbers.
        slot: [] int32, where the clock starts (schedules are read from there).

    Raises:
        ConfigError: a structure that makes no sense, see :mod:`offjax.world.checks`.
    """
    checks.check_structure(params)
    place_key, arrival_key, jitter_key, now_key, next_key = jax.random.split(key, 5)
    zero = jnp.zeros(params.devices, jnp.float32)
    slot = jnp.asarray(slot, jnp.int32)
    now = draw(now_key, params)
    servers = schedules.open_servers(
        slot, jnp.zeros((params.access_points, params.server_count), jnp.float32), uniform(now.server), params
    )
    first = jax.random.uniform(arrival_key, (params.devices,))
    state = State(
        clock=slot - 1,
        job=lane.idle_job(params),
        pending=lane.empty_pending(params, params.buffer),
        source=arrivals.start(params.workload.arrivals, first, slot, params.slot_duration),
        update=lane.no_update(params.devices) if params.updates else None,
        device=DeviceState(
            spent=zero,
            spent_low=zero,
            gain=zero,
            path_loss=PATH_LOSSES[params.path_loss](place_devices(place_key, params), params.radio.carrier),
            jitter=jax.random.normal(jitter_key, (params.devices,)) if params.impaired else None,
        ),
        cell=schedules.open_cells(slot, servers, params),
        server=servers,
        draws=now,
    )
    free = jnp.ones(params.devices, bool)
    return open_slot(state, draw(next_key, params), free, zero - params.slot_duration, params)[0]


def advance(state: State, decision: Decision, draws: Draws, params: Params) -> tuple[State, Outcome]:
    """One slot: read the decisions, move every job, end what ends, let the next tasks in.

    Deterministic: everything random is in ``state.draws`` (the coming slot) and in ``draws`` (the one after).

    Args:
        state: the world at the start of a slot.
        decision: [D] answers, read only where ``state.job.asks``.
        draws: random bits of the slot after the coming one.
        params: the world's numbers.

    Returns:
        the world at the start of the next slot, and what happened to each device in this one.
    """
    chex.assert_shape(decision.place, (params.devices,))
    chex.assert_type(decision.place, jnp.int8)
    if decision.delay is not None:
        chex.assert_shape(decision.delay, (params.devices,))
        chex.assert_type(decision.delay, jnp.float32)
    job, update = lane.decide(state, decision, params)
    alive = battery.remaining(state.device, params) > 0
    run, backlog = phases.pass_all(phases.start_run(job, alive, params), state, params)
    run, device, drawn = settle(run, state.device, params)
    over = run.end != End.NONE
    outcome = report(run, over & (job.kind == Kind.TASK), drawn)
    active = activity(run, state, params)
    server = state.server.replace(backlog=backlog)
    state = state.replace(job=run.job, update=update, device=device, server=server)
    state, free, since = end_slot(state, run, over, params)
    state, came, refused = open_slot(state, draws, free, since, params)
    state = state.replace(cell=state.cell.replace(active=active))
    return state, outcome.replace(arrived=came, refused=refused)


def end_slot(state: State, run: phases.Run, over: jax.Array, params: Params) -> tuple[State, jax.Array, jax.Array]:
    """Clear the lanes of the jobs that are over, and start what was waiting for them.

    Returns:
        the state, the lanes that are free [D] bool, and since when [D] s relative to the coming slot.
    """
    job, ended = run.job, over
    if job.left.hold is not None:
        keeps = over & (job.left.hold > 0)
        job, ended = lane.select(keeps, lane.held_job(job.left.hold, params), job), over & ~keeps
    since = jnp.where(ended, -run.budget, -params.slot_duration)
    job = lane.select(ended, lane.idle_job(params), job)
    free = job.kind == Kind.NONE
    job, update, free = lane.next_update(job, state, free, since, params)
    slot = state.clock + 1
    job, pending, free = lane.take_oldest(job, state.pending, free, since, slot, params)
    think = uniform(row(state.draws, Draw.ARRIVAL, params))
    source = arrivals.reopen(
        params.workload.arrivals, state.source, think, free & ended, since, slot, params.slot_duration
    )
    return state.replace(job=job, pending=pending, update=update, source=source), free, since


def settle(
    run: phases.Run, device: DeviceState, params: Params
) -> tuple[phases.Run, DeviceState, tuple[jax.Array, jax.Array, jax.Array]]:
    """End the jobs that are through or out of battery, train on the device, and draw the energy.

    An energy larger than what the battery holds drops the job and empties the battery.
    """
    kind, left = run.job.kind, battery.remaining(device, params)
    busy = kind != Kind.NONE
    empty = busy & ((run.joules > left) | (left <= 0))
    through = phases.is_through(run.job)
    if run.job.left.hold is not None:
        through = through & ((run.job.left.hold <= 0) | (kind == Kind.TASK))
    in_time = (run.job.passed.latency() <= run.job.deadline) | (kind == Kind.UPDATE)
    end = jnp.where(through & (run.end == End.NONE), jnp.where(in_time, End.IN_TIME, End.LATE), run.end)
    run = run.replace(end=jnp.where(empty, End.BATTERY_EMPTY, end).astype(jnp.int8))

    job_joules, left = battery.draw_up_to(run.joules, left)
    run = run.replace(job=run.job.replace(energy=run.job.energy + job_joules))
    run, held, left = settle_hold(run, empty, left, params)
    idle, left = battery.draw_up_to(params.fleet.idle_power * params.slot_duration, left)
    is_task = kind == Kind.TASK
    drawn = (jnp.where(is_task, job_joules, 0.0), jnp.where(is_task, 0.0, job_joules) + held, idle)
    device = battery.spend(device, job_joules + held + idle)
    return run, battery.drain(device, left <= 0, params), drawn


def settle_hold(
    run: phases.Run, empty: jax.Array, left: jax.Array, params: Params
) -> tuple[phases.Run, jax.Array, jax.Array]:
    """Train on the device and draw its energy: the run, the joules [D] that it drew and what is left [D] J."""
    if run.job.left.hold is None:
        return run, jnp.zeros_like(left), left
    run, joules = phases.pass_hold(run, params)
    held, left = battery.draw_up_to(joules, left)
    cut = held < joules
    hold = jnp.where(cut | empty, 0.0, run.job.left.hold)
    trained = (run.job.kind == Kind.UPDATE) & phases.is_through(run.job) & (hold <= 0) & (run.end == End.NONE)
    end = jnp.where(trained, jnp.where(cut, End.BATTERY_EMPTY, End.IN_TIME), run.end).astype(jnp.int8)
    return run.replace(end=end, job=run.job.replace(left=run.job.left.replace(hold=hold))), held, left


def report(run: phases.Run, task_over: jax.Array, drawn: tuple[jax.Array, jax.Array, jax.Array]) -> Outcome:
    """The outcome of every device; arrivals are filled in when they have come."""
    job, none = run.job, jnp.full(run.end.shape, End.NONE, jnp.int8)
    update_over = (job.kind == Kind.UPDATE) & (run.end != End.NONE)
    return Outcome(
        result=jnp.where(task_over, run.end, none),
        place=job.place,
        task_class=job.task_class,
        passed=every_part(job.passed),
        latency=job.passed.latency(),
        deadline=job.deadline,
        energy=jnp.where(task_over, job.energy, 0.0),
        update=jnp.where(update_over, run.end, none),
        arrived=jnp.zeros(none.shape, bool),
        refused=none,
        drawn_task=drawn[0],
        drawn_update=drawn[1],
        drawn_idle=drawn[2],
        cycles=job.cycles,
    )


def every_part(passed: Passed) -> Passed:
    """The parts of the latency, zero where a world has no such part."""
    zero = jnp.zeros_like(passed.wait)
    queue = zero if passed.queue is None else passed.queue
    return passed.replace(queue=queue, downlink=zero if passed.downlink is None else passed.downlink)


def activity(run: phases.Run, state: State, params: Params) -> jax.Array:
    """[A] devices that uploaded in this slot, each by the share of the slot that it used."""
    time = run.job.passed.uplink - state.job.passed.uplink
    share = jnp.clip(time / params.slot_duration, 0.0, 1.0)
    sent = jnp.sum(share.reshape(params.access_points, -1), axis=1)
    return jnp.where(state.cell.up, sent, 0.0)  # while the link is down jobs stand still, and nobody sends


def open_slot(
    state: State, draws: Draws, free: jax.Array, since: jax.Array, params: Params
) -> tuple[State, jax.Array, jax.Array]:
    """Start the next slot: schedules, channels and notices of that slot, and its tasks.

    The tasks are there at the end of the slot before, so that an observer always sees the task that is asked about.

    Args:
        state: the world at the end of a slot, the random bits of the coming one in it.
        draws: random bits of the slot after the coming one.
        free: [D] bool, lanes that a task finds free.
        since: [D] s relative to the coming slot, when they became so.
        params: the world's numbers.

    Returns:
        the state, which devices got a task [D] bool, and the End [D] int8 of those refused.
    """
    slot = state.clock + 1
    shadowing = params.radio.shadowing * normal(row(state.draws, Draw.SHADOWING, params))
    servers = schedules.open_servers(slot, state.server.backlog, uniform(state.draws.server), params)
    came, instant, source = arrivals.arrive(
        params.workload.arrivals,
        state.source,
        uniform(row(state.draws, Draw.ARRIVAL, params)),
        slot,
        params.slot_duration,
    )
    came, instant = (jnp.broadcast_to(values, (params.devices,)) for values in (came, instant))
    tasks = new_tasks(state, params)
    job, pending, refused = lane.admit(state.job, state.pending, tasks, came, instant, free, since, slot, params)
    state = state.replace(
        clock=slot,
        job=job,
        pending=pending,
        source=source,
        device=state.device.replace(
            gain=channel_gain(state.device.path_loss, shadowing), jitter=next_jitter(state, job.asks, params)
        ),
        cell=schedules.open_cells(slot, servers, params),
        server=servers,
        draws=draws,
    )
    return state, came, refused


def new_tasks(state: State, params: Params) -> Tasks:
    """A task for every device, whether it comes or not, from the bits of the coming slot."""
    workload = params.workload
    share = {kind: uniform(row(state.draws, kind, params)) for kind in (Draw.CLASS, Draw.SIZE, Draw.FACTOR)}
    if state.source is None or workload.arrivals.classes is None:
        task_class = draw_class(share[Draw.CLASS], workload)
    else:
        task_class = arrivals.given_classes(workload.arrivals, state.source)
    return make_tasks(task_class, share[Draw.SIZE], share[Draw.FACTOR], workload)


def next_jitter(state: State, asks: jax.Array, params: Params) -> jax.Array | None:
    """[D] the AR(1) normal behind the delay of a device's transfers; a step for each task that asks."""
    if state.device.jitter is None:
        return None
    correlation = params.schedule.correlation
    noise = jnp.sqrt(1.0 - correlation * correlation) * normal(row(state.draws, Draw.JITTER, params))
    return jnp.where(asks, correlation * state.device.jitter + noise, state.device.jitter)
