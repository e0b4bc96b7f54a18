"""What a user can rely on: scores of several settings are pooled as they are, and say against what they stand."""

import json

import numpy as np
import pytest
from rich.console import Console

from offjax.evaluation.aggregate import aggregate
from offjax.evaluation.metrics import Result
from offjax.evaluation.setting import Setting
from offjax.evaluation.statistics import (
    estimate,
    interquartile_mean,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)
from offjax.evaluation.table import render_aggregate

RUNS, SEEDS = 5, 3
CENTRES = {"trained_ddqn": 0.9, "trained_ac": 0.8}


def _row(name, kind, score):
    nothing = estimate(np.zeros(2))
    return Result(name, name.upper(), kind, {"score": score}, {}, {}, nothing, {})


def _setting(rng, reference="exact", names=("trained_ddqn", "trained_ac")):
    rows = {name: _row(name, "learned", CENTRES[name] + rng.normal(0, 0.05, (RUNS, SEEDS))) for name in names}
    return Setting(rows | {"random": _row("random", "rule", np.zeros((1, SEEDS)))}, reference, "oracle", 0.0)


@pytest.fixture
def rng():
    return np.random.default_rng(2)


@pytest.fixture
def settings(rng):
    return {"uniform/scenario1": _setting(rng), "class3/scenario1": _setting(rng), "uniform/steps": _setting(rng)}


def _scores(settings, name):
    return np.stack([setting.results[name].samples["score"].mean(1) for setting in settings.values()], 1)


def test_an_aggregate_pools_the_scores_of_all_runs_and_settings(settings):
    found = aggregate(settings)
    ddqn, ac = (_scores(settings, name) for name in ("trained_ddqn", "trained_ac"))
    assert (found["runs"], set(found["algorithms"])) == (RUNS, {"trained_ddqn", "trained_ac"})
    own = found["algorithms"]["trained_ddqn"]
    assert own["label"] == "TRAINED_DDQN"
    assert own["iqm"]["value"] == pytest.approx(interquartile_mean(ddqn), rel=1e-12)
    assert own["optimality_gap"]["value"] == pytest.approx(optimality_gap(ddqn), rel=1e-12)
    assert own["profile"]["value"] == performance_profile(ddqn, found["thresholds"]).tolist()
    assert own["profile"]["value"][0] == 1
    assert own["profile"]["value"][-1] == 0
    chance = found["improvement"]["trained_ddqn"]["trained_ac"]
    assert chance["value"] == pytest.approx(probability_of_improvement(ddqn, ac), rel=1e-12)
    for value in (own["iqm"], own["optimality_gap"], chance):
        assert value["low"] <= value["value"] <= value["high"]
    assert json.loads(json.dumps(found)) == found == aggregate(settings)


def test_scores_say_what_they_stand_against(settings, rng):
    settings["uniform/shared"] = _setting(rng, reference="best_response")
    found = aggregate(settings)
    assert found["references"]["uniform/steps"] == "exact"
    assert found["references"]["uniform/shared"] == "best_response"
    with pytest.raises(ValueError, match="reference: a score against a bound"):
        aggregate({"uniform/shared": _setting(rng, reference="bound")})


def test_a_setting_without_a_score_is_left_out_and_named(settings):
    settings["class3/scenario1"].results["trained_ac"].samples["score"][2, 1] = np.nan
    found = aggregate(settings)
    assert found["left_out"] == ["class3/scenario1"]
    assert set(found["references"]) == {"uniform/scenario1", "uniform/steps"}


def test_settings_of_one_scenario_are_no_more_evidence_than_its_policies(settings):
    """The same policies under three names: apart the interval would shrink by a square root of three."""
    one = settings["uniform/scenario1"]
    width = lambda value: value["high"] - value["low"]  # noqa: E731
    gaps = [
        width(aggregate(twins)["algorithms"]["trained_ac"]["optimality_gap"])
        for twins in (
            {"uniform/scenario1": one},
            {f"{mix}/scenario1": one for mix in ("a", "b", "c")},
            {f"uniform/{name}": one for name in ("a", "b", "c")},
        )
    ]
    assert gaps[1] == pytest.approx(gaps[0], rel=1e-9)
    assert gaps[2] < 0.75 * gaps[0]


def test_rules_alone_have_no_aggregate_and_one_run_no_interval(settings, rng):
    assert aggregate({"uniform/scenario1": _setting(rng, names=())}) == {}
    alone = _setting(rng, names=("trained_ac",))
    alone.results["trained_ac"].samples["score"] = np.full((1, SEEDS), 0.5)
    found = aggregate({"uniform/scenario1": alone})
    assert found["algorithms"]["trained_ac"]["iqm"]["value"] == 0.5
    assert np.isnan(found["algorithms"]["trained_ac"]["iqm"]["low"])
    assert found["improvement"] == {"trained_ac": {}}


def test_the_terminal_shows_the_best_first(settings, capsys):
    Console(width=200).print(render_aggregate(aggregate(settings)))
    lines = capsys.readouterr().out.splitlines()
    assert "scores against: exact; 5 runs in each of 3 settings" in lines[2]
    assert [line.split()[0] for line in lines[-2:]] == ["TRAINED_DDQN", "TRAINED_AC"]
    assert lines[-2].split()[1].startswith("0.9")
