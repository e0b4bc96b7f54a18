"""What a user can rely on: all policies meet the same tasks, every task is counted, and the reference is what it says.

Eight devices, 100 slots, three seeds; all worlds of this file share one program per kind of policy.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from offjax.baselines.lookahead import couples
from offjax.baselines.rules import Rule, all_rules
from offjax.evaluation import setting as settings
from offjax.evaluation.rollout import episodes_of_many
from offjax.evaluation.summary import QUANTITIES, curves, summarise
from offjax.problems import nieto2024
from offjax.problems.nieto2024 import Scenario
from offjax.workload.arrivals import closed, periodic, poisson
from offjax.world import End

DEVICES, SLOTS, SEEDS = 8, 100, 3
BINDS = Scenario(link=((10, 80),))
TABLES = list(all_rules(3, 3))
RULES = Rule(jnp.asarray(TABLES, jnp.int8))


def _problem(scenario, mix="uniform", battery=4000.0, slot_duration=1.0, period=1):
    problem = nieto2024.make("text", scenario, mix, devices=DEVICES)
    params = problem.params
    return problem.replace(
        params=params.replace(
            fleet=params.fleet.replace(battery=jnp.float32(battery)),
            slot_duration=jnp.float32(slot_duration),
            workload=params.workload.replace(arrivals=periodic(period)),
        )
    )


@pytest.fixture(scope="module")
def keys(key):
    return jax.random.split(key, SEEDS)


@pytest.fixture(scope="module")
def exact(keys):
    return settings.completed(settings.evaluate(_problem(Scenario(mec=((20, 40), (60, 80)))), keys, SLOTS))


@pytest.fixture(scope="module")
def clairvoyant(keys):
    """400 J, and 70 slots without a link: class 3 at home costs 30 J each."""
    return settings.completed(settings.evaluate(_problem(BINDS, battery=400.0), keys, SLOTS))


def _means(setting):
    return {name: float(row.samples["reward"].mean()) for name, row in setting.results.items()}


# --------------------------------------------------------------------------------------------- references


def test_the_task_by_task_oracle_is_exact_where_no_battery_runs_out(exact):
    assert (exact.reference, exact.reference_row, exact.gap) == ("exact", "oracle", 0.0)
    assert "clairvoyant" not in exact.results
    assert all((row.samples["regret"] >= -1e-9).all() for row in exact.results.values())


def test_where_the_battery_binds_the_reference_is_clairvoyant(clairvoyant):
    assert (clairvoyant.reference, clairvoyant.reference_row) == ("clairvoyant", "clairvoyant")
    assert not clairvoyant.results["clairvoyant"].exhausted
    assert 0 <= clairvoyant.gap < 1e-2
    means = _means(clairvoyant)
    assert means["clairvoyant"] > means["oracle"], "it keeps energy for the tasks that are cheap"


def test_nobody_is_better_than_the_clairvoyant_by_more_than_its_gap(clairvoyant, keys):
    means = _means(clairvoyant)
    rules = jax.device_get(episodes_of_many(RULES, _problem(BINDS, battery=400.0), keys, SLOTS))
    tables = rules.reward.astype(np.float64).sum(axis=(1, 2)) / (SEEDS * DEVICES * SLOTS)
    for name, mean in means.items() | zip(map(str, TABLES), tables, strict=True):
        assert mean <= means["clairvoyant"] + clairvoyant.gap + 1e-9, f"{name}: {mean}, gap {clairvoyant.gap}"


def test_a_price_keeps_a_battery_alive_and_no_more(keys):
    """Devices whose battery lasts anyway pay nothing; the others are left with little."""
    problem = _problem(BINDS, battery=400.0)
    prices = np.asarray(settings.price_energy(problem, keys, SLOTS))
    assert prices.shape == (SEEDS, DEVICES)
    assert (prices >= 0).all()
    assert (prices > 0).sum() > SEEDS * DEVICES / 2
    assert (np.asarray(settings.price_energy(_problem(Scenario()), keys, SLOTS)) == 0).all()


def test_with_the_remaining_battery_the_oracle_is_myopic(keys):
    setting = settings.with_reference(nieto2024.make("figures"), keys, SLOTS, {})
    assert (setting.reference, setting.reference_row) == ("myopic", "oracle")
    assert np.isnan(setting.gap)


def _with_params(**changes):
    problem = _problem(Scenario())
    return problem.replace(params=problem.params.replace(**changes))


def _with_arrivals(come):
    return _with_params(workload=_problem(Scenario()).params.workload.replace(arrivals=come))


@pytest.mark.parametrize(
    "problem",
    [
        _with_arrivals(poisson(1.0)),
        _with_arrivals(closed(1.0)),
        _problem(Scenario(), slot_duration=0.1),
    ],
    ids=["poisson", "closed", "tasks over several slots"],
)
def test_where_a_decision_touches_another_task_the_oracle_is_myopic(problem, keys):
    setting = settings.with_reference(problem, keys, SLOTS, {})
    assert (setting.reference, setting.reference_row) == ("myopic", "oracle")
    assert np.isnan(setting.gap)


def test_where_devices_share_something_the_reference_is_best_response(keys):
    """With a bound beside it, and a note that says how often it settled."""
    problem = _with_params(coupling="slot", uplink="active")
    setting = settings.with_reference(problem, keys, SLOTS, {})
    assert (setting.reference, setting.reference_row) == ("best_response", "best_response")
    assert np.isnan(setting.gap)
    assert 0 < setting.settled <= 1
    assert setting.rounds > 0
    rewards = {name: row.samples["reward"] for name, row in setting.results.items()}
    assert (rewards["best_response"] <= rewards["bound"] + 1e-7).all()
    large = problem.replace(params=problem.params.replace(devices=100, access_points=1))
    assert settings.with_reference(large, keys[:1], 2, {}).reference == "myopic", "no game of a hundred"


def test_coupling_without_anything_shared_changes_nothing(keys):
    assert settings.separates(_problem(Scenario()), keys, SLOTS)
    assert settings.separates(_with_arrivals(periodic(3)), keys, SLOTS)
    assert not couples(_with_params(coupling="slot").params)
    assert couples(_with_params(coupling="slot", uplink="cell").params)


@pytest.mark.parametrize("name", ["exact", "clairvoyant"])
def test_random_scores_0_and_the_reference_1(request, name):
    setting = request.getfixturevalue(name)
    rows = setting.results
    np.testing.assert_array_equal(rows["random"].samples["score"], np.zeros((1, SEEDS)))
    np.testing.assert_array_equal(rows[setting.reference_row].samples["score"], np.ones((1, SEEDS)))
    np.testing.assert_array_equal(rows[setting.reference_row].samples["regret"], np.zeros((1, SEEDS)))
    best, random, local = (rows[row].samples["reward"] for row in (setting.reference_row, "random", "local"))
    np.testing.assert_allclose(rows["local"].samples["score"], (local - random) / (best - random), rtol=1e-12)
    np.testing.assert_allclose(rows["local"].samples["regret"], best - local, rtol=1e-12)


def test_the_rows_of_a_table(exact):
    rows = set(exact.results)
    assert rows == {"oracle", "least_latency", "least_energy", "random", "local", "mec", "cloud", "best_fixed_rule"}
    means = _means(exact)
    assert means["best_fixed_rule"] >= max(means[place] for place in ("local", "mec", "cloud"))
    plain = summarise(exact)
    assert plain["reference"] == "exact"
    assert plain["policies"]["mec"]["reward"]["mean"] == pytest.approx(means["mec"])
    assert set(QUANTITIES) <= set(plain["policies"]["mec"])
    drawn = curves(exact.results["mec"])
    assert drawn["reward_curve"]["slot"] == list(range(0, SLOTS, 10))
    assert len(drawn["battery_curve"]["joules"]) == SLOTS // 10


# ----------------------------------------------------------------------------------------------- rollouts


def _play(problem, keys):
    """Episodes of all 27 rules, [rule, seed, ...]."""
    return jax.device_get(episodes_of_many(RULES, problem, keys, SLOTS))


@pytest.fixture(scope="module")
def rules(keys):
    return _play(_problem(Scenario(link=((30, 40),), mec=((50, 60),))), keys)


def test_every_task_ends_once(rules):
    """A task per device and slot, each over within its slot."""
    ended = rules.ends[..., 1:, :, :].sum(axis=(-3, -2, -1))
    np.testing.assert_array_equal(ended, np.full((27, SEEDS), DEVICES * SLOTS))
    assert (rules.refused == 0).all()
    np.testing.assert_array_equal(rules.success.sum(axis=-1), rules.ends[..., End.IN_TIME, :, :].sum(axis=(-2, -1)))


def test_tasks_over_several_slots_end_once(keys):
    """Slots of 0.1 s and a task every 13: up to seven slots at home, and all are over before the next comes."""
    slow = _play(_problem(Scenario(), slot_duration=0.1, period=13), keys)
    arrived = DEVICES * -(-SLOTS // 13)
    np.testing.assert_array_equal(slow.ends[..., 1:, :, :].sum(axis=(-3, -2, -1)), arrived)
    assert (slow.refused == 0).all()


def test_refused_tasks_are_counted(keys):
    """A task every 2 slots: what neither ended nor was refused is in the lane or in the buffer of one."""
    full = _play(_problem(Scenario(), "class3", slot_duration=0.1, period=2), keys)
    arrived = DEVICES * (SLOTS // 2 + 1)  # those that come for the slot after the last one too
    counted = full.ends[..., 1:, :, :].sum(axis=(-3, -2, -1)) + full.refused.sum(axis=-1)
    assert (counted <= arrived).all()
    assert (counted >= arrived - 2 * DEVICES).all()
    local, mec = TABLES.index((0, 0, 0)), TABLES.index((1, 1, 1))
    assert (full.refused[local, :, End.BUFFER_FULL] > 100).all()
    assert (full.refused[mec] == 0).all()
    assert (counted[mec] >= arrived - DEVICES).all()


def test_the_same_key_gives_every_policy_the_same_tasks(rules):
    classes = rules.ends[..., 1:, :, :].sum(axis=(-3, -1))
    np.testing.assert_array_equal(classes, np.broadcast_to(classes[:1], classes.shape))
    assert len({tuple(row) for row in classes[0]}) == SEEDS, "and each key others"
    mec, cloud = TABLES.index((1, 1, 1)), TABLES.index((2, 2, 2))
    np.testing.assert_array_equal(rules.energy[mec], rules.energy[cloud], "not the same uploads")


def test_a_place_shows_in_the_ends(rules):
    """A rule's tasks are counted where it sends them."""
    for rule, table in enumerate(TABLES):
        chosen = rules.ends[rule][..., 1:, :, :].sum(axis=(0, 1))
        np.testing.assert_array_equal(chosen.argmax(axis=-1), table)
        np.testing.assert_array_equal((chosen > 0).sum(axis=-1), [1, 1, 1])


def test_energy_is_what_the_battery_lost(rules):
    """But for the residual 0.1 J per slot."""
    lost = 4000.0 * DEVICES - rules.left.astype(np.float64).sum(axis=-1)
    alive = (rules.left > 0).all(axis=-1)
    assert alive.any()
    spent = rules.energy.astype(np.float64).sum(axis=-1) + 0.1 * SLOTS * DEVICES
    np.testing.assert_allclose(spent[alive], lost[alive], rtol=1e-5, atol=0.01)
    np.testing.assert_allclose(rules.battery[..., -1], rules.left.sum(axis=-1), rtol=1e-6)


def test_latency_is_the_sum_of_its_parts(rules):
    np.testing.assert_allclose(rules.parts.sum(axis=-1), rules.latency, rtol=1e-5, atol=1e-6)
