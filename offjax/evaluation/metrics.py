"""From episodes to the numbers of one policy: per evaluation seed first, intervals afterwards."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
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
    decisions: dict[str, list[float]]  # group of classes -> share of each place
    curves: dict[str, np.ndarray] = field(default_factory=dict)  # [S, T / 10]
    exhausted: bool = False  # did any device run out of battery?
    profiles: dict[str, "Result"] = field(default_factory=dict)  # the same by kind of device, where there are several

    def estimate(self, name: str) -> Estimate:
        """Mean and 95 % interval of a sample, over training and evaluation seeds."""
        return estimate_crossed(self.samples[name])


def smooth(values: np.ndarray) -> np.ndarray:
    """The paper's plot rule: at every 10th slot the mean of the 10 slots up to it; [..., T] to [..., ceil(T/10)]."""
    first = values[..., :1]
    whole = (values.shape[-1] - 1) // SMOOTHING * SMOOTHING
    blocks = values[..., 1 : whole + 1].reshape(*values.shape[:-1], -1, SMOOTHING).mean(axis=-1)
    return np.concatenate([first, blocks], axis=-1)


def result(
    name: str,
    label: str,
    kind: str,
    episode: Episode,
    devices: int,
    groups: Sequence[str] = (),
    profiles: Sequence[str] = (),
) -> Result:
    """Reduce an episode batch, leaves [K, S, ...].

    Args:
        name: key of the row.
        label: what a person reads.
        kind: learned, rule or reference.
        episode: sums over devices, NumPy or JAX arrays.
        devices: D of each world.
        groups: names of the groups of task classes.
        profiles: names of the kinds of devices.
    """
    ends = np.asarray(episode.ends, np.int64).copy()
    ends[..., world.End.NONE, :, :] = 0
    refused = np.asarray(episode.refused, np.int64)
    tasks = ends.sum(axis=(-3, -2, -1)) + refused.sum(axis=-1)
    done = ends[..., [world.End.IN_TIME, world.End.LATE], :, :].sum(axis=(-3, -2, -1))

    def total(values: Any) -> np.ndarray:
        return np.asarray(values, np.float64).sum(axis=2)

    def per_task(values: np.ndarray) -> np.ndarray:
        return values / np.where(tasks > 0, tasks, np.nan).reshape(tasks.shape + (1,) * (values.ndim - tasks.ndim))

    samples = {
        "reward": per_task(total(episode.reward)),
        "success": per_task(total(episode.success)),
        "energy_j": per_task(total(episode.energy)),
        "latency_s": total(episode.latency) / np.maximum(done, 1),
        "battery_j": np.nanmean(np.asarray(episode.left, np.float64), axis=-1),
    }
    parts = total(episode.parts) / np.maximum(done, 1)[..., None]
    shares = per_task(ends.sum(axis=(-2, -1)) + refused)
    return Result(
        name=name,
        label=label,
        kind=kind,
        samples=samples,
        parts={part: estimate_crossed(parts[..., index]) for index, part in enumerate(PARTS)},
        drops={end.name.lower(): estimate_crossed(shares[..., end]) for end in world.DROPS},
        late=estimate_crossed(shares[..., world.End.LATE]),
        decisions=_decision_shares(ends, groups),
        curves=_curves(episode, devices),
        exhausted=bool((np.asarray(episode.left) <= 0).any()),
        profiles=_by_profile(label, kind, episode, groups, profiles),
    )


def _by_profile(
    label: str, kind: str, episode: Episode, groups: Sequence[str], profiles: Sequence[str]
) -> dict[str, Result]:
    if episode.profiles is None:
        return {}
    results = {}
    for index, name in enumerate(profiles):
        own = jax.tree.map(lambda leaf, index=index: leaf[:, :, index], episode.profiles)
        devices = int(np.isfinite(own.left[0, 0]).sum())
        results[name] = result(name, label, kind, own, devices, groups)
    return results


def _decision_shares(ends: np.ndarray, groups: Sequence[str]) -> dict[str, list[float]]:
    chosen = ends.reshape(-1, *ends.shape[-3:]).sum(axis=(0, 1)).astype(np.float64)
    shares = chosen / np.maximum(chosen.sum(axis=-1, keepdims=True), 1)
    names = groups or [f"class{index + 1}" for index in range(len(shares))]
    return {name: row.tolist() for name, row in zip(names, shares, strict=True)}


def _curves(episode: Episode, devices: int) -> dict[str, np.ndarray]:
    """Mean over devices and trained copies, per evaluation seed."""
    return {
        "reward": smooth(np.asarray(episode.reward, np.float64).mean(axis=0) / devices),
        "battery": smooth(np.asarray(episode.battery, np.float64).mean(axis=0) / devices),
    }
