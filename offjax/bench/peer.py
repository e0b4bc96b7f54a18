"""The peer of the benchmark: one cell as a researcher would write it, plain Python under Gymnasium's interface.

It is also the reference by which the world is checked: loops over devices in float64, event by event within the slot,
no JAX and nothing from the world but its records. On the same draws and decisions it has the outcomes of
``world.advance`` to float32 rounding, which decides only where two numbers are equal but for that (a latency and its
deadline, say). It knows coupling ``none`` and ``exact``: what ``slot`` approximates is exact here.
"""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from statistics import NormalDist
from typing import Any, NamedTuple

import gymnasium
import jax
import numpy as np

from offjax.errors import ConfigError
from offjax.problems.nieto2024 import GAIN_RANGE, Nieto2024
from offjax.world import Draws, End, Kind, Params, State
from offjax.world.draws import Draw, kinds
from offjax.world.phases import SLACK
from offjax.world.records import Left, Passed

PHASES = ("decide", "uplink", "backhaul", "ahead", "service", "downlink")
PARTS = ("wait", "decide", "uplink", "backhaul", "queue", "service", "downlink")
NORMAL = NormalDist()


# ---------------------------------------------------------------------------------------------- what there is


@dataclass(slots=True)
class Task:
    """A task that came."""

    task_class: int
    bits: float  # bit
    cycles: float  # cycles
    result_bits: float  # bit
    deadline: float  # s
    came: float  # s on the clock


@dataclass(slots=True)
class Job:
    """A task in the lane of its device."""

    task_class: int
    deadline: float  # s
    left: dict[str, float]  # of each of PHASES: s, bit, s, cycles (-1 until it has joined the queue), cycles, bit
    passed: dict[str, float]  # s in each of PARTS
    now: float  # s after the start of the slot, so far has it come; negative where it started before the slot
    place: int = -1
    asks: bool = True
    energy: float = 0.0  # J drawn so far
    joules: float = 0.0  # J needed in this slot
    end: End = End.NONE


@dataclass(slots=True)
class Device:
    """A device: its numbers, and how it stands."""

    speed: float  # cycles/s
    power: float  # W while it computes
    battery: float  # J, capacity
    idle_power: float  # W
    transmit_power: float  # W
    receive_power: float  # W
    bandwidth: float  # Hz
    downlink_rate: float  # bit/s
    arrivals: dict[str, float]  # period and phase in slots, chance per slot, mean in s: those of the kind of arrivals
    path_loss: float = 0.0  # dB
    gain: float = 0.0  # dB, of the channel in this slot
    left: float = 0.0  # J in the battery
    next_task: float = math.inf  # s on the clock
    job: Job | None = None
    waiting: deque[Task] = field(default_factory=deque)


@dataclass(slots=True)
class Server:
    """A server: its numbers, and how it stands."""

    speed: float  # cycles/s
    share_low: float
    share_high: float
    backhaul_rate: float  # bit/s
    backhaul_delay: float  # s, both ways
    cloud: bool
    queue: str
    outages: list[tuple[int, int]]  # slots [start, stop)
    load: list[tuple[int, float]]  # (slot, share that others take)
    free: float = 0.0  # cycles/s in this slot, 0 where it is down
    backlog: float = 0.0  # cycles that a FIFO server has not finished


@dataclass(frozen=True, slots=True)
class TaskClass:
    """The numbers of one task class."""

    edge: float  # the class is drawn by a uniform number below this
    bits_low: float  # bit
    bits_high: float  # bit
    cycles_per_bit: float  # cycles/bit
    result_per_bit: float
    deadline_per_bit: float  # s/bit
    deadline_per_cycle: float  # s/cycle


# ----------------------------------------------------------------------------------------------- plain rules


def exponential(uniform: float, mean: float) -> float:
    """Exponential number with ``mean``, by inversion."""
    return -mean * math.log1p(-uniform)


def is_up(outages: Sequence[tuple[int, int]], slot: int) -> bool:
    """Is ``slot`` outside of all spans [start, stop)?"""
    return not any(start <= slot < stop for start, stop in outages)


def value_at(steps: Sequence[tuple[int, float]], slot: int) -> float:
    """The last value that was set at or before ``slot``; zero before the first."""
    return next((value for start, value in reversed(steps) if start <= slot), 0.0)


def path_loss(distance: float, carrier: float) -> float:
    """Path loss in dB at ``distance`` m and ``carrier`` Hz, equation (3) of [29]."""
    return 32.4 + 23.0 * math.log10(distance) + 20.0 * math.log10(carrier / 1e9)


def duration(work: float, rate: float) -> float:
    """Seconds that ``work`` takes at ``rate``."""
    return work / rate if rate > 0 else math.inf


def share_events(
    needs: Sequence[float], joins: Sequence[float], slot: float, slack: float
) -> tuple[list[float], list[float]]:
    """Processor sharing within one slot, from event to event.

    Args:
        needs: s of the whole resource that each job needs.
        joins: s after the start of the slot, when each joins; before the slot counts as its start.
        slot: s.
        slack: s by which a job may miss the end of the slot and is finished all the same.

    Returns:
        s that each was there, and s of the whole resource that it still needs.
    """
    left, spent, now = list(needs), [0.0] * len(needs), 0.0
    for until in [*sorted(join for join in joins if 0 < join < slot), slot]:
        there = [job for job, join in enumerate(joins) if join <= now and left[job] > 0]
        while there and now < until:
            shortest = min(left[job] for job in there)
            departs = shortest * len(there) <= until - now
            step = shortest if departs else (until - now) / len(there)
            for job in there:
                left[job] -= step
                spent[job] += step * len(there)
            now = now + step * len(there) if departs else until
            there = [job for job in there if left[job] > 0]
        now = until
    there = [job for job, join in enumerate(joins) if join < slot and left[job] > 0]
    for job in there:
        if left[job] * len(there) <= slack:
            spent[job], left[job] = spent[job] + left[job] * len(there), 0.0
    return spent, left


def queue_up(works: Sequence[float], joins: Sequence[float], backlog: float, slot: float) -> tuple[list[float], float]:
    """A FIFO server within one slot, job by job in order of joining, ties by index.

    Args:
        works: s that each job brings.
        joins: s after the start of the slot, when each joins. One that joined before it found the server busy all the
            time where there is a backlog, and idle where there is none.
        backlog: s of work at the start of the slot.
        slot: s.

    Returns:
        s that each job waits, and s of work at the end of the slot.
    """
    free_at, waits = (backlog if backlog > 0 else -math.inf), [0.0] * len(works)
    for job in sorted(range(len(works)), key=lambda job: (joins[job], job)):
        start = max(free_at, joins[job])
        waits[job] = start - joins[job]
        free_at = start + works[job]
    return waits, max(free_at - slot, 0.0)


# ---------------------------------------------------------------------------------------- reading the numbers


def _each(value: Any, count: int) -> list[Any]:
    return np.broadcast_to(np.asarray(value, np.float64), (count,)).tolist()


def _spans(windows: Any, row: int) -> list[tuple[int, int]]:
    return list(zip(windows.start[row].tolist(), windows.stop[row].tolist(), strict=True))


def _steps(steps: Any, row: int) -> list[tuple[int, float]]:
    return list(zip(steps.start[row].tolist(), steps.value[row].tolist(), strict=True))


def check_known(params: Params) -> None:
    """Raise a ConfigError for what the peer does not know."""
    arrivals = params.workload.arrivals.kind
    for name, value, known in (
        ("access_points", params.access_points, params.access_points == 1),
        ("coupling", params.coupling, params.coupling in ("none", "exact")),
        ("arrivals", arrivals, arrivals != "given"),
        ("outage", params.outage, params.outage == "drop"),
        ("updates", params.updates, not params.updates),
        ("redundant", params.redundant, not params.redundant),
        ("impaired", params.impaired, not params.impaired),
    ):
        if not known:
            raise ConfigError(name, value, "the peer is one cell, exact, without stalls, updates, failover and jitter")


def read_devices(params: Params) -> list[Device]:
    """The devices of a cell, batteries full."""
    fleet, count, process = params.fleet, params.devices, params.workload.arrivals
    names = ("speed", "battery", "idle_power", "transmit_power", "receive_power")
    numbers = {name: _each(getattr(fleet, name), count) for name in names}
    numbers["power"] = _each(np.float64(fleet.energy_coefficient) * np.float64(fleet.speed) ** 3, count)
    numbers["bandwidth"] = _each(params.radio.bandwidth, count)
    numbers["downlink_rate"] = _each(params.radio.downlink_rate, count)
    given = [name for name in ("period", "phase", "chance", "mean") if getattr(process, name) is not None]
    rhythm = {name: _each(getattr(process, name), count) for name in given}
    return [
        Device(
            **{name: values[device] for name, values in numbers.items()},
            arrivals={name: values[device] for name, values in rhythm.items()},
            left=numbers["battery"][device],
        )
        for device in range(count)
    ]


def read_servers(params: Params) -> list[Server]:
    """The servers of a cell, idle."""
    names = ("speed", "share_low", "share_high", "backhaul_rate", "backhaul_delay")
    numbers = {name: _each(getattr(params.servers, name), params.server_count) for name in names}
    return [
        Server(
            **{name: values[server] for name, values in numbers.items()},
            cloud=params.cloud[server],
            queue=params.queues[server],
            outages=_spans(params.schedule.server, server),
            load=_steps(params.schedule.load, server),
        )
        for server in range(params.server_count)
    ]


def read_classes(params: Params) -> list[TaskClass]:
    """The task classes in order; the last takes every number that no other takes."""
    work = params.workload
    edges = np.cumsum(np.asarray(work.probability, np.float64))
    edges[-1] = math.inf
    tables = (work.bits_low, work.bits_high, work.cycles_per_bit, work.result_per_bit)
    rows = np.stack([edges, *tables, work.deadline_per_bit, work.deadline_per_cycle], axis=1)
    return [TaskClass(*row) for row in rows.astype(np.float64).tolist()]


# ------------------------------------------------------------------------------------------------- the cell


class Cell:
    """One access point with its devices and servers, slot by slot."""

    def __init__(self, params: Params) -> None:
        """A cell with nothing in it, from ``params`` with NumPy leaves; then :meth:`start` or :meth:`load`.

        Raises:
            ConfigError: what the peer does not know, see :func:`check_known`.
        """
        check_known(params)
        self.params, self.clock = params, -1
        self.slot = float(params.slot_duration)
        self.slack = SLACK * self.slot
        self.buffer, self.kinds = params.buffer, kinds(params)
        self.devices, self.servers, self.classes = read_devices(params), read_servers(params), read_classes(params)
        self.noise, self.shadowing = float(params.radio.noise), float(params.radio.shadowing)
        self.cell_rate = float(params.radio.cell_rate)
        self.factors = float(params.workload.factor_low), float(params.workload.factor_high)
        self.deadline_fixed = float(params.workload.deadline_fixed)
        self.traffic_rate = float(params.schedule.traffic_rate)
        self.link_outages, self.backhaul_outages = _spans(params.schedule.link, 0), _spans(params.schedule.backhaul, 0)
        self.traffic = _steps(params.schedule.traffic, 0)
        self.link_up, self.backhaul_up, self.air = True, True, 1.0

    # -------------------------------------------------------------------------------------- how it begins

    def start(self, generator: np.random.Generator, draws: Draws) -> None:
        """A fresh cell at the start of slot 0, devices placed and first tasks come."""
        radio, count = self.params.radio, len(self.devices)
        distances = _each(radio.distance, count)
        if self.params.placement != "given":
            offsets = float(radio.area) * generator.uniform(-1.0, 1.0, (count, 2))
            distances = np.maximum(np.hypot(*offsets.T), float(radio.nearest)).tolist()
        for device, distance in zip(self.devices, distances, strict=True):
            device.path_loss = path_loss(distance, float(radio.carrier))
            if "mean" in device.arrivals:
                device.next_task = exponential(generator.random(), device.arrivals["mean"])
        self.open_slot(draws, [None] * count)

    def load(self, state: State) -> None:
        """The cell as it stands in ``state`` with NumPy leaves."""
        self.clock = int(state.clock)
        self.open_air()
        for index, server in enumerate(self.servers):
            server.free = float(state.server.share[0, index]) * server.speed
            server.backlog = float(state.server.backlog[0, index])
        for index, device in enumerate(self.devices):
            device.path_loss, device.gain = float(state.device.path_loss[index]), float(state.device.gain[index])
            device.left -= float(state.device.spent[index]) + float(state.device.spent_low[index])
            device.job, device.waiting = load_job(state, index), load_waiting(state, index, self.slot)
            if state.source is not None:
                device.next_task = int(state.source.due[index]) * self.slot + float(state.source.offset[index])

    # ------------------------------------------------------------------------------------------- one slot

    def advance(self, places: Sequence[int], delays: Sequence[float], draws: Draws) -> list[dict[str, Any]]:
        """One slot: decisions are read, every job moves on, what ends ends, the next tasks come.

        Args:
            places: where each device's task runs, read where the device asks; -1 leaves it undecided.
            delays: s until each answer is there.
            draws: random bits of the coming slot.

        Returns:
            what happened to each device: the numbers of ``world.Outcome``, parts of the latency in ``passed``.
        """
        for device, place, delay in zip(self.devices, places, delays, strict=True):
            if device.job and device.job.asks and place >= 0:
                self.decide(device.job, place, delay)
            if device.job and device.left <= 0:
                device.job.now = self.slot
        running = [device for device in self.devices if device.job and device.left > 0]
        jobs = [device.job for device in running if device.job]
        for job in jobs:
            self.pass_decide(job)
        self.pass_air(running, "uplink", self.params.uplink, self.uplink_rate, End.LINK_LOST)
        for job in jobs:
            self.pass_backhaul(job)
        self.pass_servers(running)
        self.pass_air(running, "downlink", self.params.downlink, self.downlink_rate, End.RESULT_LOST)
        outcomes = [self.settle(device) for device in self.devices]
        arrivals = self.open_slot(draws, [self.clear(device) for device in self.devices])
        for outcome, (came, refused) in zip(outcomes, arrivals, strict=True):
            outcome["arrived"], outcome["refused"] = came, refused
        return outcomes

    def decide(self, job: Job, place: int, delay: float) -> None:
        """Fix where a job runs."""
        job.asks, job.place, job.left["decide"] = False, place, delay
        if place == 0:
            job.left["uplink"] = job.left["downlink"] = 0.0
            return
        server = self.servers[place - 1]
        job.left["backhaul"] = job.left["uplink"] / server.backhaul_rate + server.backhaul_delay
        job.left["ahead"] = -1.0 if server.queue == "fifo" else 0.0

    # ----------------------------------------------------------------------------------------- the phases

    def at(self, job: Job, phase: str) -> bool:
        """Does the job have something to do in this phase, and time for it in this slot?"""
        return job.left[phase] > 0 and job.end is End.NONE and job.now < self.slot

    def work_off(self, job: Job, phase: str, rate: float, watts: float = 0.0, part: str | None = None) -> None:
        """Let a job go through a phase alone, or as far as the slot lasts."""
        spare, need = self.slot - job.now, duration(job.left[phase], rate)
        if need <= spare + self.slack:
            job.left[phase], spent, job.now = 0.0, need, min(job.now + need, self.slot)
        else:
            job.left[phase], spent, job.now = job.left[phase] - rate * spare, spare, self.slot
        job.passed[part or phase] += spent
        job.joules += watts * spent

    def work_off_shared(self, jobs: list[Job], phase: str, rates: list[float]) -> list[float]:
        """Let jobs go through a phase on a resource that they share, each at its rate while it is alone.

        A job that came to it before the slot has gone on since then at the pace of the slot's first instant.

        Returns:
            s that the resource worked for each.
        """
        needs = [duration(job.left[phase], rate) for job, rate in zip(jobs, rates, strict=True)]
        early = max(sum(job.now <= 0 for job in jobs), 1)
        done = [min(need, max(-job.now, 0.0) / early) for need, job in zip(needs, jobs, strict=True)]
        rest = [need - part for need, part in zip(needs, done, strict=True)]
        spent, left = share_events(rest, [job.now for job in jobs], self.slot, self.slack)
        for index, job in enumerate(jobs):
            over, finished = left[index], left[index] <= 0
            passed = done[index] * early + spent[index] if finished else self.slot - job.now
            job.now = min(job.now + passed, self.slot) if finished else self.slot
            job.passed[phase] += passed
            if over < math.inf:  # else its rate is zero
                job.left[phase] = over * rates[index] if over > 0 else 0.0
        return [need - over if over < math.inf else 0.0 for need, over in zip(needs, left, strict=True)]

    def pass_decide(self, job: Job) -> None:
        """Wait for the answer; it stands still while the loop to the one who decides is down."""
        loop_up = self.link_up and self.backhaul_up
        if job.asks or (job.left["decide"] > 0 and not loop_up):
            job.passed["decide"] += self.slot - job.now
            job.now = self.slot
        elif self.at(job, "decide"):
            self.work_off(job, "decide", 1.0)

    def uplink_rate(self, device: Device) -> float:
        """Rate in bit/s while nobody else sends, equation (5) of [29]."""
        if self.params.uplink == "cell":
            return self.cell_rate * self.air
        ratio = device.transmit_power * 10.0 ** (device.gain / 10.0) / self.noise
        return device.bandwidth * math.log2(1.0 + ratio) * self.air

    def downlink_rate(self, device: Device) -> float:
        """Rate in bit/s while nobody else receives."""
        return (self.cell_rate if self.params.downlink == "cell" else device.downlink_rate) * self.air

    def pass_air(
        self, devices: list[Device], phase: str, mode: str, rate_of: Callable[[Device], float], cause: End
    ) -> None:
        """Send bits through the air, up or down, and pay for it; lost where the link is down."""
        senders = [(device, device.job) for device in devices if device.job and self.at(device.job, phase)]
        jobs, rates = [job for _, job in senders], [rate_of(device) for device, _ in senders]
        watts = [device.transmit_power if phase == "uplink" else device.receive_power for device, _ in senders]
        if not self.link_up:
            for job in jobs:
                job.end = cause
        elif mode == "fixed" or self.params.coupling == "none":
            for job, rate, power in zip(jobs, rates, watts, strict=True):
                self.work_off(job, phase, rate, power)
        else:
            before = [job.passed[phase] for job in jobs]
            worked = self.work_off_shared(jobs, phase, rates)
            for index, job in enumerate(jobs):
                # In a cell each pays for its own turns, and not for those of background traffic.
                own = worked[index] * self.air if mode == "cell" else job.passed[phase] - before[index]
                job.joules += watts[index] * own

    def pass_backhaul(self, job: Job) -> None:
        """Cross the backhaul, both ways at once; lost where it is cut."""
        if not self.at(job, "backhaul"):
            return
        if self.servers[job.place - 1].cloud and not self.backhaul_up:
            job.end = End.LINK_LOST
        else:
            self.work_off(job, "backhaul", 1.0)

    def pass_servers(self, devices: list[Device]) -> None:
        """Compute at home, or queue and be served; lost where the server is down."""
        inside: list[list[Job]] = [[] for _ in self.servers]
        for device in devices:
            job = device.job
            if job is None or not self.at(job, "service"):
                continue
            if job.place == 0:
                self.work_off(job, "service", device.speed, device.power)
            elif self.servers[job.place - 1].free > 0:
                inside[job.place - 1].append(job)
            else:
                job.end = End.SERVER_LOST
        for server, jobs in zip(self.servers, inside, strict=True):
            self.pass_server(server, jobs)

    def pass_server(self, server: Server, jobs: list[Job]) -> None:
        """Serve the jobs that are at one server: all at once, in turn, or together."""
        if server.queue == "fifo" and server.free > 0:
            self.join_queue(server, [job for job in jobs if job.left["ahead"] < 0])
        for job in jobs:
            if self.at(job, "ahead"):
                self.work_off(job, "ahead", server.free, part="queue")
        jobs = [job for job in jobs if self.at(job, "service")]
        if server.queue == "ps":
            self.work_off_shared(jobs, "service", [server.free] * len(jobs))
        else:
            for job in jobs:
                self.work_off(job, "service", server.free)

    def join_queue(self, server: Server, jobs: list[Job]) -> None:
        """Fix how much work is ahead of each job that joins a FIFO server in this slot."""
        works = [job.left["service"] / server.free for job in jobs]
        waits, after = queue_up(works, [job.now for job in jobs], server.backlog / server.free, self.slot)
        for job, wait in zip(jobs, waits, strict=True):
            job.left["ahead"] = wait * server.free
        server.backlog = after * server.free

    # ------------------------------------------------------------------------------------- how a slot ends

    def settle(self, device: Device) -> dict[str, Any]:
        """End what is through or out of battery, draw the energy, and say what happened."""
        job, before, drawn = device.job, device.left, 0.0
        if job is not None:
            if job.joules > before or before <= 0:
                job.end = End.BATTERY_EMPTY
            elif job.end is End.NONE and not job.asks and max(job.left.values()) <= 0:
                job.end = End.IN_TIME if sum(job.passed.values()) <= job.deadline else End.LATE
            drawn = min(job.joules, before)
            job.energy, job.joules = job.energy + drawn, 0.0
        idle = min(device.idle_power * self.slot, before - drawn)
        device.left = max(before - drawn - idle, 0.0)
        return self.report(job, drawn, idle)

    def report(self, job: Job | None, drawn: float, idle: float) -> dict[str, Any]:
        """What happened to a device, its next task aside."""
        job = job or empty_job()
        return {
            "result": job.end,
            "place": job.place,
            "task_class": job.task_class,
            "passed": dict(job.passed),
            "latency": sum(job.passed.values()),
            "deadline": job.deadline,
            "energy": 0.0 if job.end is End.NONE else job.energy,
            "drawn_task": drawn,
            "drawn_idle": idle,
        }

    def clear(self, device: Device) -> float | None:
        """Clear the lane if its job is over: when that was, s after the start of the coming slot, or none."""
        job = device.job
        if job is not None and job.end is not End.NONE:
            device.job = None
            return job.now - self.slot
        if job is not None:
            job.now = 0.0
        return None

    # ----------------------------------------------------------------------------------- how a slot begins

    def open_slot(self, draws: Draws, ended: Sequence[float | None]) -> list[tuple[bool, End]]:
        """Start the next slot: schedules and channels, the tasks that waited, and those that come.

        Args:
            draws: random bits of that slot.
            ended: s after its start, when the job of each lane was over; none where it was before.

        Returns:
            for each device whether a task came, and the cause if it was refused.
        """
        self.clock += 1
        self.open_air()
        self.open_servers((np.asarray(draws.server)[:, 0] >> 8) * 2.0**-24)
        shares = dict(zip(self.kinds, ((np.asarray(draws.device) >> 8) * 2.0**-24).tolist(), strict=True))
        none = [0.0] * len(self.devices)
        rows = zip(*(shares.get(kind, none) for kind in Draw), strict=True)
        return [
            self.open_device(device, row, over) for device, row, over in zip(self.devices, rows, ended, strict=True)
        ]

    def open_air(self) -> None:
        """What is up, and what background traffic leaves of the air."""
        self.link_up, self.backhaul_up = (is_up(o, self.clock) for o in (self.link_outages, self.backhaul_outages))
        count = value_at(self.traffic, self.clock)
        taken = count * self.traffic_rate / self.cell_rate if count > 0 else 0.0
        self.air = max(1.0 - taken, 1.0 / (1.0 + count))

    def open_servers(self, uniform: np.ndarray) -> None:
        """Free speed of each server, from ``uniform`` [Z]; a queue is lost with its server."""
        for server, share in zip(self.servers, uniform.tolist(), strict=True):
            free = server.share_low + (server.share_high - server.share_low) * share
            free *= 1.0 - value_at(server.load, self.clock)
            server.free = server.speed * free if is_up(server.outages, self.clock) else 0.0
            if server.free <= 0:
                server.backlog = 0.0

    def open_device(self, device: Device, uniform: Sequence[float], ended: float | None) -> tuple[bool, End]:
        """Channel, waiting task and next task of one device, from its ``uniform`` numbers in the order of ``Draw``."""
        since = -self.slot if ended is None else ended
        fading = self.shadowing * NORMAL.inv_cdf(uniform[Draw.SHADOWING] + 2.0**-25)
        device.gain = -(device.path_loss + fading)
        if device.job is None and device.waiting:
            self.take(device, device.waiting.popleft(), since)
        elif ended is not None and self.params.workload.arrivals.kind == "closed":
            think = exponential(uniform[Draw.ARRIVAL], device.arrivals["mean"])
            device.next_task = self.clock * self.slot + ended + think
        came = self.next_arrival(device, uniform[Draw.ARRIVAL])
        if came is None:
            return False, End.NONE
        return True, self.admit(device, self.make_task(came, uniform), since)

    def next_arrival(self, device: Device, uniform: float) -> float | None:
        """When the task of this slot came, s on the clock, or none."""
        kind, begin = self.params.workload.arrivals.kind, self.clock * self.slot
        if kind == "periodic":
            since = self.clock - device.arrivals["phase"]
            return begin if since >= 0 and since % device.arrivals["period"] == 0 else None
        if kind == "bernoulli":
            return begin if uniform < device.arrivals["chance"] else None
        came = device.next_task
        if came >= begin + self.slot:
            return None
        device.next_task = came + exponential(uniform, device.arrivals["mean"]) if kind == "poisson" else math.inf
        return came

    def make_task(self, came: float, uniform: Sequence[float]) -> Task:
        """A task from uniform numbers in the order of ``Draw``."""
        work = self.params.workload
        index = next(index for index, row in enumerate(self.classes) if uniform[Draw.CLASS] < row.edge)
        kind, size = self.classes[index], uniform[Draw.SIZE]
        size = size if work.size == "uniform" else exponential(size, 1.0)
        bits = kind.bits_low + (kind.bits_high - kind.bits_low) * size
        cycles = bits * kind.cycles_per_bit
        low, high = self.factors if work.deadline == "uniform" else (1.0, 1.0)
        allowed = bits * kind.deadline_per_bit + cycles * kind.deadline_per_cycle
        allowed = allowed * (low + (high - low) * uniform[Draw.FACTOR]) + self.deadline_fixed
        deadline = math.inf if work.deadline == "none" else allowed
        return Task(index, bits, cycles, bits * kind.result_per_bit, deadline, came)

    def admit(self, device: Device, task: Task, since: float) -> End:
        """Let a task into the lane or the buffer, or name the cause why not."""
        job = device.job
        if job is None:
            self.take(device, task, since)
        elif len(device.waiting) < self.buffer:
            device.waiting.append(task)
        else:
            return End.NO_DECISION if job.asks or job.left["decide"] > 0 else End.BUFFER_FULL
        return End.NONE

    def take(self, device: Device, task: Task, since: float) -> None:
        """Give the lane to a task, from the moment when both were there."""
        came = task.came - self.clock * self.slot
        job = device.job = empty_job(task.task_class, task.deadline)
        results = task.result_bits if self.params.downlink != "none" else 0.0
        job.left.update(uplink=task.bits, service=task.cycles, downlink=results)
        job.now = max(since, came)
        job.passed["wait"] = job.now - came


def empty_job(task_class: int = 0, deadline: float = 0.0) -> Job:
    """A job that has nothing to do, and that asks."""
    return Job(task_class, deadline, dict.fromkeys(PHASES, 0.0), dict.fromkeys(PARTS, 0.0), 0.0)


def load_job(state: State, device: int) -> Job | None:
    """The job of a device in ``state``."""
    job = state.job
    if job.kind[device] == Kind.NONE:
        return None
    return Job(
        task_class=int(job.task_class[device]),
        deadline=float(job.deadline[device]),
        left=load_numbers(job.left, PHASES, device),
        passed=load_numbers(job.passed, PARTS, device),
        now=-float(job.credit[device]),
        place=int(job.place[device]),
        asks=bool(job.asks[device]),
        energy=float(job.energy[device]),
    )


def load_numbers(record: Left | Passed, names: Sequence[str], device: int) -> dict[str, float]:
    """The numbers of a device in ``record``, zero for those that a world does not have."""
    leaves = {name: getattr(record, name) for name in names}
    return {name: 0.0 if leaf is None else float(leaf[device]) for name, leaf in leaves.items()}


def load_waiting(state: State, device: int, slot: float) -> deque[Task]:
    """The tasks that wait for a device in ``state``."""
    rows = state.pending
    names = ("bits", "cycles", "result_bits", "deadline")
    return deque(
        Task(
            task_class=int(rows.task_class[row, device]),
            **{name: float(getattr(rows, name)[row, device]) for name in names},
            came=int(rows.slot[row, device]) * slot + float(rows.offset[row, device]),
        )
        for row in range(len(rows.bits))
        if rows.task_class[row, device] >= 0
    )


# ------------------------------------------------------------------------------------------ the environment


class Peer(gymnasium.Env[np.ndarray, np.ndarray]):
    """All devices of one cell as one Gymnasium environment: one step is one slot.

    Observation: float32 [N, F], the features (17) of each device scaled to 0..1. Action: [N] places, read where the
    device asks (-1 leaves it undecided). Reward: the sum of (18) over the devices. ``info``: ``outcomes``, what
    happened to each device, see :meth:`Cell.advance`, and ``rewards``, one for each.
    """

    def __init__(self, problem: Nieto2024) -> None:
        """The peer of ``problem``, which must be one cell.

        Raises:
            ConfigError: a world that the peer does not know.
        """
        self.problem = jax.device_get(problem)
        self.cell = Cell(self.problem.params)
        self.failure = float(problem.failure_reward)
        count, places = problem.params.devices, len(problem.decisions)
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, (count, len(problem.features)), np.float32)
        self.action_space = gymnasium.spaces.MultiDiscrete([places + 1] * count, start=[-1] * count)
        self.draws: Iterator[Draws] = iter(())

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin anew with draws of its own, or as a world began.

        Args:
            seed: of the peer's own generator.
            options: none; or ``state``, a world's state, and ``draws``, those with which it is advanced slot by slot,
                both with NumPy leaves.
        """
        super().reset(seed=seed)
        self.cell = Cell(self.problem.params)
        if options:
            self.cell.load(options["state"])
            given: Iterable[Draws] = options["draws"]
            self.draws = chain([options["state"].draws], given)
        else:
            self.draws = self.draw()
            self.cell.start(self.np_random, next(self.draws))
        return self.observe(), {}

    def draw(self) -> Iterator[Draws]:
        """Random bits, slot by slot."""
        shape, servers = (len(self.cell.kinds), len(self.cell.devices)), len(self.cell.servers)
        while True:
            device = self.np_random.integers(0, 2**32, shape, np.uint32)
            server = self.np_random.integers(0, 2**32, (servers, 1), np.uint32)
            yield Draws(device=device, server=server)  # type: ignore[arg-type]

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """One slot: observation, reward, terminated (never), truncated (at the horizon), info."""
        places = np.asarray(action).tolist()
        return self.step_delayed(places, [0.0] * len(places))

    def step_delayed(
        self, places: Sequence[int], delays: Sequence[float]
    ) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """As :meth:`step`, with answers that are there only after so many s."""
        before = [device.left for device in self.cell.devices]
        outcomes = self.cell.advance(places, delays, next(self.draws))
        rewards = [
            self.reward(device, outcome, left)
            for device, outcome, left in zip(self.cell.devices, outcomes, before, strict=True)
        ]
        over = self.cell.clock >= int(self.problem.horizon)
        return self.observe(), sum(rewards), False, over, {"outcomes": outcomes, "rewards": rewards}

    def reward(self, device: Device, outcome: dict[str, Any], left: float) -> float:
        """QoE of one device, equation (18) as ``Nieto2024.reward`` reads it; ``left`` J at the start of the slot."""
        reward = 0.0 if outcome["refused"] is End.NONE else self.failure
        if outcome["result"] is End.IN_TIME:
            if self.problem.remaining_battery:
                return reward + max(-outcome["energy"] / max(left, 1e-6), self.failure)
            return reward - outcome["energy"] / device.battery
        return reward + (0.0 if outcome["result"] is End.NONE else self.failure)

    def observe(self) -> np.ndarray:
        """What every device sees, scaled: battery, its speed, what the servers have free, gain in dB, class."""
        cell, (low, high) = self.cell, GAIN_RANGE
        told = [server.free if cell.backhaul_up or not server.cloud else 0.0 for server in cell.servers]
        rows = []
        for device in cell.devices:
            gain = min(max(device.gain, low), high) if cell.link_up else low
            task_class = device.job.task_class if device.job else 0
            row = [device.left, device.speed, *told, gain, task_class + 1.0]
            features = zip(row, self.problem.features, strict=True)
            rows.append([(value - feature.low) / (feature.high - feature.low) for value, feature in features])
        return np.array(rows, np.float32)


class Speed(NamedTuple):
    """How fast the peer goes, on one core."""

    device_steps_per_s: float
    tasks_per_s: float  # that ended


def measure(problem: Nieto2024, slots: int, seed: int = 0) -> Speed:
    """Step the peer of ``problem`` for so many slots under random decisions, its random numbers included."""
    peer, devices = Peer(problem), problem.params.devices
    peer.reset(seed=seed)
    tasks, start = 0, time.perf_counter()
    for _ in range(slots):
        action = peer.np_random.integers(0, len(problem.decisions), devices)
        outcomes = peer.step(action)[4]["outcomes"]
        tasks += sum(outcome["result"] is not End.NONE for outcome in outcomes)
    seconds = time.perf_counter() - start
    return Speed(slots * devices / seconds, tasks / seconds)
