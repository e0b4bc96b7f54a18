"""What our learners rely on in the fleet view: all devices of a world, deaths that last, a horizon that is no death."""

import gymnasium
import jax
import jax.numpy as jnp
import mortal
import numpy as np
import pytest
from gymnax.environments import environment

import offjax.envs
from offjax import world
from offjax.envs import fleet_view, make_fleet
from offjax.errors import ConfigError

STEPS = 16


@jax.jit
def rollout(view, key, actions):
    """Reset, then ``actions`` [T, D]: the first observation and the steps stacked."""
    reset_key, step_key = jax.random.split(key)
    first, start = view.reset(reset_key)

    def step(state, each):
        result = view.step(each[0], state, each[1])
        return result[1], result

    return first, jax.lax.scan(step, start, (jax.random.split(step_key, actions.shape[0]), actions))[1]


@pytest.fixture(scope="module")
def actions():
    return jax.random.randint(jax.random.key(5), (STEPS, 5), 0, 3)


@pytest.fixture(scope="module")
def at_home():
    return jnp.zeros((STEPS, 5), jnp.int32)


@pytest.fixture(scope="module")
def fleet():
    return fleet_view(mortal.mixed_fleet(STEPS))


@pytest.fixture(scope="module")
def weak(fleet):
    return np.asarray(fleet.problem.params.fleet.battery) < 100.0


def test_the_view_is_the_world_stepped_by_hand(fleet, actions, key):
    problem = fleet.problem
    first, (observation, _, reward, _, _, info) = rollout(fleet, key, actions)
    reset_key, step_key = jax.random.split(key)

    def by_hand(before, each):
        draws = world.draw(jax.random.split(each[0])[0], problem.params)  # the second half is gymnax's reset
        after, outcome = world.advance(before, world.Decision(each[1].astype(jnp.int8)), draws, problem.params)
        seen = problem.normalise(problem.observe(after))
        dead = problem.terminated(before)
        return after, (seen, jnp.where(dead, 0.0, problem.reward(outcome, before)), outcome.result, dead)

    fresh = world.init(reset_key, problem.params)
    each = (jax.random.split(step_key, STEPS), actions)
    _, (seen, own_reward, end, dead) = jax.jit(lambda start: jax.lax.scan(by_hand, start, each))(fresh)
    np.testing.assert_allclose(first, problem.normalise(problem.observe(fresh)), rtol=1e-6)
    np.testing.assert_allclose(observation, seen, rtol=1e-6)
    np.testing.assert_allclose(reward, own_reward, rtol=1e-6)
    np.testing.assert_array_equal(info["end"], np.where(dead, 0, end))


def test_a_device_that_dies_stays_dead_and_the_others_go_on(fleet, weak, at_home, key):
    _, (observation, state, reward, terminated, truncated, info) = rollout(fleet, key, at_home)
    terminated, reward = np.asarray(terminated), np.asarray(reward)
    np.testing.assert_array_equal(terminated[-1], weak)
    np.testing.assert_array_equal(state.alive, ~terminated)
    assert (np.diff(terminated.astype(int), axis=0) >= 0).all()
    before = np.concatenate([np.zeros((1, 5), bool), terminated[:-1]])
    assert (reward[before] == 0).all()
    assert (reward[~before] < 0).all()  # its last step still counts
    np.testing.assert_array_equal(info["battery"] == 0, terminated)
    np.testing.assert_array_equal(info["busy"], before)
    np.testing.assert_array_equal(info["end"] == world.End.NONE, before)
    np.testing.assert_array_equal(info["energy"] == 0, before)
    np.testing.assert_array_equal(truncated, np.arange(1, STEPS + 1) == STEPS)
    assert np.isfinite(observation).all()


def test_the_horizon_is_the_same_for_those_who_have_died(actions, key):
    """Truncated says nothing of death, and terminated nothing of the horizon."""
    free, short = (fleet_view(mortal.mixed_fleet(horizon)) for horizon in (STEPS, STEPS // 2))
    long_run, short_run = (rollout(view, key, actions)[1] for view in (free, short))
    np.testing.assert_array_equal(short_run[3], long_run[3])
    np.testing.assert_array_equal(short_run[4], np.arange(1, STEPS + 1) >= STEPS // 2)


def test_a_sweep_maps_over_any_number_of_the_problem(fleet, at_home, key):
    def mean_failure(eta):
        view = fleet.replace(problem=fleet.problem.replace(failure_reward=eta))
        _, (_, _, reward, _, _, info) = rollout(view, key, at_home)
        failed = info["end"] > world.End.IN_TIME
        return jnp.where(failed, reward, 0.0).sum() / failed.sum()

    eta = jnp.asarray([-0.1, -0.5], jnp.float32)
    np.testing.assert_allclose(jax.jit(jax.vmap(mean_failure))(eta), eta, rtol=1e-6)


def test_a_step_may_take_several_slots(key):
    slow = fleet_view(mortal.mixed_fleet(8), slots_per_decision=4)
    _, (_, state, _, _, truncated, _) = rollout(slow, key, jnp.ones((2, 5), jnp.int32))
    np.testing.assert_array_equal(state.world.clock, [4, 8])
    np.testing.assert_array_equal(truncated, [False, True])


@pytest.mark.parametrize("env_id", offjax.envs.native_ids())
def test_every_problem_has_a_fleet_view(env_id, key):
    view = make_fleet(env_id, devices=4)
    first, state = jax.eval_shape(view.reset, key)
    action = jax.ShapeDtypeStruct((4,), jnp.int32)
    observation, after, reward, terminated, truncated, info = jax.eval_shape(view.step, key, state, action)
    assert first == observation == jax.ShapeDtypeStruct((4, view.observation_size), jnp.float32)
    assert jax.tree.leaves(after) == jax.tree.leaves(state)
    assert (reward.shape, reward.dtype) == ((4,), jnp.float32)
    assert (terminated.shape, truncated.shape) == ((4,), ())
    assert {value.shape for value in info.values()} == {(4,)}


def test_it_is_no_environment_of_gymnax_or_gymnasium(fleet):
    assert not isinstance(fleet, environment.Environment | gymnasium.Env)


# ------------------------------------------------------------------------------------------- mistakes


def _no_servers():
    problem = mortal.mixed_fleet(4)
    return problem.replace(params=problem.params.replace(cloud=()))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: make_fleet("nieto2042-v0"), r"env_id: 'nieto2042-v0' .* \(did you mean nieto2024-v0\?\)"),
        (lambda: make_fleet("nieto2024-v0-legacy"), r"did you mean nieto2024-v0\?"),
        (lambda: make_fleet("nieto2024-v0", device=2), r"'device' is not allowed; .* \(did you mean devices\?\)"),
        (lambda: make_fleet("nieto2024-v0", devices=0), "devices: 0 is not allowed"),
        (lambda: make_fleet("nieto2024-v0", devices=2.5), "devices: 2.5 is not allowed; a whole number"),
        (lambda: make_fleet("nieto2024-v0", slots_per_decision=3), "slots_per_decision: 3 is not allowed"),
        (lambda: fleet_view(_no_servers()), "servers: 0 is not allowed"),
    ],
)
def test_a_mistake_in_making_ends_in_one_line(call, words):
    with pytest.raises(ConfigError, match=words):
        call()


@pytest.mark.parametrize(
    ("action", "words"),
    [
        ([0, 1, 2, 0, 3], r"action\[4\]: 3 is not allowed; one of 0 \(local\), 1 \(mec\), 2 \(cloud\)"),
        ([0, -1, 2, 0, 1], r"action\[1\]: -1 is not allowed"),
        ([0, 1], r"action: \[2\] is not allowed; an array of shape \[5\]"),
        ([0.0, 1.0, 2.0, 0.0, 1.0], "action: 'float64' is not allowed; whole numbers"),
    ],
)
def test_a_wrong_action_is_named(fleet, key, action, words):
    state = jax.jit(fleet.reset)(key)[1]
    with pytest.raises(ConfigError, match=words):
        fleet.step(key, state, np.asarray(action))


def test_a_wrong_shape_is_named_inside_jit_too(fleet, key):
    state = jax.eval_shape(fleet.reset, key)[1]
    with pytest.raises(ConfigError, match=r"action: \[2\] is not allowed; an array of shape \[5\]"):
        jax.eval_shape(fleet.step, key, state, jax.ShapeDtypeStruct((2,), jnp.int32))


@pytest.mark.parametrize("end", [{"time": jnp.int32(STEPS)}, {"alive": jnp.zeros(5, bool)}])
def test_a_step_after_the_end_is_refused(fleet, key, end):
    state = jax.jit(fleet.reset)(key)[1]
    with pytest.raises(ConfigError, match=r"step: .* is not allowed; call reset first"):
        fleet.step(key, state.replace(**end), np.zeros(5, int))
