"""What rliable says of fixed scores, written to ``tests/data/rliable.json``.

Run in an environment of its own: ``pip install rliable==1.2.0 'pandas<3'`` (arch, which it imports, fails with 3).
"""

import json
from importlib.metadata import version
from pathlib import Path

import numpy as np
from rliable import library, metrics

TAUS = [0.0, 0.4, 0.6, 0.7, 0.8, 0.9, 1.0]


def bounded(scores, func):
    value, ends = library.get_interval_estimates({"x": scores}, func, reps=50_000)
    value, ends = np.asarray(value["x"]), np.asarray(ends["x"])
    return {"value": value.tolist(), "low": ends[0].tolist(), "high": ends[1].tolist()}


def main():
    np.random.seed(0)  # rliable resamples with the global generator
    rng = np.random.default_rng(11)
    centres = np.array([0.85, 0.7, 0.95, 0.6])
    scores = {
        "ac": np.round(centres + rng.normal(0, 0.08, (5, 4)), 2),
        "ddqn": np.round(centres - 0.04 + rng.normal(0, 0.1, (7, 4)), 2),
    }
    curve = np.round(1 - np.exp(-np.arange(1, 5) / 2) + rng.normal(0, 0.1, (6, 1, 4)), 2)
    pair = [scores["ac"], scores["ddqn"]]
    out = {
        "versions": {name: version(name) for name in ("rliable", "arch", "numpy", "scipy")},
        "scores": {name: rows.tolist() for name, rows in scores.items()},
        "iqm": {k: bounded(v, lambda s: np.array([metrics.aggregate_iqm(s)])) for k, v in scores.items()},
        "gap": {k: bounded(v, lambda s: np.array([metrics.aggregate_optimality_gap(s, 1)])) for k, v in scores.items()},
        "improvement": bounded(pair, lambda x, y: np.array([metrics.probability_of_improvement(x, y)])),
        "thresholds": TAUS,
        "profile": {k: bounded(v, lambda s: library.score_distributions(s, TAUS)) for k, v in scores.items()},
        "curve_values": curve[:, 0].tolist(),
        "curve": bounded(curve, lambda s: np.array([metrics.aggregate_iqm(s[..., i]) for i in range(s.shape[-1])])),
    }
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in out.items())
    Path("tests/data/rliable.json").write_text(f"{{\n{lines}\n}}\n")


main()
