"""Means with 95 % intervals, and statistics over runs and settings together with bootstrap intervals."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import stdtrit

REPLICATES = 2000  # of the bootstrap


class Estimate(NamedTuple):
    """A mean and the half width of its 95 % interval (not a number with fewer than two samples)."""

    mean: float
    ci95: float

    def to_dict(self) -> dict[str, float]:
        """For JSON."""
        return {"mean": self.mean, "ci95": self.ci95}


def estimate(samples: np.ndarray) -> Estimate:
    """Mean of independent samples [S], Student's t."""
    samples = np.asarray(samples, np.float64)
    mean = float(samples.mean())
    if samples.size < 2:
        return Estimate(mean, float("nan"))
    return Estimate(mean, _half_width(samples.var(ddof=1) / samples.size, samples.size - 1))


def estimate_crossed(samples: np.ndarray) -> Estimate:
    """Mean of samples [K, S] of K trained policies on the same S evaluation seeds.

    Both are random: the variances of the two marginal means are added, with the fewer degrees of freedom (wide
    rather than narrow).
    """
    samples = np.asarray(samples, np.float64)
    if samples.shape[0] < 2:
        return estimate(samples[0])
    marginals = (samples.mean(axis=1), samples.mean(axis=0))
    variance = sum(marginal.var(ddof=1) / marginal.size for marginal in marginals)
    return Estimate(float(samples.mean()), _half_width(variance, min(samples.shape) - 1))


def _half_width(variance_of_mean: float, degrees: int) -> float:
    return float(stdtrit(degrees, 0.975) * np.sqrt(variance_of_mean))


# ----------------------------------------------------------------------- over runs and settings together
#
# Agarwal et al., Deep Reinforcement Learning at the Edge of the Statistical Precipice (NeurIPS 2021), as rliable 1.2
# computes it. Scores are [runs, settings, ...]; axes after these two (checkpoints of a learning curve) stay.


class Bounded(NamedTuple):
    """A statistic with the ends of its 95 % interval, arrays [...] of one shape (ends are NaN with a single run)."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {name: np.asarray(part).tolist() for name, part in self._asdict().items()}


def interquartile_mean(scores: np.ndarray) -> np.ndarray:
    """Mean [...] of the middle half of scores [runs, settings, ...]: a quarter is cut at either end, rounded down."""
    pooled = np.sort(_pooled(scores), axis=0)
    cut = len(pooled) // 4
    return pooled[cut : len(pooled) - cut].mean(axis=0)


def optimality_gap(scores: np.ndarray, target: float = 1.0) -> np.ndarray:
    """Mean shortfall [...] below ``target``, a score of 1 being the reference; nothing makes up for it above."""
    return target - np.minimum(_pooled(scores), target).mean(axis=0)


def performance_profile(scores: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Share [T] of the scores [runs, settings] above each of the thresholds [T]."""
    return (_pooled(scores)[:, None] > np.asarray(thresholds)).mean(axis=0)


def probability_of_improvement(better: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Probability [...] that a run of ``better`` scores above one of ``other`` in the same setting, ties counting half.

    Mann and Whitney's U over the number of pairs, averaged over settings; both are [runs, settings, ...], with runs of
    their own.
    """
    left, right = np.asarray(better)[:, None], np.asarray(other)[None]
    return ((left > right) + 0.5 * (left == right)).mean(axis=(0, 1, 2))


def bootstrap(
    statistic: Callable[..., np.ndarray],
    *scores: np.ndarray,
    strata: Sequence[int] | None = None,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Bounded:
    """A statistic of scores, with a stratified bootstrap percentile interval over runs.

    Args:
        statistic: of as many arrays as there are ``scores``.
        scores: [runs, settings, ...] each; runs are drawn with replacement, for each array and stratum apart.
        strata: [settings] numbers from 0: settings of one stratum keep their runs together, because the same trained
            policies were tried there. By default each setting is a stratum.
        replicates: resamples.
        seed: of the resampling; the same seed gives the same bounds.
    """
    arrays = [np.asarray(array, np.float64) for array in scores]
    value = np.asarray(statistic(*arrays))
    if min(len(array) for array in arrays) < 2:
        unknown = np.full_like(value, np.nan)
        return Bounded(value, unknown, unknown)
    groups = np.arange(arrays[0].shape[1]) if strata is None else np.asarray(strata)
    rng = np.random.default_rng(seed)
    drawn = [statistic(*(_resampled(rng, array, groups) for array in arrays)) for _ in range(replicates)]
    low, high = np.percentile(drawn, (2.5, 97.5), axis=0)
    return Bounded(value, low, high)


def learning_curve(values: np.ndarray, seed: int = 0) -> Bounded:
    """Interquartile mean over runs at every checkpoint, of values [runs, checkpoints], with a bootstrap band."""
    return bootstrap(interquartile_mean, np.asarray(values)[:, None], seed=seed)


def _pooled(scores: np.ndarray) -> np.ndarray:
    """[runs, settings, ...] to [runs settings, ...]."""
    scores = np.asarray(scores, np.float64)
    return scores.reshape(-1, *scores.shape[2:])


def _resampled(rng: np.random.Generator, scores: np.ndarray, strata: np.ndarray) -> np.ndarray:
    runs = rng.integers(len(scores), size=(len(scores), strata.max() + 1))
    return scores[runs[:, strata], np.arange(len(strata))]
