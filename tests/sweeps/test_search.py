"""Optuna proposes settings; a search that was stopped goes on with the settings that it would have proposed."""

import pytest

from offjax.config import parse_sweep
from offjax.errors import MachineError
from offjax.sweeps import search

SWEEP = {
    "base": {"agents": {"ac": {"hidden": [4]}}, "training": {"seeds": 2, "validation_devices": 0}},
    "axes": {
        "agents.ac.gamma": {"low": 0.0, "high": 1.0},
        "agents.ac.actor_learning_rate": {"low": 1e-5, "high": 1e-1, "scale": "log"},
        "agents.ac.lr_decay_updates": {"low": 1, "high": 9},
        "agents.ac.activation": ["tanh", "relu"],
    },
    "search": {"trials": 20, "batch": 8},
}


def test_batches_sum_to_the_trials():
    assert list(search.batch_sizes(parse_sweep(SWEEP))) == [8, 8, 4]


def test_what_a_setting_reached_is_a_mean_over_agents_and_scenarios():
    rows = [
        {"axes": {"a": 1, "b": None}, "mean": 2.0},
        {"axes": {"a": 1, "b": 5}, "mean": 4.0},
        {"axes": {"a": 2, "b": 5}, "mean": 9.0},
    ]
    found = search.reached(rows, [{"a": 1, "b": 5}, {"a": 2, "b": 5}, {"a": 3, "b": 5}])
    assert [value for _, value in found[:2]] == [3.0, 9.0]
    assert found[2][1] != found[2][1]


def test_without_optuna_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "optuna", None)
    with pytest.raises(MachineError, match=r"pip install offjax\[search\]"):
        search.require_optuna()
