"""What a user can rely on: the task set is evaluated with all rivals, and profiles add up to the fleet.

One small coupled world: two profiles, a FIFO edge server, a shared uplink, stalls.
"""

import io
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from offjax import building, pipeline
from offjax.baselines.rules import Rule, all_rules
from offjax.config import parse_config
from offjax.evaluation import setting as settings
from offjax.evaluation.metrics import result
from offjax.evaluation.rollout import episodes_of_many
from offjax.evaluation.table import render
from offjax.learning.keys import Purpose, keys_of

SLOTS, DEVICES, SEEDS = 120, 10, 2
RULES = list(all_rules(3, 3))
CONFIG = {
    "problem": {
        "slots": SLOTS,
        "slot_ms": 40,
        "scenarios": ["mixed"],
        "devices": DEVICES,
        "devices_per_cell": 5,
        "coupling": "slot",
        "uplink": "active",
        "queue": "fifo",
        "downlink_rate_mbps": 250,
        "deadline": {"kind": "uniform", "fixed_ms": 20},
        "servers": {"mec_speed_mhz": 4800, "cloud_speed_mhz": 6000},
        "fleet": {
            "pi": {"share": 0.6, "speed_mhz": 1200, "energy_coefficient": 5e-28, "battery_j": 25, "idle_w": 2.0},
            "orin": {"share": 0.4, "speed_mhz": 3372, "energy_coefficient": 5e-29, "battery_j": 900, "idle_w": 5.6},
        },
        "workload": {"task_set": {"number_of_tasks": 60}},
    },
    "scenarios": {
        "mixed": {
            "description": "the link of a cell stalls, others use server and air",
            "outage": "stall",
            "timeout_s": 0.5,
            "link_outages": {"1": [[40, 70]]},
            "server_load": {"mec": [[20, 0.5]]},
            "traffic": [[80, 5]],
        }
    },
    "training": {"worlds": 1, "validation_devices": 0},
    "evaluation": {"devices": DEVICES, "seeds": SEEDS},
}


@pytest.fixture(scope="module")
def problem():
    return building.build_problem(parse_config(CONFIG), "mixed", DEVICES)


@pytest.fixture(scope="module")
def keys():
    return keys_of(10_000, SEEDS, Purpose.EVALUATE)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The summary that the command writes."""
    out = tmp_path_factory.mktemp("out") / "summary.json"
    pipeline.evaluate_run(parse_config(CONFIG), out)
    return json.loads(out.read_text())


@pytest.fixture(scope="module")
def batch(problem, keys, table):
    """Episodes of all fixed rules [rule, seed, ...]; their program is that of the table."""
    return jax.device_get(episodes_of_many(Rule(jnp.asarray(RULES, jnp.int8)), problem, keys, SLOTS))


def test_the_table_has_every_rival_and_names_best_response_as_reference(table):
    assert table["setting"] == "task_set/mixed"
    rows = {"oracle", "least_latency", "least_energy", "random", "local", "mec", "cloud", "best_fixed_rule"}
    assert set(table["policies"]) == rows | {"best_response"}
    reference = ("best_response", "best_response", None)
    assert (table["reference"], table["reference_policy"], table["reference_gap"]) == reference
    assert table["policies"]["oracle"]["label"] == "Myopic, task by task"
    assert "of the slots looked at ended in such an equilibrium" in table["reference_note"]
    assert set(table["policies"]["mec"]["decisions"]) == {"small", "medium", "large"}


def test_what_happens_in_the_world_shows(table):
    policies = table["policies"]
    assert policies["mec"]["latency_parts_s"]["queue"]["mean"] > 0
    assert policies["mec"]["latency_parts_s"]["downlink"]["mean"] > 0
    assert policies["cloud"]["latency_parts_s"]["backhaul"]["mean"] > 0.015
    assert policies["local"]["latency_parts_s"]["wait"]["mean"] > 0
    assert 0 < policies["local"]["success"]["mean"] < 1
    assert policies["local"]["drops"]["link_lost"]["mean"] == 0 < policies["mec"]["drops"]["link_lost"]["mean"]


def test_profiles_add_up_to_the_fleet(batch):
    whole, parts = batch.replace(profiles=None), batch.profiles
    for name in ("reward", "energy", "latency", "parts", "battery"):
        np.testing.assert_allclose(getattr(parts, name).sum(axis=2), getattr(whole, name), rtol=1e-4, atol=1e-5)
    for name in ("success", "ends", "refused", "outlasting"):
        found, expected = getattr(parts, name), getattr(whole, name)
        if name == "ends":  # what did not end counts nowhere
            found, expected = found[:, :, :, 1:], expected[:, :, 1:]
        np.testing.assert_array_equal(found.sum(axis=2), expected)
    assert (whole.outlasting > 0).any()
    left = parts.left
    assert (np.isfinite(left).sum(axis=2) == 1).all(), "every device is of one kind"
    np.testing.assert_array_equal(np.nansum(left, axis=2), whole.left)


def test_numbers_of_a_profile_are_those_of_its_devices(batch, problem):
    row = result("x", "X", "rule", batch, DEVICES, problem.groups, problem.profiles)
    assert list(row.profiles) == ["pi", "orin"]
    pi = np.asarray(problem.params.fleet.profile) == 0
    np.testing.assert_allclose(row.profiles["pi"].samples["battery_j"], batch.left[..., pi].mean(axis=-1), rtol=1e-6)
    left = {name: own.samples["battery_j"][RULES.index((1, 1, 1))] for name, own in row.profiles.items()}
    seconds = SLOTS * 0.04
    np.testing.assert_allclose(left["pi"], 25 - 2.0 * seconds, atol=1.0)  # idle power, and a little for the uploads
    np.testing.assert_allclose(left["orin"], 900 - 5.6 * seconds, atol=1.0)
    tasks = {name: _tasks(batch.profiles, index) for index, name in enumerate(row.profiles)}
    success = sum(own.samples["success"] * tasks[name] for name, own in row.profiles.items())
    np.testing.assert_allclose(success, row.samples["success"] * sum(tasks.values()), rtol=1e-9)


def _tasks(profiles, index) -> np.ndarray:
    return profiles.ends[:, :, index, 1:].sum(axis=(-3, -2, -1)) + profiles.refused[:, :, index].sum(axis=-1)


def test_summary_and_table_are_broken_down_by_profile(table):
    for row in table["policies"].values():
        assert set(row["profiles"]) == {"pi", "orin"}
        for own in row["profiles"].values():
            assert {"reward", "success", "energy_j", "latency_s", "battery_j", "drops", "late"} <= set(own)
            ends = own["success"]["mean"] + own["late"]["mean"] + sum(drop["mean"] for drop in own["drops"].values())
            assert ends == pytest.approx(1)
    console = Console(width=250, file=io.StringIO())
    console.print(render("title", _with_nan(table)))
    lines = console.file.getvalue().splitlines()
    assert sum(" profile " in line for line in lines) == 1
    assert sum(" orin " in line for line in lines) == sum(" pi " in line for line in lines) == 9
    assert not any("nan" in line for line in lines), "a dash where there is no number"


def _with_nan(tree):
    if isinstance(tree, dict):
        return {name: _with_nan(value) for name, value in tree.items()}
    return float("nan") if tree is None else tree


def test_a_reference_no_better_than_chance_gives_no_score():
    """The myopic one may be poor where devices get in each other's way."""
    means = {"oracle": [-0.5, -0.1], "random": [-0.4, -0.2]}
    rows = {name: _Row({"reward": np.array([values])}) for name, values in means.items()}
    scores = settings.scores(settings.Setting(rows, "myopic", "oracle", float("nan")))
    np.testing.assert_array_equal(scores["oracle"], [[np.nan, 1.0]])


class _Row:
    def __init__(self, samples):
        self.samples = samples
