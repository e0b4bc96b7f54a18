"""The problem of Nieto et al. 2024 (J. Cloud Computing 13:94, doi 10.1186/s13677-024-00658-0, CC BY 4.0).

Twenty devices per base station get one task per time step each and run it at home, on the edge server next to the
base station, or in the cloud. Energy is to be saved and deadlines are to be met. Two presets: ``text`` holds the
numbers that the paper states, ``figures`` those that its drawn curves imply where the two differ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from offjax.physics.fibre import fibre_rate, propagation_delay
from offjax.physics.radio import watt_from_dbm
from offjax.problems.fleet import Profile, make_fleet
from offjax.problems.parts import Sharing, as_leaves, cell_size, check_choice, f32, min_max, structure
from offjax.problems.scenario import Scenario, make_schedule
from offjax.problems.spec import Feature
from offjax.workload.arrivals import Arrivals, periodic
from offjax.workload.dealt import GROUPS, DeadlineModel, DealtTasks, make_workload, size_groups
from offjax.workload.tasks import Workload
from offjax.world import End, Outcome, Params, Radio, Servers, State, per_device, remaining

# Fig. 3 of the paper: distances of its 20 devices to the base station, m.
FIGURE_DISTANCES = (
    99.74, 64.08, 55.89, 76.45, 106.73, 21.31, 107.06, 86.42, 135.07, 35.37,
    49.95, 36.47, 62.22, 94.28, 69.63, 92.24, 73.46, 21.59, 76.14, 72.33,
)  # fmt: skip
CLOUD_DISTANCE = 1.4993e6  # m, Fig. 4
GAIN_RANGE = (-130.0, -40.0)  # dB: from a lost link to a device beside the base station
CELL = 20  # devices per base station, and sub-bands of its band
CLOUD = (False, True)  # the servers: one at the edge, one in the cloud

# Share of the classes 1, 2, 3; the paper names the 90 % and leaves the rest (guess: split evenly).
MIXES = {
    "class1": (0.90, 0.05, 0.05),
    "class2": (0.05, 0.90, 0.05),
    "class3": (0.05, 0.05, 0.90),
    "uniform": (1 / 3, 1 / 3, 1 / 3),
}


@dataclass(frozen=True)
class Preset:
    """The numbers in which the paper's text and its figures differ."""

    bits_per_kilobyte: int
    noise_dbm: float  # noise power in the sub-band
    shadowing: Mapping[str, float]  # dB, by scenario
    remaining_battery: bool  # is B^n of equation (18) what is left, or the capacity?
    scenarios: Mapping[str, Scenario]
    distances: tuple[float, ...] | None  # m, or drawn uniformly in the square
    sources: str = field(default="", compare=False)


PRESETS = {
    "text": Preset(
        bits_per_kilobyte=8000,
        noise_dbm=-100.0,
        shadowing={"scenario1": 5.9, "scenario2": 5.9},
        remaining_battery=False,
        scenarios={
            "scenario1": Scenario(mec=((500, 750), (1250, 1500))),
            "scenario2": Scenario(link=((500, 1000),)),
        },
        distances=None,
        sources="Tables 2 and 3 and the text",
    ),
    "figures": Preset(
        bits_per_kilobyte=8192,
        noise_dbm=-90.0,
        shadowing={"scenario1": 5.9, "scenario2": 2.0},
        remaining_battery=True,
        scenarios={
            "scenario1": Scenario(mec=((501, 751), (1251, 1501))),
            "scenario2": Scenario(link=((500, 1001),)),
        },
        distances=FIGURE_DISTANCES,
        sources="vector paths of Figs. 3, 4, 6, 7, 9, 10; the noise is a fit to the battery curves of Fig. 7",
    ),
}
SCENARIOS = ("scenario1", "scenario2")
SCENARIO_NOTES = {
    "scenario1": "The edge server has no free resources in two spans of 250 slots.",
    "scenario2": "The radio link is lost for 500 slots: only local execution is left.",
}
DECISIONS = ("local", "mec", "cloud")


class Nieto2024(struct.PyTreeNode):
    """Observation (17), reward (18), and the world of the paper; made by :func:`make`."""

    params: Params
    failure_reward: jax.Array  # [] eta of equation (18)
    horizon: jax.Array  # [] int32 slots
    remaining_battery: bool = struct.field(pytree_node=False)
    features: tuple[Feature, ...]
    groups: tuple[str, ...] = struct.field(pytree_node=False, default=("class1", "class2", "class3"))
    profiles: tuple[str, ...] = struct.field(pytree_node=False, default=("ue",))
    class_group: jax.Array | None = None  # [C] int8 group of each class, where it is not the class itself

    @property
    def name(self) -> str:
        """Id without version."""
        return "nieto2024"

    @property
    def decisions(self) -> tuple[str, ...]:
        """Places 0, 1, 2: the actions of the paper."""
        return DECISIONS

    def group(self, task_class: jax.Array) -> jax.Array:
        """[D] int8 index into ``groups`` of the task's class [D]."""
        return task_class if self.class_group is None else self.class_group[task_class.astype(jnp.int32)]

    def observe(self, state: State) -> jax.Array:
        """Observation (17): battery J, R^n, R^m, R^C cycles/s, gain dB, class 1..3, as [D, 6].

        A lost link is seen as the lowest gain of the range; the task's size is not observed. Tasks of a set have no
        class to be known by: their upload in bits, computing size in cycles and the time in s that is left until
        their deadline are observed instead (paper B), as [D, 8].
        """
        params, devices = self.params, self.params.devices
        low, high = GAIN_RANGE
        gain = jnp.clip(state.device.gain, low, high)
        return jnp.stack(
            [
                remaining(state.device, params),
                jnp.broadcast_to(params.fleet.speed, (devices,)),
                per_device(state.cell.told[:, 0], params),
                per_device(state.cell.told[:, 1], params),
                jnp.where(per_device(state.cell.up, params), gain, low),
                *self._observe_task(state),
            ],
            axis=-1,
        )

    def _observe_task(self, state: State) -> list[jax.Array]:
        job = state.job
        if self.class_group is None:
            return [job.task_class.astype(jnp.float32) + 1.0]
        time_left = jnp.clip(job.deadline - job.passed.wait, 0.0, self.features[-1].high)
        return [job.left.uplink, job.left.service, time_left]

    def normalise(self, observation: jax.Array) -> jax.Array:
        """[..., 6] min-max to 0..1; the paper does not say how it scaled its inputs (guess)."""
        return min_max(observation, self.features)

    def reward(self, outcome: Outcome, before: State) -> jax.Array:
        """QoE, equation (18): -e/B^n of a task that ended in time, eta of any other; zero where nothing ended.

        With the remaining battery it is max(-e/b, eta), b the battery at the start of the slot (Fig. 7g).
        """
        params = self.params
        if self.remaining_battery:
            left = jnp.maximum(remaining(before.device, params), 1e-6)
            success = jnp.maximum(-outcome.energy / left, self.failure_reward)
        else:
            success = -outcome.energy / params.fleet.battery
        ended = jnp.where(outcome.result == End.IN_TIME, success, self.failure_reward)
        ended = jnp.where(outcome.result == End.NONE, 0.0, ended)
        return ended + jnp.where(outcome.refused == End.NONE, 0.0, self.failure_reward)

    def terminated(self, state: State) -> jax.Array:
        """[D] never: a device without battery goes on to fail its tasks (own rule; the paper is silent)."""
        return jnp.zeros((self.params.devices,), bool)


def make(
    preset: str = "text",
    scenario: str | Scenario = "scenario1",
    mix: str = "uniform",
    devices: int = CELL,
    devices_per_cell: int | None = None,
    horizon: int = 2000,
    *,
    slot_duration: float = 1.0,
    arrivals: Arrivals | None = None,
    buffer: int = 1,
    deadline: DeadlineModel = DeadlineModel(),  # noqa: B008 (frozen)
    sharing: Sharing = Sharing(),  # noqa: B008 (frozen)
    server_speeds: tuple[float, float] = (1e9, 10e9),
    fleet: Sequence[Profile] = (Profile(),),
    task_set: DealtTasks | None = None,
) -> Nieto2024:
    """The problem as a pytree of numbers.

    Args:
        preset: ``text`` or ``figures``.
        scenario: ``scenario1`` (edge server away twice), ``scenario2`` (radio link lost once), or your own.
        mix: share of the task classes, ``class1``, ``class2``, ``class3`` (90 % of that class) or ``uniform``.
        devices: in cells, each with a base station and an edge server of its own.
        devices_per_cell: 20 where there are that many; a device's sub-band is 1/20 of the band in any case.
        horizon: slots of an episode.
        slot_duration: s; one is a guess, long enough for any task (the paper's step has no length).
        arrivals: when tasks come, a task per slot if not given; a task set brings its own releases.
        buffer: tasks that may wait on a device.
        deadline: factor and fixed part of the deadlines.
        sharing: what couples the devices of a cell; nothing in the paper.
        server_speeds: edge server and cloud, cycles/s (Table 2).
        fleet: profiles of devices, dealt over every cell; one kind in the paper (Table 2).
        task_set: a set of periodic tasks in place of the classes of Table 3; ``mix`` is not used then.

    Raises:
        ConfigError: an unknown preset, scenario or mix, or devices that do not fill their cells.
    """
    _check_choices(preset, scenario, mix)
    per_cell = cell_size(devices, devices_per_cell, CELL)
    numbers = PRESETS[preset]
    what = scenario if isinstance(scenario, Scenario) else numbers.scenarios[scenario]
    if task_set is None:
        workload = _workload(numbers, mix, arrivals or periodic(1), deadline)
    else:
        workload = make_workload(task_set, deadline, server_speeds[0], (devices, per_cell), (horizon, slot_duration))
    params = Params(
        slot_duration=f32(slot_duration),
        workload=workload,
        fleet=make_fleet(fleet, devices, per_cell),
        radio=_radio(numbers, scenario if isinstance(scenario, str) else "scenario1", sharing),
        servers=_servers(server_speeds, what),
        schedule=make_schedule(what, devices // per_cell, CLOUD),
        devices=devices,
        access_points=devices // per_cell,
        cloud=CLOUD,
        buffer=buffer,
        placement="uniform" if numbers.distances is None else "given",
        **structure(sharing, what, CLOUD),
    )
    params = _place(params, numbers)
    return Nieto2024(
        params=params,
        failure_reward=f32(-0.1),
        horizon=jnp.asarray(horizon, jnp.int32),
        remaining_battery=numbers.remaining_battery,
        features=_features(params, sized=task_set is not None),
        profiles=tuple(profile.name for profile in fleet),
        **({} if task_set is None else _size_groups(workload)),
    )


def _check_choices(preset: str, scenario: str | Scenario, mix: str) -> None:
    check_choice("preset", preset, PRESETS)
    check_choice("mix", mix, MIXES)
    if not isinstance(scenario, Scenario):
        check_choice("scenario", scenario, SCENARIOS)


def _size_groups(workload: Workload) -> dict[str, Any]:
    group = size_groups(workload)
    return {"class_group": jnp.asarray(group), "groups": GROUPS[: int(group.max()) + 1]}


def _workload(numbers: Preset, mix: str, arrivals: Arrivals, deadline: DeadlineModel) -> Workload:
    """Table 3; D counts in KB for the deadline and in bits for the cycles and the upload."""
    bits = numbers.bits_per_kilobyte
    return Workload(
        probability=f32(MIXES[mix]),
        bits_low=f32([10 * bits, 20 * bits, 200 * bits]),
        bits_high=f32([40 * bits, 50 * bits, 400 * bits]),
        cycles_per_bit=f32([1.0, 8.0, 8.0]),
        result_per_bit=f32([0.0, 0.0, 0.0]),  # the paper neglects the download
        deadline_per_bit=f32([0.5e-3 / bits, 1e-3 / bits, 2e-3 / bits]),
        deadline_per_cycle=f32([0.0, 0.0, 0.0]),
        deadline_fixed=f32(deadline.fixed),
        factor_low=f32(deadline.factors[0]),
        factor_high=f32(deadline.factors[1]),
        arrivals=arrivals,
        deadline=deadline.kind,
    )


def _radio(numbers: Preset, scenario: str, sharing: Sharing) -> Radio:
    """Table 2, communications; the carrier follows from Fig. 6 (3.5045 GHz fitted)."""
    return Radio(
        bandwidth=f32(100e6 if sharing.uplink == "active" else 100e6 / CELL),
        cell_rate=f32(sharing.cell_rate),
        noise=f32(watt_from_dbm(numbers.noise_dbm)),
        carrier=f32(3.5e9),
        shadowing=f32(numbers.shadowing[scenario]),
        downlink_rate=f32(sharing.downlink_rate),
        area=f32(100.0),
        nearest=f32(1.0),
        distance=f32(0.0),
    )


def _servers(speeds: tuple[float, float], scenario: Scenario) -> Servers:
    """Table 2, edge server and cloud; equations (11) and (12)."""
    rate = fibre_rate(capacity=100e9, levels=16.0, overhead=0.10, error_correction=0.20)
    delay = 2.0 * propagation_delay(CLOUD_DISTANCE, 2e8)
    return Servers(
        speed=f32(speeds),
        share_low=f32([0.8, 1.0]),
        share_high=f32([1.0, 1.0]),
        backhaul_rate=f32([jnp.inf, rate]),
        backhaul_delay=f32([0.0, delay]),
        backup_rate=f32([jnp.inf, rate if scenario.backup_rate is None else scenario.backup_rate]),
        backup_delay=f32([0.0, delay if scenario.backup_delay is None else scenario.backup_delay]),
    )


def _place(params: Params, numbers: Preset) -> Params:
    if numbers.distances is None:
        return params
    cells = params.access_points
    distances = jnp.tile(f32(numbers.distances), cells)[: params.devices]
    return params.replace(radio=params.radio.replace(distance=distances))


def _features(params: Params, sized: bool) -> tuple[Feature, ...]:
    """What is observed, with ranges that hold for every profile of the fleet."""
    speeds = [float(speed) for speed in params.servers.speed]
    return as_leaves(
        (
            Feature("battery", "J", 0.0, float(jnp.max(params.fleet.battery))),
            Feature("device_speed", "cycles/s", 0.0, float(jnp.max(params.fleet.speed))),
            Feature("mec_free", "cycles/s", 0.0, speeds[0]),
            Feature("cloud_free", "cycles/s", 0.0, speeds[1]),
            Feature("channel_gain", "dB", *GAIN_RANGE),
            *(_task_features(params.workload) if sized else [Feature("task_class", "1", 1.0, 3.0)]),
        )
    )


def _task_features(workload: Workload) -> list[Feature]:
    bits = np.asarray(workload.bits_high, np.float64)
    cycles = bits * workload.cycles_per_bit
    factor = float(workload.factor_high) if workload.deadline == "uniform" else 1.0
    allowed = factor * np.max(cycles * workload.deadline_per_cycle) + float(workload.deadline_fixed)
    return [
        Feature("task_bits", "bit", 0.0, float(bits.max())),
        Feature("task_cycles", "cycles", 0.0, float(cycles.max())),
        Feature("time_left", "s", 0.0, 1.0 if workload.deadline == "none" else float(allowed)),
    ]
