"""Run where Optuna is installed: proposals hang on what was tried alone, and they get better."""

from offjax.config import parse_sweep
from offjax.sweeps import search

SWEEP = {
    "base": {"agents": {"ac": {"hidden": [4]}}, "training": {"seeds": 2, "validation_devices": 0}},
    "axes": {
        "agents.ac.gamma": {"low": 0.0, "high": 1.0},
        "agents.ac.actor_learning_rate": {"low": 1e-5, "high": 1e-1, "scale": "log"},
        "agents.ac.lr_decay_updates": {"low": 1, "high": 9},
        "agents.ac.activation": ["tanh", "relu"],
    },
    "search": {"trials": 96, "batch": 8},
}
BEST = 0.3


def miss(point) -> float:
    """How far a setting is from the one that pays most."""
    return abs(point["agents.ac.gamma"] - BEST)


config = parse_sweep(SWEEP)
first = search.propose(config, [], 0, 8)
assert first == search.propose(config, [], 0, 8)
assert len({str(point) for point in first}) == 8
tried: list = [(point, -miss(point)) for point in first[:-1]] + [(first[-1], float("nan"))]  # one has failed
second = search.propose(config, tried, 1, 8)
assert second == search.propose(config, tried, 1, 8) != first
for point in first + second:
    assert 0 <= point["agents.ac.gamma"] <= 1
    assert isinstance(point["agents.ac.lr_decay_updates"], int)
    config.at(point)
for batch in range(1, 12):
    tried += [(point, -miss(point)) for point in search.propose(config, tried, batch, 8)]
late, early = (sum(miss(point) for point, _ in part) / len(part) for part in (tried[-24:], tried[:8]))
assert late < 0.5 * early, (late, early)
