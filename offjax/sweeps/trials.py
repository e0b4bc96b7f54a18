"""From the configuration of a sweep to the agents that it trains."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from offjax.building import build_agent, build_problem, trainer_of
from offjax.config import RunConfig, SweepConfig
from offjax.evaluation.validation import Validator
from offjax.learning.keys import Purpose, key_of, keys_of
from offjax.learning.sweep import Member
from offjax.learning.train import Plan
from offjax.learning.unit import Unit
from offjax.problems.spec import Problem

Build = Callable[[RunConfig, str, int], Problem]


@dataclass(frozen=True)
class Trial:
    """One agent: a setting, an algorithm, a scenario and a seed."""

    number: int
    setting: int  # the same for all seeds of one algorithm in one scenario
    point: Mapping[str, Any]  # path of each axis -> value, none where the algorithm does not have it
    agent: str
    scenario: str
    seed: int
    member: Member
    validation: Problem | None  # what its policy is validated on
    first_seed: int  # of its run: validation worlds are those of `offjax train`


def make_trials(sweep: SweepConfig, points: Iterable[Mapping[str, Any]], start: int = 0) -> list[Trial]:
    """All agents at some settings, each combination once.

    A seed starts from the same key at every setting, that of ``offjax train``: settings are compared on common
    random numbers, and a trial can be trained again alone.

    Args:
        sweep: the whole.
        points: settings.
        start: number of the first trial.

    Raises:
        ConfigError: a world that makes no sense.
    """
    build, known, trials = _builder(), set(), list[Trial]()
    for point in points:
        config = sweep.at(point)
        pairs = [(scenario, name) for scenario in config.problem.scenarios for name, _ in config.agents.named()]
        for place, (scenario, name) in enumerate(pairs):
            own = {path: value if _matters(path, name) else None for path, value in point.items()}
            mark = json.dumps([own, scenario, name])
            if mark not in known:
                known.add(mark)
                trials += _seeds(config, own, (scenario, name, place), start + len(trials), build)
    return trials


def _matters(path: str, agent: str) -> bool:
    """Whether an axis changes what an algorithm does."""
    parts = path.split(".")
    return parts[0] != "agents" or len(parts) == 1 or parts[1] == agent


def _seeds(
    config: RunConfig, point: Mapping[str, Any], where: tuple[str, str, int], start: int, build: Build
) -> list[Trial]:
    """The trials of one setting, one for each seed."""
    training, (scenario, name, place) = config.training, where
    problem = build(config, scenario, config.problem.devices // training.worlds)
    validation = build(config, scenario, training.validation_devices) if training.validation_devices else None
    agent = build_agent(config, name, problem)
    plan = make_plan(config)
    trials = []
    for index in range(training.seeds):
        seed = training.seed + index
        key = jax.random.fold_in(key_of(seed, Purpose.TRAIN), place)
        rest = (plan, training.rounds, training.checkpoint_rounds, training.validation_devices)
        member = Member(start + index, agent, problem, key, *rest, trainer=trainer_of(config))
        trial = Trial(start + index, start, point, name, scenario, seed, member, validation, training.seed)
        trials.append(trial)
    return trials


def make_plan(config: RunConfig) -> Plan:
    """What a configuration says of the shape of a training program."""
    training = config.training
    return Plan(
        horizon=config.problem.slots,
        worlds=training.worlds,
        independent=training.learners == "independent",
        points=training.points_per_round,
    )


def _builder() -> Build:
    """``build_problem`` that builds every problem once: the same object tells that two members share it."""
    built: dict[str, Problem] = {}

    def build(config: RunConfig, scenario: str, devices: int) -> Problem:
        own = config.find_scenario(scenario)
        parts = [config.problem.model_dump_json(), scenario, own and own.model_dump_json(), devices]
        mark = json.dumps(parts)
        if mark not in built:
            built[mark] = build_problem(config, scenario, devices)
        return built[mark]

    return build


def make_validator(trials: Sequence[Trial], unit: Unit) -> Validator | None:
    """What validates the members of a unit, which are ``trials``."""
    problems = [trial.validation for trial in trials if trial.validation is not None]
    if not problems:
        return None
    return Validator(problems, unit, keys_of(trials[0].first_seed, 1, Purpose.VALIDATE))
