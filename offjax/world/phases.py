"""One slot of every lane: a job moves through its phases for as long as its time budget lasts."""

import jax
import jax.numpy as jnp
from flax import struct

from offjax.physics.compute import execution_power
from offjax.world.links import downlink, per_device, serve, transmit, uplink
from offjax.world.records import CellState, End, Job, Kind, Params, State

# Share of a slot by which float32 may miss the end of a phase: k slots taken off one after the other leave an error of
# up to k^2 2^-25 slots, 3e-4 after 100. The time of a phase that ends so is its true time all the same.
SLACK = 5e-4


class Run(struct.PyTreeNode):
    """A job under way within one slot."""

    job: Job
    start: jax.Array  # [D] s, when it started relative to the slot
    budget: jax.Array  # [D] s it still has in this slot
    used: jax.Array  # [D] s it has used in this slot
    end: jax.Array  # [D] int8 End, NONE while it goes on
    joules: jax.Array  # [D] J drawn in this slot

    def finish_time(self) -> jax.Array:
        """[D] s relative to the slot: when it stopped using its budget."""
        return self.start + self.used


def start_run(job: Job, alive: jax.Array, params: Params) -> Run:
    """Open the slot for every lane: a job in its first slot has its credit on top of the slot.

    Nothing moves on a device whose battery is empty (``alive`` [D] bool).
    """
    budget = jnp.where((job.kind == Kind.NONE) | ~alive, 0.0, params.slot_duration + job.credit)
    return Run(
        job=job.replace(credit=jnp.zeros_like(job.credit)),
        start=-job.credit,
        budget=budget,
        used=jnp.zeros_like(budget),
        end=jnp.full(budget.shape, End.NONE, jnp.int8),
        joules=jnp.zeros_like(budget),
    )


def charge(run: Run, part: str, time: jax.Array, joules: jax.Array) -> Run:
    """Let ``time`` pass in one part of the latency, at a price."""
    passed = run.job.passed.replace(**{part: getattr(run.job.passed, part) + time})
    return run.replace(
        job=run.job.replace(passed=passed),
        budget=jnp.maximum(run.budget - time, 0.0),
        used=run.used + time,
        joules=run.joules + joules,
    )


def keep(run: Run, phase: str, left: jax.Array) -> Run:
    """Store what is left of a phase."""
    return run.replace(job=run.job.replace(left=run.job.left.replace(**{phase: left})))


def drop(run: Run, where: jax.Array, cause: End) -> Run:
    """End the jobs that have come to a phase which cannot go on."""
    now = where & (run.end == End.NONE) & (run.budget > 0)
    return run.replace(end=jnp.where(now, jnp.int8(cause), run.end))


def open_budget(run: Run) -> jax.Array:
    """[D] s: the budget of jobs that have not ended."""
    return jnp.where(run.end == End.NONE, run.budget, 0.0)


def pass_decide(run: Run, cell: CellState, params: Params) -> Run:
    """Wait for the answer; it stands still while the loop to the one who decides is down.

    A device decides for itself with delay zero; an undecided job spends the whole slot here.
    """
    left, budget = run.job.left.decide, open_budget(run)
    loop_up = per_device(cell.up & cell.backhaul_up, params)
    time, rest = serve(left, jnp.float32(1), budget, SLACK * params.slot_duration)
    stands = run.job.asks | (~loop_up & (left > 0))
    run = keep(run, "decide", jnp.where(stands, left, rest))
    return charge(run, "decide", jnp.where(stands, budget, time), jnp.zeros_like(time))


def pass_uplink(run: Run, state: State, params: Params) -> Run:
    """Upload; dropped where the link is down, for nothing."""
    link, left = uplink(state, params), run.job.left.uplink
    run = drop(run, (left > 0) & ~link.up, End.LINK_LOST)
    delay, delivered, joules = transmit(left, link, open_budget(run), SLACK * params.slot_duration)
    return charge(keep(run, "uplink", left - delivered), "uplink", delay, joules)


def pass_backhaul(run: Run, cell: CellState, params: Params) -> Run:
    """Cross the backhaul to the cloud and back (the delay of both ways is paid here)."""
    left = run.job.left.backhaul
    run = drop(run, (left > 0) & ~per_device(cell.backhaul_up, params), End.LINK_LOST)
    time, rest = serve(left, jnp.float32(1), open_budget(run), SLACK * params.slot_duration)
    return charge(keep(run, "backhaul", rest), "backhaul", time, jnp.zeros_like(time))


def processor(job: Job, state: State, params: Params) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The processor that each job uses: speed [D] cycles/s, up [D] bool, power drawn from the device [D] W."""
    local = job.place <= 0
    servers = params.server_count
    cell = per_device(jnp.arange(params.access_points, dtype=jnp.int32), params)
    index = cell * servers + jnp.maximum(job.place.astype(jnp.int32) - 1, 0)
    speed = (params.servers.speed[None, :] * state.server.share).reshape(-1)[index]
    up = state.server.up.reshape(-1)[index]
    power = execution_power(params.fleet.speed, params.fleet.energy_coefficient)
    return (
        jnp.where(local, params.fleet.speed, speed),
        local | (up & (speed > 0)),
        jnp.where(local, power, 0.0),
    )


def pass_server(run: Run, state: State, params: Params) -> Run:
    """Queue behind the work of others, then be served; dropped where the server is down."""
    speed, up, power = processor(run.job, state, params)
    speed = jnp.where(up, speed, 1.0)
    for phase, part in (("ahead", "queue"), ("service", "service")):
        left = getattr(run.job.left, phase)
        run = drop(run, (left > 0) & ~up, End.SERVER_LOST)
        time, rest = serve(left, speed, open_budget(run), SLACK * params.slot_duration)
        joules = power * time if phase == "service" else jnp.zeros_like(time)
        run = charge(keep(run, phase, rest), part, time, joules)
    return run


def pass_downlink(run: Run, state: State, params: Params) -> Run:
    """Download the result; lost where the link is down."""
    link, left = downlink(state, params), run.job.left.downlink
    run = drop(run, (left > 0) & ~link.up, End.RESULT_LOST)
    delay, delivered, joules = transmit(left, link, open_budget(run), SLACK * params.slot_duration)
    return charge(keep(run, "downlink", left - delivered), "downlink", delay, joules)


def pass_all(run: Run, state: State, params: Params) -> Run:
    """Every phase of the latency, in order."""
    run = pass_decide(run, state.cell, params)
    run = pass_uplink(run, state, params)
    run = pass_backhaul(run, state.cell, params)
    run = pass_server(run, state, params)
    return pass_downlink(run, state, params)


def pass_hold(run: Run, params: Params) -> tuple[Run, jax.Array]:
    """Train on the device when the task is over: the run, and the joules [D] that the training drew."""
    left = run.job.left.hold
    over = (run.end != End.NONE) | (run.job.kind == Kind.UPDATE)
    budget = jnp.where(over, run.budget, 0.0)
    time, rest = serve(left, jnp.float32(1), budget, SLACK * params.slot_duration)
    run = keep(run, "hold", rest).replace(budget=jnp.maximum(run.budget - time, 0.0), used=run.used + time)
    return run, params.fleet.update_power * time


def is_through(job: Job) -> jax.Array:
    """[D] bool: decided, and nothing left of any phase of the latency."""
    left = job.left
    ahead = (left.decide <= 0) & (left.uplink <= 0) & (left.backhaul <= 0)
    behind = (left.ahead <= 0) & (left.service <= 0) & (left.downlink <= 0)
    return (job.kind != Kind.NONE) & ~job.asks & ahead & behind
