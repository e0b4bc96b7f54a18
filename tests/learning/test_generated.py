"""What a user can rely on: a generator in the learner makes rows of the memory's law, waits for data, and resumes."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from offjax.agents import make_agent
from offjax.agents.specs import Specs
from offjax.errors import ConfigError
from offjax.learning import cloud, system
from offjax.learning.cloud import Learner
from offjax.learning.distributed import Distributed
from offjax.learning.generated import Generated, RewardHead, columns_of
from offjax.problems import laas2022, nieto2024
from offjax.problems.parts import Sharing
from offjax.replay.experience import Experience
from offjax.replay.flow import Flow
from offjax.replay.gan import Gan
from offjax.runs.checkpoint import Checkpoints

DEVICES, PERIOD, CAPACITY = 4, 10, 200
AGENT = {"hidden": (4,), "batch_size": 4}


@pytest.fixture(scope="module")
def problem():
    return laas2022.make(devices=DEVICES, devices_per_cell=2, sharing=Sharing())


def _generated(problem, **changes):
    small = {"batch_size": 20, "width": 8, "blocks": 1}
    flow = Flow(columns_of(problem), solver_steps=2, **small)
    settings = {"generator": flow, "problem": problem, "least_rows": 30, "steps": 4, "pool": 60, "rows": 6}
    return Generated(**(settings | changes))


def _learner(augment, **changes):
    settings = {"brm_capacity": CAPACITY, "arm_capacity": 300, "fit_period": PERIOD, "generated_share": 0.5}
    return Learner(make_agent("ddqn", **AGENT), augment=augment, **(settings | changes))


def _table(problem, rows):
    """A memory's table [CAPACITY, 23] whose reward is 1 less twice the decision; only decisions 0 and 1."""
    random, features = np.random.default_rng(0), len(problem.features)
    table = np.zeros((CAPACITY, 2 * features + 3), np.float32)
    table[:rows, : 2 * features] = random.uniform(0.1, 0.9, (rows, 2 * features))
    table[:rows, 1] = 0.25  # a column that is constant
    table[:rows, -3] = random.uniform(size=rows) < 0.25
    table[:rows, -2] = 1.0 - 2.0 * table[:rows, -3]
    return jnp.asarray(table)


_init = jax.jit(lambda augment, key: augment.init(key, 10, CAPACITY))
_refit = jax.jit(lambda augment, state, table, size, key: augment.refit(state, table, size, key))


@pytest.mark.parametrize("kind", [Flow, pytest.param(Gan, marks=pytest.mark.slow)])
def test_rows_wait_for_data_and_then_have_the_law_of_the_decisions(problem, key, kind):
    small = {"batch_size": 20, "width": 8, "blocks": 1}
    record = Flow(columns_of(problem), solver_steps=2, **small) if kind is Flow else Gan(columns_of(problem), **small)
    augment = _generated(problem, generator=record, decisions="uniform", pool=400)
    state, table = _init(augment, key), _table(problem, 150)
    few = _refit(augment, state, table, jnp.int32(29), key)
    assert (int(few.fits), bool(few.usable.any())) == (0, False)
    chex.assert_trees_all_equal(few.generator, state.generator)
    fitted = _refit(augment, state, table, jnp.int32(150), key)
    assert (int(fitted.fits), int(fitted.failed), bool(fitted.usable.all())) == (1, 0, True)
    assert np.isfinite(fitted.pool).all()
    np.testing.assert_array_equal(fitted.pool[:, 1], 0.25)
    if kind is Flow:  # it keeps its conditions; a GAN learns to
        share = np.bincount(np.array(fitted.pool[:, -3], int), minlength=3) / 400
        np.testing.assert_allclose(share, [0.5, 0.5, 0.0], atol=0.08)
    spoilt = _refit(augment, fitted, table.at[3, 2].set(jnp.nan), jnp.int32(150), key)
    assert (int(spoilt.fits), int(spoilt.failed)) == (1, 1), "a fit that went wrong is undone, and counted"
    chex.assert_trees_all_equal(spoilt.generator, fitted.generator)


@pytest.mark.ci
def test_rewards_of_generated_rows(problem, key):
    table, size = _table(problem, CAPACITY), jnp.int32(CAPACITY)
    exact = _generated(problem, reward="exact")
    rows = _refit(exact, _init(exact, key), table, size, key).pool
    right = problem.rewards(problem.denormalise(rows[:, :10]))
    chosen = np.take_along_axis(np.array(right), np.array(rows[:, -3:-2], int), axis=1)
    np.testing.assert_allclose(rows[:, -2:-1], chosen, rtol=1e-5)
    head = RewardHead(learning_rate=1e-2, least=100, hidden=(16,), steps=150)
    learned = _generated(problem, reward="learned", decisions="uniform", head=head)
    state = _refit(learned, _init(learned, key), table, size, key)
    decision = np.array(state.pool[:, -3])
    np.testing.assert_allclose(state.pool[:, -2], 1.0 - 2.0 * decision, atol=0.3)
    np.testing.assert_allclose(state.head.bias, [0.0, 0.0, np.nan], atol=0.3)
    assert int(state.head.count[1]) < 100 < int(state.head.count[0])
    np.testing.assert_array_equal(state.usable, decision == 0, "too few real rows of the other decision")


@pytest.mark.slow
def test_one_program_for_every_share_that_resumes_bit_for_bit(problem, key, tmp_path):
    """k is a number: side by side, 1 - 1/k of each batch is generated. Saved on disk between two fits."""

    def architecture(share, period):
        learner = _learner(_generated(problem, least_rows=24), generated_share=share)
        return Distributed(learner, sending_period=period)

    ks = jnp.array([0.0, 0.75]), jnp.array([1, 4])
    begin = jax.jit(jax.vmap(lambda *numbers: system.init(key, architecture(*numbers), problem)))
    go = jax.jit(jax.vmap(lambda state, *numbers: system.run(architecture(*numbers), problem, state, 2 * PERIOD)))
    first, report = go(begin(*ks), *ks)
    assert report.reward.shape == (2, 2 * PERIOD)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, first, {})
        restored, _ = checkpoints.restore(jax.eval_shape(begin, *ks))
    state, report = go(first, *ks)
    chex.assert_trees_all_equal(_plain((state, report)), _plain(go(restored, *ks)))
    assert state.learner.generator.fits.tolist() == [3, 1], "24 real rows after 10 slots and after 30"
    assert state.learner.arm.ring.rows[..., -2].sum(1).tolist()[1] == 60, "six in each of ten iterations"
    assert report.spoilt.sum() == 0
    assert report.trained.sum(1).tolist() == [2 * PERIOD] * 2


def test_a_row_that_is_not_finite_is_refused_and_counted(problem, key):
    learner = _learner(None)
    state = cloud.begin(learner, key, Specs(10, 3), DEVICES)
    seen = jnp.full((DEVICES, 10), 0.5).at[1, 3].set(jnp.nan)
    zero = jnp.zeros(DEVICES)
    reward = zero.at[2].set(jnp.inf)
    come = Experience(seen, zero.astype(jnp.int32), reward, jnp.full((DEVICES, 10), 0.5), zero > 0, zero == 0)
    work = jax.jit(cloud.work)
    for _ in range(3):
        state, _, metrics = work(learner, state, come, jnp.array(True), key)
    assert (int(state.spoilt), int(state.brm.size)) == (6, 6)
    assert metrics["trained"] == 1
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.learnt))
    assert np.isfinite(state.arm.ring.rows).all()


def _plain(tree):
    return jax.tree.map(lambda leaf: jax.random.key_data(leaf) if _is_key(leaf) else leaf, tree)


def _is_key(leaf):
    return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"reward": "guessed"}, "augment.reward: 'guessed'"),
        ({"decisions": "true"}, "augment.decisions: 'true'"),
        ({"pool": 0}, "augment.pool: 0"),
    ],
)
def test_what_does_not_fit_is_refused(problem, changes, match):
    with pytest.raises(ConfigError, match=match):
        _generated(problem, **changes)


def test_what_only_shows_in_the_learner_is_refused(problem, key):
    other = nieto2024.make("text", "scenario1", "uniform", devices=2, devices_per_cell=1)
    augment = dataclasses.replace(_generated(problem), generator=Flow(columns_of(other)))
    with pytest.raises(ConfigError, match=r"augment\.generator\.columns"):
        augment.init(key, 10, CAPACITY)
    with pytest.raises(ConfigError, match=r"augment\.reward: None .* a problem with a reward in closed form"):
        Generated(augment.generator, reward="exact")
    architecture = Distributed(_learner(_generated(problem)))
    with pytest.raises(ConfigError, match=r"slots: 15 is not allowed; whole periods of fit_period = 10"):
        jax.eval_shape(lambda: system.run(architecture, problem, system.init(key, architecture, problem), 15))
    with pytest.raises(ConfigError, match=r"augment: 'ac'"):
        Learner(make_agent("ac"), augment=_generated(problem))
