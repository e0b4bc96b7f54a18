"""Trained algorithms over all settings of a run: interquartile mean, optimality gap, improvement, profile.

A run of an algorithm is one training seed; its score in a setting is the mean over the evaluation seeds, which all
policies share. The intervals are those of other training seeds in the same settings and worlds.
"""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from offjax.evaluation.setting import Setting
from offjax.evaluation.statistics import (
    Bounded,
    bootstrap,
    interquartile_mean,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)

THRESHOLDS = 101  # of a performance profile


def aggregate(settings: Mapping[str, Setting]) -> dict[str, Any]:
    """What ``summary.json`` says of the trained algorithms together; empty where nothing was trained.

    Args:
        settings: ``mix/scenario`` -> completed rows. Settings of one scenario share their trained policies, and are
            one stratum of the bootstrap.

    Returns:
        ``references`` (setting -> name: scores against different references are pooled, and say so), ``left_out``
        (settings in which random decisions are no worse than the reference), ``runs``, ``algorithms`` (name ->
        ``label``, ``iqm``, ``optimality_gap``, ``profile``), ``thresholds`` of the profiles and ``improvement`` (name
        -> over name); a statistic is ``{"value", "low", "high"}``.
    """
    learned = {name: setting for name, setting in settings.items() if _learned(setting)}
    pooled = {name: setting for name, setting in learned.items() if _has_scores(setting)}
    if not pooled:
        return {}
    strata = np.unique([name.partition("/")[2] for name in pooled], return_inverse=True)[1].tolist()
    scores = _scores(pooled)
    thresholds = _thresholds(scores)
    labels = _learned(next(iter(pooled.values())))
    return {
        "references": {name: setting.reference for name, setting in pooled.items()},
        "left_out": [name for name in learned if name not in pooled],
        "runs": len(next(iter(scores.values()))),
        "thresholds": thresholds.tolist(),
        "algorithms": {
            name: {"label": labels[name], **_statistics(own, strata, thresholds)} for name, own in scores.items()
        },
        "improvement": _improvement(scores, strata),
    }


def _learned(setting: Setting) -> dict[str, str]:
    """Name and label of the trained rows."""
    return {name: row.label for name, row in setting.results.items() if row.kind == "learned"}


def _has_scores(setting: Setting) -> bool:
    """Is every score a number, and against a reference that can be reached?"""
    if setting.reference == "bound":
        raise ValueError("reference: a score against a bound is pooled with no other; name one that can be reached")
    return all(np.isfinite(setting.results[name].samples["score"]).all() for name in _learned(setting))


def _scores(settings: Mapping[str, Setting]) -> dict[str, np.ndarray]:
    """Scores [K, settings] of every algorithm."""
    names = _learned(next(iter(settings.values())))
    columns = [setting.results for setting in settings.values()]
    return {name: np.stack([rows[name].samples["score"].mean(axis=1) for rows in columns], axis=1) for name in names}


def _thresholds(scores: Mapping[str, np.ndarray]) -> np.ndarray:
    """From the lowest score to the highest, at least to 1, on whole hundredths: finer differences say little."""
    pooled = np.concatenate([own.ravel() for own in scores.values()])
    low, high = np.floor(100 * pooled.min()) / 100, max(1.0, np.ceil(100 * pooled.max()) / 100)
    return np.linspace(min(low, high - 0.01), high, THRESHOLDS)


def _statistics(scores: np.ndarray, strata: list[int], thresholds: np.ndarray) -> dict[str, Any]:
    """All of one algorithm, from the same resamples."""

    def together(drawn: np.ndarray) -> np.ndarray:
        return np.array([interquartile_mean(drawn), optimality_gap(drawn), *performance_profile(drawn, thresholds)])

    found = bootstrap(together, scores, strata=strata)
    places: dict[str, Any] = {"iqm": 0, "optimality_gap": 1, "profile": slice(2, None)}
    return {name: Bounded(*(part[place] for part in found)).to_dict() for name, place in places.items()}


def _improvement(scores: Mapping[str, np.ndarray], strata: list[int]) -> dict[str, dict[str, Any]]:
    """Every algorithm over every other; the way back is what is left to 1."""
    table: dict[str, dict[str, Any]] = {name: {} for name in scores}
    for one, other in combinations(scores, 2):
        found = bootstrap(probability_of_improvement, scores[one], scores[other], strata=strata)
        table[one][other] = found.to_dict()
        table[other][one] = Bounded(1 - found.value, 1 - found.high, 1 - found.low).to_dict()
    return table
