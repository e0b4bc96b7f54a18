"""The problem of paper A: Distributed deep reinforcement learning architecture for task offloading in autonomous IoT
systems (LAAS-CNRS, 12th Int. Conf. on the Internet of Things, 2022).

N devices behind a smart access point (SAP) run each task at home or on one of Z servers, one task at a time, until the
battery is empty; what is to be made small is the weighted sum of energy and time, equation (4). The paper prints its
equations and no number at all: every number here is a parameter, and its docstring says where its default comes from.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from offjax.errors import ConfigError
from offjax.physics import cost
from offjax.physics.radio import PATH_LOSSES, from_db, shannon_rate, watt_from_dbm
from offjax.problems.fleet import Profile, make_fleet
from offjax.problems.parts import Sharing, as_leaves, cell_size, check_choice, f32, min_max, structure, undo_min_max
from offjax.problems.scenario import Scenario, make_schedule
from offjax.problems.spec import Feature
from offjax.workload.arrivals import Arrivals, exhausted, limited, periodic
from offjax.workload.tasks import Workload, pick
from offjax.world import End, Kind, Outcome, Params, Radio, Servers, State, per_device, remaining
from offjax.world.links import by_cell, uplink

CELL = 20  # devices per SAP (guess: that of Nieto et al. 2024; the paper says "a huge number")
READINGS = cost.READINGS
COSTS = ("one_choice", "literal")
GROUPS = ("small", "medium", "large")
SHADOWING = {"inf_sh": 5.9, "umi_los": 4.0, "umi_nlos": 7.82}  # dB, TR 38.901 tables 7.4.1-1 (5.9: its InF-SH)
NEAREST = 10.0  # m, where the UMi models begin


@dataclass(frozen=True)
class Device:
    """A kind of device; the paper has the symbols f and e and no numbers (defaults: guesses)."""

    name: str = "iot"
    share: float = 1.0  # of the devices of every cell
    f: float = 40e6  # unit/s, or cycle/unit in the reading "cycles_per_unit" (guess: 40 MHz of Nieto et al. 2024)
    clock: float = 40e6  # cycle/s, for that reading alone
    energy_per_unit: float = 1.6e-6  # J/unit, e of equation (2) (guess: kappa f^2 of Nieto et al. 2024)
    battery: float = 4000.0  # J (guess: Nieto et al. 2024; the paper loops "while battery level > 0")
    idle_power: float = 0.1  # W, drawn always (guess: the same)
    transmit_power: float = 0.1  # W while it sends (guess: 20 dBm of Wi-Fi; equation (2) has no such energy)


@dataclass(frozen=True)
class Server:
    """A server behind the SAP; every number is a guess, for which the paper has at most a symbol."""

    name: str
    f: float  # unit/s, or cycle/unit in the reading "cycles_per_unit"
    clock: float = 0.0  # cycle/s, for that reading alone
    energy_per_unit: float = 0.0  # J/unit, e of equation (2) (guess: zero, "energy consumption if applicable")
    link_rate: float = 1e9  # bit/s between SAP and server
    link_delay: float = 0.0  # s, both ways together
    cloud: bool = False  # behind the SAP-cloud links? Then it is shared by all cells and has no queue
    share_low: float = 1.0  # least share of its speed that is free, drawn anew in each slot
    share_high: float = 1.0  # largest share


# One edge server and one cloud (guess: Fig. 1 shows both), speeds of Nieto et al. 2024; the edge is busy with others.
DEVICES = {"rate": (Device(),), "cycles_per_unit": (Device(f=1.0, clock=40e6),)}
SERVERS = {
    "rate": (
        Server("edge", f=1e9, share_low=0.05),
        Server("cloud", f=10e9, link_rate=1e9, link_delay=0.02, cloud=True),
    ),
    "cycles_per_unit": (
        Server("edge", f=1.0, clock=1e9, share_low=0.05),
        Server("cloud", f=1.0, clock=10e9, link_rate=1e9, link_delay=0.02, cloud=True),
    ),
}
CALM = Scenario(redundant=True)
"""Nothing fails; the second SAP-cloud link of the paper stands by."""
SHARED = Sharing(coupling="exact", uplink="active", queue="ps")
"""One band per SAP, shared by the devices that send (guess: Wi-Fi), and edge servers that share their time."""


class Laas2022(struct.PyTreeNode):
    """State, reward (5) and world of the paper; made by :func:`make`."""

    params: Params
    energy_weight: jax.Array  # [] alpha of equation (4), 1/J
    time_weight: jax.Array  # [] beta of equation (4), 1/s
    drop_reward: jax.Array  # [] of a dropped task, in place of -C
    server_energy: jax.Array  # [Z] J/unit, e_Server
    horizon: jax.Array  # [] int32 slots
    cost: str = struct.field(pytree_node=False)  # "one_choice" or "literal"
    features: tuple[Feature, ...]
    decisions: tuple[str, ...] = struct.field(pytree_node=False)
    profiles: tuple[str, ...] = struct.field(pytree_node=False)
    observes_battery: bool = struct.field(pytree_node=False, default=False)
    observes_delays: bool = struct.field(pytree_node=False, default=False)
    observes_cell: bool = struct.field(pytree_node=False, default=False)

    @property
    def name(self) -> str:
        """Id without version."""
        return "laas2022"

    @property
    def groups(self) -> tuple[str, ...]:
        """Sizes of tasks that rules and tables tell apart: thirds of the range."""
        return GROUPS

    @property
    def told(self) -> tuple[bool, ...]:
        """[F] which features a device knows from its access point alone: those of the servers."""
        servers = tuple(name + "_" for name in self.decisions[1:])
        return tuple(feature.name.startswith(servers) for feature in self.features)

    def group(self, task_class: jax.Array) -> jax.Array:
        """[D] int8 index into ``groups``: the class itself."""
        return task_class

    def observe(self, state: State) -> jax.Array:
        """The state of the paper, [D, 4 + 3 Z]: of the device, then of each server.

        Capacity unit/s, energy J/unit, demand D of the task in units, link to the SAP in bit/s (of a shared band the
        part that is left if everybody sends: a guess); free capacity as the SAP last told it, energy J/unit, link
        SAP-server in bit/s, zero where there is none. Flags add the battery in J, the delays [Z] in s, and demand and
        link of the other devices of the cell [2 (N - 1)], which no device can see.
        """
        params = self.params
        speed = jnp.broadcast_to(params.fleet.speed, (params.devices,))
        demand, link = state.job.left.service, self._link(state)
        columns = [speed, params.fleet.energy_coefficient * speed * speed, demand, link]
        for index in range(params.server_count):
            told, rate = state.cell.told[:, index], server_link(state, index, params)
            columns += [per_device(told, params), jnp.full_like(speed, 0.0) + self.server_energy[index]]
            columns.append(per_device(rate, params))
        if self.observes_battery:
            columns.append(remaining(state.device, params))
        if self.observes_delays:
            columns += [per_device(server_delay(state, z, params), params) for z in range(params.server_count)]
        if self.observes_cell:
            columns += [*others_of_cell(demand, params), *others_of_cell(link, params)]
        high = f32([feature.high for feature in self.features])
        return jnp.clip(jnp.stack(columns, axis=-1), 0.0, high[None, :])

    def _link(self, state: State) -> jax.Array:
        """[D] bit/s to the SAP."""
        link = uplink(state, self.params)
        return jnp.where(link.up, link.rate / senders(self.params), 0.0)

    def normalise(self, observation: jax.Array) -> jax.Array:
        """[..., F] min-max to 0..1 (guess: Algorithm 1 says "preprocess states")."""
        return min_max(observation, self.features)

    def denormalise(self, scaled: jax.Array) -> jax.Array:
        """[..., F] in physical units, from what :meth:`normalise` made of it."""
        return undo_min_max(scaled, self.features)

    def rewards(self, observation: jax.Array) -> jax.Array:
        """Equation (5) of every decision, [..., 1 + Z], from an observation [..., F] in physical units alone.

        It is what :meth:`reward` gives where the task ends within its slot, no devices share anything, all of them
        send with one power and no observation is clipped (a link may be better than its range: shadowing);
        ``drop_reward`` where the observation shows a link or a server that is down.
        """
        params = self.params
        speed, home_energy, demand, link = (observation[..., column] for column in range(4))
        bits = demand / params.workload.cycles_per_bit[0]
        energies, times, works = [cost.processing_energy(demand, home_energy)], [demand / speed], [speed > 0]
        power = jnp.mean(params.fleet.transmit_power)
        for index in range(params.server_count):
            capacity, per_unit, rate = (observation[..., 4 + 3 * index + column] for column in range(3))
            sending = bits / link
            crossing = bits / rate + self._delay(observation, index)
            energies.append(power * sending + cost.processing_energy(demand, per_unit))
            times.append(cost.offloading_time(sending + crossing, demand / capacity))
            works.append((link > 0) & (capacity > 0) & (rate > 0))
        energy, time = jnp.stack(energies, axis=-1), jnp.stack(times, axis=-1)
        total = cost.one_choice_cost(energy, time, self.energy_weight, self.time_weight)
        if self.cost == "literal":
            alpha, beta = self.energy_weight, self.time_weight
            total = total + cost.literal_excess(params.server_count, energy[..., :1], time[..., :1], alpha, beta)
        return jnp.where(jnp.stack(works, axis=-1), cost.cost_reward(total), self.drop_reward)

    def _delay(self, observation: jax.Array, index: int) -> jax.Array:
        """[...] s to server ``index`` and back: as observed, or that of its first link."""
        if not self.observes_delays:
            return self.params.servers.backhaul_delay[index]
        first = 4 + 3 * self.params.server_count + int(self.observes_battery)
        return observation[..., first + index]

    def task_cost(self, outcome: Outcome) -> jax.Array:
        """[D] equation (4) for the task that ended, where N = M = 1: energy as drawn and time as it passed.

        A server's energy is D e_Server; the device pays for its radio (``Device.transmit_power``).
        """
        fleet, demand = self.params.fleet, outcome.cycles
        served = jnp.where(outcome.place > 0, pick(self.server_energy, outcome.place - jnp.int8(1)), 0.0)
        energy = outcome.energy + cost.processing_energy(demand, served)
        chosen = cost.one_choice_cost(energy, outcome.latency, self.energy_weight, self.time_weight)
        if self.cost == "one_choice":
            return chosen
        home_energy = cost.processing_energy(demand, fleet.energy_coefficient * fleet.speed * fleet.speed)
        home_time = cost.processing_time(demand, fleet.speed)
        servers = self.params.server_count
        return chosen + cost.literal_excess(servers, home_energy, home_time, self.energy_weight, self.time_weight)

    def reward(self, outcome: Outcome, before: State) -> jax.Array:
        """[D] equation (5), R = -C, of a task that ended; ``drop_reward`` of one that was dropped, on arrival too.

        Nothing is counted on a device whose battery was empty before: its loop has ended.
        """
        done = (outcome.result == End.IN_TIME) | (outcome.result == End.LATE)
        ended = jnp.where(done, cost.cost_reward(self.task_cost(outcome)), self.drop_reward)
        ended = jnp.where(outcome.result == End.NONE, 0.0, ended)
        total = ended + jnp.where(outcome.refused == End.NONE, 0.0, self.drop_reward)
        return jnp.where(remaining(before.device, self.params) > 0, total, 0.0)

    def terminated(self, state: State) -> jax.Array:
        """[D] bool: the battery is empty, or the last of the M tasks is over."""
        empty = remaining(state.device, self.params) <= 0
        idle = state.job.kind == Kind.NONE
        if self.params.buffer > 0:
            idle = idle & (state.pending.task_class[0] < 0)
        return empty | (idle & exhausted(self.params.workload.arrivals, state.source, state.clock))


def senders(params: Params) -> int:
    """Among how many a device's link is shared if everybody sends."""
    return params.cell_size if params.coupling != "none" and params.uplink in ("active", "cell") else 1


def server_link(state: State, index: int, params: Params) -> jax.Array:
    """[A] bit/s between each SAP and server ``index``, zero while it is down."""
    rate = jnp.broadcast_to(params.servers.backhaul_rate[index], (params.access_points,))
    if not params.cloud[index]:
        return rate
    if params.redundant:
        rate = jnp.where(state.cell.on_backup, params.servers.backup_rate[index], rate)
    return jnp.where(state.cell.backhaul_up, rate, 0.0)


def server_delay(state: State, index: int, params: Params) -> jax.Array:
    """[A] s between each SAP and server ``index``, both ways, extra delay included."""
    delay = jnp.broadcast_to(params.servers.backhaul_delay[index], (params.access_points,))
    if params.cloud[index] and params.redundant:
        delay = jnp.where(state.cell.on_backup, params.servers.backup_delay[index], delay)
    return delay + state.cell.delay


def others_of_cell(values: jax.Array, params: Params) -> list[jax.Array]:
    """N - 1 columns [D]: the values of the other devices of the cell, from the next one on."""
    cells = by_cell(values, params)
    return [jnp.roll(cells, -step, axis=1).reshape(values.shape) for step in range(1, params.cell_size)]


def make(
    scenario: str | Scenario = CALM,
    devices: int = CELL,
    devices_per_cell: int | None = None,
    horizon: int = 400,
    *,
    fleet: Sequence[Device] | None = None,
    servers: Sequence[Server] | None = None,
    reading: str = "rate",
    cost: str = "one_choice",
    theta: float = 0.4,
    demand: tuple[float, float] = (1e6, 10e6),
    tasks: int | None = None,
    energy_weight: float | None = None,
    time_weight: float | None = None,
    drop_reward: float = -10.0,
    slot_duration: float = 1.0,
    arrivals: Arrivals | None = None,
    buffer: int = 1,
    sharing: Sharing | None = None,
    bandwidth: float = 20e6,
    noise_density_dbm: float = -165.0,
    path_loss: str = "umi_nlos",
    observe_battery: bool = False,
    observe_delays: bool = False,
    observe_cell: bool = False,
) -> Laas2022:
    """The problem as a pytree of numbers. "Guess" marks what the paper does not say.

    Args:
        scenario: ``calm`` (nothing fails), or your own.
        devices: N per SAP times SAPs.
        devices_per_cell: N; 20 where there are that many (guess: "a huge number").
        horizon: slots of an episode (guess; the paper loops until the battery is empty).
        fleet: kinds of devices, dealt over every cell; one kind if not given (guess).
        servers: Z servers; one at the edge and one in the cloud if not given (guess: Fig. 1 shows both).
        reading: of f in equation (1): ``rate`` (unit/s) or ``cycles_per_unit``, see :mod:`offjax.physics.cost`.
        cost: ``one_choice``, or equation (4) as printed (``literal``).
        theta: bit/unit, S = theta D (guess: sending takes about as long as running at home).
        demand: least and largest D of a task in units, uniform (guess: "tasks of different sizes").
        tasks: M of each device; no end of them if not given.
        energy_weight: alpha in 1/J; makes the mean energy of a task at home 1 if not given (guess).
        time_weight: beta in 1/s; makes the mean time of a task at home 1 if not given (guess).
        drop_reward: of a dropped task (guess; the paper has neither deadline nor reward for it): below any -C that a
            sensible decision gets.
        slot_duration: s (guess; the paper's step has no length).
        arrivals: when tasks come; one per slot if not given (guess).
        buffer: tasks that may wait on a device (guess; the paper's device handles one at a time).
        sharing: what couples the devices of a cell: the air and the edge server (guess: Wi-Fi, :data:`SHARED`);
            nothing where a device is alone, which has 1/20 of the band.
        bandwidth: Hz per SAP (guess: a Wi-Fi channel).
        noise_density_dbm: dBm/Hz, noise figure included (guess: -174 + 9).
        path_loss: ``inf_sh`` (Nieto et al. 2024), ``umi_los`` or ``umi_nlos`` (TR 38.901; guess).
        observe_battery: add the battery to the state (III-A names it, the state list does not).
        observe_delays: add the delays of the links SAP-server.
        observe_cell: add demand and link of all other devices of the cell: for a learner that sees everything.

    Raises:
        ConfigError: a choice that is not there, no server, or devices that do not fill their cells.
    """
    for field, value, allowed in (
        ("reading", reading, READINGS),
        ("cost", cost, COSTS),
        ("path_loss", path_loss, PATH_LOSSES),
        ("scenario", "calm" if isinstance(scenario, Scenario) else scenario, ("calm",)),
    ):
        check_choice(field, value, allowed)
    per_cell = cell_size(devices, devices_per_cell, CELL)
    kinds = _devices(DEVICES[reading] if fleet is None else fleet, reading)
    there = _servers(SERVERS[reading] if servers is None else servers)
    shares = sharing or (SHARED if per_cell > 1 else Sharing())
    come = arrivals or periodic(1)
    params = Params(
        slot_duration=f32(slot_duration),
        workload=_workload(demand, theta, come if tasks is None else limited(come, tasks)),
        fleet=make_fleet(kinds, devices, per_cell),
        radio=_radio(bandwidth, noise_density_dbm, SHADOWING[path_loss], shares),
        **_servers_and_what_fails(there, reading, scenario, shares, devices // per_cell),
        devices=devices,
        access_points=devices // per_cell,
        buffer=buffer,
        path_loss=path_loss,
        sizes=True,
    )
    alpha, beta = _weights(params, demand, energy_weight, time_weight)
    observed = {"observes_battery": observe_battery, "observes_delays": observe_delays, "observes_cell": observe_cell}
    return Laas2022(
        params=params,
        energy_weight=f32(alpha),
        time_weight=f32(beta),
        drop_reward=f32(drop_reward),
        server_energy=f32([server.energy_per_unit for server in there]),
        horizon=jnp.asarray(horizon, jnp.int32),
        cost=cost,
        features=_features(params, there, demand, observed),
        decisions=("local", *(server.name for server in there)),
        profiles=tuple(kind.name for kind in kinds),
        **observed,
    )


def _servers_and_what_fails(
    servers: Sequence[Server], reading: str, scenario: str | Scenario, sharing: Sharing, cells: int
) -> dict[str, Any]:
    """The fields of the world that have one entry per server, and its structure."""
    what = scenario if isinstance(scenario, Scenario) else CALM
    cloud = tuple(server.cloud for server in servers)
    return {
        "servers": _server_numbers(servers, reading, what),
        "schedule": make_schedule(what, cells, cloud),
        "cloud": cloud,
        **structure(sharing, what, cloud),
    }


def _devices(kinds: Sequence[Device], reading: str) -> list[Profile]:
    """The kinds as the world knows them: speed in unit/s, and the kappa that makes a unit cost e."""
    profiles = []
    for kind in kinds:
        speed = _speed(f"fleet.{kind.name}", kind.f, kind.clock, reading)
        profiles.append(
            Profile(
                name=kind.name,
                share=kind.share,
                speed=speed,
                energy_coefficient=kind.energy_per_unit / speed**2,
                battery=kind.battery,
                idle_power=kind.idle_power,
                transmit_power=kind.transmit_power,
            )
        )
    return profiles


def _speed(field: str, f: float, clock: float, reading: str) -> float:
    """Units per second.

    Raises:
        ConfigError: no number above 0.
    """
    for name, value in (("f", f), ("clock", clock)):
        if not value > 0 and (name == "f" or reading != "rate"):
            raise ConfigError(f"{field}.{name}", value, "a number > 0")
    return float(cost.processing_speed(f, clock, reading))


def _servers(servers: Sequence[Server]) -> Sequence[Server]:
    if not servers:
        raise ConfigError("servers", 0, "a problem needs at least one server")
    names = [server.name for server in servers]
    if len({"local", *names}) <= len(names):
        raise ConfigError("servers", names, "each server needs a name of its own, other than local")
    return servers


def _workload(demand: tuple[float, float], theta: float, arrivals: Arrivals) -> Workload:
    """D uniform in its range, in thirds; the world counts S in bits and D in cycles."""
    low, high = demand
    if not 0 < low <= high:
        raise ConfigError("demand", demand, "two numbers (low, high) with 0 < low <= high")
    if not theta > 0:
        raise ConfigError("theta", theta, "a number > 0")
    edges = theta * np.linspace(low, high, len(GROUPS) + 1)
    zero = np.zeros(len(GROUPS))
    return Workload(
        probability=f32(zero + 1 / len(GROUPS)),
        bits_low=f32(edges[:-1]),
        bits_high=f32(edges[1:]),
        cycles_per_bit=f32(zero + 1.0 / theta),
        result_per_bit=f32(zero),  # equation (3) has no way back
        deadline_per_bit=f32(zero),
        deadline_per_cycle=f32(zero),
        deadline_fixed=f32(0.0),
        factor_low=f32(1.0),
        factor_high=f32(1.0),
        arrivals=arrivals,
        deadline="none",
    )


def _radio(bandwidth: float, noise_density_dbm: float, shadowing: float, sharing: Sharing) -> Radio:
    """The air of a cell; a device with a sub-band has 1/20 of it."""
    own = bandwidth if sharing.uplink == "active" else bandwidth / CELL
    return Radio(
        bandwidth=f32(own),
        cell_rate=f32(sharing.cell_rate),
        noise=f32(own * watt_from_dbm(noise_density_dbm)),
        carrier=f32(3.5e9),
        shadowing=f32(shadowing),
        downlink_rate=f32(sharing.downlink_rate),
        area=f32(100.0),
        nearest=f32(NEAREST),
        distance=f32(0.0),
    )


def _server_numbers(servers: Sequence[Server], reading: str, scenario: Scenario) -> Servers:
    delays = [server.link_delay for server in servers]
    rates = [server.link_rate for server in servers]
    backup_rates = [rate if scenario.backup_rate is None else scenario.backup_rate for rate in rates]
    backup_delays = [delay if scenario.backup_delay is None else scenario.backup_delay for delay in delays]
    return Servers(
        speed=f32([_speed(f"servers.{server.name}", server.f, server.clock, reading) for server in servers]),
        share_low=f32([server.share_low for server in servers]),
        share_high=f32([server.share_high for server in servers]),
        backhaul_rate=f32(rates),
        backhaul_delay=f32(delays),
        backup_rate=f32(backup_rates),
        backup_delay=f32(backup_delays),
    )


def _weights(
    params: Params, demand: tuple[float, float], energy_weight: float | None, time_weight: float | None
) -> tuple[float, float]:
    """alpha and beta: as given, or such that a mean task at home costs 1 + 1 in the mean of the fleet."""
    speed, kappa = (np.asarray(values, np.float64) for values in (params.fleet.speed, params.fleet.energy_coefficient))
    mean = sum(demand) / 2
    energy, time = float(np.mean(mean * kappa * speed**2)), float(np.mean(mean / speed))
    if energy_weight is None and energy <= 0:
        raise ConfigError("energy_weight", None, "a number, where running at home takes no energy")
    return (
        1.0 / energy if energy_weight is None else energy_weight,
        1.0 / time if time_weight is None else time_weight,
    )


def _features(
    params: Params, servers: Sequence[Server], demand: tuple[float, float], observed: dict[str, bool]
) -> tuple[Feature, ...]:
    """What is observed, with ranges that hold for every kind of device."""
    fleet = params.fleet
    energy = float(jnp.max(fleet.energy_coefficient * fleet.speed * fleet.speed))
    best = _best_rate(params) / senders(params)
    features = [
        Feature("device_capacity", "unit/s", 0.0, float(jnp.max(fleet.speed))),
        Feature("device_energy", "J/unit", 0.0, energy or 1.0),
        Feature("task_demand", "unit", 0.0, float(demand[1])),
        Feature("link_rate", "bit/s", 0.0, best),
    ]
    for index, server in enumerate(servers):
        features += [
            Feature(f"{server.name}_capacity", "unit/s", 0.0, float(params.servers.speed[index])),
            Feature(f"{server.name}_energy", "J/unit", 0.0, max(server.energy_per_unit, energy) or 1.0),
            Feature(f"{server.name}_link", "bit/s", 0.0, _finite(server.link_rate, best)),
        ]
    if observed["observes_battery"]:
        features.append(Feature("battery", "J", 0.0, float(jnp.max(fleet.battery))))
    if observed["observes_delays"]:
        extra = float(jnp.max(params.schedule.delay.value, initial=0.0))
        longest = max(server.link_delay for server in servers)
        features += [Feature(f"{server.name}_delay", "s", 0.0, longest + extra or 1.0) for server in servers]
    if observed["observes_cell"]:
        numbers = range(1, params.cell_size)
        features += [Feature(f"demand_of_{number}", "unit", 0.0, float(demand[1])) for number in numbers]
        features += [Feature(f"link_rate_of_{number}", "bit/s", 0.0, best) for number in numbers]
    return as_leaves(features)


def _finite(rate: float, otherwise: float) -> float:
    return rate if np.isfinite(rate) else otherwise


def _best_rate(params: Params) -> float:
    """bit/s of a device next to the SAP, alone."""
    if params.uplink == "cell":
        return float(params.radio.cell_rate)
    gain = from_db(-PATH_LOSSES[params.path_loss](params.radio.nearest, params.radio.carrier))
    rate = shannon_rate(params.radio.bandwidth, params.fleet.transmit_power, gain, params.radio.noise)
    return float(jnp.max(rate))
