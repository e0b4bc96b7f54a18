"""The step of the world: ``init``, ``advance`` and nothing that decides."""

import chex
import jax
import jax.numpy as jnp

from offjax.physics.radio import channel_gain, path_loss_inf_sh
from offjax.workload.tasks import arrives, draw_tasks
from offjax.world import battery, lane, phases, schedules
from offjax.world.draws import Draw, draw, normal, uniform
from offjax.world.records import (
    CellState,
    Decision,
    DeviceState,
    Draws,
    End,
    Kind,
    Outcome,
    Params,
    ServerState,
    State,
)


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
    """
    if params.coupling != "none":
        raise ValueError(f"coupling: {params.coupling!r} is not built yet; allowed: 'none'")
    place_key, now_key, next_key = jax.random.split(key, 3)
    devices, cells, servers = params.devices, params.access_points, params.server_count
    zero = jnp.zeros(devices, jnp.float32)
    state = State(
        clock=jnp.asarray(slot, jnp.int32) - 1,
        job=lane.idle_job(devices),
        pending=lane.empty_pending(params.buffer, devices),
        update=lane.no_update(devices) if params.updates else None,
        device=DeviceState(
            spent=zero,
            spent_low=zero,
            gain=zero,
            path_loss=path_loss_inf_sh(place_devices(place_key, params), params.radio.carrier),
        ),
        cell=CellState(
            active=jnp.zeros(cells, jnp.float32),
            up=jnp.ones(cells, bool),
            backhaul_up=jnp.ones(cells, bool),
            told=jnp.zeros((cells, servers), jnp.float32),
            told_slot=jnp.zeros(cells, jnp.int32),
        ),
        server=ServerState(
            backlog=jnp.zeros((cells, servers), jnp.float32),
            share=jnp.ones((cells, servers), jnp.float32),
            up=jnp.ones((cells, servers), bool),
        ),
        draws=draw(now_key, params),
    )
    return open_slot(state, draw(next_key, params), params)[0]


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
    chex.assert_shape([decision.place, decision.delay], (params.devices,))
    chex.assert_type([decision.place, decision.delay], [jnp.int8, jnp.float32])
    job, update = lane.decide(state, decision, params)
    alive = battery.remaining(state.device, params) > 0
    run = phases.pass_all(phases.start_run(job, alive, params), state, params)
    run, device, drawn = settle(run, state.device, params)
    over = run.end != End.NONE
    outcome = report(run, over & (job.kind == Kind.TASK), drawn)

    keeps = over & (run.job.left.hold > 0)
    held = lane.idle_job(params.devices).replace(
        kind=jnp.full_like(run.job.kind, Kind.UPDATE),
        place=jnp.zeros_like(run.job.place),
        left=lane.idle_job(params.devices).left.replace(hold=run.job.left.hold),
    )
    job, pending, update = lane.next_job(
        lane.select(keeps, held, run.job), state.pending, update, over & ~keeps, run.finish_time(), params
    )
    cell = state.cell.replace(active=activity(run, state, params))
    state = state.replace(job=job, pending=pending, update=update, device=device, cell=cell)
    state, came, refused = open_slot(state, draws, params)
    return state, outcome.replace(arrived=came, refused=refused)


def settle(
    run: phases.Run, device: DeviceState, params: Params
) -> tuple[phases.Run, DeviceState, tuple[jax.Array, jax.Array, jax.Array]]:
    """End the jobs that are through or out of battery, train on the device, and draw the energy.

    An energy larger than what the battery holds drops the job and empties the battery.
    """
    kind, left = run.job.kind, battery.remaining(device, params)
    busy = kind != Kind.NONE
    empty = busy & ((run.joules > left) | (left <= 0))
    through = phases.is_through(run.job) & ((run.job.left.hold <= 0) | (kind == Kind.TASK))
    in_time = (run.job.passed.latency() <= run.job.deadline) | (kind == Kind.UPDATE)
    end = jnp.where(through & (run.end == End.NONE), jnp.where(in_time, End.IN_TIME, End.LATE), run.end)
    run = run.replace(end=jnp.where(empty, End.BATTERY_EMPTY, end).astype(jnp.int8))

    job_joules, left = battery.draw_up_to(run.joules, left)
    run, hold_joules = phases.pass_hold(run, params)
    held, left = battery.draw_up_to(hold_joules, left)
    cut = held < hold_joules
    hold = jnp.where(cut | empty, 0.0, run.job.left.hold)
    done = (kind == Kind.UPDATE) & phases.is_through(run.job) & (hold <= 0) & (run.end == End.NONE)
    run = run.replace(end=jnp.where(done, jnp.where(cut, End.BATTERY_EMPTY, End.IN_TIME), run.end).astype(jnp.int8))
    idle, left = battery.draw_up_to(params.fleet.idle_power * params.slot_duration, left)
    run = run.replace(job=run.job.replace(energy=run.job.energy + job_joules, left=run.job.left.replace(hold=hold)))
    is_task = kind == Kind.TASK
    drawn = (
        jnp.where(is_task, job_joules, 0.0),
        jnp.where(is_task, 0.0, job_joules) + held,
        idle,
    )
    device = battery.spend(device, job_joules + held + idle)
    return run, battery.drain(device, left <= 0, params), drawn


def report(run: phases.Run, task_over: jax.Array, drawn: tuple[jax.Array, jax.Array, jax.Array]) -> Outcome:
    """The outcome of every device; arrivals are filled in when they have come."""
    job, none = run.job, jnp.full(run.end.shape, End.NONE, jnp.int8)
    update_over = (job.kind == Kind.UPDATE) & (run.end != End.NONE)
    return Outcome(
        result=jnp.where(task_over, run.end, none),
        place=job.place,
        task_class=job.task_class,
        passed=job.passed,
        latency=job.passed.latency(),
        deadline=job.deadline,
        energy=jnp.where(task_over, job.energy, 0.0),
        update=jnp.where(update_over, run.end, none),
        arrived=jnp.zeros(none.shape, bool),
        refused=none,
        drawn_task=drawn[0],
        drawn_update=drawn[1],
        drawn_idle=drawn[2],
    )


def activity(run: phases.Run, state: State, params: Params) -> jax.Array:
    """[A] devices that uploaded in this slot, each by the share of the slot that it used."""
    time = run.job.passed.uplink - state.job.passed.uplink
    share = jnp.clip(time / params.slot_duration, 0.0, 1.0)
    return jnp.sum(share.reshape(params.access_points, -1), axis=1)


def open_slot(state: State, draws: Draws, params: Params) -> tuple[State, jax.Array, jax.Array]:
    """Start the next slot: schedules, channels and notices of that slot, and its tasks.

    The tasks are there at the end of the slot before, so that an observer always sees the task that is asked about.

    Returns:
        the state, which devices got a task [D] bool, and the End [D] int8 of those refused.
    """
    slot, bits = state.clock + 1, state.draws.device
    up = schedules.servers_up(slot, params)
    share = jnp.where(up, schedules.free_share(uniform(state.draws.server), params), 0.0)
    shadowing = params.radio.shadowing * normal(bits[Draw.SHADOWING])
    backhaul_up = schedules.cells_up(params.schedule.backhaul, slot, params)
    reachable = backhaul_up[:, None] | ~jnp.asarray(params.cloud)[None, :]
    tasks = draw_tasks(uniform(bits[Draw.CLASS]), uniform(bits[Draw.SIZE]), params.workload)
    came = jnp.broadcast_to(arrives(slot, params.workload), (params.devices,))
    job, pending, refused = lane.admit(state.job, state.pending, tasks, came, params)
    state = state.replace(
        clock=slot,
        job=job,
        pending=pending,
        device=state.device.replace(gain=channel_gain(state.device.path_loss, shadowing)),
        cell=state.cell.replace(
            up=schedules.cells_up(params.schedule.link, slot, params),
            backhaul_up=backhaul_up,
            told=jnp.where(reachable, share * params.servers.speed[None, :], 0.0),
            told_slot=jnp.full_like(state.cell.told_slot, slot),
        ),
        server=state.server.replace(share=share, up=up),
        draws=draws,
    )
    return state, came, refused
