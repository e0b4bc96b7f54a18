"""What a user can rely on: tuned peers that can be read, fair work, and ratios that say when they are bounds."""

import json
import math
from importlib import resources

import pytest

from offjax.agents import make_agent
from offjax.bench import train, trainers, tune
from offjax.bench.race import Point, Result, outcome
from offjax.bench.train import Sample, own_trainer, row, same_work
from offjax.config.peers import OWN, PEERS, Sb3A2cConfig, Sb3DqnConfig, load_own, load_peer
from offjax.errors import MachineError


@pytest.mark.parametrize("racer", [*PEERS, *OWN])
def test_the_tuned_configuration_is_one_of_the_trials(racer):
    """Ten of them, of a peer with every number of environments, and none has come sooner with the same seeds."""
    chosen = load_peer(racer) if racer in PEERS else load_own(racer)
    text = (resources.files("offjax.configs") / "peers" / f"{racer}_trials.json").read_text(encoding="utf-8")
    trials = json.loads(text)["trials"]
    configs = [(PEERS | OWN)[racer].model_validate(trial["config"]) for trial in trials]
    assert len(configs) == tune.TRIALS
    assert racer in OWN or {config.n_envs for config in configs} == {1, 8, 64}
    runs = [[Result.from_dict(run | {"curve": []}) for run in trial["runs"]] for trial in trials]
    best = min((of for of in runs if len(of) > 1), key=tune.score)
    assert tune.score(runs[configs.index(chosen)]) == tune.score(best)


@pytest.mark.parametrize("racer", [*PEERS, *OWN])
def test_candidates_are_drawn_again_equal(racer):
    assert tune.candidates(racer) == tune.candidates(racer)
    assert len(set(tune.candidates(racer))) == tune.TRIALS


def result(seconds, reached=True):
    return outcome([Point(seconds, 1, 1, 0.0 if reached else 0.1)], 1e-5)


def test_tuning_chooses_the_soonest_and_stops_the_others(monkeypatch):
    """The best of one seed loses to the one that is best over all seeds; limits follow the best race so far."""
    seconds = {config: 10.0 + index for index, config in enumerate(tune.candidates("sb3_dqn"))}
    lucky, steady, *_ = seconds
    limits = []

    def run(config, seed, limit):
        limits.append(limit)
        unlucky = config == lucky and seed
        return result(seconds[config] * (3 if unlucky else 1), reached=not unlucky)

    chosen, trials = tune.tune("sb3_dqn", 60.0, run)
    assert chosen == steady
    assert [len(trial["runs"]) for trial in trials] == [3, 3, 3] + 7 * [1]
    assert limits == [60.0] + 15 * [20.0]


def test_a_trial_that_never_arrives_is_worth_its_best_regret():
    far, near = outcome([Point(9.0, 1, 1, 0.2)], 1e-5), outcome([Point(9.0, 1, 1, 0.1)], 1e-5)
    assert sorted([[far], [near], [result(50.0)]], key=tune.score) == [[result(50.0)], [near], [far]]


@pytest.mark.parametrize(
    ("own", "peer", "words"), [(2, 2, "measured"), (2, 1, "at least"), (1, 2, "at most"), (0, 0, "unknown")]
)
def test_a_ratio_says_what_it_is(own, peer, words):
    line = row({"peer": "x"}, Sample((1.0, 3.0), own), Sample((9.0, 11.0), peer))
    assert (line["value"], line["peer_value"], line["ratio"], line["ratio_is"]) == (2.0, 10.0, 5.0, words)
    assert line["ratio_ci95"] == pytest.approx(5.0 * math.hypot(line["ci95"] / 2.0, line["peer_ci95"] / 10.0))
    json.dumps(line)


@pytest.mark.parametrize(("peer", "agent"), train.OWN_OF.items())
def test_ours_can_be_made_and_starts_from_the_demo(peer, agent):
    demo = trainers.own_of(f"own_{agent}", tune.own_demo(f"own_{agent}"))
    assert make_agent(agent, **demo.hyper).reward_scale == {"ddqn": 100.0, "ac": 10.0}[agent]
    own = own_trainer(agent)
    make_agent(agent, **own.hyper)
    assert (train.HORIZON % own.worlds, own.devices % own.devices_per_cell) == (0, 0)
    json.dumps(own.job([0]))


def test_identical_gradient_work():
    """As many environment steps for each update, and as many experiences in it."""
    own = same_work(Sb3DqnConfig(n_envs=8, train_freq=2, gradient_steps=4, batch_size=32, hidden=(16,)))
    assert (own.worlds * own.devices, own.hyper["updates_per_step"], own.hyper["batch_size"]) == (8, 2, 32)
    own = same_work(Sb3A2cConfig(n_envs=64, n_steps=32))
    assert own.worlds * own.devices == 64 * 32
    assert own.devices % own.devices_per_cell == 0
    assert own.devices_per_cell <= 20
    own = same_work(Sb3DqnConfig(n_envs=64, train_freq=4, gradient_steps=2))
    assert (own.worlds * own.devices, own.hyper["updates_per_step"]) == (128, 1)


@pytest.mark.parametrize("name", ["peers", "clients"])
def test_a_missing_interpreter_says_how_to_make_it(name, tmp_path):
    with pytest.raises(MachineError, match=rf"no such interpreter; make .venv-{name}/.ready, or give --{name}-python"):
        trainers.interpreter(name, tmp_path / "python")
