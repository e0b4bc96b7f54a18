"""The leaderboard: every agent tuned with the same budget, trained anew and scored in every setting.

Everything is resumable: units go on from their checkpoints, and what has its result is not done again. Results are
kept under a hash of everything that they depend on.
"""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from offjax.agents import make_agent
from offjax.building import build_problem
from offjax.config import RunConfig, config_hash, load_config, parse_config
from offjax.config.leaderboard import ContestantConfig, LeaderboardConfig, load_leaderboard
from offjax.evaluation import setting as evaluation
from offjax.evaluation.setting import Setting, Trained
from offjax.evaluation.statistics import bootstrap, interquartile_mean
from offjax.evaluation.validation import Validator
from offjax.learning.keys import Purpose, key_of, keys_of
from offjax.learning.unit import Unit, train_unit
from offjax.pipeline import LABELS, build_tasks
from offjax.runs.folder import write_json
from offjax.runs.progress import ProgressReport

DRAWS = 20_260_101  # seed of the trials

Numbers = dict[str, float]


def run(config_path: Path, store: Path) -> dict[str, Any]:
    """Do what is missing, and gather everything.

    Args:
        config_path: ``configs/leaderboard.yaml``; its settings are in the folder ``leaderboard`` beside it.
        store: folder of what was trained and found; what is there is not done again.

    Returns:
        setting -> ``reference``, ``rows`` (policy -> score, interquartile mean and their intervals, regret) and
        ``agents`` (agent -> all trials and the chosen one).
    """
    board = load_leaderboard(config_path)
    found: dict[str, Any] = {}
    with ProgressReport("leaderboard", len(board.settings) * (len(board.agents) + 1)) as progress:
        for name in board.settings:
            base = load_config(config_path.parent / "leaderboard" / f"{name}.yaml")
            found[name] = _one_setting(board, name, base, store, progress)
    return found


def _one_setting(
    board: LeaderboardConfig, name: str, base: RunConfig, store: Path, progress: ProgressReport
) -> dict[str, Any]:
    """One setting: every agent, then the table."""
    folder = store / f"{name}-{config_hash(base)}-{config_hash(board)}"
    result = folder / "result.json"
    if result.is_file():
        for _ in range(len(board.agents) + 1):
            progress.advance(0, name)
        return dict(json.loads(result.read_text(encoding="utf-8")))
    trained, agents = {}, {}
    for agent, contestant in board.agents.items():
        config = training_config(board, base, agent, contestant)
        trained[f"trained_{agent}"], agents[agent] = _one_agent(board, config, agent, contestant, folder)
        jax.clear_caches()  # each program maps memory, and a process may have only so many maps
        progress.advance(0, f"{name}: {agent}")
    found = {**_scored(base, trained), "agents": agents}
    write_json(result, found)
    progress.advance(0, name)
    return found


def training_config(board: LeaderboardConfig, base: RunConfig, agent: str, contestant: ContestantConfig) -> RunConfig:
    """The run of one agent in one setting, hyper-parameters that are searched at their defaults."""
    tree = base.model_dump(mode="json")
    tree["problem"]["devices"] = board.devices
    tree["agents"] = {agent: contestant.fixed}
    tree["training"] = {
        "seeds": 1,
        "worlds": board.worlds,
        "rounds": _rounds(board, base.problem.slots),
        "validation_devices": board.validation_devices,
    }
    tree["training"]["checkpoint_rounds"] = tree["training"]["rounds"]
    return parse_config(tree)


def _rounds(board: LeaderboardConfig, slots: int) -> int:
    return math.ceil(board.device_steps / (board.devices * slots // board.worlds))


def draw_trials(board: LeaderboardConfig, agent: str) -> list[Numbers]:
    """What each trial of an agent changes: the same draws in every setting."""
    random = np.random.default_rng([DRAWS, *agent.encode()])
    ranges = board.agents[agent].search
    return [
        {name: _draw(random, own.low, own.high, own.scale == "log") for name, own in ranges.items()}
        for _ in range(board.trials)
    ]


def _draw(random: np.random.Generator, low: float, high: float, log: bool) -> float:
    if log:
        low, high = math.log(low), math.log(high)
    value = random.uniform(low, high)
    return float(f"{math.exp(value) if log else value:.3g}")


def _one_agent(
    board: LeaderboardConfig, config: RunConfig, agent: str, contestant: ContestantConfig, folder: Path
) -> tuple[Trained, dict[str, Any]]:
    """Tune an agent, and train it anew with what was best."""
    trials = draw_trials(board, agent)
    tuning_seeds = range(board.tuning_seed, board.tuning_seed + board.tuning_seeds)
    tuned = unit_of(config, agent, "tuning", [(trial, seed) for trial in trials for seed in tuning_seeds], contestant)
    rewards = np.asarray(_train(tuned, config, folder / agent)[1]).reshape(len(trials), -1)
    best = int(np.argmax(rewards.mean(axis=1)))
    chosen = unit_of(config, agent, "final", [(trials[best], seed) for seed in range(board.seeds)], contestant)
    state, _ = _train(chosen, config, folder / agent)
    told = [{**trial, "validation_reward": list(row)} for trial, row in zip(trials, rewards.tolist(), strict=True)]
    return Trained(LABELS[agent], chosen.agents[0], chosen.learnt(state)), {"trials": told, "chosen": best}


def unit_of(
    config: RunConfig, agent: str, name: str, members: Sequence[tuple[Numbers, int]], contestant: ContestantConfig
) -> Unit:
    """One member for each pair of changed numbers and training seed."""
    unit = build_tasks(config)[0].unit
    fields = dict(config.agents.named())[agent].model_dump()
    updates = unit.rounds * unit.plan.round_slots // unit.agents[0].rollout_slots * _updates_each(unit.agents[0])
    shares = {key: max(round(share * updates), 1) for key, share in contestant.shares.items()}
    return dataclasses.replace(
        unit,
        name=name,
        agents=tuple(make_agent(agent, **{**fields, **shares, **numbers}) for numbers, _ in members),
        problems=(unit.problems[0],) * len(members),
        seeds=tuple(range(len(members))),
        keys=tuple(key_of(seed, Purpose.TRAIN) for _, seed in members),
    )


def _updates_each(agent: Any) -> int:
    """Updates after each rollout."""
    if agent.replays:
        return int(agent.updates_per_step)
    return int(getattr(agent, "epochs", 1) * getattr(agent, "minibatches", 1))


def _train(unit: Unit, config: RunConfig, folder: Path) -> tuple[Any, list[float]]:
    """The trained state, and what every member's policy is worth in worlds that nobody else meets."""
    scenario = config.problem.scenarios[0]
    problem = build_problem(config, scenario, config.training.validation_devices)
    keys = keys_of(config.training.seed, 1, Purpose.VALIDATE)
    validator = Validator((problem,) * unit.members, unit, keys)
    state = train_unit(unit, folder, validator)
    rewards = [validator(place, chunk)["reward"] for place, chunk in enumerate(state.chunks)]
    return state, np.concatenate(rewards)[: unit.members].tolist()


# ----------------------------------------------------------------------------------------------------- scores


def _scored(base: RunConfig, trained: Mapping[str, Trained]) -> dict[str, Any]:
    """The whole table of a setting on held-out worlds."""
    chosen = base.evaluation
    problem = build_problem(base, base.problem.scenarios[0], chosen.devices)
    keys = keys_of(chosen.seed, chosen.seeds, Purpose.EVALUATE)
    rows = evaluation.completed(evaluation.evaluate(problem, keys, base.problem.slots, trained))
    return {"reference": rows.reference, "rows": {name: _row(rows, name) for name in rows.results}}


def _row(setting: Setting, name: str) -> dict[str, Any]:
    """One policy's score and regret; of a trained one also the interquartile mean over its seeds."""
    row = setting.results[name]
    found: dict[str, Any] = {"label": row.label, "kind": row.kind}
    found |= {key: row.estimate(key).to_dict() for key in ("score", "regret", "success")}
    if row.kind == "learned":
        each = row.samples["score"].mean(axis=1, keepdims=True)  # [K, 1]
        found |= {"iqm": bootstrap(interquartile_mean, each).to_dict(), "seeds": each[:, 0].tolist()}
    return found
