"""What a user can rely on: a system that was interrupted ends with the same bits, and a life leaves nothing behind."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from offjax.agents import make_agent
from offjax.learning import lives, system
from offjax.learning.centralised import Centralised
from offjax.learning.cloud import Learner
from offjax.learning.distributed import Distributed
from offjax.learning.generated import Generated, columns_of
from offjax.learning.train import Plan
from offjax.learning.unit import Unit, load_unit, train_unit
from offjax.problems import laas2022
from offjax.replay.flow import Flow
from offjax.runs.log import MetricsLog
from offjax.world.records import End

ROUNDS, SLOTS, DEVICES = 3, 12, 4


class Interrupted(Exception):
    """Somebody pulled the plug."""


def _unit(kind="distributed", fits=False, **changes) -> Unit:
    problem = laas2022.make(devices=DEVICES, devices_per_cell=2)
    agent = make_agent("ddqn", hidden=(4,), batch_size=4, epsilon_decay_updates=20)
    flow = Flow(columns_of(problem), width=8, blocks=1, batch_size=4, solver_steps=2)
    made = Generated(flow, problem, least_rows=4, steps=2, pool=8, rows=4)
    numbers = {"weights_period": 2, "generated_share": 0.5, "brm_capacity": 100, "arm_capacity": 60, "fit_period": 6}
    learner = Learner(agent, augment=made if fits else None, **numbers)
    record = Distributed(learner, sending_period=2) if kind == "distributed" else Centralised(learner)
    return Unit(
        name=kind,
        agents=(record,) * 2,
        problems=(problem,) * 2,
        seeds=(0, 1),
        keys=tuple(jax.random.split(jax.random.key(3, impl="philox4x32"))),
        plan=Plan(horizon=SLOTS, worlds=1, points=2),
        rounds=ROUNDS,
        checkpoint_rounds=1,
        trainer=lives,
        **changes,
    )


def _plain(tree):
    is_key = lambda leaf: jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)  # noqa: E731
    return [np.array(jax.random.key_data(leaf) if is_key(leaf) else leaf) for leaf in jax.tree.leaves(tree)]


def _stop(done, metrics):
    if done == 2:
        raise Interrupted


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """One that ran through, and one that was stopped after its second life and went on."""
    through, stopped = tmp_path_factory.mktemp("through"), tmp_path_factory.mktemp("stopped")
    unit = _unit(fits=True)
    whole = train_unit(unit, through)
    with pytest.raises(Interrupted):
        train_unit(unit, stopped, report=_stop)
    middle, rounds = load_unit(unit, stopped, validated=False)
    assert rounds == 2
    return unit, through, stopped, whole, middle, train_unit(unit, stopped)


def test_memories_generator_mail_and_weights_come_back_whole(runs):
    """The same bits with and without the interruption: nothing of a system is left out of its checkpoint."""
    unit, through, stopped, whole, middle, continued = runs
    for left, right in zip(_plain(whole), _plain(continued), strict=True):
        np.testing.assert_array_equal(left, right)
    assert any(not np.array_equal(*pair) for pair in zip(_plain(middle), _plain(whole), strict=True))
    rows = [MetricsLog(folder, unit.name).read().to_pylist() for folder in (through, stopped)]
    assert rows[0] == rows[1]
    assert {row["slot"] for row in rows[0]} == {6, 12, 18, 24, 30, 36}


def test_the_agent_goes_on_from_life_to_life(runs):
    *_, whole, middle, _ = runs
    before, after = middle.chunks[0], whole.chunks[0]
    assert int(after.learner.brm.size) > int(before.learner.brm.size) > 0
    assert int(after.learner.generator.fits) > int(before.learner.generator.fits) > 0
    assert int(after.agent.updates) > int(before.agent.updates) > 0
    assert int(after.world.clock) == 0, "a new life has begun"


def test_a_new_life_has_full_batteries_nothing_under_way_and_the_networks_of_the_old_one():
    unit = _unit()
    architecture, problem = unit.agents[0], unit.problems[0]
    state = system.init(unit.keys[0], architecture, problem)
    state, _ = system.run(architecture, problem, state, SLOTS)
    here = np.ones((architecture.links.places, DEVICES), bool)
    held = jnp.arange(DEVICES, dtype=jnp.int32) % 2
    state = state.replace(down=state.down.replace(there=here), versions=state.versions.replace(held=held))
    after = jax.jit(lives.reborn)(architecture, problem, state)
    assert not after.up.there.any()
    assert not after.down.there.any()
    assert not after.transitions.under_way.any()
    np.testing.assert_array_equal(after.world.device.spent, np.zeros(DEVICES))
    np.testing.assert_array_equal(after.versions.held, held)
    for left, right in zip(_plain(state.learner), _plain(after.learner), strict=True):
        np.testing.assert_array_equal(left, right)
    assert not np.array_equal(after.observation, state.observation)


@pytest.mark.parametrize("kind", ["distributed", "centralised"])
def test_what_a_life_was_like_is_what_the_report_counts(kind):
    """Bytes are those that the architecture counts on the host, and shares are those of all tasks."""
    unit = _unit(kind)
    architecture, problem = unit.agents[0], unit.problems[0]
    state = system.init(unit.keys[0], architecture, problem)
    _, report = system.run(architecture, problem, state, SLOTS)
    told = lives.measures(architecture, problem, report, 2)
    steps, traffic = SLOTS * DEVICES, architecture.traffic(problem, report)
    up = traffic["experiences"] + traffic.get("requests", 0)
    down = traffic.get("weights_air", 0) + traffic.get("answers", 0)
    assert up > 0
    np.testing.assert_allclose(np.mean(told["uplink_bytes"]) * steps, up, rtol=1e-6)
    np.testing.assert_allclose(np.mean(told["downlink_bytes"]) * steps, down, rtol=1e-6)
    np.testing.assert_allclose(np.mean(told["reward"]) * steps, report.reward.sum(), rtol=1e-5)
    halves = [np.asarray(part).sum() for part in np.split(np.asarray(report.ends)[:, End.IN_TIME], 2)]
    tasks = [np.asarray(part).sum() for part in np.split(np.asarray(report.arrived), 2)]
    np.testing.assert_allclose(told["success"], np.divide(halves, tasks), rtol=1e-6)
    assert all(np.isfinite(value).all() for value in told.values())


@pytest.mark.slow
def test_members_side_by_side_are_those_of_one_after_the_other(tmp_path):
    """As a sweep trains them: decisions are the same, and so is everything that is counted."""
    rows = []
    for chunk in (1, 2):
        unit = _unit("centralised", chunk=chunk)
        train_unit(unit, tmp_path / str(chunk))
        found = MetricsLog(tmp_path / str(chunk), unit.name).read().to_pylist()
        rows.append({(row["seed"], row["slot"], row["name"]): row["value"] for row in found})
    assert rows[0].keys() == rows[1].keys()
    for place in rows[0]:
        assert rows[1][place] == pytest.approx(rows[0][place], rel=1e-4, abs=1e-6), place


def test_a_system_has_one_world_and_one_agent():
    unit = _unit()
    for plan in (Plan(horizon=SLOTS, worlds=2), Plan(horizon=SLOTS, worlds=1, independent=True)):
        with pytest.raises(ValueError, match="one world and one agent"):
            lives.init(unit.keys[0], unit.agents[0], unit.problems[0], plan)
