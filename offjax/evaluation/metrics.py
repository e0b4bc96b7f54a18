"""From episodes to the numbers of one policy: per evaluation seed first, intervals afterwards."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from offjax import world
from offjax.evaluation.rollout import PARTS, Episode
from offjax.evaluation.statistics import Estimate, estimate_crossed

SMOOTHING = 10  # slots: the paper plots the mean of the last 10 samples every 10 steps


@dataclass(frozen=True)
class Result:
    """One policy in one setting, K trained copies (1 for a rule) on S evaluation seeds."""

    name: str
    label: str
    kind: str  # learned | rule | reference
    samples: dict[str, np.ndarray]  # [K, S] per task or per device
    parts: dict[str, Estimate]  # s, latency by parts of tasks that ended with a result
    drops: dict[str, Estimate]  # share of all tasks, by cause
    late: Estimate  # share of all tasks
    decisions: dict[str, list[float]]  # class -> share of each place
    curves: dict[str, np.ndarray] = field(default_factory=dict)  # [S, T / 10]
    exhausted: bool = False  # did any device run out of battery?

    def estimate(self, name: str) -> Estimate:
        """Mean and 95 % interval of a sample, over training and evaluation seeds."""
        return estimate_crossed(self.samples[name])


def smooth(values: np.ndarray) -> np.ndarray:
    """The paper's plot rule: at every 10th slot the mean of the 10 slots up to it; [..., T] to [..., ceil(T/10)]."""
    first = values[..., :1]
    whole = (values.shape[-1] - 1) // SMOOTHING * SMOOTHING
    blocks = values[..., 1 : whole + 1].reshape(*values.shape[:-1], -1, SMOOTHING).mean(axis=-1)
    return np.concatenate([first, blocks], axis=-1)


def result(name: str, label: str, kind: str, episode: Episode, devices: int) -> Result:
    """Reduce an episode batch, leaves [K, S, ...].

    Args:
        name: key of the row.
        label: what a person reads.
        kind: learned, rule or reference.
        episode: sums over devices, NumPy or JAX arrays.
        devices: D of each world.
    """
    ends = np.asarray(episode.ends, np.int64).copy()
    ends[..., world.End.NONE, :, :] = 0
    refused = np.asarray(episode.refused, np.int64)
    tasks = ends.sum(axis=(-3, -2, -1)) + refused.sum(axis=-1)
    done = ends[..., [world.End.IN_TIME, world.End.LATE], :, :].sum(axis=(-3, -2, -1))

    def total(values: Any) -> np.ndarray:
        return np.asarray(values, np.float64).sum(axis=2)

    samples = {
        "reward": total(episode.reward) / tasks,
        "success": total(episode.success) / tasks,
        "energy_j": total(episode.energy) / tasks,
        "latency_s": total(episode.latency) / np.maximum(done, 1),
        "battery_j": np.asarray(episode.left, np.float64).mean(axis=-1),
    }
    parts = total(episode.parts) / np.maximum(done, 1)[..., None]
    by_end = ends.sum(axis=(-2, -1)) + refused
    shares = by_end / tasks[..., None]
    return Result(
        name=name,
        label=label,
        kind=kind,
        samples=samples,
        parts={part: estimate_crossed(parts[..., index]) for index, part in enumerate(PARTS)},
        drops={end.name.lower(): estimate_crossed(shares[..., end]) for end in world.DROPS},
        late=estimate_crossed(shares[..., world.End.LATE]),
        decisions=_decision_shares(ends),
        curves=_curves(episode, devices),
        exhausted=bool((np.asarray(episode.left) <= 0).any()),
    )


def _decision_shares(ends: np.ndarray) -> dict[str, list[float]]:
    chosen = ends.reshape(-1, *ends.shape[-3:]).sum(axis=(0, 1)).astype(np.float64)
    shares = chosen / np.maximum(chosen.sum(axis=-1, keepdims=True), 1)
    return {f"class{index + 1}": row.tolist() for index, row in enumerate(shares)}


def _curves(episode: Episode, devices: int) -> dict[str, np.ndarray]:
    """Mean over devices and trained copies, per evaluation seed."""
    return {
        "reward": smooth(np.asarray(episode.reward, np.float64).mean(axis=0) / devices),
        "battery": smooth(np.asarray(episode.battery, np.float64).mean(axis=0) / devices),
    }
