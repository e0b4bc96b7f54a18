"""The leaderboard: equal budgets, every trial counted, an interrupted one goes on, and a page that keeps its prose."""

import csv
import io
import json
from pathlib import Path

import pytest

from offjax.config import load_config
from offjax.config.leaderboard import load_leaderboard
from offjax.config.yaml_text import dump_yaml
from offjax.errors import ConfigError
from offjax.leaderboard import page
from offjax.leaderboard.run import draw_trials, run, training_config, unit_of

CONFIGS = Path(__file__).parents[2] / "configs"
BOARD = load_leaderboard(CONFIGS / "leaderboard.yaml")
ONLY_PPO = BOARD.model_copy(update={"agents": {"ppo": BOARD.agents["ppo"]}, "settings": ("here",)})


def test_every_agent_has_the_same_budget_in_every_setting():
    assert set(BOARD.settings) == {path.stem for path in (CONFIGS / "leaderboard").glob("*.yaml")}
    for name in BOARD.settings:
        base = load_config(CONFIGS / f"leaderboard/{name}.yaml")
        steps = set()
        for agent, contestant in BOARD.agents.items():
            config = training_config(BOARD, base, agent, contestant)
            steps.add(config.training.rounds * config.problem.devices * config.problem.slots // config.training.worlds)
        (budget,) = steps
        assert BOARD.device_steps <= budget < 1.1 * BOARD.device_steps


def test_trials_are_drawn_from_their_ranges_and_are_always_the_same():
    for agent, contestant in BOARD.agents.items():
        trials = draw_trials(BOARD, agent)
        assert trials == draw_trials(BOARD, agent)
        assert len({json.dumps(trial) for trial in trials}) == BOARD.trials
        for trial in trials:
            assert trial.keys() == contestant.search.keys()
            assert all(own.low <= trial[name] <= own.high for name, own in contestant.search.items())


def test_shares_are_of_the_updates_that_a_training_makes():
    """PPO: rollouts of ten slots, four epochs of four minibatches each."""
    base = load_config(CONFIGS / "leaderboard/nieto2024_outage.yaml")
    config = training_config(BOARD, base, "ppo", BOARD.agents["ppo"])
    trial = draw_trials(BOARD, "ppo")[0]
    unit = unit_of(config, "ppo", "tuning", [(trial, 5000), (trial, 5001)], BOARD.agents["ppo"])
    slots = config.training.rounds * base.problem.slots // BOARD.worlds
    assert unit.agents[0].lr_decay_updates == slots // 10 * 16
    assert unit.agents[1].learning_rate == trial["learning_rate"]
    assert unit.members == 2


def _found():
    row = {"label": "PPO", "kind": "learned", "iqm": {"value": 0.97, "low": 0.96, "high": 0.98}, "seeds": [0.96, 0.98]}
    numbers = {name: {"mean": 0.9, "ci95": 0.01} for name in ("score", "regret", "success")}
    rule = {"label": "Best fixed rule (all local)", "kind": "rule", **numbers, "score": {"mean": 0.5, "ci95": 0.01}}
    trials = [{"gamma": 0.5, "validation_reward": [-1.0, -2.0]}, {"gamma": 0.9, "validation_reward": [-0.5, -0.5]}]
    rows = {"trained_ppo": {**row, **numbers}, "best_fixed_rule": rule}
    return {"here": {"reference": "exact", "rows": rows, "agents": {"ppo": {"trials": trials, "chosen": 1}}}}


def test_the_page_keeps_its_prose_and_every_trial_is_in_the_table(tmp_path):
    path = tmp_path / "leaderboard.md"
    path.write_text(f"Before.\n\n{page.BEGIN}\nold\n{page.END}\n\nAfter.\n")
    page.write(_found(), ONLY_PPO, path, tmp_path / "figures", "a machine")
    text = path.read_text()
    assert text.startswith("Before.\n")
    assert text.endswith("After.\n")
    assert "old" not in text
    assert "| `here` | `exact` | 0.500 | **0.9700** |" in text
    assert "gamma 0.9 |" in text
    rows = list(csv.DictReader(io.StringIO((tmp_path / "figures/trials.csv").read_text())))
    assert [(row["trial"], row["chosen"], row["value"]) for row in rows if row["name"] == "gamma"] == [
        ("0", "0", "0.5"),
        ("1", "1", "0.9"),
    ]
    assert (tmp_path / "figures/leaderboard.png").stat().st_size > 10_000


def test_a_page_without_marks_is_left_alone(tmp_path):
    path = tmp_path / "leaderboard.md"
    path.write_text("Nothing here.")
    with pytest.raises(ConfigError, match="it must hold the lines"):
        page.write(_found(), ONLY_PPO, path, tmp_path, "a machine")
    assert path.read_text() == "Nothing here."


@pytest.mark.slow
def test_a_small_board_from_beginning_to_end(tmp_path):
    (tmp_path / "leaderboard").mkdir()
    setting = (CONFIGS / "leaderboard/nieto2024_outage.yaml").read_text()
    (tmp_path / "leaderboard/small.yaml").write_text(setting.replace("seeds: 10", "seeds: 2"))
    tree = BOARD.model_dump(mode="json")
    tree |= {"settings": ["small"], "trials": 2, "seeds": 2, "device_steps": 4e4, "devices": 160}
    tree["agents"] = {name: tree["agents"][name] for name in ("ac", "ddqn")}
    (tmp_path / "leaderboard.yaml").write_text(dump_yaml(tree))
    found = run(tmp_path / "leaderboard.yaml", tmp_path / "store")["small"]
    assert {"trained_ac", "trained_ddqn", "best_fixed_rule"} <= found["rows"].keys()
    assert [len(found["agents"][name]["trials"]) for name in ("ac", "ddqn")] == [2, 2]
    assert run(tmp_path / "leaderboard.yaml", tmp_path / "store")["small"] == found
