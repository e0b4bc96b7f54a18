"""What a user can rely on: a training that was interrupted ends with the same bits as one that was not."""

import jax
import numpy as np
import pytest

from offjax.agents import make_agent
from offjax.learning.train import Plan
from offjax.learning.unit import Unit, load_unit, train_unit
from offjax.problems import nieto2024
from offjax.runs.log import MetricsLog

ROUNDS = 4
AGENTS = {
    "ac": {"hidden": (4,)},
    "ddqn": {"hidden": (4,), "replay_capacity": 2000, "batch_size": 16, "epsilon_decay_updates": 20},
}


class Interrupted(Exception):
    """Somebody pulled the plug."""


def _unit(name, rounds=ROUNDS) -> Unit:
    key = jax.random.key(3, impl="philox4x32")
    return Unit(
        name=name,
        agents=(make_agent(name, **AGENTS[name]),) * 2,
        problems=(nieto2024.make("text", "scenario1", "uniform", devices=20),) * 2,
        seeds=(0, 1),
        keys=tuple(jax.random.split(key)),
        plan=Plan(horizon=40, worlds=2),
        rounds=rounds,
        checkpoint_rounds=2,
    )


def _plain(tree):
    is_key = lambda leaf: jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)  # noqa: E731
    return [np.array(jax.random.key_data(leaf) if is_key(leaf) else leaf) for leaf in jax.tree.leaves(tree)]


def _validate(index, state):
    """A number of the state alone: the sum of the learnt parameters."""
    return {"sum": sum(float(leaf.sum()) for leaf in jax.tree.leaves(state.agent.params))}


def _stop_after(rounds):
    def report(done, metrics):
        if done == rounds:
            raise Interrupted

    return report


def _rows(folder, name):
    return MetricsLog(folder, name).read().to_pylist()


@pytest.fixture(scope="module", params=AGENTS)
def runs(request, tmp_path_factory):
    """One that ran through, one that was stopped in round 3 and went on from its checkpoint of round 2."""
    name = request.param
    through, stopped = tmp_path_factory.mktemp(f"{name}-through"), tmp_path_factory.mktemp(f"{name}-stopped")
    unit = _unit(name)
    reports = []
    whole = train_unit(unit, through, _validate, lambda done, metrics: reports.append((done, dict(metrics))))
    with pytest.raises(Interrupted):
        train_unit(unit, stopped, _validate, _stop_after(3))
    middle, rounds = load_unit(unit, stopped)
    assert rounds == 2
    return unit, through, stopped, whole, middle, train_unit(unit, stopped, _validate), reports


def test_an_interrupted_unit_ends_with_the_same_bits(runs):
    _, _, _, whole, middle, continued, _ = runs
    assert len(whole.chunks) == len(continued.chunks) == 2
    for left, right in zip(_plain(whole), _plain(continued), strict=True):
        np.testing.assert_array_equal(left, right)
    assert any(not np.array_equal(*pair) for pair in zip(_plain(middle), _plain(whole), strict=True))
    assert [int(state.slots) for state in whole.chunks] == [ROUNDS * 20] * 2


def test_seeds_differ(runs):
    first, second = runs[3].chunks
    assert any(not np.array_equal(*pair) for pair in zip(_plain(first.agent), _plain(second.agent), strict=True))


def test_metrics_are_the_same_too(runs):
    unit, through, stopped, *_ = runs
    rows = _rows(through, unit.name)
    assert rows == _rows(stopped, unit.name)
    rewards = [(row["round"], row["seed"], row["slot"]) for row in rows if row["name"] == "reward"]
    assert rewards == [(r, seed, (r + 1) * 20) for r in range(ROUNDS) for seed in (0, 1)]
    validations = [(row["round"], row["seed"]) for row in rows if row["name"] == "validation_sum"]
    assert validations == [(1, 0), (1, 1), (3, 0), (3, 1)]
    losses = {row["name"] for row in rows}
    assert {"reward", "success", "experiences", "td_error"} <= losses


def test_a_validation_is_of_its_own_states(runs):
    unit, through, _, whole, *_ = runs
    last = [row["value"] for row in _rows(through, unit.name) if row["name"] == "validation_sum"][-2:]
    assert last == [_validate(index, state)["sum"] for index, state in enumerate(whole.chunks)]


def test_reports_are_means_over_seeds(runs):
    unit, through, *_, reports = runs
    assert [done for done, _ in reports] == [1, 2, 3, 4]
    rows = [row["value"] for row in _rows(through, unit.name) if row["name"] == "reward" and row["round"] == 0]
    assert reports[0][1]["reward"] == pytest.approx(np.mean(rows))


def _contents(folder):
    return {path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"") for path in folder.rglob("*")}


def test_load_unit_reads_the_newest_and_touches_nothing(runs):
    unit, through, _, whole, *_ = runs
    before = _contents(through)
    states, rounds = load_unit(unit, through)
    assert rounds == ROUNDS
    for left, right in zip(_plain(states), _plain(whole), strict=True):
        np.testing.assert_array_equal(left, right)
    assert _contents(through) == before


def test_load_unit_makes_nothing_where_nothing_is(tmp_path):
    assert load_unit(_unit("ac"), tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_finished_unit_is_not_trained_again(runs):
    unit, through, _, whole, *_ = runs
    reports = []
    again = train_unit(unit, through, _validate, lambda done, metrics: reports.append(done))
    assert reports == []
    for left, right in zip(_plain(again), _plain(whole), strict=True):
        np.testing.assert_array_equal(left, right)
    assert len(_rows(through, unit.name)) > 0


def test_steps_are_counted(runs):
    unit = runs[0]
    assert (unit.plan.round_slots, unit.round_steps) == (20, 20 * 2 * 20 * 2)
