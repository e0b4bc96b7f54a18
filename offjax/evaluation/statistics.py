"""Means with 95 % intervals."""

from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit


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
