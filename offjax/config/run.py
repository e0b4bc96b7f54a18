"""Everything that a run depends on, and what its groups demand of each other."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from offjax.config.agents import AcConfig, AgentsConfig, DdqnConfig
from offjax.config.architecture import ArchitectureConfig
from offjax.config.fields import SCENARIOS, Name, Record, distinct, whole
from offjax.config.plain_errors import keys
from offjax.config.problem import Mix, Nieto2024Config
from offjax.config.scenario import BUILTIN_SCENARIOS, ScenarioConfig, load_scenario
from offjax.errors import ConfigError

LoggerName = Literal["tensorboard", "wandb", "mlflow"]


class TrainingConfig(Record):
    """How long is trained, on how many worlds, with how many independent seeds."""

    seeds: int = whole(5, 1, 10_000, "seeds: independent agents, trained side by side")
    seed: int = whole(0, 0, 2_000_000_000, "(no unit): the first training seed, the others follow")
    worlds: int = whole(
        8, 1, 1_000_000, "worlds: side by side, clocks staggered over the horizon; must divide problem.slots"
    )
    rounds: int = whole(
        200, 1, 1_000_000_000, "rounds: of slots / worlds slots each, after which the oldest world is reset"
    )
    learners: Literal["shared", "independent"] = Field(
        default="shared",
        description="shared or independent: one learner for all devices, or one for each device of a world",
    )
    points_per_round: int = whole(
        1, 1, 1_000_000, "points: means of every training metric that a round logs, evenly spaced"
    )
    checkpoint_rounds: int = whole(1, 1, 1_000_000_000, "rounds: between two checkpoints")
    validation_devices: int = whole(
        200,
        0,
        10_000_000,
        "devices: the validation fleet, a multiple of devices_per_cell (0 = no validation)",
    )
    loggers: Annotated[tuple[LoggerName, ...], AfterValidator(distinct)] = Field(
        default=(),
        description="a list of tensorboard, wandb and mlflow, each once: where the metrics go beside the console and "
        "metrics.parquet; each is an extra (empty: nowhere)",
    )


class EvaluationConfig(Record):
    """On which held-out worlds policies are compared."""

    seeds: int = whole(10, 2, 100_000, "seeds: independent held-out worlds")
    seed: int = whole(10_000, 0, 2_000_000_000, "(no unit): the first held-out seed, the others follow")
    devices: int = whole(200, 1, 10_000_000, "devices: the fleet, a multiple of devices_per_cell")
    mixes: Annotated[tuple[Mix, ...], AfterValidator(distinct)] = Field(
        default=(),
        description="a list of class1, class2, class3 and uniform, each once (empty: problem.mix)",
    )
    scenarios: Annotated[tuple[Name, ...], AfterValidator(distinct)] = Field(
        default=(), description=f"{SCENARIOS} (empty: problem.scenarios)"
    )


class RunConfig(Record):
    """Everything that a run depends on."""

    problem: Nieto2024Config = Field(default=Nieto2024Config(), description="the problem")
    agents: AgentsConfig = Field(
        default=AgentsConfig(ac=AcConfig()), description="the learning agents, all of which are trained"
    )
    architecture: ArchitectureConfig | None = Field(
        default=None,
        description="a group: one agent in the cloud learns from what devices send it, or decides for them (none: "
        "the agents see every experience at once)",
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

    @model_serializer(mode="wrap")
    def _without_none(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without an architecture there is no such key: what was written before there were any keeps its hash."""
        tree: dict[str, Any] = dump(self)
        return {key: value for key, value in tree.items() if key != "architecture" or value is not None}

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        _check_cells(self)
        _check_training(self)
        self.problem.check_together(self.evaluation.mixes)
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
    if config.architecture is not None:
        _check_architecture(config, config.architecture)
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
        text = f"it must hold at least one of {keys(AgentsConfig)}, like agents: {{ac: {{}}}}"
        raise ConfigError("agents", {}, text)
    for name, agent in config.agents.named():
        _check_rollouts(config, name, getattr(agent, "rollout_slots", 1))
    if config.architecture is None and config.agents.ddqn is not None:
        _check_replay(config, config.agents.ddqn)
    if training.learners == "independent":
        _check_independent(config)
    first, last = training.seed, training.seed + training.seeds - 1
    if evaluation.seed <= last and first < evaluation.seed + evaluation.seeds:
        text = f"held-out seeds must not meet the training seeds {first} to {last}"
        raise ConfigError("evaluation.seed", evaluation.seed, text)


def _check_rollouts(config: RunConfig, name: str, rollout_slots: int) -> None:
    """Rounds are whole rollouts, and the points of a round whole numbers of them."""
    training = config.training
    round_slots = config.problem.slots // training.worlds
    if round_slots % rollout_slots:
        text = f"it must divide a round of problem.slots / training.worlds = {round_slots} slots"
        raise ConfigError(f"agents.{name}.rollout_slots", rollout_slots, text)
    if (round_slots // rollout_slots) % training.points_per_round:
        text = f"it must divide the {round_slots // rollout_slots} rollouts that a round of {name} has"
        raise ConfigError("training.points_per_round", training.points_per_round, text)


FIXED = {  # of a ddqn in an architecture
    "n_steps": "experiences reach the cloud one by one, with gaps",
    "prioritised": "the augmented memory is sampled uniformly",
    "replay_capacity": "architecture.learner has brm_capacity and arm_capacity",
    "updates_per_step": "architecture.learner.iterations says how often it learns",
    "rollout_slots": "it learns in every slot",
}


def _check_architecture(config: RunConfig, own: ArchitectureConfig) -> None:
    """All devices live in one world, and share one agent."""
    for field, value in {"worlds": 1, "learners": "shared"}.items():
        found = getattr(config.training, field)
        if found != value:
            raise ConfigError(f"training.{field}", found, f"{value} with an architecture: one agent, and one world")
    for name, reason in FIXED.items() if config.agents.ddqn else ():
        value, default = getattr(config.agents.ddqn, name), DdqnConfig.model_fields[name].default
        if value != default:
            raise ConfigError(f"agents.ddqn.{name}", value, f"{str(default).lower()} with an architecture: {reason}")
    period, slots = own.generator.fit_period, config.problem.slots
    if own.generator.fits and slots % period:
        text = f"it must divide problem.slots = {slots}"
        raise ConfigError("architecture.generator.fit_period", period, text)


def _check_independent(config: RunConfig) -> None:
    """Each learner belongs to one device, so it is compared on a fleet of the same size."""
    fleet = config.problem.devices // config.training.worlds
    for field, devices in {
        "training.validation_devices": config.training.validation_devices,
        "evaluation.devices": config.evaluation.devices,
    }.items():
        if devices not in (0, fleet):
            text = f"with independent learners it must be problem.devices / training.worlds = {fleet}"
            raise ConfigError(field, devices, text)


def _check_replay(config: RunConfig, agent: DdqnConfig) -> None:
    if agent.batch_size > agent.replay_capacity:
        text = f"it must not exceed agents.ddqn.replay_capacity = {agent.replay_capacity}"
        raise ConfigError("agents.ddqn.batch_size", agent.batch_size, text)
    if agent.n_steps > agent.rollout_slots:
        text = f"it must not exceed agents.ddqn.rollout_slots = {agent.rollout_slots}"
        raise ConfigError("agents.ddqn.n_steps", agent.n_steps, text)
    shared = config.training.learners == "shared"
    devices = config.problem.devices if shared else config.training.worlds
    rows = devices * agent.rollout_slots
    if rows > agent.replay_capacity:
        whose = "all devices, problem.devices" if shared else "a device, training.worlds"
        text = f"it must hold one rollout of {whose} = {devices} times {agent.rollout_slots} slots"
        raise ConfigError("agents.ddqn.replay_capacity", agent.replay_capacity, text)
