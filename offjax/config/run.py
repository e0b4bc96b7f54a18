"""Everything that a run depends on, and what its groups demand of each other."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from offjax.config.agents import AcConfig, AgentsConfig, DdqnConfig
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
    if config.agents.ddqn is not None:
        _check_replay(config.agents.ddqn, config.problem.devices)
    first, last = training.seed, training.seed + training.seeds - 1
    if evaluation.seed <= last and first < evaluation.seed + evaluation.seeds:
        text = f"held-out seeds must not meet the training seeds {first} to {last}"
        raise ConfigError("evaluation.seed", evaluation.seed, text)


def _check_replay(agent: DdqnConfig, devices: int) -> None:
    if agent.batch_size > agent.replay_capacity:
        text = f"it must not exceed agents.ddqn.replay_capacity = {agent.replay_capacity}"
        raise ConfigError("agents.ddqn.batch_size", agent.batch_size, text)
    if devices > agent.replay_capacity:
        text = f"it must hold one slot of all devices, problem.devices = {devices}"
        raise ConfigError("agents.ddqn.replay_capacity", agent.replay_capacity, text)
