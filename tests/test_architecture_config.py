"""The group ``architecture`` of a run: every number reaches its record, and what does not fit is one plain line."""

from pathlib import Path

import numpy as np
import pytest

from offjax.building import build_agent, build_problem
from offjax.config import ArchitectureConfig, load_config, parse_config, parse_sweep, to_yaml
from offjax.errors import ConfigError
from offjax.learning import lives
from offjax.learning.augment import Noise, Relabel
from offjax.learning.centralised import Centralised
from offjax.learning.distributed import Distributed
from offjax.learning.sweep import group
from offjax.pipeline import build_tasks
from offjax.replay.flow import Flow
from offjax.replay.gan import Gan
from offjax.sweeps.trials import make_trials

FILE = Path(__file__).parents[1] / "configs/laas2022_distributed.yaml"
BASE = {
    "problem": {"name": "laas2022", "devices": 20, "slots": 40},
    "agents": {"ddqn": {"hidden": [4], "batch_size": 16}},
    "training": {"seeds": 2, "worlds": 1, "rounds": 1, "validation_devices": 20},
    "evaluation": {"seeds": 2, "devices": 20},
}


def _config(agent="ddqn", fields=None, training=None, **architecture):
    """A run with an architecture."""
    agents = {agent: fields or ({"hidden": [4], "batch_size": 16} if agent == "ddqn" else {"hidden": [4]})}
    training = BASE["training"] | (training or {})
    return parse_config({**BASE, "agents": agents, "training": training, "architecture": architecture})


def _built(agent="ddqn", fields=None, **architecture):
    config = _config(agent, fields, **architecture)
    return build_agent(config, agent, build_problem(config, "calm", 20))


def test_every_number_reaches_its_record_in_si_units():
    numbers = {"air_loss": 0.1, "wire_loss": 0.2, "loop_latency_s": 3.0, "jitter_s": 0.4, "duplicates": 0.5}
    links = numbers | {"waits": False, "places": 7}
    learner = {"weights_period": 3, "learning_starts": 5, "iterations": 2, "brm_capacity": 50, "arm_capacity": 60}
    generator = {"kind": "flow", "reward": "exact", "decisions": "uniform", "share": 0.3, "age_limit": 9}
    fits = {"least_rows": 11, "fit_period": 20, "steps": 12, "batch_size": 30, "pool": 40, "rows": 13}
    own = {"sending_period": 4, "counter_start": 0, "resources": "send", "inference_ms": 2.0}
    made = _built(**own, order="as_they_come", versions=6, links=links, learner=learner, generator=generator | fits)
    assert isinstance(made, Distributed)
    assert (made.sending_period, made.counter_start, made.resources, made.order, made.versions) == (
        4,
        0,
        "send",
        "as_they_come",
        6,
    )
    np.testing.assert_allclose(made.inference, 2e-3)
    renamed = {name.removesuffix("_s"): value for name, value in links.items()}
    assert {name: getattr(made.links, name) for name in renamed} == renamed
    assert {name: getattr(made.learner, name) for name in learner} == learner
    assert (made.learner.generated_share, made.learner.age_limit, made.learner.fit_period) == (0.3, 9.0, 20)
    augment = made.learner.augment
    assert isinstance(augment.generator, Flow)
    assert augment.generator.batch_size == 30
    same = ("reward", "decisions", "least_rows", "steps", "pool", "rows")
    assert {name: getattr(augment, name) for name in same} == {name: (generator | fits)[name] for name in same}


def test_defaults_are_those_of_the_records():
    made, learner = _built(), _built().learner
    fresh = Distributed(learner)
    names = ("links", "sending_period", "counter_start", "resources", "inference", "order", "versions")
    assert {name: getattr(made, name) for name in names} == {name: getattr(fresh, name) for name in names}
    other = type(learner)(learner.agent)
    names = ("weights_period", "generated_share", "age_limit", "learning_starts", "brm_capacity", "arm_capacity")
    assert {name: getattr(learner, name) for name in names} == {name: getattr(other, name) for name in names}
    central = _built(kind="centralised", observe_ms=5.0, over_links=False)
    assert isinstance(central, Centralised)
    assert (central.inference, central.over_links) == (1e-4, False)
    np.testing.assert_allclose(central.observe, 5e-3)


@pytest.mark.parametrize(("kind", "record"), [("relabel", Relabel), ("noise", Noise), ("gan", Gan)])
def test_each_generator(kind, record):
    augment = _built(generator={"kind": kind, "noise": 0.7, "fit_period": 20}).learner.augment
    assert isinstance(augment.generator if kind == "gan" else augment, record)
    if kind == "noise":
        assert augment.scale == 0.7


def test_the_shipped_file_is_whole():
    config = load_config(FILE)
    assert isinstance(config.architecture, ArchitectureConfig)
    assert [task.unit.name for task in build_tasks(config)] == ["ddqn-blackouts"]
    assert config.architecture.generator.kind == "relabel"


def test_a_run_without_an_architecture_has_no_such_key():
    """Hashes of what was written before there were architectures stay as they are."""
    assert "architecture" not in to_yaml(parse_config(BASE))
    assert "architecture" in to_yaml(_config())
    assert parse_config({**BASE, "architecture": None}) == parse_config(BASE)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"kind": "federated"}, r"architecture\.kind: 'federated' .* distributed .* or centralised"),
        ({"sending_period": 0}, r"architecture\.sending_period: 0 .* SF"),
        ({"counter_start": 2}, r"architecture\.counter_start: 2 .*from 0 to 1"),
        ({"sf": 3}, r"architecture\.sf: 3 .*no such key"),
        ({"observe_ms": 1.0}, r"architecture\.observe_ms: 1.0 .*only with kind: centralised"),
        ({"kind": "centralised", "versions": 8}, r"architecture\.versions: 8 .*only with kind: distributed"),
        ({"generator": {"kind": "ctgan"}}, r"architecture\.generator\.kind: 'ctgan' .* gan"),
        (
            {"generator": {"kind": "gan", "batch_size": 55}},
            r"architecture\.generator: .* batch_size = 55 must be a mult",
        ),
        ({"generator": {"kind": "gan", "fit_period": 30}}, r"generator\.fit_period: 30 .*divide problem\.slots = 40"),
        ({"learner": {"arm_capacity": 8}}, r"architecture\.learner\.arm_capacity: 8 .*at least batch_size = 16"),
        ({"training": {"worlds": 2}}, r"training\.worlds: 2 .*1 with an architecture"),
        ({"training": {"learners": "independent"}}, r"training\.learners: 'independent' .*shared with an architecture"),
        (
            {"fields": {"updates_per_step": 4}},
            r"agents\.ddqn\.updates_per_step: 4 .*1 with an architecture.*learner\.iterations",
        ),
        ({"fields": {"replay_capacity": 500}}, r"agents\.ddqn\.replay_capacity: 500 .*learner has brm_capacity"),
        ({"fields": {"n_steps": 3}}, r"agents\.ddqn\.n_steps: 3 .*1 with an architecture: experiences reach the cloud"),
        ({"fields": {"prioritised": True}}, r"agents\.ddqn\.prioritised: True .*false with an architecture"),
        ({"agent": "ac", "generator": {"kind": "noise"}}, r"architecture\.generator\.kind: 'ac' .*agent that replays"),
        ({"agent": "ppo", "fields": {"rollout_slots": 5}}, r"architecture\.links\.places: 4 .*1 for ppo"),
    ],
)
def test_what_does_not_fit_is_one_line(changes, line):
    with pytest.raises(ConfigError, match=line) as caught:
        _built_any(**changes)
    assert "\n" not in str(caught.value)


def _built_any(**changes):
    config = _config(**changes)
    (name, _), *_ = config.agents.named()
    return build_agent(config, name, build_problem(config, "calm", 20))


def test_relabelling_needs_a_reward_in_closed_form():
    problem = {"name": "nieto2024", "devices": 20, "slots": 40}
    config = parse_config({**BASE, "problem": problem, "architecture": {"generator": {"kind": "relabel"}}})
    with pytest.raises(ConfigError, match=r"architecture\.generator\.kind: .*reward in closed form: laas2022"):
        build_agent(config, "ddqn", build_problem(config, "scenario1", 20))


def test_a_sweep_varies_an_architecture():
    axes = {"architecture.sending_period": [1, 4], "architecture.kind": ["distributed", "centralised"]}
    sweep = parse_sweep({"base": {**BASE, "architecture": {}}, "axes": axes})
    trials = make_trials(sweep, sweep.grid())
    assert len(trials) == 4 * BASE["training"]["seeds"]
    assert [(type(own.member.agent), own.member.agent.sending_period) for own in trials[::2]] == [
        (Distributed, 1),
        (Centralised, 1),
        (Distributed, 4),
        (Centralised, 4),
    ]
    assert all(own.member.trainer is lives for own in trials)
    assert [len(members) for members in group([own.member for own in trials])] == [4, 4]


def test_an_axis_needs_an_architecture_in_the_base():
    with pytest.raises(ConfigError, match=r"architecture\.sending_period.* base has "):
        parse_sweep({"base": BASE, "axes": {"architecture.sending_period": [1, 4]}})
