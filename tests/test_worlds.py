"""From a configuration to a world: units become SI, defaults are the paper's, a bad world leaves no trace."""

import jax
import numpy as np
import pytest

from offjax import building, pipeline
from offjax.config import ScenarioConfig, TaskSetConfig, load_scenario, parse_config
from offjax.errors import ConfigError
from offjax.problems import laas2022, nieto2024
from offjax.problems.parts import Sharing
from offjax.problems.scenario import Scenario
from offjax.workload.dealt import DealtTasks

SCENARIO = {
    "description": "everything at once",
    "server_outages": {"mec": [[1, 2]]},
    "link_outages": {"1": [[1, 3]]},
    "backhaul_outages": [[4, 6], [7, 9]],
    "backup_outages": {"0": [[8, 9]]},
    "redundant_link": {"rate_mbps": 100, "delay_ms": 30},
    "failover_slots": 1,
    "outage": "stall",
    "timeout_s": 2.5,
    "server_load": {"mec": [[0, 0.8], [7, 0]], "cloud": [[2, 0.5]]},
    "traffic": [[0, 10], [5, 50]],
    "traffic_rate_mbps": 2,
    "delay_ms": [[0, 20]],
    "jitter_ms": [[3, 2.5]],
    "delay_correlation": 0.25,
}


def build(problem=None, scenario=None, devices=40, **groups):
    tree = {"problem": {"slots": 16, **(problem or {})}, "training": {"worlds": 1}, **groups}
    if scenario is not None:
        tree["scenarios"] = {"mine": {"description": "x", **scenario}}
    return building.build_problem(parse_config(tree), "mine" if scenario is not None else "scenario1", devices)


def _paths(tree) -> dict:
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.flatten_with_path(tree)[0]}


def test_the_default_is_the_papers_problem():
    """Number by number, but for the rate of a cell that nobody shares."""
    config = parse_config({})
    built, made = building.build_problem(config, "scenario1", 40), nieto2024.make(devices=40)
    assert jax.tree.structure(built) == jax.tree.structure(made)
    ours, theirs = _paths(built), _paths(made)
    different = {name for name in ours if not np.array_equal(ours[name], theirs[name])}
    assert different == {".params.radio.cell_rate"}
    params = made.params
    assert (params.coupling, params.uplink, params.downlink, params.queue) == ("none", "fixed", "none", ())
    assert (params.buffer, params.outage, params.redundant, params.impaired) == (1, "drop", False, False)
    assert float(params.fleet.speed) == np.float32(40e6)


def test_the_defaults_of_a_scenario_and_of_a_task_set_are_those_of_their_records():
    plain = building.make_scenario(ScenarioConfig(description="x"))
    different = {name for name in vars(plain) if list(np.atleast_1d(getattr(plain, name))) != _row(Scenario(), name)}
    assert different == {"timeout"}  # ten seconds for those who choose to stall
    assert building._task_set(TaskSetConfig()) == DealtTasks()


def _row(record, name) -> list:
    return list(np.atleast_1d(getattr(record, name)))


def test_a_scenario_arrives_in_si_units():
    params = build(scenario=SCENARIO).params
    schedule, servers = params.schedule, params.servers
    assert (params.outage, params.redundant, params.impaired) == ("stall", True, True)
    assert [schedule.link.start.shape, schedule.backhaul.start.shape] == [(2, 4), (1, 4)]
    np.testing.assert_array_equal(schedule.link.stop[:, 0], [0, 3])
    np.testing.assert_array_equal(schedule.backup.stop[:, 0], [9, 0])
    np.testing.assert_array_equal(schedule.backhaul.start[0, :2], [4, 7])
    np.testing.assert_array_equal(schedule.server.stop[:, 0], [2, 0])
    np.testing.assert_allclose(schedule.load.value, [[0.8, 0.0], [0.5, 0.5]])
    np.testing.assert_allclose(schedule.traffic.value, [[10, 50]])
    np.testing.assert_allclose(schedule.traffic_rate, 2e6)
    np.testing.assert_allclose(schedule.delay.value, [[0.02]])
    np.testing.assert_allclose(schedule.jitter.value, [[0.0025]])
    np.testing.assert_allclose([schedule.correlation, schedule.failover, schedule.timeout], [0.25, 1, 2.5])
    np.testing.assert_allclose([servers.backup_rate[1], servers.backup_delay[1]], [100e6, 0.03])
    np.testing.assert_allclose(params.radio.cell_rate, 150e6)


def test_a_redundant_link_is_like_the_first_one_by_default():
    servers = build(scenario={"redundant_link": True}).params.servers
    np.testing.assert_array_equal(servers.backup_rate, servers.backhaul_rate)
    np.testing.assert_array_equal(servers.backup_delay, servers.backhaul_delay)


def test_a_problem_arrives_in_si_units():
    problem = {
        "slot_ms": 50,
        "coupling": "exact",
        "uplink": "active",
        "downlink": "fixed",
        "downlink_rate_mbps": 250,
        "queue": "ps",
        "cell_rate_mbps": 60,
        "buffer": 3,
        "arrivals": {"kind": "poisson", "mean_s": 0.5},
        "deadline": {"kind": "uniform", "factor_low": 2, "factor_high": 4, "fixed_ms": 20},
        "servers": {"mec_speed_mhz": 4800, "cloud_speed_mhz": 6000},
    }
    params = build(problem, {}).params
    assert (params.coupling, params.uplink, params.downlink) == ("exact", "active", "fixed")
    assert (params.queue, params.buffer) == (("ps", "none"), 3)
    np.testing.assert_allclose(params.slot_duration, 0.05)
    np.testing.assert_allclose(params.radio.bandwidth, 100e6)
    np.testing.assert_allclose([params.radio.downlink_rate, params.radio.cell_rate], [250e6, 60e6])
    np.testing.assert_allclose(params.servers.speed, [4.8e9, 6e9])
    workload = params.workload
    assert (workload.deadline, workload.arrivals.kind) == ("uniform", "poisson")
    np.testing.assert_allclose([workload.factor_low, workload.factor_high, workload.deadline_fixed], [2, 4, 0.02])
    np.testing.assert_allclose(workload.arrivals.mean, 0.5)


@pytest.mark.parametrize(
    ("arrivals", "number"),
    [
        ({"kind": "periodic", "period_slots": 3}, ("period", 3)),
        ({"kind": "bernoulli", "chance": 0.25}, ("chance", 0.25)),
        ({"kind": "closed", "mean_s": 2}, ("mean", 2.0)),
    ],
)
def test_every_kind_of_arrivals(arrivals, number):
    found = build({"arrivals": arrivals}, {}).params.workload.arrivals
    assert found.kind == arrivals["kind"]
    np.testing.assert_allclose(getattr(found, number[0]), number[1])


def test_a_mixed_fleet_arrives_in_si_units_and_its_observation_covers_it():
    fleet = {
        "pi": {"share": 0.75, "speed_mhz": 1200, "battery_j": 100, "energy_coefficient": 5e-28},
        "orin": {"share": 0.25, "speed_mhz": 3372, "idle_w": 5.6, "transmit_w": 2.5, "receive_w": 0.5},
    }
    problem = build({"fleet": fleet}, {})
    own = problem.params.fleet
    assert problem.profiles == ("pi", "orin")
    orin = np.asarray(own.profile) == 1
    assert orin.reshape(2, 20).sum(axis=1).tolist() == [5, 5]
    np.testing.assert_allclose(own.speed, np.where(orin, 3.372e9, 1.2e9))
    np.testing.assert_allclose(own.battery, np.where(orin, 4000, 100))
    np.testing.assert_allclose(own.energy_coefficient, np.where(orin, 1e-21, 5e-28))
    np.testing.assert_allclose(own.idle_power, np.where(orin, 5.6, 0.1))
    np.testing.assert_allclose(own.transmit_power, np.where(orin, 2.5, 1.0))
    np.testing.assert_allclose(own.receive_power, np.where(orin, 0.5, 0.0))
    high = {feature.name: feature.high for feature in problem.features}
    assert high["battery"] == 4000
    assert high["device_speed"] == pytest.approx(3.372e9)


@pytest.mark.parametrize("name", ["alternating", "congestion", "failover", "stall"])
def test_the_shipped_scenarios_are_worlds(name):
    load_scenario(name)
    building.build_problem(parse_config({"problem": {"scenarios": [name]}}), name, 40)


@pytest.mark.parametrize(
    ("problem", "scenario", "words"),
    [
        ({"workload": {"task_set": {"utilisation": 5}}}, {}, r"^problem\.workload\.task_set\.utilisation: 5\.0 "),
        (
            {"workload": {"task_set": {"period_min_us": 1500}}},
            {},
            r"^problem\.workload\.task_set\.period_min_us: 1500 ",
        ),
        ({"workload": {"task_set": True}, "slot_ms": 1e9}, {}, r"^problem\.slots: "),
        ({"fleet": {"a": {"share": 0.99}, "b": {"share": 0.01}}}, {}, r"^problem\.fleet\.b\.share: 0\.01 .*20 devices"),
        ({}, {"link_outages": {"2": [[1, 2]]}}, r"^mine: link_outages: 2 .*cells 0 to 1"),
    ],
)
def test_a_bad_world_is_one_line_that_names_the_key(problem, scenario, words):
    with pytest.raises(ConfigError, match=words) as caught:
        build(problem, scenario)
    assert "\n" not in str(caught.value)


def test_what_the_world_itself_refuses_is_one_line_too(monkeypatch):
    made = nieto2024.make

    def broken(**arguments):
        problem = made(**arguments)
        servers = problem.params.servers
        return problem.replace(params=problem.params.replace(servers=servers.replace(backhaul_rate=np.zeros(2))))

    monkeypatch.setattr(nieto2024, "make", broken)
    with pytest.raises(ConfigError, match=r"^servers\.backhaul_rate: 0\.0 is not allowed; server 1 needs a link"):
        build(scenario={})


def test_a_slot_too_long_is_a_warning():
    task_set = {"workload": {"task_set": True}, "coupling": "slot", "queue": "fifo", "slot_ms": 500}
    with pytest.warns(UserWarning, match="error of about"):
        build(task_set, {})


def test_a_bad_evaluation_leaves_no_folder(tmp_path):
    """It would be found out after the training."""
    tree = {
        "scenarios": {"mine": {"description": "x", "link_outages": {"3": [[1, 2]]}}},
        "evaluation": {"scenarios": ["mine"], "devices": 40},
    }
    with pytest.raises(ConfigError, match="mine: link_outages: 3"):
        pipeline.train_run(parse_config(tree), tmp_path / "run")
    assert not (tmp_path / "run").exists()


LAAS = {
    "name": "laas2022",
    "scenarios": ["calm"],
    "fleet": {"meter": {"share": 0.5, "f": 2e7, "energy_uj_per_unit": 0.4, "battery_j": 90}, "camera": {"share": 0.5}},
    "servers": {
        "near": {"f": 5e8, "free_low": 0.5},
        "far": {"f": 2e10, "link_mbps": 50, "link_delay_ms": 30, "cloud": True},
    },
    "devices": 200,
    "demand_low": 2e6,
    "demand_high": 4e6,
    "theta": 0.5,
    "tasks": 9,
    "time_weight": 3.0,
    "bandwidth_mhz": 40,
    "coupling": "slot",
    "uplink": "active",
    "observe": ["battery", "delays"],
}


def test_paper_a_arrives_in_si_units():
    config = parse_config({"problem": LAAS, "training": {"worlds": 5}})
    problem = building.build_problem(config, "calm", 40)
    params = problem.params
    assert (problem.name, problem.decisions, problem.profiles) == (
        "laas2022",
        ("local", "near", "far"),
        ("meter", "camera"),
    )
    assert (params.cloud, params.coupling, params.uplink, params.redundant) == ((False, True), "slot", "active", True)
    np.testing.assert_allclose(np.unique(params.fleet.speed), [2e7, 4e7])
    np.testing.assert_allclose(params.servers.speed, [5e8, 2e10])
    np.testing.assert_allclose(params.servers.backhaul_rate, [1e9, 5e7])
    np.testing.assert_allclose(params.servers.backhaul_delay, [0, 0.03])
    np.testing.assert_allclose([params.workload.bits_low[0], params.workload.bits_high[-1]], [1e6, 2e6])
    np.testing.assert_allclose(params.radio.bandwidth, 40e6)
    assert int(params.workload.arrivals.limit) == 9
    assert float(problem.time_weight) == 3.0
    names = [feature.name for feature in problem.features]
    assert len(names) == 4 + 3 * 2 + 1 + 2
    assert names[-3:] == ["battery", "near_delay", "far_delay"]


def test_the_default_of_paper_a_is_its_problem_with_nothing_shared():
    config = parse_config({"problem": {"name": "laas2022"}, "training": {"worlds": 8}})
    built = building.build_problem(config, "calm", 40)
    made = laas2022.make(Scenario(redundant=True, timeout=10.0), devices=40, sharing=Sharing(cell_rate=150e6))
    assert jax.tree.structure(built) == jax.tree.structure(made)
    jax.tree.map(np.testing.assert_array_equal, built, made)


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        ({"scenarios": ["scenario1"]}, "problem.scenarios: 'scenario1' .* calm"),
        ({"servers": {"local": {}}}, r"problem\.servers: \['local'\] .* other than local"),
        ({"demand_low": 5e7}, "demand_low = 5e\\+07 must not exceed"),
        ({"downlink": "cell", "coupling": "slot"}, "problem.downlink: 'cell'"),
        ({"observe": ["everything"]}, "problem.observe"),
        ({"preset": "text"}, r"problem\.preset: .*no such key"),
    ],
)
def test_a_wrong_problem_of_paper_a_is_one_line(problem, words):
    def load():
        config = parse_config({"problem": {"name": "laas2022", **problem}})
        building.build_problem(config, config.problem.scenarios[0], 40)

    with pytest.raises(ConfigError, match=words) as caught:
        load()
    assert "\n" not in str(caught.value)
