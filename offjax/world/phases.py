"""One slot of every lane: a job moves through its phases for as long as its time budget lasts."""

from functools import reduce

import jax
import jax.numpy as jnp
from flax import struct

from offjax.physics.compute import execution_power
from offjax.physics.radio import transmission_energy
from offjax.world import sharing
from offjax.world.links import Link, by_cell, downlink, per_device, serve, transmit, uplink
from offjax.world.records import CellState, End, Job, Kind, Params, ServerState, State

# Share of a slot by which float32 may miss the end of a phase: k slots taken off one after the other leave an error of
# up to k^2 2^-25 slots, 3e-4 after 100. The time of a phase that ends so is its true time all the same.
SLACK = 5e-4


class Run(struct.PyTreeNode):
    """A job under way within one slot."""

    job: Job
    budget: jax.Array  # [D] s it still has in this slot
    end: jax.Array  # [D] int8 End, NONE while it goes on
    joules: jax.Array  # [D] J drawn in this slot

    def time(self, params: Params) -> jax.Array:
        """[D] s relative to the slot's start: how far it has come."""
        return params.slot_duration - self.budget


def start_run(job: Job, alive: jax.Array, params: Params) -> Run:
    """Open the slot for every lane: a job in its first slot has its credit on top of the slot.

    Nothing moves on a device whose battery is empty (``alive`` [D] bool).
    """
    budget = jnp.where((job.kind == Kind.NONE) | ~alive, 0.0, params.slot_duration + job.credit)
    return Run(
        job=job.replace(credit=jnp.zeros_like(job.credit)),
        budget=budget,
        end=jnp.full(budget.shape, End.NONE, jnp.int8),
        joules=jnp.zeros_like(budget),
    )


def charge(run: Run, part: str, time: jax.Array, joules: jax.Array | float = 0.0) -> Run:
    """Let ``time`` pass in one part of the latency, at a price."""
    passed = run.job.passed.replace(**{part: getattr(run.job.passed, part) + time})
    return run.replace(
        job=run.job.replace(passed=passed),
        budget=jnp.maximum(run.budget - time, 0.0),
        joules=run.joules + joules,
    )


def keep(run: Run, phase: str, left: jax.Array) -> Run:
    """Store what is left of a phase."""
    return run.replace(job=run.job.replace(left=run.job.left.replace(**{phase: left})))


def open_budget(run: Run) -> jax.Array:
    """[D] s: the budget of jobs that have not ended."""
    return jnp.where(run.end == End.NONE, run.budget, 0.0)


def drop(run: Run, where: jax.Array, cause: End) -> Run:
    """End jobs."""
    return run.replace(end=jnp.where(where & (run.end == End.NONE), jnp.int8(cause), run.end))


def halt(run: Run, where: jax.Array, part: str, cause: End, params: Params) -> Run:
    """Stop the jobs that have come to a phase which is down: dropped at once, or standing still up to the timeout.

    Args:
        run: [D] jobs.
        where: [D] bool, their next phase is down.
        part: the part of the latency in which a job stands still.
        cause: of the drop.
        params: the world's numbers.
    """
    now = where & (open_budget(run) > 0)
    if params.outage == "drop":
        return drop(run, now, cause)
    patience = jnp.maximum(params.schedule.timeout - run.job.stalled, 0.0)
    time = jnp.where(now, jnp.minimum(run.budget, patience), 0.0)
    run = charge(run, part, time)
    run = run.replace(job=run.job.replace(stalled=run.job.stalled + time))
    over = run.job.stalled >= params.schedule.timeout
    run = drop(run, now & over, cause)
    return run.replace(budget=jnp.where(now & ~over, 0.0, run.budget))


def pass_decide(run: Run, cell: CellState, params: Params) -> Run:
    """Wait for the answer; where it comes from the cloud it stands still while the loop is down.

    An undecided job spends the whole slot here.
    """
    left, budget, asks = run.job.left.decide, open_budget(run), run.job.asks
    if left is None:
        return charge(run, "decide", jnp.where(asks, budget, 0.0))
    time, rest = serve(left, jnp.float32(1), budget, SLACK * params.slot_duration)
    stands = asks
    if params.remote:
        stands = asks | (~per_device(cell.up & cell.backhaul_up, params) & (left > 0))
    run = keep(run, "decide", jnp.where(stands, left, rest))
    return charge(run, "decide", jnp.where(stands, budget, time))


def share(left: jax.Array, rate: jax.Array, run: Run, params: Params) -> tuple[jax.Array, jax.Array]:
    """Seconds that work takes on something that the devices of a cell share, and what is left of it.

    Args:
        left: [D] units of work, zero where a device has none for it.
        rate: [D] units/s that the device would have alone.
        run: [D] jobs.
        params: the world's numbers.
    """
    budget, slot, slack = open_budget(run), params.slot_duration, SLACK * params.slot_duration
    need = jnp.where((left > 0) & (budget > 0), left / rate, 0.0)
    if params.coupling == "slot":
        sharers = sharing.shares_slot(by_cell(need, params), by_cell(budget, params), slot)
        return serve(left, rate / sharers.reshape(left.shape), budget, slack)
    join = run.time(params)
    early, early_time = start_early(need, join, params)
    time, rest = sharing.share_exact(by_cell(need - early, params), by_cell(join, params), slot, slack)
    time, rest = time.reshape(left.shape), rest.reshape(left.shape)
    time = jnp.where(rest > 0, budget, early_time + time)
    moves = (need > 0) & (need < jnp.inf)
    instant = (need <= 0) & (budget > 0)  # an infinite rate needs no time; without a rate nothing ever moves
    return time, jnp.where(moves, rest * rate, jnp.where(instant, 0.0, left))


def start_early(need: jax.Array, join: jax.Array, params: Params) -> tuple[jax.Array, jax.Array]:
    """What a backdated job (``join`` < 0) did before the slot, and the seconds [D] that it took.

    The events of that time are gone; it went on at the pace of the slot's first instant.
    """
    there = by_cell((need > 0) & (join <= 0), params)
    pace = per_device(1.0 / jnp.maximum(jnp.sum(there, axis=1, dtype=jnp.float32), 1.0), params)
    done = jnp.minimum(need, jnp.maximum(-join, 0.0) * pace)
    return done, done / pace


def pass_air(run: Run, phase: str, link: Link, mode: str, cause: End, params: Params) -> Run:
    """Send bits through the air of the cell, up or down, and pay for it."""
    left = getattr(run.job.left, phase)
    run = halt(run, (left > 0) & ~link.up, phase, cause, params)
    if mode == "fixed" or params.coupling == "none":
        time, delivered, joules = transmit(left, link, open_budget(run), SLACK * params.slot_duration)
        return charge(keep(run, phase, left - delivered), phase, time, joules)
    time, rest = share(left, link.rate, run, params)
    own = (left - rest) / params.radio.cell_rate if mode == "cell" else time
    return charge(keep(run, phase, rest), phase, time, transmission_energy(link.power, own))


def pass_backhaul(run: Run, cell: CellState, params: Params) -> Run:
    """Cross the backhaul to the cloud and back (the delay of both ways is paid here), and any extra delay."""
    left = run.job.left.backhaul
    down = on_server(run.job.place, params.cloud) & ~per_device(cell.backhaul_up, params)
    run = halt(run, (left > 0) & down, "backhaul", End.LINK_LOST, params)
    time, rest = serve(left, jnp.float32(1), open_budget(run), SLACK * params.slot_duration)
    return charge(keep(run, "backhaul", rest), "backhaul", time)


def on_server(place: jax.Array, chosen: tuple[bool, ...]) -> jax.Array:
    """[D] bool: is the place one of the ``chosen`` [Z] servers?"""
    here = jnp.zeros(place.shape, bool)
    for server, wanted in enumerate(chosen):
        here = here | (place == server + 1) if wanted else here
    return here


def processor(job: Job, server: ServerState, params: Params) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The processor that each job uses: speed [D] cycles/s, up [D] bool, power drawn from the device [D] W."""
    speed = jnp.broadcast_to(params.fleet.speed, job.place.shape)
    power = execution_power(params.fleet.speed, params.fleet.energy_coefficient)
    free = params.servers.speed[None, :] * server.share
    for index in range(params.server_count):
        speed = jnp.where(job.place == index + 1, per_device(free[:, index], params), speed)
    local = job.place <= 0
    return jnp.where(local | (speed > 0), speed, 1.0), local | (speed > 0), jnp.where(local, power, 0.0)


def join_queues(run: Run, server: ServerState, params: Params) -> tuple[Run, jax.Array]:
    """Let the jobs that have come to a FIFO server join its queue: what is ahead of each is fixed from here on.

    Returns:
        the run, and the backlog [A, Z] at the end of the slot.
    """
    find_ahead = sharing.ahead_exact if params.coupling == "exact" else sharing.ahead_slot
    left, backlog = run.job.left, server.backlog
    arrived = (left.ahead < 0) & (open_budget(run) > 0)
    ahead = left.ahead
    for index, discipline in enumerate(params.queues):
        if discipline != "fifo":
            continue
        speed = params.servers.speed[index] * server.share[:, index]
        works = speed > 0
        pace = jnp.where(works, speed, 1.0)
        joins = by_cell(arrived & (run.job.place == index + 1), params) & works[:, None]
        work = jnp.where(joins, by_cell(left.service, params) / pace[:, None], 0.0)
        join = by_cell(run.time(params), params)
        found, after = find_ahead(work, join, backlog[:, index] / pace, params.slot_duration)
        ahead = jnp.where(joins.reshape(ahead.shape), (found * pace[:, None]).reshape(ahead.shape), ahead)
        kept = backlog[:, index]
        if params.outage == "stall":  # a server that drops has lost its work already
            kept = jnp.where(waiting(run, index, params), kept, 0.0)
        backlog = backlog.at[:, index].set(jnp.where(works, after * pace, kept))
    return keep(run, "ahead", ahead), backlog


def waiting(run: Run, index: int, params: Params) -> jax.Array:
    """[A] bool: are there jobs at FIFO server ``index`` that have joined and not been dropped?"""
    there = (run.job.place == index + 1) & (run.job.left.ahead >= 0) & (run.end == End.NONE)
    return jnp.any(by_cell(there & (run.job.left.service > 0), params), axis=1)


def pass_server(run: Run, server: ServerState, params: Params) -> tuple[Run, jax.Array]:
    """Queue behind the work of others, then be served; dropped where the server is down.

    Returns:
        the run, and the backlog [A, Z] of the servers at the end of the slot.
    """
    speed, up, power = processor(run.job, server, params)
    backlog = server.backlog
    run = halt(run, (run.job.left.service > 0) & ~up, "queue", End.SERVER_LOST, params)
    if "fifo" in params.queues:
        run, backlog = join_queues(run, server, params)
        left = run.job.left.ahead
        time, rest = serve(jnp.maximum(left, 0.0), speed, open_budget(run), SLACK * params.slot_duration)
        run = charge(keep(run, "ahead", jnp.where(left > 0, rest, left)), "queue", time)
    return run_service(run, speed, power, params), backlog


def run_service(run: Run, speed: jax.Array, power: jax.Array, params: Params) -> Run:
    """Compute, alone or at the pace that the other jobs of the server leave."""
    left = run.job.left.service
    time, rest = serve(left, speed, open_budget(run), SLACK * params.slot_duration)
    for index, discipline in enumerate(params.queues):
        if discipline == "ps":
            inside = run.job.place == index + 1
            shared_time, shared_rest = share(jnp.where(inside, left, 0.0), speed, run, params)
            time, rest = jnp.where(inside, shared_time, time), jnp.where(inside, shared_rest, rest)
    return charge(keep(run, "service", rest), "service", time, power * time)


def pass_all(run: Run, state: State, params: Params) -> tuple[Run, jax.Array]:
    """Every phase of the latency, in order; and the servers' backlog [A, Z] at the end of the slot."""
    run = pass_decide(run, state.cell, params)
    run = pass_air(run, "uplink", uplink(state, params), params.uplink, End.LINK_LOST, params)
    run = pass_backhaul(run, state.cell, params)
    run, backlog = pass_server(run, state.server, params)
    if params.downlink != "none":
        run = pass_air(run, "downlink", downlink(state, params), params.downlink, End.RESULT_LOST, params)
    return run, backlog


def pass_hold(run: Run, params: Params) -> tuple[Run, jax.Array]:
    """Train on the device when the task is over: the run, and the joules [D] that the training drew."""
    left = run.job.left.hold
    over = (run.end != End.NONE) | (run.job.kind == Kind.UPDATE)
    budget = jnp.where(over, run.budget, 0.0)
    time, rest = serve(left, jnp.float32(1), budget, SLACK * params.slot_duration)
    run = keep(run, "hold", rest).replace(budget=jnp.maximum(run.budget - time, 0.0))
    return run, params.fleet.update_power * time


def is_through(job: Job) -> jax.Array:
    """[D] bool: decided, and nothing left of any phase of the latency."""
    left = job.left
    phases = [left.decide, left.uplink, left.backhaul, left.ahead, left.service, left.downlink]
    most = reduce(jnp.maximum, [phase for phase in phases if phase is not None])
    return (job.kind != Kind.NONE) & ~job.asks & (most <= 0)
