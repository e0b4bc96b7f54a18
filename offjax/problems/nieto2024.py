"""The problem of Nieto et al. 2024 (J. Cloud Computing 13:94, doi 10.1186/s13677-024-00658-0, CC BY 4.0).

Twenty devices per base station get one task per time step each and run it at home, on the edge server next to the
base station, or in the cloud. Energy is to be saved and deadlines are to be met. Two presets: ``text`` holds the
numbers that the paper states, ``figures`` those that its drawn curves imply where the two differ.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from flax import struct

from offjax.errors import ConfigError
from offjax.physics.fibre import fibre_rate, propagation_delay
from offjax.physics.radio import to_db, watt_from_dbm
from offjax.problems.spec import Feature
from offjax.workload.arrivals import periodic
from offjax.workload.tasks import Workload
from offjax.world import (
    End,
    Fleet,
    Outcome,
    Params,
    Radio,
    Schedule,
    Servers,
    State,
    no_steps,
    per_device,
    remaining,
    windows,
)

Spans = Sequence[tuple[int, int]]

# Fig. 3 of the paper: distances of its 20 devices to the base station, m.
FIGURE_DISTANCES = (
    99.74, 64.08, 55.89, 76.45, 106.73, 21.31, 107.06, 86.42, 135.07, 35.37,
    49.95, 36.47, 62.22, 94.28, 69.63, 92.24, 73.46, 21.59, 76.14, 72.33,
)  # fmt: skip
CLOUD_DISTANCE = 1.4993e6  # m, Fig. 4
GAIN_RANGE = (-130.0, -40.0)  # dB: from a lost link to a device beside the base station
CELL = 20  # devices per base station, and sub-bands of its band

# Share of the classes 1, 2, 3; the paper names the 90 % and leaves the rest (guess: split evenly).
MIXES = {
    "class1": (0.90, 0.05, 0.05),
    "class2": (0.05, 0.90, 0.05),
    "class3": (0.05, 0.05, 0.90),
    "uniform": (1 / 3, 1 / 3, 1 / 3),
}


@dataclass(frozen=True)
class Scenario:
    """What fails when: spans of slots [start, stop), counted from 0."""

    mec: Spans = ()  # the edge server has no free resources
    cloud: Spans = ()  # the cloud server is down
    link: Spans = ()  # the radio link is lost
    backhaul: Spans = ()  # the fibre to the cloud is cut


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
    features: tuple[Feature, ...] = struct.field(pytree_node=False)

    @property
    def name(self) -> str:
        """Id without version."""
        return "nieto2024"

    @property
    def decisions(self) -> tuple[str, ...]:
        """Places 0, 1, 2: the actions of the paper."""
        return DECISIONS

    def observe(self, state: State) -> jax.Array:
        """Observation (17): battery J, R^n, R^m, R^C cycles/s, gain dB, class 1..3, as [D, 6].

        A lost link is seen as the lowest gain of the range; the task's size is not observed.
        """
        params, devices = self.params, self.params.devices
        low, high = GAIN_RANGE
        gain = jnp.clip(to_db(state.device.gain), low, high)
        return jnp.stack(
            [
                remaining(state.device, params),
                jnp.broadcast_to(params.fleet.speed, (devices,)),
                per_device(state.cell.told[:, 0], params),
                per_device(state.cell.told[:, 1], params),
                jnp.where(per_device(state.cell.up, params), gain, low),
                state.job.task_class.astype(jnp.float32) + 1.0,
            ],
            axis=-1,
        )

    def normalise(self, observation: jax.Array) -> jax.Array:
        """[..., 6] min-max to 0..1; the paper does not say how it scaled its inputs (guess)."""
        low = jnp.asarray([feature.low for feature in self.features], jnp.float32)
        high = jnp.asarray([feature.high for feature in self.features], jnp.float32)
        shape = (1,) * (observation.ndim - 1) + low.shape
        return (observation - low.reshape(shape)) / (high - low).reshape(shape)

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
) -> Nieto2024:
    """The problem as a pytree of numbers.

    Args:
        preset: ``text`` or ``figures``.
        scenario: ``scenario1`` (edge server away twice), ``scenario2`` (radio link lost once), or your own.
        mix: share of the task classes, ``class1``, ``class2``, ``class3`` (90 % of that class) or ``uniform``.
        devices: in cells, each with a base station and an edge server of its own.
        devices_per_cell: 20 where there are that many; a device's sub-band is 1/20 of the band in any case.
        horizon: slots of an episode.

    Raises:
        ConfigError: an unknown preset, scenario or mix, or devices that do not fill their cells.
    """
    _check("preset", preset, PRESETS)
    _check("mix", mix, MIXES)
    if not isinstance(scenario, Scenario):
        _check("scenario", scenario, SCENARIOS)
    per_cell = min(CELL, devices) if devices_per_cell is None else devices_per_cell
    if devices < 1 or per_cell < 1 or devices % per_cell:
        raise ConfigError("devices", devices, f"it must be a positive multiple of devices_per_cell = {per_cell}")
    numbers = PRESETS[preset]
    params = Params(
        slot_duration=_f32(1.0),  # guess: long enough for any task; the paper's step has no length
        workload=_workload(numbers, mix),
        fleet=_fleet(),
        radio=_radio(numbers, scenario if isinstance(scenario, str) else "scenario1"),
        servers=_servers(),
        schedule=_schedule(scenario if isinstance(scenario, Scenario) else numbers.scenarios[scenario]),
        devices=devices,
        access_points=devices // per_cell,
        cloud=(False, True),
        placement="uniform" if numbers.distances is None else "given",
    )
    params = _place(params, numbers)
    return Nieto2024(
        params=params,
        failure_reward=_f32(-0.1),
        horizon=jnp.asarray(horizon, jnp.int32),
        remaining_battery=numbers.remaining_battery,
        features=_features(params),
    )


def _check(field_name: str, value: object, allowed: object) -> None:
    if value not in allowed:  # type: ignore[operator]
        raise ConfigError(field_name, value, f"one of {', '.join(allowed)}")  # type: ignore[arg-type]


def _f32(value: object) -> jax.Array:
    return jnp.asarray(value, jnp.float32)


def _workload(numbers: Preset, mix: str) -> Workload:
    """Table 3; D counts in KB for the deadline and in bits for the cycles and the upload."""
    bits = numbers.bits_per_kilobyte
    return Workload(
        probability=_f32(MIXES[mix]),
        bits_low=_f32([10 * bits, 20 * bits, 200 * bits]),
        bits_high=_f32([40 * bits, 50 * bits, 400 * bits]),
        cycles_per_bit=_f32([1.0, 8.0, 8.0]),
        result_per_bit=_f32([0.0, 0.0, 0.0]),  # the paper neglects the download
        deadline_per_bit=_f32([0.5e-3 / bits, 1e-3 / bits, 2e-3 / bits]),
        deadline_per_cycle=_f32([0.0, 0.0, 0.0]),
        deadline_fixed=_f32(0.0),
        factor_low=_f32(1.0),
        factor_high=_f32(1.0),
        arrivals=periodic(1),
    )


def _fleet() -> Fleet:
    """Table 2, UE."""
    return Fleet(
        speed=_f32(40e6),
        energy_coefficient=_f32(1e-21),
        battery=_f32(4000.0),
        idle_power=_f32(0.1),
        transmit_power=_f32(watt_from_dbm(30.0)),
        receive_power=_f32(0.0),
        update_power=_f32(0.0),
        profile=jnp.asarray(0, jnp.int8),
    )


def _radio(numbers: Preset, scenario: str) -> Radio:
    """Table 2, communications; the carrier follows from Fig. 6 (3.5045 GHz fitted)."""
    return Radio(
        bandwidth=_f32(100e6 / CELL),
        cell_rate=_f32(jnp.inf),
        noise=_f32(watt_from_dbm(numbers.noise_dbm)),
        carrier=_f32(3.5e9),
        shadowing=_f32(numbers.shadowing[scenario]),
        downlink_rate=_f32(jnp.inf),
        area=_f32(100.0),
        nearest=_f32(1.0),
        distance=_f32(0.0),
    )


def _servers() -> Servers:
    """Table 2, edge server and cloud; equations (11) and (12)."""
    fibre = fibre_rate(capacity=100e9, levels=16.0, overhead=0.10, error_correction=0.20)
    return Servers(
        speed=_f32([1e9, 10e9]),
        share_low=_f32([0.8, 1.0]),
        share_high=_f32([1.0, 1.0]),
        backhaul_rate=_f32([jnp.inf, fibre]),
        backhaul_delay=_f32([0.0, 2.0 * propagation_delay(CLOUD_DISTANCE, 2e8)]),
        backup_rate=_f32([jnp.inf, fibre]),
        backup_delay=_f32([0.0, 2.0 * propagation_delay(CLOUD_DISTANCE, 2e8)]),
    )


def _schedule(scenario: Scenario) -> Schedule:
    return Schedule(
        link=windows([list(scenario.link)], least=4),
        backhaul=windows([list(scenario.backhaul)], least=4),
        backup=windows([[]]),
        server=windows([list(scenario.mec), list(scenario.cloud)], least=4),
        load=no_steps(2),
        traffic=no_steps(),
        traffic_rate=_f32(0.0),
        delay=no_steps(),
        jitter=no_steps(),
        correlation=_f32(0.0),
        failover=jnp.asarray(0, jnp.int32),
        timeout=_f32(0.0),
    )


def _place(params: Params, numbers: Preset) -> Params:
    if numbers.distances is None:
        return params
    cells = params.access_points
    distances = jnp.tile(_f32(numbers.distances), cells)[: params.devices]
    return params.replace(radio=params.radio.replace(distance=distances))


def _features(params: Params) -> tuple[Feature, ...]:
    speeds = [float(speed) for speed in params.servers.speed]
    return (
        Feature("battery", "J", 0.0, float(params.fleet.battery)),
        Feature("device_speed", "cycles/s", 0.0, float(params.fleet.speed)),
        Feature("mec_free", "cycles/s", 0.0, speeds[0]),
        Feature("cloud_free", "cycles/s", 0.0, speeds[1]),
        Feature("channel_gain", "dB", *GAIN_RANGE),
        Feature("task_class", "1", 1.0, 3.0),
    )
