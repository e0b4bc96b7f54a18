"""Other algorithms in the place of the DDQN, everything else as it is."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from offjax.agents import make_agent
from offjax.config.paper_a import PaperAConfig
from offjax.learning.access_point import Links
from offjax.learning.distributed import Distributed
from offjax.paper_a import members, systems
from offjax.paper_a.claims import Claim
from offjax.paper_a.drawing import draw_band, interval, mean_over_seeds, new_figure, save, write_table
from offjax.paper_a.store import Job, Result
from offjax.paper_a.traffic import reachable
from offjax.problems.laas2022 import Laas2022
from offjax.problems.parts import Sharing

LEARN = 9  # purpose of keys
POINTS = 100  # of a curve
REFERENCE = "reachable"
AIM = 0.5  # score from which an algorithm is said to have learnt


def problem_of(config: PaperAConfig) -> Laas2022:
    """Nothing is shared, so that the best of every task is known."""
    return systems.problem(config.system, sharing=Sharing())


def agent_of(config: PaperAConfig, name: str) -> Any:
    """The algorithm of that name in the configuration; what it does not say is as for all agents.

    Raises:
        ConfigError: an algorithm or a field that is not there.
    """
    fields = dict(config.algorithms.agents[name])
    algorithm = fields.pop("agent")
    if algorithm == "ddqn":
        return systems.ddqn(config.system, **fields)
    return make_agent(algorithm, **{"hidden": config.system.hidden, "gamma": config.system.gamma, **fields})


def architecture_of(config: PaperAConfig, name: str) -> Distributed:
    """Messages follow each other one by one, as algorithms need it that learn from whole rows; all have it so."""
    learner = systems.learner(config.system, agent_of(config, name))
    return systems.distributed(config.system, learner, links=Links(places=1), sending_period=1)


def curves(architecture: Distributed, key: jax.Array, problem: Laas2022, slots: int) -> dict[str, jax.Array]:
    """Reward of every slot; to be traced."""
    return {"reward": systems.run(architecture, problem, key, slots).reward}


def run_agent(config: PaperAConfig, name: str) -> Result:
    """Rewards [S, slots] per task."""
    keys = members.keys(config.seed, config.seeds, LEARN)
    run = partial(curves, problem=problem_of(config), slots=config.algorithms.slots)
    found = members.each(run, config.system.devices, [architecture_of(config, name)], keys)
    return {"reward": found["reward"][0] / config.system.devices}


def run_reachable(config: PaperAConfig) -> Result:
    """Best and random rewards [S, slots] per task."""
    keys = members.keys(config.seed, config.seeds, LEARN)
    run = partial(reachable, slots=config.algorithms.slots)
    found = members.each(run, config.system.devices, [problem_of(config)], keys)
    return {name: own[0] for name, own in found.items()}


def jobs(config: PaperAConfig) -> list[Job]:
    """One for each algorithm, and one for what can be reached."""
    common = {"seeds": config.seeds, "seed": config.seed, "system": config.system.model_dump(mode="json")}
    common |= {"slots": config.algorithms.slots}
    steps = config.seeds * config.algorithms.slots
    found = []
    for name, fields in config.algorithms.agents.items():
        architecture_of(config, name)  # refuse what is wrong before anything is computed
        run = partial(run_agent, config, name)
        found.append(Job("algorithms", file_of(name), {**common, "agent": fields}, 20.0 + 5e-4 * steps, run))
    found.append(
        Job(
            "algorithms",
            REFERENCE,
            {**common, "worlds": "of the systems"},
            10.0 + 2e-5 * steps,
            partial(run_reachable, config),
        )
    )
    return found


def file_of(name: str) -> str:
    """The name of an algorithm as part of a file's name."""
    return "".join(letter if letter.isalnum() else "_" for letter in name.lower())


def scores(config: PaperAConfig, results: Mapping[str, Result]) -> dict[str, np.ndarray]:
    """[S, points] of every algorithm: 0 for random decisions on the same tasks, 1 for the best."""
    best, chance = (_points(config, results[REFERENCE][name]) for name in ("best", "random"))
    rewards = {name: _points(config, results[file_of(name)]["reward"]) for name in config.algorithms.agents}
    return {name: (reward - chance) / (best - chance) for name, reward in rewards.items()}


def _points(config: PaperAConfig, series: np.ndarray) -> np.ndarray:
    """[S, points] means of equal parts of a series [S, slots]; what is left over at its end is not in them."""
    points = min(POINTS, config.algorithms.slots)
    width = config.algorithms.slots // points
    return series[:, : points * width].reshape(len(series), points, width).mean(axis=-1)


def draw(config: PaperAConfig, results: Mapping[str, Result], folder: Path) -> list[Claim]:
    """``algorithms``: learning curves of all."""
    figure, axes = new_figure(1, 1, 8, 4.6)
    axis, rows = axes[0, 0], []
    found = scores(config, results)
    for place, (name, own) in enumerate(found.items()):
        width = config.algorithms.slots // own.shape[1]
        slots = (np.arange(own.shape[1]) + 1) * width
        band = draw_band(axis, slots, own, name, color=f"C{place}")
        rows += [[name, *row] for row in zip(slots.tolist(), *(part.tolist() for part in band), strict=True)]
    axis.axhline(1.0, color="k", lw=1, ls="--")
    axis.set(xlabel="slot (a task of every device)", ylabel="score (0: random, 1: best of every task)")
    axis.set_ylim(max(min(own.mean(axis=0).min() for own in found.values()), -1.0) - 0.05, 1.05)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, loc="lower right")
    axis.set_title(
        f"Algorithms in the architecture of the paper, exploration included, {config.seeds} seeds", fontsize=10
    )
    save(figure, folder, "algorithms")
    write_table(folder, "algorithms", ("algorithm", "slot", "score", "low", "high"), rows)
    return [claim_52(found)]


def claim_52(found: Mapping[str, np.ndarray]) -> Claim:
    """Other algorithms learn in this architecture: the least of their scores in the last tenth of the run."""
    last = {name: own[:, -max(own.shape[1] // 10, 1) :].mean(axis=1) for name, own in found.items()}
    worst = min(last, key=lambda name: last[name].mean())
    band = mean_over_seeds(last[worst])
    each = ", ".join(f"{name} {own.mean():.3f}" for name, own in last.items())
    reason = f"least score (0: random, 1: best of every task) of the last tenth, exploration included, of {each}"
    holds, seeds = bool(float(band.low) >= AIM), last[worst].size
    return Claim(52, float(band.value), "score", interval(band), seeds, holds, "emergent", reason, "algorithms.png")
