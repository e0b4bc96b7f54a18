"""What the experiments are made of: enough seeds, and one plain line for numbers that contradict each other."""

from pathlib import Path

import pytest

from offjax.cli import main
from offjax.config.paper_a import PaperAConfig, load_paper_a, merged
from offjax.errors import ConfigError

CONFIG = Path(__file__).parents[2] / "configs/paper_a.yaml"


def test_the_shipped_experiments_load():
    config = load_paper_a(CONFIG)
    assert config.seeds >= 10
    quick = load_paper_a(CONFIG, quick=True)
    assert quick.seeds < config.seeds
    assert quick.system.weights_period == config.system.weights_period
    assert load_paper_a(CONFIG, quick=True) == quick


def test_groups_are_merged_key_by_key():
    assert merged({"a": 1, "b": {"c": 2, "d": [3]}}, {"b": {"d": [4]}, "e": 5}) == {
        "a": 1,
        "b": {"c": 2, "d": [4]},
        "e": 5,
    }


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("seeds: 1", r"seeds: 1 is not allowed; it must be a whole number from 2 to 1,000 seeds"),
        ("system: {sending_period: 0}", r"system\.sending_period: 0 is not allowed; .* from 1 .* tasks: SF"),
        ("system: {weights_period: 0.5}", r"system\.weights_period: 0\.5 is not allowed; .* trainings: T"),
        ("system: {batch_size: 99, arm_capacity: 98, brm_capacity: 9}", r"system\.arm_capacity: 98 .* = 99"),
        ("system: {brm_capacity: 99, arm_capacity: 98}", r"system\.brm_capacity: 99 .*system\.arm_capacity = 98"),
        ("system: {devices: 21}", r"system\.devices: 21 .* a multiple of system\.devices_per_cell = 20"),
        ("sytem: {}", r"sytem: {} is not allowed; no such key \(did you mean system\?\)"),
    ],
)
def test_bad_input_is_one_line(tmp_path, text, line):
    path = tmp_path / "paper_a.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=line):
        load_paper_a(path)


def test_a_wrong_quick_value_is_named(tmp_path):
    path = tmp_path / "paper_a.yaml"
    path.write_text("quick: {system: {sending_period: 0}}")
    assert load_paper_a(path).system == PaperAConfig().system
    with pytest.raises(ConfigError, match=r"system\.sending_period: 0 is not allowed"):
        load_paper_a(path, quick=True)


def test_the_command_ends_with_2(tmp_path, monkeypatch, capsys):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs/paper_a.yaml").write_text("system: {batch_size: 99, arm_capacity: 98, brm_capacity: 9}")
    monkeypatch.chdir(tmp_path)
    assert main(["figures", "paper-a", "--quick"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["figures", "scalability", "--quick"]) == 2
    assert "--quick: 'scalability' is not allowed; only paper-a has it" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()
