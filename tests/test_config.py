"""A configuration is what the file says, checked; every mistake ends in one line that says what to change."""

import json
import re
import shutil
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offjax.config import (
    EXACT_CELL,
    PROBLEMS,
    A2cConfig,
    AcConfig,
    AgentsConfig,
    ArrivalConfig,
    BaseProblemConfig,
    DdqnConfig,
    DeadlineConfig,
    DqnConfig,
    EvaluationConfig,
    Laas2022Config,
    LaasDeviceConfig,
    LaasServerConfig,
    Nieto2024Config,
    PpoConfig,
    ProblemName,
    ProfileConfig,
    RangeConfig,
    RedundantLink,
    RunConfig,
    ScenarioConfig,
    SearchConfig,
    ServerLoad,
    ServerOutages,
    ServersConfig,
    SweepConfig,
    TaskSetConfig,
    TrainingConfig,
    WorkloadConfig,
    config_hash,
    load_config,
    load_scenario,
    parse_config,
    parse_override,
    run_model,
    to_yaml,
)
from offjax.config.paper_a import PaperAConfig, SystemConfig
from offjax.config.paper_a_learning import GapsConfig, GeneratorsConfig, LearningCurvesConfig, TableConfig
from offjax.config.peers import OWN, PEERS
from offjax.errors import ConfigError, MachineError

ALTERNATING = Path(__file__).parents[1] / "configs/scenarios/alternating.yaml"


@pytest.fixture
def write(tmp_path):
    def write(text: str | bytes, name: str = "run.yaml") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


GROUPS = [RunConfig, AgentsConfig, A2cConfig, AcConfig, DdqnConfig, DqnConfig, PpoConfig]
GROUPS += [ScenarioConfig, ServerOutages]
GROUPS += [Nieto2024Config, TrainingConfig, EvaluationConfig, ArrivalConfig, DeadlineConfig, ProfileConfig]
GROUPS += [
    Laas2022Config,
    LaasDeviceConfig,
    LaasServerConfig,
    BaseProblemConfig,
    RedundantLink,
    ServerLoad,
    ServersConfig,
    TaskSetConfig,
    WorkloadConfig,
    SweepConfig,
    RangeConfig,
    SearchConfig,
]
GROUPS += [*PEERS.values(), *OWN.values(), PaperAConfig, SystemConfig]
GROUPS += [GapsConfig, GeneratorsConfig, LearningCurvesConfig, TableConfig]


def test_defaults_are_a_valid_configuration(write):
    config = load_config(write("{}"))
    assert config == RunConfig()
    assert config.agents.named() == [("ac", AcConfig())]
    assert config.problem.scenarios == ("scenario1",)
    assert config.evaluation.mixes == config.evaluation.scenarios == ()  # those of the problem


def test_file_and_overrides_merge_in_order(write):
    path = write("problem: {devices: 320}\nagents:\n  ddqn:\n    hidden: [16, 8]\n")
    config = load_config(path, ["problem.devices=480", "problem.devices=640", "agents.ddqn.gamma=0.5"])
    assert config.problem.devices == 640
    assert config.problem.devices_per_cell == 20
    assert config.agents.named() == [("ddqn", DdqnConfig(hidden=(16, 8), gamma=0.5))]


@pytest.mark.parametrize(
    ("text", "overrides", "names"),
    [
        ("agents: {ac: {}}", [], ["ac"]),
        ("agents: {ac: {}, ddqn: {gamma: 0.5}}", [], ["ddqn", "ac"]),
        ("agents: {ac: {}}", ["agents.ddqn.gamma=0.5"], ["ddqn", "ac"]),
        ("agents: {ac: {}, ddqn: {}}", ["agents.ddqn=null"], ["ac"]),
        ("{}", ["agents.ac.gamma=0.9"], ["ac"]),
        ("{}", ["agents.ddqn={}"], ["ddqn"]),
    ],
)
def test_the_agents_are_those_whose_group_is_there(write, text, overrides, names):
    config = load_config(write(text), overrides)
    assert [name for name, _ in config.agents.named()] == names
    assert load_config(write(to_yaml(config))) == config


def test_numbers_read_as_people_write_them(write):
    """PyYAML alone would read 1e-5 as text, off as false and 010 as eight."""
    agent = load_config(write("agents: {ac: {adam_eps: 1e-5, critic_learning_rate: 2.5E-4}}")).agents.ac
    assert agent.adam_eps == 1e-5
    assert agent.critic_learning_rate == 2.5e-4
    assert load_config(write("problem: {slots: 1_000}")).problem.slots == 1000
    assert parse_override("a=off")[1] == "off"
    assert parse_override("a=010")[1] == "010"
    assert parse_override("a=1:30")[1] == "1:30"
    assert parse_override("a=2024-01-01")[1] == "2024-01-01"


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        ("problm: {}", "problm", ["did you mean problem?", "allowed keys: problem, agents, architecture, training"]),
        ("problem: {slot: 3}", "problem.slot", ["did you mean slots?", "devices_per_cell"]),
        ("agent: {ac: {}}", "agent", ["did you mean agents?"]),
        ("agents: {ac: {gama: 1}}", "agents.ac.gama", ["did you mean gamma?", "critic_learning_rate"]),
        ("agents: {ddqn: {entropy: 1}}", "agents.ddqn.entropy", ["no such key", "replay_capacity"]),
        ("agents: {ac: {name: ac}}", "agents.ac.name", ["no such key", "actor_learning_rate"]),
        ("agents: {dddqn: {}}", "agents.dddqn", ["did you mean ddqn?", "allowed keys: ddqn, dqn, ac, a2c, ppo"]),
        ("agents: {gamma: 1}", "agents.gamma", ["no such key", "allowed keys: ddqn, dqn, ac"]),
        ("agents: {}", "agents", ["at least one of ddqn, dqn, ac"]),
        ("agents: {ac: }", "agents", ["at least one of ddqn, dqn, ac"]),
        ("agents: {ac: 5}", "agents.ac", ["a group of keys: hidden, activation"]),
        ("agents: {ac: [1]}", "agents.ac", ["a group of keys: hidden, activation"]),
        ("agents: ac", "agents", ["a group of keys: ddqn, dqn, ac"]),
        ("agents: [ac]", "agents", ["a group of keys: ddqn, dqn, ac"]),
        ("agents:", "agents", ["a group of keys: ddqn, dqn, ac"]),
        ("problem: [1]", "problem", ["a group of keys: name"]),
        ("problem: {slots: 0}", "problem.slots", ["a whole number from 1 to 10,000,000 slots"]),
        ("problem: {slots: 2.5}", "problem.slots", ["a whole number"]),
        ("problem: {slots: '3'}", "problem.slots", ["a whole number"]),
        ("problem: {slots: true}", "problem.slots", ["a whole number"]),
        ("problem: {slots: 99999999999999999999}", "problem.slots", ["a whole number"]),
        (
            "problem: {mix: unifrom}",
            "problem.mix",
            ["class1, class2, class3 or uniform", "did you mean uniform?"],
        ),
        ("problem: {preset: fig}", "problem.preset", ["text or figures"]),
        ("problem: {name: laas}", "problem.name", ["nieto2024"]),
        ("problem: {devices: 30}", "problem.devices", ["multiple of problem.devices_per_cell = 20"]),
        ("training: {worlds: 16}\nproblem: {devices: 160}", "problem.devices", ["training.worlds = 16", "320"]),
        ("evaluation: {devices: 30}", "evaluation.devices", ["multiple of problem.devices_per_cell = 20"]),
        ("training: {validation_devices: 1}", "training.validation_devices", ["multiple of"]),
        ("training: {worlds: 7}", "training.worlds", ["divide problem.slots = 2000, like 5"]),
        ("training: {seed: -1}", "training.seed", ["from 0 to 2,000,000,000"]),
        ("training: {seed: 9999}", "evaluation.seed", ["held-out seeds", "9999 to 10003"]),
        ("evaluation: {seeds: 1}", "evaluation.seeds", ["from 2 to"]),
        ("evaluation: {mixes: [class1, classs2]}", "evaluation.mixes", ["a list of class1", "mean class2?"]),
        ("evaluation: {mixes: uniform}", "evaluation.mixes", ["a list of class1"]),
        ("evaluation: {mixes: [class1, class1]}", "evaluation.mixes", ["once"]),
        ("evaluation: {policies: all}", "evaluation.policies", ["no such key", "devices, mixes, scenarios"]),
        ("agents: {ac: {hidden: [3, 0]}}", "agents.ac.hidden", ["from 1 to 16,384 units"]),
        ("agents: {ac: {hidden: []}}", "agents.ac.hidden", ["a list of 1 to 8"]),
        ("agents: {ac: {activation: rel}}", "agents.ac.activation", ["tanh or relu", "mean relu?"]),
        ("agents: {ac: {gamma: .nan}}", "agents.ac.gamma", ["a number from 0 to 1"]),
        ("agents: {ac: {reward_scale: .inf}}", "agents.ac.reward_scale", ["a number above 0"]),
        ("agents: {ddqn: {reward_scale: 1e400}}", "agents.ddqn.reward_scale", ["a number above 0"]),
        ("agents: {ac: {actor_learning_rate: 0}}", "agents.ac.actor_learning_rate", ["above 0"]),
        (
            "agents: {ddqn: {batch_size: 21, replay_capacity: 20}}",
            "agents.ddqn.batch_size",
            ["agents.ddqn.replay_capacity = 20"],
        ),
        (
            "agents: {ac: {}, ddqn: {batch_size: 9, replay_capacity: 159}}",
            "agents.ddqn.replay_capacity",
            ["one rollout of all devices, problem.devices = 160"],
        ),
        ("problem: {scenario: scenario1}", "problem.scenario", ["did you mean scenarios?"]),
        ("problem: {scenarios: []}", "problem.scenarios", ["a list of scenario1"]),
        ("problem: {scenarios: scenario1}", "problem.scenarios", ["a list of scenario1"]),
        ("problem: {scenarios: [3]}", "problem.scenarios", ["a list of scenario1"]),
        ("problem: {scenarios: ['']}", "problem.scenarios", ["a list of scenario1"]),
        ("problem: {scenarios: [scenario1, scenario1]}", "problem.scenarios", ["once"]),
        (
            "problem: {scenarios: [scenario1, scenario3]}",
            "problem.scenarios.1",
            ["no such file", "scenario1, scenario2", "did you mean scenario"],
        ),
        ("evaluation: {scenarios: [nope.yaml]}", "evaluation.scenarios.0", ["no such file"]),
        (f"problem: {{scenarios: [{'x' * 5000}]}}", "problem.scenarios.0", ["no such file"]),
        ('problem: {scenarios: ["a\\0b"]}', "problem.scenarios.0", ["no such file"]),
        ("problem: {scenarios: [/]}", "problem.scenarios.0", ["this is a folder"]),
        ("scenarios: {scenario1: {description: x}}", "scenarios", ["built-in"]),
        ("scenarios: {mine: {}}", "scenarios.mine.description", ["one sentence"]),
        (
            "scenarios: {mine: {description: x, link: 1}}",
            "scenarios.mine.link",
            ["did you mean", "link_outages"],
        ),
        ("scenarios: 3", "scenarios", ["a group of scenarios by name"]),
        ("problem: {slot_ms: 0}", "problem.slot_ms", ["above 0", "ms: length of a slot"]),
        ("problem: {buffer: -1}", "problem.buffer", ["a whole number from 0", "tasks"]),
        ("problem: {coupling: slots}", "problem.coupling", ["none, slot", "did you mean slot?"]),
        ("problem: {uplink: all}", "problem.uplink", ["fixed", "active", "cell"]),
        ("problem: {queue: lifo}", "problem.queue", ["none, fifo or ps", "mean fifo?"]),
        ("problem: {uplink: active}", "problem.coupling", ["slot or exact, because of problem.uplink = active"]),
        ("problem: {queue: ps}", "problem.coupling", ["slot or exact, because of problem.queue = ps"]),
        (
            "problem: {coupling: exact, devices_per_cell: 100, devices: 800}",
            "problem.devices_per_cell",
            ["at most 64 devices", "use slot"],
        ),
        (
            "problem: {coupling: slot, downlink: active}",
            "problem.downlink_rate_mbps",
            ["because problem.downlink = active shares it"],
        ),
        ("problem: {cell_rate_mbps: 0}", "problem.cell_rate_mbps", ["above 0", "Mb/s"]),
        ("problem: {servers: {mec_speed: 3}}", "problem.servers.mec_speed", ["did you mean mec_speed_mhz?"]),
        ("problem: {arrivals: {kind: poison}}", "problem.arrivals.kind", ["mean poisson?"]),
        ("problem: {arrivals: {kind: poisson}}", "problem.arrivals", ["of kind poisson need mean_s"]),
        ("problem: {arrivals: {chance: 0.5}}", "problem.arrivals", ["of kind periodic take period_slots, not chance"]),
        ("problem: {arrivals: {kind: bernoulli, chance: 2}}", "problem.arrivals.chance", ["probability per slot"]),
        ("problem: {arrivals: {kind: closed, mean_s: 0}}", "problem.arrivals.mean_s", ["above 0", "s: mean time"]),
        ("problem: {deadline: {kind: sized}}", "problem.deadline.kind", ["none, size", "mean size?"]),
        (
            "problem: {deadline: {factor_low: 4}}",
            "problem.deadline",
            ["factor_low = 4 must not exceed factor_high = 3"],
        ),
        ("problem: {fleet: {pi: {share: 0.5}}}", "problem.fleet", ["must sum to 1, not to 0.5"]),
        ("problem: {fleet: {pi: {speed: 3}}}", "problem.fleet.pi.speed", ["did you mean speed_mhz?"]),
        ("problem: {fleet: {pi: {battery_j: -1}}}", "problem.fleet.pi.battery_j", ["above 0", "J: a full battery"]),
        ("problem: {fleet: 3}", "problem.fleet", ["a group of device profiles by name"]),
        ("problem: {workload: {taskset: true}}", "problem.workload.taskset", ["did you mean task_set?"]),
        ("problem: {workload: {task_set: 3}}", "problem.workload.task_set", ["a group of keys: utilisation"]),
        (
            "problem: {workload: {task_set: {number_of_tasks: 0}}}",
            "problem.workload.task_set.number_of_tasks",
            ["a whole number from 1 to 30,000 tasks"],
        ),
        (
            "problem: {workload: {task_set: {bits_per_cycle_low: 1}}}",
            "problem.workload.task_set",
            ["must not exceed bits_per_cycle_high"],
        ),
        (
            "problem: {workload: {task_set: true}, arrivals: {kind: poisson, mean_s: 1}}",
            "problem.arrivals.kind",
            ["brings its own releases"],
        ),
        (
            "problem: {workload: {task_set: true}}\nevaluation: {mixes: [class1]}",
            "evaluation.mixes",
            ["has no mixes of classes"],
        ),
    ],
)
def test_a_wrong_value_names_field_value_and_choices(write, text, field, words):
    with pytest.raises(ConfigError) as caught:
        load_config(write(text))
    message = str(caught.value)
    assert message.startswith(f"{field}: ")
    assert "is not allowed; " in message
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "empty"),
        ("# only a comment\n", "empty"),
        ("- 1\n- 2\n", "allowed keys"),
        ("just text", "allowed keys"),
        ("a: 1\nb: c: d", "line 2"),
        ("problem: {slots: [1", "line 1"),
        ("problem:\n\tslots: 3", "line 2"),
        ("problem: {slots: 1}\nproblem: {slots: 2}", "once"),
        ("true: 2", "keys must be text"),
        ("x: \x00", "must be YAML"),
        ("x: !!int foo", "plain values"),
        ("x: !!python/object:os.system y", "must be YAML"),
        (f"problem: {{slots: {'9' * 5000}}}", "plain values"),
        ("[" * 5000, "must be YAML"),
        (b"\xff\xfe\x00x", "UTF-8"),
    ],
)
def test_a_file_that_is_no_configuration_is_one_line(write, text, words):
    with pytest.raises(ConfigError, match=words) as caught:
        load_config(write(text))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("path", ["nope.yaml", ".", "run.yaml/x", "a\x00b"])
def test_a_path_without_a_file_is_a_configuration_error(write, tmp_path, path):
    write("{}")
    with pytest.raises(ConfigError, match="the path of a YAML file"):
        load_config(tmp_path / path)


def test_an_unreadable_file_is_the_machines_fault(tmp_path):
    loop = tmp_path / "loop.yaml"
    loop.symlink_to(loop)  # unlike a permission, this stops root too
    with pytest.raises(MachineError, match="cannot read"):
        load_config(loop)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("foo", "path=value"),
        ("=3", "path=value"),
        ("a..b=3", "path=value"),
        ("a b=3", "path=value"),
        ("problem.slots=[1", "must be YAML"),
        ("agnts.ac.gamma=1", "did you mean agents"),
        ("agents.acc.gamma=1", "did you mean ac"),
        ("problem.slots.a=3", "problem.slots is a value"),
        ("problem.slots=", "a whole number"),
    ],
)
def test_a_wrong_override_is_one_line(write, override, words):
    with pytest.raises(ConfigError, match=words):
        load_config(write("problem: {slots: 4}\ntraining: {worlds: 1}"), [override])


PLAIN_TEXT = st.text(st.characters(codec="ascii", min_codepoint=32, max_codepoint=126))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | PLAIN_TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(PLAIN_TEXT, inner, max_size=3),
    max_leaves=6,
)


@given(VALUES, st.lists(st.from_regex(r"[a-z_][a-z0-9_]*", fullmatch=True), min_size=1, max_size=4))
def test_an_override_in_json_reads_back_equal(value, path):
    """JSON is what a script writes after --set, so every JSON value must arrive as it is."""
    found_path, found = parse_override(f"{'.'.join(path)}={json.dumps(value)}")
    assert found_path == path
    assert found == value
    assert type(found) is type(value)


@given(st.text())
def test_any_override_is_a_value_or_a_configuration_error(text):
    with suppress(ConfigError):
        parse_override(text)


def test_yaml_of_a_configuration_reads_back_equal(write):
    tree = {
        "agents": {"ddqn": {"learning_rate": 1e-9}, "ac": {"hidden": [3]}},
        "problem": {"scenarios": ["1e5", "off", "null"]},
        "evaluation": {"scenarios": ["scenario2", "mine"], "mixes": ["uniform"]},
    }
    mine = {"description": "a: b # c", "link_outages": [[1, 2], [2, 5]]}
    tree["scenarios"] = dict.fromkeys(["1e5", "off", "null", "mine"], mine)
    config = parse_config(tree)
    again = load_config(write(to_yaml(config)))
    assert again == config
    assert to_yaml(again) == to_yaml(config)


def test_hash_follows_the_content_only():
    assert config_hash(RunConfig()) == config_hash(parse_config({"problem": {"devices": 160}}))
    changed = parse_config({"problem": {"devices": 320}})
    assert config_hash(changed) != config_hash(RunConfig())
    assert len(config_hash(changed)) == 12
    whole, real = ({"agents": {"ac": {"entropy_coefficient": one}}} for one in (1, 1.0))
    assert config_hash(parse_config(whole)) == config_hash(parse_config(real))
    both = [parse_config({"agents": agents}) for agents in ({"ac": {}}, {"ac": {}, "ddqn": {}})]
    assert len({config_hash(config) for config in both}) == 2


def test_a_scenario_file_is_found_from_the_working_directory_and_beside_the_configuration(write, tmp_path, monkeypatch):
    write("description: the link fails\nlink_outages: [[1, 3]]", "mine.yaml")
    path = write("problem: {scenarios: [mine.yaml]}")
    monkeypatch.chdir("/")
    beside = load_config(path)
    assert beside.find_scenario("mine.yaml").link_outages == ((1, 3),)
    monkeypatch.chdir(tmp_path)
    assert load_scenario("mine.yaml") == beside.scenarios["mine.yaml"]


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """A folder in place of the package ``offjax.configs``, with two scenarios and a file that is none."""
    folder = tmp_path / "package"
    (folder / "scenarios").mkdir(parents=True)
    for name in ("calm.yaml", "storm.yaml", "notes.txt"):
        (folder / "scenarios" / name).write_text("description: shipped\n")
    monkeypatch.setattr(
        "offjax.config.scenario.resources.files", lambda name: folder if name == "offjax.configs" else None
    )
    return folder


def test_a_shipped_scenario_is_found_by_name_after_the_users_own_files(write, package, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    path = write("problem: {scenarios: [scenario1, calm]}\nevaluation: {scenarios: [storm]}")
    config = load_config(path)
    assert {name: found.description for name, found in config.scenarios.items()} == {
        "calm": "shipped",
        "storm": "shipped",
    }
    (tmp_path / "calm").mkdir()
    assert load_config(path) == config  # a folder hides no shipped scenario
    write("description: beside", "storm")
    assert load_config(path).find_scenario("storm").description == "beside"
    (tmp_path / "work").mkdir()
    write("description: here", "work/storm")
    monkeypatch.chdir(tmp_path / "work")
    assert load_config(path).find_scenario("storm").description == "here"


def test_a_scenario_that_is_not_shipped_is_one_line_with_the_names(write, package):
    for name in ("sturm", "calm.yaml", "notes", "../calm", "scenarios/calm"):
        with pytest.raises(ConfigError, match="it must be scenario1, scenario2, calm, storm or the path of"):
            load_config(write(f"problem: {{scenarios: [{name}]}}"))
    with pytest.raises(ConfigError, match=r"did you mean storm\?"):
        load_scenario("sturm")


def test_without_the_shipped_files_only_paths_are_scenarios(package):
    shutil.rmtree(package)
    with pytest.raises(ConfigError, match="it must be scenario1, scenario2 or the path of"):
        load_scenario("storm")


def test_the_shipped_scenarios_are_installed(write, monkeypatch):
    pytest.importorskip("offjax.configs", reason="this installation does not map configs/ to offjax.configs")
    monkeypatch.chdir("/")
    config = load_config(write("problem: {scenarios: [scenario1, alternating]}"))
    assert config.find_scenario("alternating") == load_scenario(str(ALTERNATING))


def test_a_saved_configuration_needs_its_scenario_file_no_more(write):
    scenario = write("description: the link fails\nlink_outages: [[1, 3]]", "mine.yaml")
    config = load_config(write("evaluation: {scenarios: [scenario2, mine.yaml]}"))
    scenario.unlink()
    again = load_config(write(to_yaml(config)))
    assert again.find_scenario("mine.yaml").link_outages == ((1, 3),)
    assert again.find_scenario("scenario2") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("link_outages: [[3, 3]]", "start before it stops"),
        ("link_outages: [[5, 3]]", "start before it stops"),
        ("link_outages: [[5, 7], [1, 2]]", "in order and apart"),
        ("link_outages: [[1, 5], [4, 7]]", "in order and apart"),
        ("link_outages: [[-1, 5]]", "whole slots from 0"),
        ("link_outages: [[1.5, 5]]", "whole slots from 0"),
        ("link_outages: [[1]]", "start, stop"),
        ("link_outages: [1, 5]", "start, stop"),
        ("server_outages: {mec: [[1900, 2001]]}", "within the horizon, problem.slots = 2000"),
        ("server_outages: {mce: [[1, 2]]}", "did you mean mec"),
        ("backhaul_outages: [[2000, 2001]]", "within the horizon"),
        ("link_outages: {0: [[2, 1]]}", "start before it stops"),
        ("link_outages: {0: [[2, 1.5]]}", "or a group of such lists by cell"),
        ("link_outages: {west: [[1, 2]]}", "by cell, counted from 0"),
        ("link_outages: {0: [[1, 2]], 3: [[7, 2001]]}", "within the horizon"),
        ("backup_outages: [[1, 2]]", "needs a redundant link: add redundant_link: true"),
        ("failover_slots: 3", "needs a redundant link"),
        ("redundant_link: {rate: 3}", "did you mean rate_mbps"),
        ("redundant_link: {rate_mbps: 0}", "above 0 and up to 1e.09 Mb/s"),
        ("redundant_link: {delay_ms: -1}", "from 0 to 1e.06 ms"),
        ("redundant_link: 3", "a group of keys: rate_mbps, delay_ms"),
        ("outage: wait", "drop or stall"),
        ("timeout_s: 0", "above 0 and up to 1e.06 s"),
        ("server_load: {mec: [[0, 1.5]]}", "values from 0 to 1: the share of the MEC server"),
        ("server_load: {mec: [[5, 0.5], [3, 0.1]]}", "in order of their slots, unlike 5 before 3"),
        ("server_load: {mec: [[5, 0.5], [5, 0.1]]}", "in order of their slots"),
        ("server_load: {cloud: [[2000, 0.5]]}", "before the end of the horizon, problem.slots = 2000"),
        ("traffic: [[-1, 3]]", "in order of their slots, values from 0 to 1e.06: the virtual UEs"),
        ("traffic: [[0, -3]]", "the virtual UEs"),
        ("traffic: 50", "the virtual UEs"),
        ("traffic: [[2000, 50]]", "before the end of the horizon"),
        ("traffic_rate_mbps: 0", "Mb/s"),
        ("delay_ms: [[0, .nan]]", "the mean extra delay in ms"),
        ("jitter_ms: [[9, 1], [3, 1]]", "in order of their slots"),
        ("delay_correlation: 1.5", "from 0 to 1"),
    ],
)
def test_a_wrong_scenario_names_file_field_and_choices(write, text, words):
    write(f"description: x\n{text}", "mine.yaml")
    with pytest.raises(ConfigError, match=words) as caught:
        load_config(write("problem: {scenarios: [mine.yaml]}"))
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("mine.yaml: ")
    assert text.split(":")[0] in message


EVERYTHING = """
description: everything at once
server_outages: {mec: [[1, 2]], cloud: [[3, 4]]}
link_outages: {0: [[1, 3]], 4: [[5, 9], [9, 11]]}
backhaul_outages: [[1, 9]]
backup_outages: {1: [[4, 5]]}
redundant_link: {rate_mbps: 100, delay_ms: 30}
failover_slots: 3
outage: stall
timeout_s: 2.5
server_load: {mec: [[0, 0.8], [7, 0]], cloud: [[2, 1]]}
traffic: [[0, 10], [5, 50]]
traffic_rate_mbps: 2
delay_ms: [[0, 20]]
jitter_ms: [[0, 2.5]]
delay_correlation: 0.25
"""


def test_a_scenario_with_every_key_reads_back_equal(write):
    write(EVERYTHING, "all.yaml")
    config = load_config(write("problem: {scenarios: [all.yaml], slots: 16}"))
    assert load_config(write(to_yaml(config))) == config
    found = config.find_scenario("all.yaml")
    assert found.link_outages == {0: ((1, 3),), 4: ((5, 9), (9, 11))}
    assert found.traffic == ((0, 10), (5, 50))
    assert found.redundant_link == RedundantLink(rate_mbps=100, delay_ms=30)
    plain = ScenarioConfig(description="everything at once")
    assert all(
        getattr(found, name) != getattr(plain, name) for name in set(ScenarioConfig.model_fields) - {"description"}
    )


def test_a_redundant_link_may_be_a_switch():
    assert ScenarioConfig(description="x", redundant_link=True).redundant_link == RedundantLink()
    assert ScenarioConfig(description="x", redundant_link=False).redundant_link is None


def test_an_outage_of_a_cell_that_is_not_there_is_refused():
    scenario = ScenarioConfig(description="x", backhaul_outages={4: ((1, 2),)})
    scenario.check_cells(5, "mine")
    with pytest.raises(ConfigError, match=r"mine: backhaul_outages: 4 is not allowed; .*cells 0 to 3"):
        scenario.check_cells(4, "mine")


def test_what_couples_is_off_by_default():
    problem = Nieto2024Config()
    assert (problem.coupling, problem.uplink, problem.downlink, problem.queue) == ("none", "fixed", "fixed", "none")
    assert (problem.slot_ms, problem.buffer, problem.fleet, problem.workload.task_set) == (1000.0, 1, {}, None)


def test_a_problem_with_every_group_reads_back_equal(write):
    tree = {
        "slot_ms": 50,
        "coupling": "exact",
        "uplink": "cell",
        "downlink": "active",
        "downlink_rate_mbps": 250,
        "queue": "fifo",
        "arrivals": {"kind": "closed", "mean_s": 0.5},
        "deadline": {"kind": "uniform", "factor_high": 4.0, "fixed_ms": 20},
        "fleet": {"pi": {"share": 0.25}, "orin": {"share": 0.75, "speed_mhz": 3372}},
    }
    config = parse_config({"problem": tree})
    assert load_config(write(to_yaml(config))) == config
    assert list(config.problem.fleet) == ["pi", "orin"]


class LineConfig(BaseProblemConfig):
    """A second problem, for the tests."""

    name: Literal["line"] = "line"
    length_m: float = 3.0


@pytest.fixture
def line(monkeypatch):
    monkeypatch.setitem(PROBLEMS, "line", LineConfig)


def test_every_known_problem_has_its_configuration():
    assert tuple(PROBLEMS) == get_args(ProblemName)
    for name, problem in PROBLEMS.items():
        assert problem().name == name
        assert isinstance(parse_config({"problem": {"name": name}}).problem, problem)


def test_the_problem_is_the_one_that_the_file_names(write, line):
    config = load_config(write("problem: {name: line, length_m: 5, slots: 16}"))
    assert (type(config.problem), config.problem.length_m) == (LineConfig, 5.0)
    assert isinstance(config, RunConfig)
    assert load_config(write(to_yaml(config))) == config
    assert load_config(write("problem: {slots: 16}"), ["problem.name=line", "problem.length_m=5"]) == config
    assert run_model({"problem": {"name": "nieto2024"}}) is run_model({}) is RunConfig


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "problem: {name: line, mix: class1}",
            r"problem.mix: .* no such key; allowed keys: name, scenarios, .*length_m",
        ),
        ("problem: {length_m: 1}", r"problem.length_m: .* no such key; allowed keys: name, .* workload"),
        ("problem: {name: line, uplink: active}", r"problem.coupling: .* because of problem.uplink = active"),
        ("problem: {name: line, devices: 30}", r"problem.devices: .* multiple of problem.devices_per_cell"),
        ("problem: {name: [line]}", r"problem.name: \['line'\] is not allowed; it must be nieto2024"),
        (
            "problem: {name: nieto, slots: 0}",
            r"problem.name: .* nieto2024 or laas2022: the problem \(did you mean nieto2024\?\)",
        ),
    ],
)
def test_the_keys_are_those_of_the_named_problem(write, line, text, words):
    with pytest.raises(ConfigError, match=words):
        load_config(write(text))


def test_the_largest_cell_of_exact_coupling_is_the_worlds():
    from offjax.world import sharing

    assert EXACT_CELL == sharing.EXACT_CELL


def test_adjacent_outages_are_allowed():
    scenario = ScenarioConfig(description="x", link_outages=((1, 2), (2, 3)))
    assert scenario.link_outages == ((1, 2), (2, 3))


def test_the_shipped_scenario_has_one_server_up_at_any_time():
    outages = load_scenario(str(ALTERNATING)).server_outages
    assert outages.mec == ((200, 600), (1000, 1400))
    assert outages.cloud == ((600, 1000), (1400, 1800))
    down = [slot for start, stop in outages.mec + outages.cloud for slot in range(start, stop)]
    assert len(down) == len(set(down))


def test_a_built_in_scenario_has_no_file():
    with pytest.raises(ConfigError, match="built-in"):
        load_scenario("scenario1")
    assert RunConfig().find_scenario("scenario1") is None


@pytest.mark.parametrize("group", GROUPS)
def test_every_field_says_what_it_is(group):
    for name, field in group.model_fields.items():
        assert field.description, f"{group.__name__}.{name}"


def test_agent_groups_mirror_the_agents():
    """The same names and defaults on both sides, so that a configuration passes straight to the agent."""
    from offjax.agents import AGENTS, make_agent

    configs = AgentsConfig(**{name: {} for name in AGENTS}).named()
    assert [name for name, _ in configs] == list(AGENTS)
    for name, config in configs:
        agent = make_agent(name)
        assert config.model_dump() == {field.name: getattr(agent, field.name) for field in fields(agent)}


def test_the_page_of_the_agents_names_each_and_its_example_is_a_configuration(write):
    page = (Path(__file__).parents[1] / "docs/agents.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    named = [name for name, _ in load_config(write(example)).agents.named()]
    assert named == re.findall(r"^## (\w+)$", page, re.MULTILINE) == list(AgentsConfig.model_fields)


DOCUMENT = (Path(__file__).parents[1] / "docs/scenarios.md").read_text()


def test_the_document_names_every_key():
    groups = [ScenarioConfig, ServerLoad, RedundantLink, ArrivalConfig, DeadlineConfig, ProfileConfig, ServersConfig]
    keys = [name for group in [*groups, TaskSetConfig, WorkloadConfig] for name in group.model_fields]
    keys += ["slot_ms", "coupling", "uplink", "downlink", "queue", "cell_rate_mbps", "downlink_rate_mbps", "buffer"]
    assert [key for key in keys if not re.search(rf"\b{key}\b", DOCUMENT)] == []


def test_the_examples_of_the_document_are_configurations(write):
    examples = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
    scenario, *problems = examples
    write(scenario, "mine.yaml")
    assert load_config(write("problem: {scenarios: [mine.yaml]}")).find_scenario("mine.yaml").traffic_rate_mbps == 10
    assert problems
    for example in problems:
        assert load_config(write(example)).problem != Nieto2024Config()


def test_overrides_leave_no_trace_in_the_defaults(write):
    load_config(write("{}"), ["problem.devices=320"])
    assert load_config(write("{}")).problem.devices == 160
