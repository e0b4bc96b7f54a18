"""What a sweep varies is checked before anything starts; every mistake ends in one line that names its axis."""

from pathlib import Path

import pytest

from offjax.config import SweepConfig, is_sweep, load_config, load_sweep, parse_sweep, to_yaml
from offjax.errors import ConfigError

SHIPPED = Path(__file__).parents[2] / "configs/sweeps/lr_seed_grid.yaml"
BASE = {"agents": {"ac": {"hidden": [4]}}, "training": {"seeds": 2, "validation_devices": 0}}


def sweep(**changes) -> SweepConfig:
    return parse_sweep({"base": BASE, "axes": {"agents.ac.gamma": [0.0, 0.9]}, **changes})


def test_the_shipped_grid_has_256_agents_or_more():
    config = load_sweep(SHIPPED)
    assert len(list(config.grid())) * config.run.training.seeds >= 256
    assert config.ranked_by == "validation_reward"


def test_what_is_written_reads_back_equal(tmp_path):
    config = load_sweep(SHIPPED, ["base.training.seeds=3", "axes.agents.ac.gamma=[0.5]"])
    (tmp_path / "config.yaml").write_text(to_yaml(config))
    assert load_sweep(tmp_path / "config.yaml") == config
    assert is_sweep(tmp_path / "config.yaml")
    assert (config.run.training.seeds, config.axes["agents.ac.gamma"]) == (3, [0.5])


def test_the_base_may_be_a_file_beside(tmp_path):
    (tmp_path / "run.yaml").write_text("problem: {scenarios: [calm.yaml]}\nagents: {ac: {gamma: 0.5}}\n")
    (tmp_path / "calm.yaml").write_text("description: Nothing fails.\n")
    (tmp_path / "sweep.yaml").write_text("base: run.yaml\naxes: {agents.ac.gamma: [0.1, 0.2]}\n")
    config = load_sweep(tmp_path / "sweep.yaml")
    assert config.run == load_config(tmp_path / "run.yaml")
    assert [config.at(point).agents.ac.gamma for point in config.grid()] == [0.1, 0.2]
    assert not is_sweep(tmp_path / "run.yaml")


def test_ranges_have_both_ends():
    axes = {
        "agents.ac.gamma": {"low": 0.0, "high": 1.0, "points": 3},
        "agents.ac.actor_learning_rate": {"low": 1e-4, "high": 1e-2, "points": 3, "scale": "log"},
        "agents.ac.lr_decay_updates": {"low": 1, "high": 3, "points": 5},
    }
    config = sweep(axes=axes)
    assert config.values("agents.ac.gamma") == [0.0, 0.5, 1.0]
    assert config.values("agents.ac.actor_learning_rate") == [1e-4, 1e-3, 1e-2]
    assert config.values("agents.ac.lr_decay_updates") == [1, 2, 3]  # whole numbers, each once
    assert len(list(config.grid())) == 27


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"axes": {"agents.ac.gama": [0]}},
            "axes: 'agents.ac.gama'.*did you mean gamma.*base.agents.ac has activation",
        ),
        ({"axes": {"agents.ddqn.gamma": [0]}}, r"axes: 'agents.ddqn.gamma'.*base.agents.ddqn.*set it in base"),
        ({"axes": {"agents.ac.gamma": [0.5, 1.5]}}, "axes: agents.ac.gamma: 1.5 .*a number from 0 to 1"),
        ({"axes": {"training.worlds": [8, 7]}}, "axes: training.worlds: 7 .*must divide problem.slots"),
        ({"axes": {"agents.ac.gamma": []}}, "axes.agents.ac.gamma: .*a value at least"),
        ({"axes": {"agents.ac.gamma": 3}}, "axes.agents.ac.gamma: 3 .*a list of values"),
        ({"axes": {"agents.ac.gamma": {"low": 1.0, "high": 0.0}}}, "axes.agents.ac.gamma.*low = 1 must be below"),
        ({"axes": {"agents.ac.gamma": {"low": 0.0, "high": 1.0, "scale": "log"}}}, "log scale low must be above 0"),
        (
            {"axes": {"agents.ac.gamma": {"low": 0.0, "high": 1.0, "hihg": 1.0}}},
            "axes.agents.ac.gamma: hihg.*did you mean high",
        ),
        ({"axes": {"training.seeds": [1, 2]}}, "training.seeds.*seeds are an axis anyway"),
        ({"axes": {"problem.scenarios": [["scenario1"]]}}, "problem.scenarios.*trained anyway"),
        ({"axes": {"evaluation.seeds": [3]}}, "evaluation.seeds.*changes the training"),
        (
            {"axes": {"problem.slot_ms": {"low": 1.0, "high": 2.0, "points": 10_000}, "agents.ac.gamma": [0.0, 0.1]}},
            "10000 x 2.*10,000 settings at most, not 20,000",
        ),
        ({"base": {**BASE, "training": {"seeds": 10_000}}, "axes": {"agents.ac.gamma": [0.0] * 11}}, "100,000 at most"),
        ({"base": {"problem": {"slot": 3}}}, "base.problem.slot: 3 .*did you mean slots"),
        ({"base": "run.yaml"}, "base: 'run.yaml'"),
        ({"measure": "validation_regret"}, "measure.*validation_devices is 0"),
        ({"search": {"trials": 0}}, "search.trials: 0 .*a whole number from 1"),
        ({"search": {}, "axes": {}}, "axes.*a search needs an axis"),
        ({"search": {}, "axes": {"agents.ac.hidden": [[8], [16]]}}, "axes.agents.ac.hidden.*a search takes numbers"),
    ],
)
def test_wrong_sweeps_end_in_one_line(changes, words):
    with pytest.raises(ConfigError, match=words) as error:
        sweep(**changes)
    assert "\n" not in str(error.value)
