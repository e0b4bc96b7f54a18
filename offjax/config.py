"""The configuration of a run: typed records, YAML files, ``--set path=value``, errors in one plain line."""

import hashlib
import json
import os
import re
import sys
from collections.abc import Hashable, Mapping, Sequence
from difflib import get_close_matches
from importlib import resources
from importlib.resources.abc import Traversable
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args, get_origin

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from offjax.errors import ConfigError, MachineError

BUILTIN_SCENARIOS = ("scenario1", "scenario2")
"""Scenarios of the papers; their outages come with the problem's preset and need no file."""

Mix = Literal["class1", "class2", "class3", "uniform"]
Sharing = Literal["fixed", "active", "cell"]
EXACT_CELL = 64
"""Largest cell of coupling ``exact``, as the world has it (this module imports no room)."""
Tree = dict[str, Any]
_Model = TypeVar("_Model", bound=BaseModel)


def _whole(default: int, low: int, high: int, what: str) -> Any:
    """A whole number in ``[low, high]``; ``what`` starts with the unit and ends with the meaning."""
    text = f"a whole number from {low:,} to {high:,} {what}"
    return Field(default=default, strict=True, ge=low, le=high, description=text)


def _real(default: float, low: float, high: float, what: str) -> Any:
    """A finite number in ``[low, high]``."""
    text = f"a number from {low:g} to {high:g} {what}"
    return Field(default=default, strict=True, ge=low, le=high, description=text)


def _positive(default: float, high: float, what: str) -> Any:
    """A finite number in ``(0, high]``."""
    text = f"a number above 0 and up to {high:g} {what}"
    return Field(default=default, strict=True, gt=0.0, le=high, description=text)


def _optional(high: float, what: str) -> Any:
    """A finite number in ``(0, high]``, or none."""
    text = f"a number above 0 and up to {high:g} {what}"
    return Field(default=None, strict=True, gt=0.0, le=high, description=text)


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) < len(values):
        raise ValueError("each entry may appear once")
    return values


def _in_order(outages: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    for start, stop in outages:
        if start >= stop:
            raise ValueError(f"an outage [start, stop] must start before it stops, unlike [{start}, {stop}]")
    for (_, stop), (start, _) in pairwise(outages):
        if start < stop:
            raise ValueError(f"outages must be in order and apart, but one starts at {start} before {stop}")
    return outages


def _rising(changes: tuple[tuple[int, float], ...]) -> tuple[tuple[int, float], ...]:
    for (before, _), (after, _) in pairwise(changes):
        if after <= before:
            raise ValueError(f"changes [slot, value] must be in order of their slots, unlike {before} before {after}")
    return changes


Slot = Annotated[int, Field(strict=True, ge=0, le=10_000_000)]
Cell = Annotated[int, Field(ge=0, le=10_000_000)]
Width = Annotated[int, Field(strict=True, ge=1, le=16_384)]
Outages = Annotated[tuple[tuple[Slot, Slot], ...], AfterValidator(_in_order)]
CellOutages = Annotated[
    Annotated[Outages, Tag("all")] | Annotated[dict[Cell, Outages], Tag("cells")],
    Discriminator(lambda value: "cells" if isinstance(value, dict) else "all"),
]
Share = Annotated[float, Field(strict=True, ge=0.0, le=1.0)]
Amount = Annotated[float, Field(strict=True, ge=0.0, le=1e6)]
Shares = Annotated[tuple[tuple[Slot, Share], ...], AfterValidator(_rising)]
Amounts = Annotated[tuple[tuple[Slot, Amount], ...], AfterValidator(_rising)]
Name = Annotated[str, Field(min_length=1)]

_SCENARIOS = (
    "a list of scenario1, scenario2, names of shipped scenarios (like alternating) and paths of scenario "
    "files (YAML), each once"
)
_OUTAGES = "a list of [start, stop] pairs of whole slots from 0, in order and apart: {} (start in, stop out)"
_CELL_OUTAGES = f"{_OUTAGES}, or a group of such lists by cell, counted from 0"
_CHANGES = "a list of [slot, value] pairs in order of their slots, values from 0 to {:g}: {} from that slot on"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)


class ServerOutages(_Record):
    """When each kind of server answers nothing."""

    mec: Outages = Field(default=(), description=_OUTAGES.format("the MEC server is down"))
    cloud: Outages = Field(default=(), description=_OUTAGES.format("the cloud server is down"))


class ServerLoad(_Record):
    """What others take of each kind of server."""

    mec: Shares = Field(default=(), description=_CHANGES.format(1, "the share of the MEC server that others take"))
    cloud: Shares = Field(default=(), description=_CHANGES.format(1, "the share of the cloud server that others take"))


class RedundantLink(_Record):
    """The second link between access points and cloud."""

    rate_mbps: float | None = _optional(1e9, "Mb/s: its rate (none: that of the first link)")
    delay_ms: float | None = Field(
        default=None,
        strict=True,
        ge=0.0,
        le=1e6,
        description="a number from 0 to 1e+06 ms: its delay, both ways together (none: that of the first link)",
    )


def _switch(value: Any) -> Any:
    """True stands for a group with all defaults, false for none."""
    return {True: {}, False: None}[value] if isinstance(value, bool) else value


class ScenarioConfig(_Record):
    """What fails and when, in slots of the horizon; the content of one scenario file."""

    description: str = Field(min_length=1, description="one sentence that says what fails and when")
    server_outages: ServerOutages = Field(default=ServerOutages(), description="the outages of each kind of server")
    link_outages: CellOutages = Field(default=(), description=_CELL_OUTAGES.format("the radio link is down"))
    backhaul_outages: CellOutages = Field(default=(), description=_CELL_OUTAGES.format("the backhaul is down"))
    backup_outages: CellOutages = Field(
        default=(), description=_CELL_OUTAGES.format("the redundant link to the cloud is down")
    )
    redundant_link: Annotated[RedundantLink | None, BeforeValidator(_switch)] = Field(
        default=None,
        description="true, false or a group of keys rate_mbps, delay_ms: a second link between access points and cloud",
    )
    failover_slots: int = _whole(0, 0, 10_000_000, "slots: from a backhaul outage until the redundant link takes over")
    outage: Literal["drop", "stall"] = Field(
        default="drop", description="drop or stall: what becomes of a task whose next phase is down"
    )
    timeout_s: float = _positive(10.0, 1e6, "s: how long a task may stand still in outages, where outage is stall")
    server_load: ServerLoad = Field(default=ServerLoad(), description="the load that others put on each kind of server")
    traffic: Amounts = Field(
        default=(), description=_CHANGES.format(1e6, "the virtual UEs with background traffic in every cell")
    )
    traffic_rate_mbps: float = _positive(10.0, 1e6, "Mb/s: the traffic of each virtual UE")
    delay_ms: Amounts = Field(
        default=(), description=_CHANGES.format(1e6, "the mean extra delay in ms of each offloaded task")
    )
    jitter_ms: Amounts = Field(
        default=(), description=_CHANGES.format(1e6, "the standard deviation in ms of that delay")
    )
    delay_correlation: float = _real(0.0, 0.0, 1.0, "(no unit): the correlation of a device's delays, task to task")

    @model_validator(mode="after")
    def _check_backup(self) -> Self:
        if self.redundant_link is None and (self.backup_outages or self.failover_slots):
            field = "backup_outages" if self.backup_outages else "failover_slots"
            raise ValueError(f"{field} needs a redundant link: add redundant_link: true")
        return self

    def outages(self) -> dict[str, list[tuple[tuple[int, int], ...]]]:
        """Key -> the lists of outages under it, one for each cell that has its own."""
        groups = {
            "server_outages.mec": self.server_outages.mec,
            "server_outages.cloud": self.server_outages.cloud,
            "link_outages": self.link_outages,
            "backhaul_outages": self.backhaul_outages,
            "backup_outages": self.backup_outages,
        }
        return {name: list(spans.values()) if isinstance(spans, dict) else [spans] for name, spans in groups.items()}

    def changes(self) -> dict[str, tuple[tuple[int, float], ...]]:
        """Key -> the changes under it."""
        return {
            "server_load.mec": self.server_load.mec,
            "server_load.cloud": self.server_load.cloud,
            "traffic": self.traffic,
            "delay_ms": self.delay_ms,
            "jitter_ms": self.jitter_ms,
        }

    def check_horizon(self, slots: int, field: str) -> None:
        """Raise :class:`ConfigError` where something is scheduled for after the horizon of ``slots`` slots."""
        for name, lists in self.outages().items():
            late = next((outage for outages in lists for outage in outages if outage[1] > slots), None)
            if late is not None:
                text = f"outages must stop within the horizon, problem.slots = {slots}"
                raise ConfigError(f"{field}: {name}", list(late), text)
        for name, changes in self.changes().items():
            if changes and changes[-1][0] >= slots:
                text = f"changes must come before the end of the horizon, problem.slots = {slots}"
                raise ConfigError(f"{field}: {name}", list(changes[-1]), text)

    def check_cells(self, cells: int, field: str) -> None:
        """Raise :class:`ConfigError` where an outage belongs to a cell that a fleet of so many cells does not have."""
        for name in ("link_outages", "backhaul_outages", "backup_outages"):
            spans = getattr(self, name)
            if isinstance(spans, dict) and spans and max(spans) >= cells:
                text = f"a world of this configuration has cells 0 to {cells - 1} (training.worlds share the devices)"
                raise ConfigError(f"{field}: {name}", max(spans), text)


class ArrivalConfig(_Record):
    """When tasks come to a device; each kind takes the one number that belongs to it."""

    kind: Literal["periodic", "bernoulli", "poisson", "closed"] = Field(
        default="periodic",
        description="periodic (period_slots), bernoulli (chance), poisson (mean_s) or closed (mean_s): "
        "the arrival process of every device",
    )
    period_slots: int | None = Field(
        default=None,
        strict=True,
        ge=1,
        le=10_000_000,
        description="a whole number from 1 to 10,000,000 slots: between two tasks (periodic; none: 1)",
    )
    chance: float | None = _optional(1.0, "(probability per slot): a task comes (bernoulli)")
    mean_s: float | None = _optional(
        1e9, "s: mean time between tasks (poisson), or from the end of one to the next (closed)"
    )

    @model_validator(mode="after")
    def _check_number(self) -> Self:
        wanted = {"periodic": "period_slots", "bernoulli": "chance", "poisson": "mean_s", "closed": "mean_s"}[self.kind]
        for name in ("period_slots", "chance", "mean_s"):
            if name != wanted and getattr(self, name) is not None:
                raise ValueError(f"arrivals of kind {self.kind} take {wanted}, not {name}")
        if self.kind != "periodic" and getattr(self, wanted) is None:
            raise ValueError(f"arrivals of kind {self.kind} need {wanted}")
        return self


class DeadlineConfig(_Record):
    """How long a task may take."""

    kind: Literal["none", "size", "uniform"] = Field(
        default="size",
        description="none, size (grows with the task's size) or uniform (that, times a factor drawn for each task): "
        "the deadline of a task",
    )
    factor_low: float = _real(1.2, 0.0, 1e6, "(factor): least factor (uniform)")
    factor_high: float = _real(3.0, 0.0, 1e6, "(factor): largest factor (uniform), at least factor_low")
    fixed_ms: float = _real(0.0, 0.0, 1e9, "ms: added to what the size allows")

    @model_validator(mode="after")
    def _check_factors(self) -> Self:
        if self.factor_low > self.factor_high:
            raise ValueError(f"factor_low = {self.factor_low:g} must not exceed factor_high = {self.factor_high:g}")
        return self


class ProfileConfig(_Record):
    """One kind of device in a mixed fleet; the defaults are the UE of the paper's Table 2."""

    share: float = _positive(1.0, 1.0, "(share): of the devices of every cell; all shares sum to 1")
    speed_mhz: float = _positive(40.0, 1e7, "MHz (million cycles/s): speed of local execution")
    energy_coefficient: float = _real(1e-21, 0.0, 1.0, "J s^2/cycle^3: energy of a cycle over the squared speed")
    battery_j: float = _positive(4000.0, 1e12, "J: a full battery")
    idle_w: float = _real(0.1, 0.0, 1e4, "W: drawn always")
    transmit_w: float = _positive(1.0, 1e4, "W: sent and drawn while it uploads")
    receive_w: float = _real(0.0, 0.0, 1e4, "W: drawn while it downloads")


class TaskSetConfig(_Record):
    """The generator of periodic task sets (defaults: Table II of Nieto et al. 2026) and what it leaves open."""

    utilisation: float = _positive(3.9, 1e6, "cores: the load of the set, in cores of cpu_speed_mhz")
    number_of_tasks: int = _whole(500, 1, 30_000, "tasks: of the set, dealt over the devices of a cell")
    period_min_us: int = _whole(100_000, 1, 10**12, "us: shortest period, a multiple of period_step_us")
    period_max_us: int = _whole(100_000_000, 1, 10**12, "us: longest period, a multiple of period_step_us")
    period_step_us: int = _whole(1000, 1, 10**12, "us: every period is a multiple of it")
    seed: int = _whole(50, 0, 2**31 - 1, "(no unit): seed of the generator")
    cpu_speed_mhz: float = _positive(1200.048, 1e7, "MHz: clock that execution times hold for")
    cores: int = _whole(4, 1, 1_000_000, "cores: of that CPU; the load must not exceed them")
    releases_seed: int = _whole(0, 0, 2_000_000_000, "(no unit): seed of the first releases and of the data sizes")
    bits_per_cycle_low: float = _positive(
        1.75e-4, 1e3, "bit/cycle: a task's upload over its cycles, at least (a guess: the generator has no data sizes)"
    )
    bits_per_cycle_high: float = _positive(3.5e-2, 1e3, "bit/cycle: the same, at most; log-uniform between (a guess)")
    result_share: float = _real(0.1, 0.0, 1e3, "(share): size of a task's result over its upload (a guess)")

    @model_validator(mode="after")
    def _check_bits(self) -> Self:
        low, high = self.bits_per_cycle_low, self.bits_per_cycle_high
        if low > high:
            raise ValueError(f"bits_per_cycle_low = {low:g} must not exceed bits_per_cycle_high = {high:g}")
        return self


class WorkloadConfig(_Record):
    """What the devices compute."""

    task_set: Annotated[TaskSetConfig | None, BeforeValidator(_switch)] = Field(
        default=None,
        description="true, false or a group of keys: a set of periodic tasks in place of Table 3's classes",
    )


class ServersConfig(_Record):
    """Speeds of the servers; the defaults are the paper's Table 2."""

    mec_speed_mhz: float = _positive(1000.0, 1e9, "MHz (million cycles/s): the edge server of each cell")
    cloud_speed_mhz: float = _positive(10_000.0, 1e9, "MHz (million cycles/s): what the cloud gives each task")


class ProblemConfig(_Record):
    """What the devices face: the paper's problem, its preset, and how many devices for how long."""

    name: Literal["nieto2024"] = Field(default="nieto2024", description="nieto2024: the problem")
    preset: Literal["text", "figures"] = Field(
        default="text", description="text or figures: which of the paper's two sets of numbers"
    )
    scenarios: Annotated[tuple[Name, ...], AfterValidator(_distinct)] = Field(
        default=("scenario1",),
        min_length=1,
        description=f"{_SCENARIOS}: each agent is trained in each of them",
    )
    mix: Mix = Field(default="uniform", description="class1, class2, class3 or uniform: the mix of task classes")
    devices: int = _whole(
        160, 1, 10_000_000, "devices: the fleet, a multiple of devices_per_cell for each of training.worlds"
    )
    devices_per_cell: int = _whole(20, 1, 10_000, "devices: those that share one access point")
    slots: int = _whole(2000, 1, 10_000_000, "slots: the horizon")
    slot_ms: float = _positive(1000.0, 1e9, "ms: length of a slot")
    coupling: Literal["none", "slot", "exact"] = Field(
        default="none",
        description="none, slot (fixed for a slot, error of the order of the slot) or exact (event by event): "
        "how devices that share something get in each other's way",
    )
    uplink: Sharing = Field(
        default="fixed",
        description="fixed (1/20 of the band for each), active (equal shares of the band for those that send) or "
        "cell (turns at cell_rate_mbps): the air upwards",
    )
    downlink: Sharing = Field(
        default="fixed",
        description="fixed (downlink_rate_mbps for each), active (that rate, shared by those that receive) or "
        "cell (turns at cell_rate_mbps): the air downwards",
    )
    queue: Literal["none", "fifo", "ps"] = Field(
        default="none", description="none, fifo or ps (processor sharing): the queue of each edge server"
    )
    cell_rate_mbps: float = _positive(
        150.0, 1e9, "Mb/s: what the air of a cell carries in all (cell, and under background traffic; a guess)"
    )
    downlink_rate_mbps: float | None = _optional(
        1e9, "Mb/s: a device's downlink (none: the download is neglected, as in the paper)"
    )
    arrivals: ArrivalConfig = Field(default=ArrivalConfig(), description="when tasks come")
    buffer: int = _whole(1, 0, 1000, "tasks: that may wait on a device while another one runs")
    deadline: DeadlineConfig = Field(default=DeadlineConfig(), description="how long a task may take")
    servers: ServersConfig = Field(default=ServersConfig(), description="the speeds of the servers")
    fleet: dict[Name, ProfileConfig] = Field(
        default_factory=dict,
        description="a group of device profiles by name, whose shares sum to 1 (empty: all are the UE of Table 2)",
    )
    workload: WorkloadConfig = Field(default=WorkloadConfig(), description="what the devices compute")

    @field_validator("fleet")
    @classmethod
    def _check_shares(cls, fleet: dict[str, ProfileConfig]) -> dict[str, ProfileConfig]:
        total = sum(profile.share for profile in fleet.values())
        if fleet and abs(total - 1.0) > 1e-6:
            raise ValueError(f"the shares of all profiles must sum to 1, not to {total:g}")
        return fleet


class _AgentConfig(_Record):
    """What both algorithms have; names and defaults are those of the agents' own records."""

    hidden: tuple[Width, ...] = Field(
        default=(256, 256),
        min_length=1,
        max_length=8,
        description="a list of 1 to 8 whole numbers from 1 to 16,384 units: the hidden layers, first to last",
    )
    activation: Literal["tanh", "relu"] = Field(default="tanh", description="tanh or relu: the hidden layers'")
    gamma: float = _real(0.99, 0.0, 1.0, "(no unit): the discount per decision")
    lr_decay_updates: int = _whole(
        0, 0, 1_000_000_000, "updates: the linear decay of the learning rates (0 = they stay constant)"
    )
    lr_final_fraction: float = _real(0.0, 0.0, 1.0, "(fraction): what is left of a learning rate after its decay")
    adam_eps: float = _positive(1e-8, 1.0, "(no unit): Adam's epsilon")
    reward_scale: float = _positive(1.0, 1e9, "(factor): rewards are multiplied by it inside the update")
    max_grad_norm: float = _real(0.0, 0.0, 1e9, "(global norm): gradients are clipped to it (0 = no clipping)")


class AcConfig(_AgentConfig):
    """Actor and critic in separate networks, one update per step."""

    adam_eps: float = _positive(1e-7, 1.0, "(no unit): Adam's epsilon")
    actor_learning_rate: float = _positive(1e-5, 1.0, "(per update): Adam's step size of the actor")
    critic_learning_rate: float = _positive(1e-4, 1.0, "(per update): Adam's step size of the critic")
    entropy_coefficient: float = _real(0.0, 0.0, 100.0, "(per nat): the entropy bonus in the actor's loss")


class DdqnConfig(_AgentConfig):
    """Double Q-learning with a replay memory and a target network."""

    hidden: tuple[Width, ...] = Field(
        default=(64, 64),
        min_length=1,
        max_length=8,
        description="a list of 1 to 8 whole numbers from 1 to 16,384 units: the hidden layers, first to last",
    )
    activation: Literal["tanh", "relu"] = Field(default="relu", description="tanh or relu: the hidden layers'")
    learning_rate: float = _positive(1e-3, 1.0, "(per update): Adam's step size")
    huber_delta: float = _positive(1.0, 1e9, "(scaled reward): where the Huber loss turns linear")
    loss: Literal["huber", "squared"] = Field(default="huber", description="huber or squared: the loss of the error")
    epsilon_start: float = _real(1.0, 0.0, 1.0, "(probability): random decisions at the start")
    epsilon_final: float = _real(0.05, 0.0, 1.0, "(probability): random decisions after the decay")
    epsilon_decay_updates: int = _whole(10_000, 1, 1_000_000_000, "updates: the linear decay of epsilon")
    target_update_period: int = _whole(250, 1, 1_000_000_000, "updates: between two copies to the target network")
    replay_capacity: int = _whole(10_000, 1, 100_000_000, "experiences: what the replay memory holds")
    batch_size: int = _whole(64, 1, 1_000_000, "experiences: one update's batch, at most replay_capacity")
    updates_per_step: int = _whole(1, 1, 1000, "updates: how many follow each slot")


class AgentsConfig(_Record):
    """The agents to train, each by its name; the first one named here is the one that is exported."""

    ddqn: DdqnConfig | None = Field(
        default=None, description="double Q-learning, trained where this group is there ({} = all defaults)"
    )
    ac: AcConfig | None = Field(
        default=None, description="actor-critic, trained where this group is there ({} = all defaults)"
    )

    def named(self) -> list[tuple[str, AcConfig | DdqnConfig]]:
        """Name and configuration of each agent that is trained."""
        agents = {"ddqn": self.ddqn, "ac": self.ac}
        return [(name, agent) for name, agent in agents.items() if agent is not None]


class TrainingConfig(_Record):
    """How long is trained, on how many worlds, with how many independent seeds."""

    seeds: int = _whole(5, 1, 10_000, "seeds: independent agents, trained side by side")
    seed: int = _whole(0, 0, 2_000_000_000, "(no unit): the first training seed, the others follow")
    worlds: int = _whole(
        8, 1, 1_000_000, "worlds: side by side, clocks staggered over the horizon; must divide problem.slots"
    )
    rounds: int = _whole(
        200, 1, 1_000_000_000, "rounds: of slots / worlds slots each, after which the oldest world is reset"
    )
    checkpoint_rounds: int = _whole(1, 1, 1_000_000_000, "rounds: between two checkpoints")
    validation_devices: int = _whole(
        200,
        0,
        10_000_000,
        "devices: the validation fleet, a multiple of devices_per_cell (0 = no validation)",
    )


class EvaluationConfig(_Record):
    """On which held-out worlds policies are compared."""

    seeds: int = _whole(10, 2, 100_000, "seeds: independent held-out worlds")
    seed: int = _whole(10_000, 0, 2_000_000_000, "(no unit): the first held-out seed, the others follow")
    devices: int = _whole(200, 1, 10_000_000, "devices: the fleet, a multiple of devices_per_cell")
    mixes: Annotated[tuple[Mix, ...], AfterValidator(_distinct)] = Field(
        default=(),
        description="a list of class1, class2, class3 and uniform, each once (empty: problem.mix)",
    )
    scenarios: Annotated[tuple[Name, ...], AfterValidator(_distinct)] = Field(
        default=(), description=f"{_SCENARIOS} (empty: problem.scenarios)"
    )


class RunConfig(_Record):
    """Everything that a run depends on."""

    problem: ProblemConfig = Field(default=ProblemConfig(), description="the problem")
    agents: AgentsConfig = Field(
        default=AgentsConfig(ac=AcConfig()), description="the learning agents, all of which are trained"
    )
    training: TrainingConfig = Field(default=TrainingConfig(), description="the training")
    evaluation: EvaluationConfig = Field(default=EvaluationConfig(), description="the evaluation")
    scenarios: dict[Name, ScenarioConfig] = Field(
        default_factory=dict,
        description="a group of scenarios by name; load_config puts the content of each scenario file here, "
        "so that a run folder stands alone",
    )

    def find_scenario(self, name: str) -> ScenarioConfig | None:
        """The scenario called ``name`` (or in the file ``name``); ``None`` means built into the problem."""
        if name in BUILTIN_SCENARIOS:
            return None
        found = self.scenarios.get(name) or load_scenario(name)
        found.check_horizon(self.problem.slots, name)
        return found

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        _check_cells(self)
        _check_training(self)
        _check_coupling(self.problem)
        _check_task_set(self)
        for name, scenario in self.scenarios.items():
            if name in BUILTIN_SCENARIOS:
                raise ConfigError("scenarios", name, "this name belongs to a built-in scenario; choose another")
            scenario.check_horizon(self.problem.slots, f"scenarios.{name}")
        return self


def _check_cells(config: RunConfig) -> None:
    cell = config.problem.devices_per_cell
    fleets = {
        "problem.devices": config.problem.devices,
        "training.validation_devices": config.training.validation_devices,
        "evaluation.devices": config.evaluation.devices,
    }
    for field, devices in fleets.items():
        if devices % cell:
            raise ConfigError(
                field,
                devices,
                f"it must be a multiple of problem.devices_per_cell = {cell}, like {cell * 10}",
            )


def _check_training(config: RunConfig) -> None:
    training, evaluation = config.training, config.evaluation
    slots = config.problem.slots
    if slots % training.worlds:
        near = max(n for n in range(1, training.worlds) if slots % n == 0)
        raise ConfigError("training.worlds", training.worlds, f"it must divide problem.slots = {slots}, like {near}")
    share = config.problem.devices_per_cell * training.worlds
    if config.problem.devices % share:
        raise ConfigError(
            "problem.devices",
            config.problem.devices,
            f"each of training.worlds = {training.worlds} needs whole cells: a multiple of {share}, like {share * 4}",
        )
    if not config.agents.named():
        text = f"it must hold at least one of {_keys(AgentsConfig)}, like agents: {{ac: {{}}}}"
        raise ConfigError("agents", {}, text)
    if config.agents.ddqn is not None:
        _check_replay(config.agents.ddqn, config.problem.devices)
    first, last = training.seed, training.seed + training.seeds - 1
    if evaluation.seed <= last and first < evaluation.seed + evaluation.seeds:
        text = f"held-out seeds must not meet the training seeds {first} to {last}"
        raise ConfigError("evaluation.seed", evaluation.seed, text)


def _check_coupling(problem: ProblemConfig) -> None:
    shared = {"uplink": problem.uplink, "downlink": problem.downlink, "queue": problem.queue}
    shared = {name: mode for name, mode in shared.items() if mode not in ("fixed", "none")}
    if problem.coupling == "none" and shared:
        name, mode = next(iter(shared.items()))
        raise ConfigError("problem.coupling", "none", f"it must be slot or exact, because of problem.{name} = {mode}")
    if problem.coupling == "exact" and problem.devices_per_cell > EXACT_CELL:
        text = f"with problem.coupling = exact at most {EXACT_CELL} devices share a cell; use slot for larger cells"
        raise ConfigError("problem.devices_per_cell", problem.devices_per_cell, text)
    if problem.downlink == "active" and problem.downlink_rate_mbps is None:
        text = "it must be a number of Mb/s, because problem.downlink = active shares it"
        raise ConfigError("problem.downlink_rate_mbps", None, text)


def _check_task_set(config: RunConfig) -> None:
    if config.problem.workload.task_set is None:
        return
    if config.problem.arrivals != ArrivalConfig():
        text = "a task set brings its own releases; leave problem.arrivals out"
        raise ConfigError("problem.arrivals.kind", config.problem.arrivals.kind, text)
    if config.evaluation.mixes:
        text = "a task set has no mixes of classes; leave evaluation.mixes out"
        raise ConfigError("evaluation.mixes", list(config.evaluation.mixes), text)


def _check_replay(agent: DdqnConfig, devices: int) -> None:
    if agent.batch_size > agent.replay_capacity:
        text = f"it must not exceed agents.ddqn.replay_capacity = {agent.replay_capacity}"
        raise ConfigError("agents.ddqn.batch_size", agent.batch_size, text)
    if devices > agent.replay_capacity:
        text = f"it must hold one slot of all devices, problem.devices = {devices}"
        raise ConfigError("agents.ddqn.replay_capacity", agent.replay_capacity, text)


class _Loader(yaml.SafeLoader):
    """Plain values only; a key that appears twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        """A mapping whose keys are text and appear once (PyYAML would keep the last without a word).

        Whole numbers become text: the cells of a scenario are numbered.
        """
        seen: set[str] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            line = f"line {key_node.start_mark.line + 1}"
            if not isinstance(key, str | int) or isinstance(key, bool):
                raise ConfigError(line, key, "keys must be text")
            if str(key) in seen:
                raise ConfigError(line, key, "each key may appear once in its group")
            seen.add(str(key))
        return {str(key): value for key, value in super().construct_mapping(node, deep).items()}


class _Dumper(yaml.SafeDumper):
    """What :class:`_Loader` reads back equal."""


# The core schema of YAML 1.2, because PyYAML's 1.1 reads 1e-5 as text, off as false and 1:30 as 90.
_EXPONENT = r"[eE][-+]?[0-9]+"
_FLOAT = (
    rf"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:{_EXPONENT})?|\.[0-9][0-9_]*(?:{_EXPONENT})?"
    rf"|[0-9][0-9_]*{_EXPONENT}|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)"
)
_SCALARS = {
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?(?:0|[1-9][0-9_]*)", "-+0123456789"),
    "float": (_FLOAT, "-+.0123456789"),
    "null": (r"~|null|Null|NULL|", ["~", "n", "N", ""]),
}
for _class in (_Loader, _Dumper):
    _class.yaml_implicit_resolvers = {}
    for _tag, (_pattern, _first) in _SCALARS.items():
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), list(_first))
_Dumper.add_representer(
    list, lambda dumper, data: dumper.represent_sequence("tag:yaml.org,2002:seq", data, flow_style=True)
)


def _parse_yaml(text: str, source: str) -> Any:
    """The value of a YAML text; what cannot be read becomes one line that names ``source`` and the line."""
    try:
        return yaml.load(text, Loader=_Loader)
    except ConfigError as error:
        raise ConfigError(f"{source} {error.field}", error.value, error.allowed) from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        number = mark.line if mark else 0
        line = (text.splitlines() or [""])[min(number, max(len(text.splitlines()) - 1, 0))].strip()
        raise ConfigError(f"{source} line {number + 1}", line, f"it must be YAML ({error.problem})") from None
    except yaml.YAMLError as error:
        raise ConfigError(source, text[:40], f"it must be YAML ({_one_line(error)})") from None
    except (ValueError, LookupError, RecursionError, TypeError) as error:
        raise ConfigError(source, text[:40], f"it must be YAML with plain values ({_one_line(error)})") from None


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


def _read_tree(path: Path | Traversable, field: str, root: type[BaseModel]) -> Tree:
    """The mapping in a YAML file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        raise ConfigError(field, str(path), "no such file; it must be the path of a YAML file") from None
    except IsADirectoryError:
        raise ConfigError(field, str(path), "this is a folder; it must be the path of a YAML file") from None
    except UnicodeDecodeError:
        raise ConfigError(field, str(path), "this is no text in UTF-8; it must be a YAML file") from None
    except ValueError as error:  # a NUL in the path
        raise ConfigError(field, str(path), f"{error}; it must be the path of a YAML file") from None
    except OSError as error:
        raise MachineError(f"cannot read {path}: {error.strerror or error}") from error
    tree = _parse_yaml(text, str(path))
    if not isinstance(tree, dict):
        what = "an empty file" if tree is None else tree
        raise ConfigError(str(path), what, f"the file must have keys; allowed keys: {_keys(root)}")
    return tree


def _keys(group: type[BaseModel]) -> str:
    return ", ".join(group.model_fields)


def load_config(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> RunConfig:
    """Read a run's configuration from a YAML file.

    Args:
      path: the YAML file; keys that it leaves out keep their defaults.
      overrides: texts ``a.b.c=value`` that win over the file, in order; values are YAML.

    Returns:
      The checked configuration, with the content of each scenario file that it names in ``scenarios``.

    Raises:
      ConfigError: naming the first wrong field, its value and what is allowed.
    """
    path = Path(path)
    tree = _read_tree(path, "config", RunConfig)
    for text in overrides:
        _apply_override(tree, text)
    config = parse_config(tree)
    used = {f"problem.scenarios.{i}": name for i, name in enumerate(config.problem.scenarios)}
    used |= {f"evaluation.scenarios.{i}": name for i, name in enumerate(config.evaluation.scenarios)}
    files: Tree = {}
    for field, name in used.items():
        if name not in BUILTIN_SCENARIOS:
            found = config.scenarios.get(name) or load_scenario(name, path.parent, field)
            found.check_horizon(config.problem.slots, name)
            files[name] = found.model_dump()
    return parse_config({**tree, "scenarios": files})


def parse_config(tree: Mapping[str, Any]) -> RunConfig:
    """A checked configuration from a tree of plain values; ``ConfigError`` names the first wrong field."""
    return _validate(RunConfig, dict(tree))


def load_scenario(
    name_or_path: str, folder: str | os.PathLike[str] = ".", field: str = "problem.scenarios"
) -> ScenarioConfig:
    """Read a scenario file: a path from the working directory, else from ``folder``, else a shipped name.

    Raises:
      ConfigError: no such file, a wrong key or value, or a built-in scenario (it has no file: its outages
        come with the preset of the problem).
    """
    if name_or_path in BUILTIN_SCENARIOS:
        raise ConfigError(field, name_or_path, "a built-in scenario has no file; the problem's preset holds it")
    shipped = _shipped_scenarios()
    file = _find_file([Path(name_or_path), Path(folder) / name_or_path], shipped.get(name_or_path))
    if file is None:
        names = [*BUILTIN_SCENARIOS, *shipped]
        allowed = f"no such file; it must be {', '.join(names)} or the path of a scenario file"
        raise ConfigError(field, name_or_path, allowed + _hint(name_or_path, names))
    return _validate(ScenarioConfig, _read_tree(file, field, ScenarioConfig), prefix=f"{name_or_path}: ")


def _shipped_scenarios() -> dict[str, Traversable]:
    """The scenario files that come with offjax, by name."""
    try:
        found = list((resources.files("offjax.configs") / "scenarios").iterdir())
    except (ImportError, OSError):  # only an installation maps the folder configs/ to this package
        return {}
    files = {file.name: file for file in found if file.name.endswith(".yaml")}
    return {name.removesuffix(".yaml"): files[name] for name in sorted(files)}


def _find_file(places: Sequence[Path], shipped: Traversable | None) -> Path | Traversable | None:
    """The first file; a folder hides no shipped file of the same name, but is better than nothing."""
    try:
        file = next((place for place in places if place.is_file()), None)
        return file or shipped or next((place for place in places if place.exists()), None)
    except (OSError, ValueError):  # too long, or with a NUL: no name of a file
        return None


def parse_override(text: str) -> tuple[list[str], Any]:
    """Split ``a.b.c=value`` into its path and its value, which is read as YAML."""
    key, equals, value = text.partition("=")
    path = key.strip().split(".")
    if not equals or not all(re.fullmatch(r"\w+", part) for part in path):
        raise ConfigError("--set", text, "it must read path=value, like training.seeds=3")
    return path, _parse_yaml(value, f"--set {key.strip()}")


def _apply_override(tree: Tree, text: str) -> None:
    path, value = parse_override(text)
    node = tree
    for depth, part in enumerate(path[:-1]):
        if node.get(part) is None:
            node[part] = {}
        node = node[part]
        if not isinstance(node, dict):
            raise ConfigError("--set", text, f"{'.'.join(path[: depth + 1])} is a value and has no keys")
    node[path[-1]] = value


def _validate(model: type[_Model], tree: Tree, prefix: str = "") -> _Model:
    try:
        return model.model_validate(tree)
    except ValidationError as errors:
        raise _plain_error(model, tree, errors.errors()[0], prefix) from None


def _plain_error(root: type[BaseModel], tree: Tree, error: ErrorDetails, prefix: str) -> ConfigError:
    """The user's path, value and choices."""
    kind = error["type"]
    path, value, entry = _locate(tree, error["loc"])
    if kind == "missing" and isinstance(value, dict):
        path, value = [*path, str(error["loc"][-1])], None
    _, parent = _field_at(root, path[:-1])
    field, group = _field_at(root, path)
    if kind == "extra_forbidden" and parent is not None:
        hint = _hint(path[-1], list(parent.model_fields))
        allowed = f"no such key{hint}; allowed keys: {_keys(parent)}"
    elif kind == "value_error":
        allowed = str(error["ctx"]["error"])
    elif group is not None and get_origin(field.annotation if field else None) is not dict:
        allowed = f"it must be a group of keys: {_keys(group)}"
    elif field is not None:
        choices = _choices(field.annotation)
        allowed = f"it must be {field.description}{_hint(entry, choices)}"
    else:
        allowed = error["msg"]
    return ConfigError((prefix + ".".join(path)).rstrip(": "), value, allowed)


def _locate(tree: Any, location: Sequence[str | int]) -> tuple[list[str], Any, Any]:
    """Path to the wrong field, its value, and the wrong entry in it where the value is a list."""
    path: list[str] = []
    value = entry = tree
    for part in location:
        if isinstance(entry, list | tuple) and isinstance(part, int) and part < len(entry):
            entry = entry[part]
        elif isinstance(entry, dict) and part in entry:
            path.append(str(part))
            value = entry = entry[part]
    return path, value, entry


def _field_at(root: type[BaseModel], path: Sequence[str]) -> tuple[FieldInfo | None, type[BaseModel] | None]:
    """The last field on ``path``, and the group of keys that it should hold (``None`` for a plain value)."""
    field: FieldInfo | None = None
    group: type[BaseModel] | None = root
    for part in path:
        if group is not None and part in group.model_fields:
            field = group.model_fields[part]
            group = _group(field.annotation)
    return field, group


def _group(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _group(arg))), None)


def _choices(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return list(get_args(annotation))
    return [choice for arg in get_args(annotation) for choice in _choices(arg)]


def _hint(value: Any, choices: Sequence[str]) -> str:
    near = get_close_matches(value, choices, n=1) if isinstance(value, str) else []
    near = near or [choice for choice in choices if value and choice.startswith(str(value))]
    return f" (did you mean {near[0]}?)" if near else ""


def config_hash(config: BaseModel) -> str:
    """The first 12 hex characters of the SHA-256 of the configuration as canonical JSON."""
    text = json.dumps(config.model_dump(mode="json"), sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def to_yaml(config: BaseModel) -> str:
    """The whole configuration, defaults included, as YAML that :func:`load_config` reads back equal."""
    tree = config.model_dump(mode="json")
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=sys.maxsize)
