"""Problems and architectures out of configurations: the one place where a key becomes a number in SI units."""

import dataclasses
from types import ModuleType
from typing import Any

from offjax.agents import make_agent
from offjax.config import (
    ArchitectureConfig,
    ArrivalConfig,
    BaseProblemConfig,
    Laas2022Config,
    LearnerConfig,
    Nieto2024Config,
    RunConfig,
    ScenarioConfig,
    TaskSetConfig,
)
from offjax.errors import ConfigError
from offjax.learning import lives, train
from offjax.learning.access_point import Links
from offjax.learning.augment import Noise, Relabel
from offjax.learning.centralised import Centralised
from offjax.learning.cloud import Learner
from offjax.learning.distributed import Distributed
from offjax.learning.generated import Generated, columns_of
from offjax.learning.system import Architecture
from offjax.problems import laas2022, nieto2024
from offjax.problems.parts import Sharing
from offjax.problems.scenario import Scenario
from offjax.problems.spec import Problem
from offjax.replay.flow import Flow
from offjax.replay.gan import Gan
from offjax.workload import arrivals
from offjax.workload.arrivals import Arrivals
from offjax.workload.dealt import DeadlineModel, DealtTasks
from offjax.workload.task_set import TaskSetParameters
from offjax.world import checks

MEGA, MILLI, MICRO = 1e6, 1e-3, 1e-6  # from Mb/s and MHz, from ms, and from uJ, to SI


def build_problem(config: RunConfig, scenario: str, devices: int, mix: str | None = None) -> Any:
    """The problem of a configuration in one scenario, for a number of devices.

    Raises:
        ConfigError: a world that makes no sense. A slot too long for its coupling is a warning.
    """
    own = config.find_scenario(scenario)
    chosen: BaseProblemConfig = config.problem
    if own is not None:
        own.check_cells(devices // chosen.devices_per_cell, scenario)
    try:
        problem = _make(chosen, scenario, own, devices, mix)
        checks.check(problem.params)
        if own is not None:  # those of the papers may be cut short
            checks.check_horizon(problem.params, chosen.slots)
    except ConfigError as error:
        raise ConfigError(_path(error.field, chosen), error.value, error.allowed) from None
    checks.warn_of_slot(problem.params, checks.mean_shared_phase(problem.params))
    return problem


def _make(
    chosen: BaseProblemConfig, scenario: str, own: ScenarioConfig | None, devices: int, mix: str | None
) -> Problem:
    """A problem by the class of its configuration."""
    common: dict[str, Any] = {
        "devices": devices,
        "devices_per_cell": chosen.devices_per_cell,
        "horizon": chosen.slots,
        "slot_duration": chosen.slot_ms * MILLI,
        "arrivals": _arrivals(chosen.arrivals),
        "buffer": chosen.buffer,
    }
    if isinstance(chosen, Laas2022Config):
        if own is None:
            raise ConfigError("scenarios", scenario, "it belongs to nieto2024; laas2022 has calm, for example")
        return laas2022.make(make_scenario(own), **common, **_laas2022(chosen))
    assert isinstance(chosen, Nieto2024Config)
    where = scenario if own is None else make_scenario(own)
    options: dict[str, Any] = {"preset": chosen.preset, "scenario": where, "mix": mix or chosen.mix}
    return nieto2024.make(**options, **common, **_nieto2024(chosen))


def _path(field: str, chosen: BaseProblemConfig) -> str:
    """Where a number of a world or of the task-set generator stands in a configuration."""
    parameters = {own.name: own.name for own in dataclasses.fields(TaskSetParameters)}
    parameters |= {f"utilisation_{end}": "utilisation" for end in ("min", "max", "step")}
    parameters |= {f"period_{end}": f"period_{end}_us" for end in ("min", "max", "step")}
    if field in parameters:
        return f"problem.workload.task_set.{parameters[field]}"
    known = field in type(chosen).model_fields or field.startswith(("fleet.", "servers."))
    known = known and field.count(".") < 3 and not field.startswith("servers.backhaul")
    return "problem.slots" if field == "horizon" else f"problem.{field}" if known else field


def trainer_of(config: RunConfig) -> ModuleType:
    """What trains the agents of a configuration: see ``Unit.trainer``."""
    return train if config.architecture is None else lives


def build_agent(config: RunConfig, agent_name: str, problem: Problem) -> Any:
    """What a configuration trains under one of its names: the algorithm, or an architecture around it.

    Raises:
        ConfigError: numbers, an agent or a problem that do not go together.
    """
    chosen, fields = config.architecture, dict(config.agents.named())[agent_name]
    agent = make_agent(agent_name, **fields.model_dump())
    if chosen is None:
        return agent
    try:
        return _architecture(chosen, _learner(chosen, agent, problem))
    except ConfigError as error:
        raise ConfigError(_own_path(error.field), error.value, error.allowed) from None


def _own_path(field: str) -> str:
    """Where a number of an architecture stands in a configuration."""
    if field in LearnerConfig.model_fields:
        return f"architecture.learner.{field}"
    if field in ("relabel", "augment"):
        return "architecture.generator.kind"
    return f"architecture.{field.replace('augment.', 'generator.')}"


def _learner(chosen: ArchitectureConfig, agent: Any, problem: Problem) -> Learner:
    own, made = chosen.learner, chosen.generator
    return Learner(
        agent,
        augment=_augment(chosen, problem),
        weights_period=own.weights_period,
        generated_share=-1.0 if made.share is None else made.share,
        age_limit=float(made.age_limit or "inf"),
        learning_starts=own.learning_starts,
        brm_capacity=own.brm_capacity,
        arm_capacity=own.arm_capacity,
        iterations=own.iterations,
        fit_period=made.fit_period,
    )


def _augment(chosen: ArchitectureConfig, problem: Problem) -> Any:
    own = chosen.generator
    match own.kind:
        case "none":
            return None
        case "noise":
            return Noise(scale=own.noise)
        case "relabel":
            return Relabel(problem)
    columns, batch = columns_of(problem), own.batch_size
    generator = Gan(columns, batch_size=batch) if own.kind == "gan" else Flow(columns, ("reward",), batch_size=batch)
    same = ("least_rows", "reward", "decisions", "steps", "pool", "rows")
    return Generated(generator, problem, **{name: getattr(own, name) for name in same})


def _architecture(chosen: ArchitectureConfig, learner: Learner) -> Architecture:
    own = chosen.links
    links = Links(
        air_loss=own.air_loss,
        wire_loss=own.wire_loss,
        loop_latency=own.loop_latency_s,
        jitter=own.jitter_s,
        duplicates=own.duplicates,
        waits=own.waits,
        places=own.places,
    )
    same = {name: getattr(chosen, name) for name in ("sending_period", "counter_start", "resources")}
    if chosen.inference_ms is not None:
        same["inference"] = chosen.inference_ms * MILLI
    if chosen.kind == "distributed":
        return Distributed(learner, links, order=chosen.order, versions=chosen.versions, **same)
    return Centralised(learner, links, observe=chosen.observe_ms * MILLI, over_links=chosen.over_links, **same)


def make_scenario(own: ScenarioConfig) -> Scenario:
    """The content of a scenario file in SI units."""
    backup = own.redundant_link
    return Scenario(
        mec=own.server_outages.mec,
        cloud=own.server_outages.cloud,
        link=own.link_outages,
        backhaul=own.backhaul_outages,
        backup=own.backup_outages,
        mec_load=own.server_load.mec,
        cloud_load=own.server_load.cloud,
        traffic=own.traffic,
        traffic_rate=own.traffic_rate_mbps * MEGA,
        delay=[(slot, value * MILLI) for slot, value in own.delay_ms],
        jitter=[(slot, value * MILLI) for slot, value in own.jitter_ms],
        correlation=own.delay_correlation,
        redundant=backup is not None,
        backup_rate=None if backup is None or backup.rate_mbps is None else backup.rate_mbps * MEGA,
        backup_delay=None if backup is None or backup.delay_ms is None else backup.delay_ms * MILLI,
        failover=own.failover_slots,
        outage=own.outage,
        timeout=own.timeout_s,
    )


def _nieto2024(problem: Nieto2024Config) -> dict[str, Any]:
    """Everything else that the problem may differ in from the paper's, in SI units."""
    deadline, servers = problem.deadline, problem.servers
    return {
        "deadline": DeadlineModel(
            deadline.kind, (deadline.factor_low, deadline.factor_high), deadline.fixed_ms * MILLI
        ),
        "sharing": _sharing(problem, problem.downlink_rate_mbps),
        "server_speeds": (servers.mec_speed_mhz * MEGA, servers.cloud_speed_mhz * MEGA),
        "fleet": _fleet(problem),
        "task_set": None if problem.workload.task_set is None else _task_set(problem.workload.task_set),
    }


def _laas2022(problem: Laas2022Config) -> dict[str, Any]:
    """The same for paper A."""
    devices = [
        laas2022.Device(
            name=name,
            share=own.share,
            f=own.f,
            clock=own.clock_mhz * MEGA,
            energy_per_unit=own.energy_uj_per_unit * MICRO,
            battery=own.battery_j,
            idle_power=own.idle_w,
            transmit_power=own.transmit_w,
        )
        for name, own in problem.fleet.items()
    ]
    servers = [
        laas2022.Server(
            name=name,
            f=own.f,
            clock=own.clock_mhz * MEGA,
            energy_per_unit=own.energy_uj_per_unit * MICRO,
            link_rate=own.link_mbps * MEGA,
            link_delay=own.link_delay_ms * MILLI,
            cloud=own.cloud,
            share_low=own.free_low,
            share_high=own.free_high,
        )
        for name, own in problem.servers.items()
    ]
    same = ("reading", "cost", "theta", "tasks", "energy_weight", "time_weight", "drop_reward", "path_loss")
    return {
        **{name: getattr(problem, name) for name in (*same, "noise_density_dbm")},
        **{f"observe_{name}": name in problem.observe for name in ("battery", "delays", "cell")},
        "fleet": devices or None,
        "servers": servers or None,
        "demand": (problem.demand_low, problem.demand_high),
        "bandwidth": problem.bandwidth_mhz * MEGA,
        "sharing": _sharing(problem, None),
    }


def _sharing(problem: BaseProblemConfig, downlink_rate_mbps: float | None) -> Sharing:
    """What devices share; without a rate of the downlink it is neglected."""
    return Sharing(
        coupling=problem.coupling,
        uplink=problem.uplink,
        downlink=problem.downlink,
        queue=problem.queue,
        cell_rate=problem.cell_rate_mbps * MEGA,
        downlink_rate=float("inf") if downlink_rate_mbps is None else downlink_rate_mbps * MEGA,
    )


def _arrivals(own: ArrivalConfig) -> Arrivals:
    match own.kind:
        case "periodic":
            return arrivals.periodic(own.period_slots or 1)
        case "bernoulli":
            return arrivals.bernoulli(own.chance)
        case "poisson":
            return arrivals.poisson(own.mean_s)
    return arrivals.closed(own.mean_s)


def _fleet(problem: Nieto2024Config) -> tuple[nieto2024.Profile, ...]:
    profiles = tuple(
        nieto2024.Profile(
            name=name,
            share=own.share,
            speed=own.speed_mhz * MEGA,
            energy_coefficient=own.energy_coefficient,
            battery=own.battery_j,
            idle_power=own.idle_w,
            transmit_power=own.transmit_w,
            receive_power=own.receive_w,
        )
        for name, own in problem.fleet.items()
    )
    return profiles or (nieto2024.Profile(),)


def _task_set(own: TaskSetConfig) -> DealtTasks:
    parameters = TaskSetParameters(
        utilisation_min=own.utilisation,
        utilisation_max=own.utilisation,
        number_of_tasks=own.number_of_tasks,
        period_min=own.period_min_us,
        period_max=own.period_max_us,
        period_step=own.period_step_us,
        seed=own.seed,
        cpu_speed_mhz=own.cpu_speed_mhz,
        cores=own.cores,
    )
    return DealtTasks(
        parameters, own.releases_seed, (own.bits_per_cycle_low, own.bits_per_cycle_high), own.result_share
    )
