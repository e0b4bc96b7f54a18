"""What the devices face: the fields that every problem has, and those of each problem."""

from typing import Annotated, Any, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from offjax.config.fields import SCENARIOS, Name, Record, distinct, optional, positive, real, switch, whole
from offjax.config.scenario import BUILTIN_SCENARIOS
from offjax.errors import ConfigError

ProblemName = Literal["nieto2024", "laas2022"]
"""The known problems; each has its configuration in :data:`PROBLEMS`."""

_PROBLEMS = f"{' or '.join(get_args(ProblemName))}: the problem"

Mix = Literal["class1", "class2", "class3", "uniform"]
Sharing = Literal["fixed", "active", "cell"]
EXACT_CELL = 64
"""Largest cell of coupling ``exact``, as the world has it (this module imports no room)."""


class ArrivalConfig(Record):
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
    chance: float | None = optional(1.0, "(probability per slot): a task comes (bernoulli)")
    mean_s: float | None = optional(
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


class DeadlineConfig(Record):
    """How long a task may take."""

    kind: Literal["none", "size", "uniform"] = Field(
        default="size",
        description="none, size (grows with the task's size) or uniform (that, times a factor drawn for each task): "
        "the deadline of a task",
    )
    factor_low: float = real(1.2, 0.0, 1e6, "(factor): least factor (uniform)")
    factor_high: float = real(3.0, 0.0, 1e6, "(factor): largest factor (uniform), at least factor_low")
    fixed_ms: float = real(0.0, 0.0, 1e9, "ms: added to what the size allows")

    @model_validator(mode="after")
    def _check_factors(self) -> Self:
        if self.factor_low > self.factor_high:
            raise ValueError(f"factor_low = {self.factor_low:g} must not exceed factor_high = {self.factor_high:g}")
        return self


class ProfileConfig(Record):
    """One kind of device in a mixed fleet; the defaults are the UE of the paper's Table 2."""

    share: float = positive(1.0, 1.0, "(share): of the devices of every cell; all shares sum to 1")
    speed_mhz: float = positive(40.0, 1e7, "MHz (million cycles/s): speed of local execution")
    energy_coefficient: float = real(1e-21, 0.0, 1.0, "J s^2/cycle^3: energy of a cycle over the squared speed")
    battery_j: float = positive(4000.0, 1e12, "J: a full battery")
    idle_w: float = real(0.1, 0.0, 1e4, "W: drawn always")
    transmit_w: float = positive(1.0, 1e4, "W: sent and drawn while it uploads")
    receive_w: float = real(0.0, 0.0, 1e4, "W: drawn while it downloads")


class TaskSetConfig(Record):
    """The generator of periodic task sets (defaults: Table II of Nieto et al. 2026) and what it leaves open."""

    utilisation: float = positive(3.9, 1e6, "cores: the load of the set, in cores of cpu_speed_mhz")
    number_of_tasks: int = whole(500, 1, 30_000, "tasks: of the set, dealt over the devices of a cell")
    period_min_us: int = whole(100_000, 1, 10**12, "us: shortest period, a multiple of period_step_us")
    period_max_us: int = whole(100_000_000, 1, 10**12, "us: longest period, a multiple of period_step_us")
    period_step_us: int = whole(1000, 1, 10**12, "us: every period is a multiple of it")
    seed: int = whole(50, 0, 2**31 - 1, "(no unit): seed of the generator")
    cpu_speed_mhz: float = positive(1200.048, 1e7, "MHz: clock that execution times hold for")
    cores: int = whole(4, 1, 1_000_000, "cores: of that CPU; the load must not exceed them")
    releases_seed: int = whole(0, 0, 2_000_000_000, "(no unit): seed of the first releases and of the data sizes")
    bits_per_cycle_low: float = positive(
        1.75e-4, 1e3, "bit/cycle: a task's upload over its cycles, at least (a guess: the generator has no data sizes)"
    )
    bits_per_cycle_high: float = positive(3.5e-2, 1e3, "bit/cycle: the same, at most; log-uniform between (a guess)")
    result_share: float = real(0.1, 0.0, 1e3, "(share): size of a task's result over its upload (a guess)")

    @model_validator(mode="after")
    def _check_bits(self) -> Self:
        low, high = self.bits_per_cycle_low, self.bits_per_cycle_high
        if low > high:
            raise ValueError(f"bits_per_cycle_low = {low:g} must not exceed bits_per_cycle_high = {high:g}")
        return self


class WorkloadConfig(Record):
    """What the devices compute."""

    task_set: Annotated[TaskSetConfig | None, BeforeValidator(switch)] = Field(
        default=None,
        description="true, false or a group of keys: a set of periodic tasks in place of Table 3's classes",
    )


class ServersConfig(Record):
    """Speeds of the servers; the defaults are the paper's Table 2."""

    mec_speed_mhz: float = positive(1000.0, 1e9, "MHz (million cycles/s): the edge server of each cell")
    cloud_speed_mhz: float = positive(10_000.0, 1e9, "MHz (million cycles/s): what the cloud gives each task")


class BaseProblemConfig(Record):
    """What every problem has: its name, the scenarios, the fleet, its clock, and what devices share."""

    name: ProblemName = Field(default="nieto2024", description=_PROBLEMS)
    scenarios: Annotated[tuple[Name, ...], AfterValidator(distinct)] = Field(
        default=("scenario1",),
        min_length=1,
        description=f"{SCENARIOS}: each agent is trained in each of them",
    )
    devices: int = whole(
        160, 1, 10_000_000, "devices: the fleet, a multiple of devices_per_cell for each of training.worlds"
    )
    devices_per_cell: int = whole(20, 1, 10_000, "devices: those that share one access point")
    slots: int = whole(2000, 1, 10_000_000, "slots: the horizon")
    slot_ms: float = positive(1000.0, 1e9, "ms: length of a slot")
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
    cell_rate_mbps: float = positive(
        150.0, 1e9, "Mb/s: what the air of a cell carries in all (cell, and under background traffic; a guess)"
    )
    arrivals: ArrivalConfig = Field(default=ArrivalConfig(), description="when tasks come")
    buffer: int = whole(1, 0, 1000, "tasks: that may wait on a device while another one runs")

    @field_validator("fleet", check_fields=False)
    @classmethod
    def _check_shares(cls, fleet: dict[str, Any]) -> dict[str, Any]:
        total = sum(profile.share for profile in fleet.values())
        if fleet and abs(total - 1.0) > 1e-6:
            raise ValueError(f"the shares of all profiles must sum to 1, not to {total:g}")
        return fleet

    @property
    def usual_mix(self) -> str:
        """The mix of task classes where the evaluation names none."""
        raise NotImplementedError

    @property
    def variant(self) -> str:
        """Which form of the problem it is, for a report."""
        raise NotImplementedError

    def workload_name(self, mix: str) -> str:
        """What the tasks of a setting are called."""
        return mix

    def check_together(self, mixes: tuple[Mix, ...]) -> None:
        """Raise :class:`ConfigError` where two fields, or a field and the evaluation's mixes, do not fit."""
        shared = {"uplink": self.uplink, "downlink": self.downlink, "queue": self.queue}
        shared = {name: mode for name, mode in shared.items() if mode not in ("fixed", "none")}
        if self.coupling == "none" and shared:
            name, mode = next(iter(shared.items()))
            raise ConfigError(
                "problem.coupling", "none", f"it must be slot or exact, because of problem.{name} = {mode}"
            )
        if self.coupling == "exact" and self.devices_per_cell > EXACT_CELL:
            text = f"with problem.coupling = exact at most {EXACT_CELL} devices share a cell; use slot for larger cells"
            raise ConfigError("problem.devices_per_cell", self.devices_per_cell, text)


class Nieto2024Config(BaseProblemConfig):
    """What the devices face: the paper's problem, its preset, and how many devices for how long."""

    name: Literal["nieto2024"] = Field(default="nieto2024", description=_PROBLEMS)
    preset: Literal["text", "figures"] = Field(
        default="text", description="text or figures: which of the paper's two sets of numbers"
    )
    mix: Mix = Field(default="uniform", description="class1, class2, class3 or uniform: the mix of task classes")
    fleet: dict[Name, ProfileConfig] = Field(
        default_factory=dict,
        description="a group of device profiles by name, whose shares sum to 1 (empty: all are the UE of Table 2)",
    )
    downlink_rate_mbps: float | None = optional(
        1e9, "Mb/s: a device's downlink (none: the download is neglected, as in the paper)"
    )
    deadline: DeadlineConfig = Field(default=DeadlineConfig(), description="how long a task may take")
    servers: ServersConfig = Field(default=ServersConfig(), description="the speeds of the servers")
    workload: WorkloadConfig = Field(default=WorkloadConfig(), description="what the devices compute")

    @property
    def usual_mix(self) -> str:
        """See the base."""
        return self.mix

    @property
    def variant(self) -> str:
        """See the base."""
        return f"preset {self.preset}"

    def workload_name(self, mix: str) -> str:
        """See the base."""
        return mix if self.workload.task_set is None else "task_set"

    def check_together(self, mixes: tuple[Mix, ...]) -> None:
        """The same, with the rate of the downlink and the task set, which this problem alone has."""
        super().check_together(mixes)
        if self.downlink == "active" and self.downlink_rate_mbps is None:
            text = "it must be a number of Mb/s, because problem.downlink = active shares it"
            raise ConfigError("problem.downlink_rate_mbps", None, text)
        if self.workload.task_set is not None:
            self._check_task_set(mixes)

    def _check_task_set(self, mixes: tuple[Mix, ...]) -> None:
        if self.arrivals != ArrivalConfig():
            text = "a task set brings its own releases; leave problem.arrivals out"
            raise ConfigError("problem.arrivals.kind", self.arrivals.kind, text)
        if mixes:
            text = "a task set has no mixes of classes; leave evaluation.mixes out"
            raise ConfigError("evaluation.mixes", list(mixes), text)


class LaasDeviceConfig(Record):
    """One kind of device of laas2022; every default is a guess, the paper has the symbols f and e and no numbers."""

    share: float = positive(1.0, 1.0, "(share): of the devices of every cell; all shares sum to 1")
    f: float = positive(40e6, 1e18, "units/s, or cycles/unit where problem.reading is cycles_per_unit: the paper's f")
    clock_mhz: float = positive(40.0, 1e7, "MHz: clock of the processor (reading cycles_per_unit)")
    energy_uj_per_unit: float = real(1.6, 0.0, 1e9, "uJ/unit: e of equation (2)")
    battery_j: float = positive(4000.0, 1e12, "J: a full battery")
    idle_w: float = real(0.1, 0.0, 1e4, "W: drawn always")
    transmit_w: float = positive(0.1, 1e4, "W: sent and drawn while it uploads")


class LaasServerConfig(Record):
    """One server of laas2022; every default is a guess."""

    f: float = positive(1e9, 1e18, "units/s, or cycles/unit where problem.reading is cycles_per_unit: the paper's f")
    clock_mhz: float = positive(1000.0, 1e9, "MHz: clock of the processor (reading cycles_per_unit)")
    energy_uj_per_unit: float = real(0.0, 0.0, 1e9, "uJ/unit: e of equation (2)")
    link_mbps: float = positive(1000.0, 1e9, "Mb/s: rate between access point and server")
    link_delay_ms: float = real(0.0, 0.0, 1e6, "ms: delay between access point and server, both ways together")
    cloud: bool = Field(default=False, strict=True, description="true or false: is it behind the links to the cloud?")
    free_low: float = real(1.0, 0.0, 1.0, "(share): least share of its speed that is free, drawn anew in each slot")
    free_high: float = real(1.0, 0.0, 1.0, "(share): largest share, at least free_low")

    @model_validator(mode="after")
    def _check_free(self) -> Self:
        if self.free_low > self.free_high:
            raise ValueError(f"free_low = {self.free_low:g} must not exceed free_high = {self.free_high:g}")
        return self


Observed = Literal["battery", "delays", "cell"]


class Laas2022Config(BaseProblemConfig):
    """What the devices face in paper A; the paper prints no number, so that every default is a guess."""

    name: Literal["laas2022"] = Field(default="laas2022", description=_PROBLEMS)
    scenarios: Annotated[tuple[Name, ...], AfterValidator(distinct)] = Field(
        default=("calm",),
        min_length=1,
        description="a list of names of shipped scenarios (like calm, alternating) and paths of scenario files "
        "(YAML), each once: each agent is trained in each of them",
    )
    slots: int = whole(400, 1, 10_000_000, "slots: the horizon")
    fleet: dict[Name, LaasDeviceConfig] = Field(
        default_factory=dict,
        description="a group of device profiles by name, whose shares sum to 1 (empty: one kind, iot)",
    )
    servers: dict[Name, LaasServerConfig] = Field(
        default_factory=dict, description="a group of servers by name (empty: edge and cloud)"
    )
    reading: Literal["rate", "cycles_per_unit"] = Field(
        default="rate", description="rate (T = D / f) or cycles_per_unit (T = D f / clock): the reading of equation (1)"
    )
    cost: Literal["one_choice", "literal"] = Field(
        default="one_choice", description="one_choice or literal: the form of the cost, equation (4)"
    )
    theta: float = positive(0.4, 1e9, "bit/unit: size of a task's data over its demand D")
    demand_low: float = positive(1e6, 1e18, "units: least demand D of a task")
    demand_high: float = positive(10e6, 1e18, "units: largest demand D of a task, at least demand_low")
    tasks: int | None = Field(
        default=None,
        strict=True,
        ge=1,
        le=1_000_000_000,
        description="a whole number from 1 to 1,000,000,000 tasks: M of each device (none: no end of them)",
    )
    energy_weight: float | None = optional(1e12, "1/J: alpha (none: the mean energy of a task at home counts 1)")
    time_weight: float | None = optional(1e12, "1/s: beta (none: the mean time of a task at home counts 1)")
    drop_reward: float = real(-10.0, -1e9, 0.0, "(cost): reward of a dropped task")
    bandwidth_mhz: float = positive(20.0, 1e6, "MHz: band of an access point")
    noise_density_dbm: float = real(-165.0, -300.0, 100.0, "dBm/Hz: noise, noise figure included")
    path_loss: Literal["inf_sh", "umi_los", "umi_nlos"] = Field(
        default="umi_nlos", description="inf_sh, umi_los or umi_nlos: the path loss (3GPP TR 38.901)"
    )
    observe: Annotated[tuple[Observed, ...], AfterValidator(distinct)] = Field(
        default=(),
        description="a list of battery, delays and cell, each once: what is observed beside the paper's state "
        "(cell: demand and link of all other devices, which no device can see)",
    )

    @model_validator(mode="after")
    def _check_demand(self) -> Self:
        if self.demand_low > self.demand_high:
            low, high = self.demand_low, self.demand_high
            raise ValueError(f"demand_low = {low:g} must not exceed demand_high = {high:g}")
        return self

    @property
    def usual_mix(self) -> str:
        """See the base: there is one."""
        return "laas2022"

    @property
    def variant(self) -> str:
        """See the base."""
        return f"{self.cost} cost, coupling {self.coupling}"

    def check_together(self, mixes: tuple[Mix, ...]) -> None:
        """The same, without mixes, built-in scenarios and a way back, which this problem has not."""
        super().check_together(mixes)
        if mixes:
            raise ConfigError("evaluation.mixes", list(mixes), "laas2022 has no mixes of classes; leave it out")
        if self.downlink != "fixed":
            raise ConfigError("problem.downlink", self.downlink, "results are not sent back in laas2022: fixed")
        for name in self.scenarios:
            if name in BUILTIN_SCENARIOS:
                raise ConfigError("problem.scenarios", name, "it belongs to nieto2024; laas2022 has calm, for example")


PROBLEMS: dict[str, type[BaseProblemConfig]] = {"nieto2024": Nieto2024Config, "laas2022": Laas2022Config}
"""Every name of :data:`ProblemName` -> the configuration of that problem."""
