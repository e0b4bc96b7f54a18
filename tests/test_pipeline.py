"""A whole small run: trained, compared, exported, reported, resumed and read by a board."""

import html
import json
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from offjax import pipeline
from offjax.agents import AGENTS
from offjax.config import load_config, parse_config
from offjax.errors import ConfigError
from offjax.export.bundle import load_policy
from offjax.learning.unit import load_unit
from offjax.runs.log import read_metrics
from offjax.runs.provenance import device_name

SMALL = {
    "problem": {"devices": 40, "slots": 40, "scenarios": ["scenario1", "steps"]},
    "scenarios": {"steps": {"description": "The MEC fails in the middle.", "server_outages": {"mec": [[10, 30]]}}},
    "agents": {
        "ddqn": {"hidden": [8], "replay_capacity": 400, "batch_size": 16},
        "ac": {"hidden": [8]},
    },
    "training": {"seeds": 2, "worlds": 2, "rounds": 3, "validation_devices": 20},
    "evaluation": {"seeds": 2, "devices": 20},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return pipeline.train_run(parse_config(SMALL), tmp_path_factory.mktemp("runs") / "small")


def test_every_algorithm_has_a_name_and_an_output():
    assert list(pipeline.LABELS) == list(pipeline.OUTPUTS) == list(AGENTS)
    assert {f"trained_{name}" for name in AGENTS} <= set(pipeline.CURVE_ROWS)


def test_the_folder_explains_itself(run):
    names = {entry.name for entry in run.path.iterdir()}
    assert names >= {"config.yaml", "metrics.parquet", "summary.json", "report.html", "checkpoints", "policy"}
    assert load_config(run.config) == load_config(run.config, ["training.seeds=2"])
    assert json.loads(run.provenance.read_text())["versions"]["offjax"]


def test_results_name_the_machine_and_the_precision(run):
    provenance, summary = (json.loads(path.read_text()) for path in (run.provenance, run.summary))
    for result in (provenance, summary):
        assert result["precision"] == {"parameters": "float32", "matmul": "default", "x64": False}
        assert {name: result["backend"][name] for name in ("name", "devices", "processes")} == {
            "name": jax.default_backend(),
            "devices": len(jax.devices()),
            "processes": 1,
        }
    page = html.unescape(run.report.read_text())
    assert f"{jax.default_backend()}, {len(jax.devices())} x {device_name()}, processes: 1" in page
    assert "float32, matrix products: default, 64 bits: off" in page


def test_the_summary_holds_what_the_table_shows(run):
    summary = json.loads(run.summary.read_text())
    assert set(summary["settings"]) == {"uniform/scenario1", "uniform/steps"}
    wanted = {"trained_ddqn", "trained_ac", "oracle", "best_fixed_rule", "local", "mec", "cloud", "random"}
    assert set(summary["policies"]) >= wanted
    for row in summary["policies"].values():
        for name in ("reward", "regret", "success", "energy_j", "latency_s", "score"):
            assert set(row[name]) == {"mean", "ci95"}
    assert summary["policies"]["oracle"]["regret"]["mean"] == 0
    assert summary["export"]["observations"] == 10_000
    assert summary["export"]["max_abs_diff"] <= 1e-5
    assert summary["export"]["decision_agreement"] == 1


def test_the_summary_holds_all_settings_together(run):
    found = json.loads(run.summary.read_text())["aggregate"]
    assert set(found["references"]) == {"uniform/scenario1", "uniform/steps"}
    assert found["runs"] == 2
    assert set(found["improvement"]["trained_ddqn"]) == {"trained_ac"}
    assert 'id="aggregate-profile-figure"' in run.report.read_text()


def test_metrics_have_every_unit_seed_and_round(run):
    rows = read_metrics(run.path).to_pylist()
    seen = {(row["run"], row["seed"], row["round"]) for row in rows if row["name"] == "reward"}
    units = ("ddqn-scenario1", "ac-scenario1", "ddqn-steps", "ac-steps")
    assert seen == {(unit, seed, round_) for unit in units for seed in (0, 1) for round_ in (0, 1, 2)}


def test_a_finished_run_is_left_alone(run):
    before = run.summary.read_bytes()
    assert pipeline.resume_run(run.path).path == run.path
    assert run.summary.read_bytes() == before


def test_a_run_never_overwrites(run):
    with pytest.raises(ConfigError, match="--out"):
        pipeline.train_run(parse_config(SMALL), run.path)


def test_other_agents_and_scenarios_can_be_exported(run, tmp_path):
    parity = pipeline.export_run(run.path, tmp_path / "ac", agent="ac", scenario="steps")
    assert parity["max_abs_diff"] <= 1e-5
    assert load_policy(tmp_path / "ac").manifest["algorithm"] == "ac"
    with pytest.raises(ConfigError, match=r"--agent.*ddqn, ac"):
        pipeline.export_run(run.path, tmp_path / "ppo", agent="ppo")
    with pytest.raises(ConfigError, match=r"--learner.*one learner for all"):
        pipeline.export_run(run.path, tmp_path / "one", learner=0)


def test_the_policy_that_validated_best_can_be_exported(run, tmp_path):
    """A run of three rounds, validated after the second and the third: what is exported is the better of the two."""
    pipeline.export_run(run.path, tmp_path / "best", best=True)
    assert load_policy(tmp_path / "best").manifest["algorithm"] == "ddqn"
    rows = [row for row in read_metrics(run.path).to_pylist() if row["run"] == "ddqn-scenario1"]
    rewards = {(row["seed"], row["round"]): row["value"] for row in rows if row["name"] == "validation_reward"}
    task = pipeline.build_tasks(load_config(run.config))[0]
    state, _ = load_unit(task.unit, run.path)
    for seed, reward, round_ in zip((0, 1), state.best.reward, state.best.round, strict=True):
        own = {at: value for (of, at), value in rewards.items() if of == seed}
        assert float(reward) == pytest.approx(max(own.values()), rel=1e-6)
        assert int(round_) - 1 in [at for at, value in own.items() if value == max(own.values())]


def test_a_run_can_be_evaluated_on_other_mixes(run, tmp_path, capsys):
    config = load_config(run.config, ["evaluation.mixes=[class1, class3]", "evaluation.scenarios=[scenario1]"])
    summary = pipeline.evaluate_run(config, tmp_path / "table.json", False, run=run.path)
    assert set(summary["settings"]) == {"class1/scenario1", "class3/scenario1"}
    assert "Actor-critic" in capsys.readouterr().out
    with pytest.raises(ConfigError, match="exists"):
        pipeline.evaluate_run(config, tmp_path / "table.json", False, run=run.path)


def test_the_board_side_decides_from_physical_numbers(run):
    command = [sys.executable, str(run.policy / "policy.py"), "--observation", "4000", "4e7", "9e8", "1e10", "-85", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert any(place in done.stdout for place in ("local", "mec", "cloud"))
    test = subprocess.run([sys.executable, str(run.policy / "policy.py"), "--self-test"], check=False)
    assert test.returncode == 0


def test_the_same_run_again_has_the_same_bits(run, tmp_path):
    again = pipeline.train_run(parse_config(SMALL), tmp_path / "again")
    first, second = (read_metrics(folder.path).to_pylist() for folder in (run, again))
    assert first == second
    one, two = (json.loads(folder.summary.read_text()) for folder in (run, again))
    assert one == two
    weights = [Path(folder.policy / "policy.npz").read_bytes() for folder in (run, again)]
    assert weights[0] == weights[1]


@pytest.mark.slow
def test_a_centralised_system_is_trained_compared_and_exported(tmp_path):
    """With the loop slower than the tasks come, it drops what comes meanwhile; its policy is a policy like others."""
    problem = {"name": "laas2022", "devices": 20, "slots": 40}
    agents = {"ddqn": {"hidden": [8], "batch_size": 16}}
    training = {"seeds": 2, "worlds": 1, "rounds": 2, "points_per_round": 2, "validation_devices": 20}
    architecture = {"kind": "centralised", "links": {"loop_latency_s": 2.5}, "learner": {"arm_capacity": 2000}}
    config = parse_config({**SMALL, "problem": problem, "scenarios": {}, "agents": agents, "training": training})
    tree = config.model_dump(mode="json") | {"architecture": architecture}
    run = pipeline.train_run(parse_config(tree), tmp_path / "system")
    rows = read_metrics(run.path).to_pylist()
    assert {(row["slot"], row["seed"]) for row in rows if row["name"] == "no_decision"} == {
        (slot, seed) for slot in (20, 40, 60, 80) for seed in (0, 1)
    }
    undecided = [row["value"] for row in rows if row["name"] == "no_decision"]
    assert min(undecided) > 0.4, "two of three tasks come while a device waits"
    summary = json.loads(run.summary.read_text())
    assert summary["export"]["decision_agreement"] == 1
    assert load_policy(run.policy).manifest["algorithm"] == "ddqn"
    assert pipeline.resume_run(run.path).path == run.path
