"""``offjax figures online``: learning from scratch in one run, as [29] shows it in its figures 7 and 10.

Every agent decides, and learns from, 2000 tasks per device and never sees them again; what counts is the reward of the
run itself. Separate actor-critic >= joint actor-critic > dueling double DQN is what [29] reports.
"""

import csv
import io
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from offjax.config import RunConfig, config_hash, load_config, parse_config
from offjax.evaluation.statistics import (
    Bounded,
    bootstrap,
    interquartile_mean,
    learning_curve,
    probability_of_improvement,
)
from offjax.learning.unit import Unit, train_unit
from offjax.pipeline import build_tasks
from offjax.runs.folder import write_bytes, write_json
from offjax.runs.log import MetricsLog
from offjax.runs.progress import ProgressReport
from offjax.runs.provenance import device_name

CONFIG, STORE = Path("configs/online.yaml"), Path("runs/online")
AGENTS = {"separate": "Actor-critic, separate networks", "joint": "Actor-critic, joint network", "d3qn": "Dueling DDQN"}
LEARNERS = {"shared": "one learner for all devices", "independent": "a learner for each device"}
QUANTITIES = ("reward", "success")
ORDER = (("separate", "joint"), ("joint", "d3qn"), ("separate", "d3qn"))  # [29]: the first is no worse

Curves = dict[str, np.ndarray]  # quantity -> [seeds, points]


def figures(folder: Path, redo: bool = False) -> None:
    """Train what is missing, and write ``online.csv``, ``online.json`` and the figure.

    Args:
        folder: of the figure; it is made if it is missing.
        redo: forget what was trained.
    """
    if redo and STORE.exists():
        shutil.rmtree(STORE)
    config = load_config(CONFIG)
    found: dict[tuple[str, str], Curves] = {}
    with ProgressReport("figures online", len(LEARNERS) * len(AGENTS)) as progress:
        for learners in LEARNERS:
            for agent in AGENTS:
                found[learners, agent] = train_one(config, agent, learners, STORE)
                progress.advance(0, f"{agent}, {learners}")
    folder.mkdir(parents=True, exist_ok=True)
    slots = (
        np.arange(1, config.training.points_per_round + 1) * config.problem.slots // config.training.points_per_round
    )
    write_bytes(folder / "online.csv", table(found, slots).encode())
    write_json(folder / "online.json", {"device": device_name(), "seeds": config.training.seeds, **compare(found)})
    draw(found, slots, folder)


def train_one(config: RunConfig, agent: str, learners: str, store: Path) -> Curves:
    """Rewards and successes of one agent in every seed's only run."""
    own = variant(config, agent, learners)
    folder = store / f"{agent}-{learners}-{config_hash(own)}"
    unit = build_tasks(own)[0].unit
    train_unit(unit, folder)
    return read_curves(unit, folder)


def variant(config: RunConfig, agent: str, learners: str) -> RunConfig:
    """The run of one of :data:`AGENTS` with ``learners`` shared or independent."""
    tree = config.model_dump(mode="json")
    ac, ddqn = tree["agents"]["ac"], tree["agents"]["ddqn"]
    tree["agents"] = {"ddqn": ddqn} if agent == "d3qn" else {"ac": {**ac, "networks": agent}}
    tree["training"]["learners"] = learners
    return parse_config(tree)


def read_curves(unit: Unit, folder: Path) -> Curves:
    """[seeds, points] of what a unit has logged."""
    rows = MetricsLog(folder, unit.name).read().to_pylist()
    shape = (unit.members, unit.rounds * unit.plan.points)

    def curve(name: str) -> np.ndarray:
        own = sorted((row["seed"], row["slot"], row["value"]) for row in rows if row["name"] == name)
        return np.array([value for *_, value in own]).reshape(shape)

    return {name: curve(name) for name in QUANTITIES}


def compare(found: Mapping[tuple[str, str], Curves]) -> dict[str, Any]:
    """Reward per task of whole runs, and how probably one agent is no worse than another."""
    whole = {key: curves["reward"].mean(axis=1, keepdims=True) for key, curves in found.items()}
    reward = {" ".join(key): bootstrap(interquartile_mean, own).to_dict() for key, own in whole.items()}
    order = {
        f"{learners} {one} over {other}": _improvement(whole[learners, one], whole[learners, other])
        for learners in LEARNERS
        for one, other in ORDER
    }
    return {"reward_per_task": reward, "probability_of_improvement": order}


def _improvement(one: np.ndarray, other: np.ndarray) -> dict[str, Any]:
    return bootstrap(probability_of_improvement, one, other).to_dict()


def table(found: Mapping[tuple[str, str], Curves], slots: np.ndarray) -> str:
    """Every curve with its band, as CSV in long form."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["learners", "agent", "quantity", "slot", "iqm", "low", "high"])
    for (learners, agent), curves in found.items():
        for quantity, values in curves.items():
            band = learning_curve(values)
            for row in zip(slots.tolist(), *(part.tolist() for part in band), strict=True):
                writer.writerow([learners, agent, quantity, *row])
    return text.getvalue()


def draw(found: Mapping[tuple[str, str], Curves], slots: np.ndarray, folder: Path) -> None:
    """Reward and success over the run, shared and independent learners beside each other."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(12, 7), layout="constrained", sharex=True, sharey="row")
    for column, learners in enumerate(LEARNERS):
        for row, quantity in enumerate(QUANTITIES):
            axis = axes[row, column]
            for place, (agent, label) in enumerate(AGENTS.items()):
                _draw_band(axis, slots, learning_curve(found[learners, agent][quantity]), f"C{place}", label)
            axis.grid(alpha=0.3)
        axes[0, column].set_title(LEARNERS[learners])
        axes[1, column].set_xlabel("task of each device")
    axes[0, 0].set_ylabel("reward per task")
    axes[1, 0].set_ylabel("tasks in time")
    axes[0, 0].legend(fontsize=8)
    seeds = len(next(iter(found.values()))["reward"])
    figure.suptitle(f"One online run from scratch, nieto2024 scenario 1, 20 devices: IQM of {seeds} seeds, 95 % bands")
    for suffix in ("png", "pdf"):
        figure.savefig(folder / f"online.{suffix}", dpi=150)
    pyplot.close(figure)


def _draw_band(axis: Any, slots: np.ndarray, band: Bounded, colour: str, label: str) -> None:
    axis.plot(slots, band.value, color=colour, lw=1.2, label=label)
    axis.fill_between(slots, band.low, band.high, color=colour, alpha=0.2, lw=0)
