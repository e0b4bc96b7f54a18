"""The experiments on paper A: how many seeds, how long, and which values of each number that is varied.

The paper prints none of them: every default is a guess.
"""

import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from offjax.config.fields import Record, Width, increasing, positive, real, whole
from offjax.config.paper_a_learning import GapsConfig, GeneratorsConfig, LearningCurvesConfig, SharesConfig, TableConfig
from offjax.config.plain_errors import Tree, validate
from offjax.config.yaml_text import read_tree
from offjax.errors import ConfigError

Latency = Annotated[float, Field(strict=True, ge=0.0, le=1e4)]
Latencies = Annotated[tuple[Latency, ...], Field(min_length=1), AfterValidator(increasing)]
Count = Annotated[int, Field(strict=True, ge=1, le=1_000_000_000)]
Counts = Annotated[tuple[Count, ...], Field(min_length=1), AfterValidator(increasing)]


class SystemConfig(Record):
    """The system of the paper as Fig. 1 draws it; the paper has symbols for most of these numbers, and no value."""

    devices: int = whole(20, 1, 1_000_000, "devices: N, of all access points (a guess)")
    devices_per_cell: int = whole(20, 1, 10_000, "devices: those that share one access point (a guess)")
    sending_period: int = whole(1, 1, 1_000_000, "tasks: SF, from one experience that is sent to the next (a guess)")
    weights_period: int = whole(
        10, 1, 1_000_000, "trainings: T, from one transfer of the weights to the next (a guess)"
    )
    batch_size: int = whole(64, 1, 1_000_000, "experiences: BS, one training's batch, at most arm_capacity (a guess)")
    brm_capacity: int = whole(10_000, 1, 100_000_000, "experiences: what the basic replay memory holds (a guess)")
    arm_capacity: int = whole(50_000, 1, 100_000_000, "experiences: what the augmented replay memory holds (a guess)")
    hidden: tuple[Width, ...] = Field(
        default=(64, 64), min_length=1, description="a list of widths of the hidden layers (a guess)"
    )
    learning_rate: float = positive(1e-3, 1.0, "(per training): Adam's step size (a guess)")
    gamma: float = real(0.0, 0.0, 1.0, "(per decision): the discount (a guess; 0: a task ends before the next comes)")
    epsilon_final: float = real(0.05, 0.0, 1.0, "(probability): random decisions after the decay (a guess)")
    epsilon_decay_updates: int = whole(500, 1, 1_000_000_000, "trainings: the linear decay of epsilon (a guess)")
    target_update_period: int = whole(50, 1, 1_000_000_000, "trainings: between two copies to the target (a guess)")

    def check(self) -> None:
        """Raise ConfigError where two fields do not fit."""
        if self.devices % self.devices_per_cell:
            text = f"it must be a multiple of system.devices_per_cell = {self.devices_per_cell}"
            raise ConfigError("system.devices", self.devices, text)
        if self.batch_size > self.arm_capacity:
            text = f"it must be at least system.batch_size = {self.batch_size}: below that the agent never trains"
            raise ConfigError("system.arm_capacity", self.arm_capacity, text)
        if self.brm_capacity > self.arm_capacity:
            text = f"it must be at most system.arm_capacity = {self.arm_capacity}, which holds what is drawn from it"
            raise ConfigError("system.brm_capacity", self.brm_capacity, text)


class FleetConfig(Record):
    """A fleet of Fig. 4: how many devices, for how many tasks, under which latencies and failures."""

    devices: int = whole(20, 20, 10_000_000, "devices: of the fleet, a multiple of 20, which share an access point")
    settings: tuple[Literal["constant", "periodic", "poisson"], ...] = Field(
        default=("constant", "periodic", "poisson"),
        min_length=1,
        description="a list of constant (periodic arrivals; every place takes the same time), periodic and poisson "
        "(the problem's own tasks and servers): the worlds",
    )
    slots_per_task: int = whole(4, 1, 1_000, "slots: in the mean time between two tasks of a device")
    tasks: int = whole(404, 2, 1_000_000, "tasks: of a device in a run")
    before: int = whole(20, 1, 1_000_000, "tasks: of a device before the failure")
    latencies: Latencies = Field(
        default=(0.0, 1.0, 10.0, 100.0),
        description="a rising list of numbers from 0 to 10000 times between two tasks: what the loop takes, always",
    )
    failures: Latencies = Field(
        default=(1.0, 10.0, 100.0), description="the same: how long the loop, the cloud or the radio link is gone, once"
    )
    places: int = whole(4, 1, 1_000, "messages: of a device that may be under way (a guess)")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.devices % 20:
            raise ConfigError("resilience.fleets.devices", self.devices, "it must be a multiple of 20")
        if self.failures[-1] + self.before > self.tasks:
            text = f"it must be at most tasks - before = {self.tasks - self.before}: a failure ends within the run"
            raise ConfigError("resilience.fleets.failures", self.failures[-1], text)
        return self


class ResilienceConfig(Record):
    """Fig. 4: tasks that are dropped when the loop of learning is slow, or gone."""

    time_between_tasks_s: float = positive(4.0, 1e6, "s: between two tasks of a device, in the mean (a guess)")
    service_share: float = real(
        0.3, 0.001, 0.99, "(share of that time): a task takes in the setting constant (a guess)"
    )
    training_tasks: int = whole(400, 10, 1_000_000, "tasks: of a device before, from which the networks have learnt")
    hidden: tuple[Width, ...] = Field(
        default=(32, 32), min_length=1, description="a list of widths of the hidden layers (a guess)"
    )
    batch_size: int = whole(32, 1, 1_000_000, "experiences: BS (a guess)")
    memory: int = whole(2_000, 1, 100_000_000, "experiences: that either memory holds, at least batch_size (a guess)")
    fleets: tuple[FleetConfig, ...] = Field(default=(FleetConfig(),), description="a list of groups: the fleets")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.batch_size > self.memory:
            text = f"it must be at least resilience.batch_size = {self.batch_size}: below that the agent never trains"
            raise ConfigError("resilience.memory", self.memory, text)
        if not self.fleets or "constant" not in self.fleets[0].settings:
            text = "the first fleet must have the setting constant, for which there is a closed form"
            raise ConfigError("resilience.fleets", [list(fleet.settings) for fleet in self.fleets], text)
        return self


class TrafficConfig(Record):
    """What travels, and what happens when links and servers fail while the system learns."""

    slots: int = whole(1_000, 20, 10_000_000, "slots: of a run, with a task of every device in each")
    sending_periods: Counts = Field(
        default=(1, 2, 5, 10, 20, 50), description="a rising list of whole numbers: SF, the tasks for one experience"
    )
    weights_periods: Counts = Field(
        default=(1, 2, 5, 10, 20, 50, 100, 200),
        description="a rising list of whole numbers: T, the trainings for one transfer of the weights",
    )
    failure_start: int = whole(500, 1, 10_000_000, "slots: before something fails")
    failure_slots: int = whole(200, 1, 10_000_000, "slots: that one link or both are down")
    seen_failures: int = whole(
        4, 0, 1_000, "failures: short ones of each node before failure_start, where networks shall have seen some"
    )
    seen_slots: int = whole(20, 1, 10_000_000, "slots: of each of them (a guess)")
    epsilon_final: float = real(0.02, 0.0, 1.0, "(probability): random decisions after the decay (a guess)")
    window: int = whole(20, 1, 10_000, "slots: over which a reward is averaged")
    recovered: float = real(0.9, 0.0, 1.0, "(score): of the best that can be reached, from which a system has adapted")
    quick_slots: int = whole(50, 1, 10_000_000, "slots: within which an adaptation is called quick (a guess)")

    @property
    def turn_slots(self) -> int:
        """From one of the short failures to the next: three nodes in turn, after a round without any."""
        return self.failure_start // (3 * (self.seen_failures + 1))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.failure_start + self.failure_slots + self.window > self.slots:
            text = f"it must leave room for failure_slots and window in slots = {self.slots}"
            raise ConfigError("traffic.failure_start", self.failure_start, text)
        if self.seen_slots > self.turn_slots:
            text = f"at most {self.turn_slots}, so that {3 * self.seen_failures} failures fit before failure_start"
            raise ConfigError("traffic.seen_slots", self.seen_slots, text)
        for name in ("sending_periods", "weights_periods"):
            longest = getattr(self, name)[-1]
            if longest > self.slots:
                raise ConfigError(f"traffic.{name}", longest, f"at most slots = {self.slots}: else none is ever sent")
        return self


class ScaleConfig(Record):
    """Fleets of growing size."""

    devices: Counts = Field(
        default=(10, 100, 1_000, 10_000, 100_000, 1_000_000),
        description="a rising list of whole numbers of devices, 10 for each access point",
    )
    device_slots: int = whole(2_000_000, 1, 10**12, "(device-slots): of a run, at least slots_least slots")
    slots_least: int = whole(6, 2, 10_000, "slots: at least")
    slots_most: int = whole(200, 2, 1_000_000, "slots: at most")

    @model_validator(mode="after")
    def _check(self) -> Self:
        for devices in self.devices:
            if devices % 10:
                raise ConfigError("scale.devices", devices, "a multiple of 10, the devices of an access point")
        if self.slots_least > self.slots_most:
            raise ConfigError("scale.slots_least", self.slots_least, f"at most slots_most = {self.slots_most}")
        return self


class OptimumConfig(Record):
    """Learned decisions beside the exact optimum of the cell, where devices share the air and the edge server."""

    cells: Counts = Field(default=(4, 20), description="a rising list of whole numbers: devices of a cell")
    devices: int = whole(20, 1, 100_000, "devices: of the fleet, a multiple of each")
    slots: int = whole(1_500, 10, 10_000_000, "slots: of training")
    states: int = whole(30, 2, 10_000, "states: held out, in which every device has a task")

    @model_validator(mode="after")
    def _check(self) -> Self:
        for cell in self.cells:
            if self.devices % cell:
                raise ConfigError("optimum.cells", cell, f"a divisor of optimum.devices = {self.devices}")
        return self


class AlgorithmsConfig(Record):
    """Other algorithms in the architecture of the paper."""

    slots: int = whole(1_500, 20, 10_000_000, "slots: of a run, with a task of every device in each")
    agents: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="a group: name -> agent (ddqn, ac, a2c, ppo) and fields of its record"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, fields in self.agents.items():
            if not isinstance(fields.get("agent"), str):
                raise ConfigError(
                    f"algorithms.agents.{name}", fields, "a group with the key agent: ddqn, ac, a2c or ppo"
                )
        return self


class PaperAConfig(Record):
    """Everything about the experiments on paper A."""

    seeds: int = whole(10, 2, 1_000, "seeds: runs behind each point")
    seed: int = whole(0, 0, 2_000_000_000, "(no unit): the first seed")
    system: SystemConfig = Field(default=SystemConfig(), description="a group of numbers of the system of Fig. 1")
    gaps: GapsConfig = Field(default=GapsConfig(), description="a group of numbers of the world of learning_curves")
    generators: GeneratorsConfig = Field(
        default=GeneratorsConfig(), description="a group of numbers of the generators of experiences"
    )
    learning_curves: LearningCurvesConfig = Field(
        default=LearningCurvesConfig(), description="a group of numbers of Fig. 2 and Fig. 3"
    )
    shares: SharesConfig = Field(
        default=SharesConfig(), description="a group of numbers of how much of a batch is generated"
    )
    table_2c: TableConfig = Field(
        default=TableConfig(), description="a group of numbers of the table of fixed sets of experiences"
    )
    resilience: ResilienceConfig = Field(default=ResilienceConfig(), description="a group of numbers of Fig. 4")
    traffic: TrafficConfig = Field(default=TrafficConfig(), description="a group of numbers of traffic and failures")
    scale: ScaleConfig = Field(default=ScaleConfig(), description="a group of numbers of large fleets")
    optimum: OptimumConfig = Field(default=OptimumConfig(), description="a group of numbers of the exact optimum")
    algorithms: AlgorithmsConfig = Field(default=AlgorithmsConfig(), description="a group: other algorithms")
    quick: dict[str, Any] = Field(
        default_factory=dict, description="a group of keys of this file that --quick has other values for"
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.system.check()
        self.gaps.check("gaps")
        self._check_periods()
        if self.shares.sparsity not in self.learning_curves.sparsities:
            text = (
                f"one of learning_curves.sparsities = {list(self.learning_curves.sparsities)}: it is held against them"
            )
            raise ConfigError("shares.sparsity", self.shares.sparsity, text)
        return self

    def _check_periods(self) -> None:
        iterations, period = self.learning_curves.iterations, self.generators.fit_period
        if iterations % period:
            text = f"it must be a multiple of generators.fit_period = {period}"
            raise ConfigError("learning_curves.iterations", iterations, text)
        if self.learning_curves.arm_capacity < self.system.batch_size:
            text = f"it must be at least system.batch_size = {self.system.batch_size}: below that it never trains"
            raise ConfigError("learning_curves.arm_capacity", self.learning_curves.arm_capacity, text)


def load_paper_a(path: str | os.PathLike[str], quick: bool = False) -> PaperAConfig:
    """Read the experiments from a YAML file.

    Args:
        path: the file.
        quick: put the values of its group ``quick`` in the place of its others.

    Raises:
        ConfigError: naming the first wrong field, its value and what is allowed.
    """
    tree = read_tree(Path(path), "config", PaperAConfig)
    if not quick:
        return validate(PaperAConfig, tree)
    changes = validate(PaperAConfig, tree).quick
    return validate(PaperAConfig, {**merged(tree, changes), "quick": {}})


def merged(tree: Tree, changes: Tree) -> Tree:
    """A tree with some values changed, group by group."""
    both = {key: merged(tree[key], new) for key, new in changes.items() if _groups(tree.get(key), new)}
    return {**tree, **changes, **both}


def _groups(old: Any, new: Any) -> bool:
    return isinstance(old, dict) and isinstance(new, dict)
