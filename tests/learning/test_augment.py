"""What a user can rely on: relabelled rows carry the reward that the world would have given."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from offjax import world
from offjax.agents import make_agent
from offjax.agents.specs import Specs
from offjax.errors import ConfigError
from offjax.learning import cloud
from offjax.learning.augment import Noise, Relabel
from offjax.learning.cloud import Learner
from offjax.problems import laas2022, nieto2024
from offjax.problems.parts import Sharing
from offjax.problems.scenario import Scenario
from offjax.replay.experience import Experience
from offjax.replay.ring import pack

DEVICES, BATCH = 6, 4


@jax.jit
def _begin(params):
    """A world, and what its devices come to when all go to each place in turn; leaves [3, D]."""
    key, draw_key = jax.random.split(jax.random.key(1, impl="philox4x32"))
    state, draws = world.init(key, params), world.draw(draw_key, params)

    def try_out(place):
        decision = world.Decision(jnp.full(DEVICES, place, jnp.int8))
        return world.advance(state, decision, draws, params)[1]

    return state, jax.vmap(try_out)(jnp.arange(3))


_augmented = jax.jit(cloud.augmented)


def _problem(cost="one_choice", mec=()):
    """Tasks that end within their slot wherever they go, and no link better than an observation can say."""
    scenario = Scenario(mec=mec, redundant=True)
    problem = laas2022.make(scenario, devices=DEVICES, sharing=Sharing(), cost=cost, demand=(1e5, 1e6))
    radio = problem.params.radio.replace(shadowing=jnp.float32(0))
    return problem.replace(params=problem.params.replace(radio=radio))


def _rows(problem, decision=0):
    """The world, what its devices come to, and their rows [D] under one decision."""
    state, outcomes = _begin(problem.params)
    seen = problem.normalise(problem.observe(state))
    zero = jnp.zeros(DEVICES)
    batch = Experience(seen, zero.astype(jnp.int32) + decision, zero - 0.5, seen + 0.25, zero > 0, zero == 0)
    return state, outcomes, pack(batch)


@pytest.mark.parametrize("change", [{}, {"cost": "literal"}, {"mec": [(0, 5)]}], ids=["one", "literal", "edge down"])
def test_relabelled_rewards_are_those_of_the_world(change):
    """Every decision is tried in the world from the same state."""
    problem = _problem(**change)
    state, outcomes, rows = _rows(problem)
    tried = np.array(jax.vmap(lambda outcome: problem.reward(outcome, state))(outcomes)).T
    _, made, valid = Relabel(problem).generate((), rows, jnp.int32(DEVICES), rows, None)
    features = len(problem.features)
    made = np.array(made).reshape(DEVICES, 2, -1)
    assert valid.all()
    assert made[:, :, 2 * features].tolist() == [[1, 2]] * DEVICES, "each decision that was not taken"
    np.testing.assert_allclose(made[:, :, 2 * features + 1], tried[:, 1:], rtol=2e-4)
    np.testing.assert_array_equal(made[:, 0, : 2 * features], np.array(rows)[:, : 2 * features])
    assert ("mec" in change) == bool((tried[:, 1] == -10.0).all())


def test_noise_leaves_decisions_and_terminations():
    rows = jax.random.normal(jax.random.key(0), (50, 9)).at[:, 6].set(2.0).at[:, 8].set(1.0)
    _, made, valid = Noise(copies=3, scale=0.5).generate((), rows, jnp.int32(50), rows, jax.random.key(1))
    assert made.shape == (150, 9)
    assert valid.all()
    change = np.array(made - jnp.tile(rows, (3, 1)))
    assert not change[:, [6, 8]].any()
    np.testing.assert_allclose(change.std(0)[[0, 3, 7]], 0.5 * np.array(rows).std(0)[[0, 3, 7]], rtol=0.25)


def test_made_rows_join_the_augmented_memory_marked():
    """Lines 11 to 14: a batch from the BRM and what is made of it; nothing without a single experience."""
    problem = _problem()
    agent = make_agent("ddqn", hidden=(4,), batch_size=BATCH)
    learner = Learner(agent, augment=Relabel(problem), brm_capacity=10, arm_capacity=100)
    begin = jax.jit(lambda key: cloud.begin(learner, key, Specs(len(problem.features), 3), DEVICES))
    state = begin(jax.random.key(0))
    empty = _augmented(learner, state, jnp.array(True), jax.random.key(1))
    assert int(empty.arm.size) == 0
    rows = _rows(problem, decision=1)[-1]
    batch = Experience(
        observation=rows[:, :10],
        decision=jnp.ones(DEVICES, jnp.int32),
        reward=rows[:, 21],
        next_observation=rows[:, 10:20],
        terminated=jnp.zeros(DEVICES, bool),
        valid=jnp.ones(DEVICES, bool),
    )
    state = state.replace(brm=cloud.remember(state.brm, batch, state.iteration))
    state = _augmented(learner, state, jnp.array(True), jax.random.key(1))
    held = state.arm.experience
    made, filled = np.array(state.arm.generated), np.array(held.valid)
    assert filled.sum() == BATCH * 3
    assert made[filled].sum() == BATCH * 2
    assert set(np.array(held.decision)[filled & made]) == {0, 2}
    assert set(np.array(held.decision)[filled & ~made]) == {1}
    gone = _augmented(learner, state, jnp.array(False), jax.random.key(2))
    assert int(gone.arm.size) == int(state.arm.size), "a cloud that is down stores nothing"


def test_a_problem_without_a_closed_form_is_refused():
    with pytest.raises(
        ConfigError, match="relabel: 'nieto2024' is not allowed; a problem with a reward in closed form"
    ):
        Relabel(nieto2024.make("text", "scenario1", "uniform", devices=2, devices_per_cell=1))
