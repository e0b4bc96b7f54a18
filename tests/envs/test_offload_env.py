"""What other people's trainers can rely on in our ids: they show the world, keep the contract and say what is wrong."""

import copy
import importlib
import pickle
from functools import partial

import gymnax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnax.wrappers import LogWrapper

import offjax
import offjax.envs
from offjax import world
from offjax.envs import LegacyEnv, OffloadEnv
from offjax.errors import ConfigError
from offjax.problems import nieto2024
from offjax.testing import check_env_id

IDS = ("nieto2024-v0", "nieto2024-v0-legacy", "laas2022-v0", "laas2022-v0-legacy")
STEPS = 24
ETA = np.float32(-0.1)


@pytest.fixture(scope="module")
def env():
    return offjax.make("nieto2024-v0")[0]


@pytest.fixture(scope="module")
def rollout(env):
    """Reset, then one action for each of STEPS steps: the reset, and the steps stacked."""

    @jax.jit
    def run(key, params, actions):
        reset_key, step_key = jax.random.split(key)
        first, start = env.reset(reset_key, params)

        def step(state, each):
            result = env.step(each[0], state, each[1], params)
            return result[1], result

        return first, start, jax.lax.scan(step, start, (jax.random.split(step_key, STEPS), actions))[1]

    return run


@pytest.fixture(scope="module")
def actions():
    return jax.random.randint(jax.random.key(5), (STEPS,), 0, 3)


def _with_world(params, **numbers):
    """The parameters with some of the world's own numbers replaced."""
    return params.replace(problem=params.problem.replace(params=params.problem.params.replace(**numbers)))


def _with_battery(params, joules):
    fleet = params.problem.params.fleet
    return _with_world(params, fleet=fleet.replace(battery=jnp.float32(joules)))


# ---------------------------------------------------------------------------------------- the contract


@pytest.mark.parametrize("env_id", IDS)
def test_our_ids_keep_the_contract(env_id):
    passed = check_env_id(env_id)
    own = "pickle" if env_id.endswith("-legacy") else "final observation"
    assert {"identity", "params", "keys", "jit", "time limit", "vmap", own} <= set(passed)
    # In nieto2024 a slot of 1 s is long enough for any task; over a bad link of laas2022 it is not.
    assert ("busy" in passed) == env_id.startswith("laas2022")


# ------------------------------------------------------------------------------- the world that it shows


def test_the_environment_is_the_world_stepped_by_hand(env, rollout, actions, key):
    params, problem = env.default_params, env.problem
    first, start, (observation, state, reward, terminated, _, info) = rollout(key, params, actions)
    reset_key, step_key = jax.random.split(key)

    def by_hand(before, each):
        draw_key = jax.random.split(each[0])[0]  # gymnax keeps the second key for its auto-reset
        place = each[1][None].astype(jnp.int8)
        decision = world.Decision(place=place)
        after, outcome = world.advance(before, decision, world.draw(draw_key, problem.params), problem.params)
        seen = problem.normalise(problem.observe(after))[0]
        return after, (seen, after, problem.reward(outcome, before)[0], outcome.result[0])

    fresh = world.init(reset_key, problem.params)
    keys = jax.random.split(step_key, STEPS)
    _, (seen, after, own_reward, end) = jax.jit(partial(jax.lax.scan, by_hand))(fresh, (keys, actions))

    np.testing.assert_allclose(first, problem.normalise(problem.observe(fresh))[0], rtol=1e-6)
    np.testing.assert_array_equal(start.world.draws.device, fresh.draws.device)
    np.testing.assert_allclose(reward, own_reward, rtol=1e-6)
    np.testing.assert_allclose(observation, seen, rtol=1e-6)
    np.testing.assert_array_equal(info["end"], end)
    np.testing.assert_array_equal(state.world.clock, after.clock)
    assert not terminated.any()
    assert len(set(np.asarray(info["end"]))) > 1  # some in time, some not


def test_info_tells_latency_and_energy_of_the_task_at_home(env, rollout, key):
    """Equations (1), (2) and (8): D X / R^n seconds, kappa (R^n)^2 joules per cycle."""
    _, start, (_, state, _, _, _, info) = rollout(key, env.default_params, jnp.zeros(STEPS, jnp.int32))
    before = jax.tree.map(lambda a, b: np.concatenate([a[None], b[:-1]]), start.world.job, state.world.job)
    cycles, deadline = before.left.service[:, 0], before.deadline[:, 0]
    np.testing.assert_allclose(info["latency"], cycles / 40e6, rtol=1e-5)
    np.testing.assert_allclose(info["energy"], 1e-21 * 40e6**2 * cycles, rtol=1e-5)
    np.testing.assert_array_equal(info["success"], info["latency"] <= deadline)
    np.testing.assert_array_equal(info["success"], info["end"] == world.End.IN_TIME)
    idle = 0.1 * np.arange(1, STEPS + 1)  # J, drawn in every slot
    np.testing.assert_allclose(4000.0 - info["battery"], np.cumsum(info["energy"]) + idle, rtol=1e-4)


def test_a_device_without_battery_scores_eta_in_every_step_and_goes_on(env, rollout, actions, key):
    params = _with_battery(env.default_params, 1e-6)
    _, _, (observation, _, reward, terminated, truncated, info) = rollout(key, params, actions)
    np.testing.assert_array_equal(reward, np.full(STEPS, ETA))
    np.testing.assert_array_equal(info["end"], np.full(STEPS, world.End.BATTERY_EMPTY))
    np.testing.assert_array_equal(info["battery"], np.zeros(STEPS, np.float32))
    assert not terminated.any()
    assert not truncated.any()
    assert np.isfinite(observation).all()


def test_episodes_end_by_truncation_alone_and_start_afresh(env, rollout, actions, key):
    params = env.default_params.replace(max_steps_in_episode=np.int32(7))
    _, _, (observation, state, _, terminated, truncated, info) = rollout(key, params, actions)
    ends = np.arange(1, STEPS + 1) % 7 == 0
    np.testing.assert_array_equal(truncated, ends)
    assert not terminated.any()
    np.testing.assert_array_equal(state.world.clock[ends], 0)
    np.testing.assert_array_equal(observation[ends][:, 0], 1.0)  # a full battery
    assert (info["final_observation"][ends][:, 0] < 1.0).all()  # what a learner bootstraps from


def test_a_long_decision_is_read_in_its_first_slot_only(env, key):
    slow = OffloadEnv(env.problem, slots_per_decision=2)
    params, problem = slow.default_params, env.problem
    state = env.reset(key)[1]
    _, after, reward, _, info = jax.jit(slow.step_env)(key, state, 1, params)

    @jax.jit
    def slot(before, place, draw_key):
        decision = world.Decision(place[None])
        expected, outcome = world.advance(before, decision, world.draw(draw_key, problem.params), problem.params)
        return expected, problem.reward(outcome, before)[0]

    draw_keys = jax.random.split(key)
    middle, first_reward = slot(state.world, jnp.int8(1), draw_keys[0])
    expected, second_reward = slot(middle, jnp.int8(-1), draw_keys[1])
    np.testing.assert_allclose(reward, first_reward + second_reward, rtol=1e-5)
    np.testing.assert_allclose(after.world.device.spent, expected.device.spent, rtol=1e-6)
    np.testing.assert_array_equal(after.world.clock, 2)
    np.testing.assert_array_equal(after.time, 1)
    assert bool(after.world.job.asks[0])  # the task of the second slot waits for the next step
    assert info["end"] == world.End.IN_TIME
    assert params.max_steps_in_episode == 1000


def test_a_busy_step_says_so_and_ignores_its_action(env, rollout, actions, key):
    params = _with_world(env.default_params, slot_duration=jnp.float32(0.05))
    places = jnp.zeros_like(actions)
    _, _, home = rollout(key, params, places)
    _, state, _, _, _, info = home
    asks_before = np.concatenate([[True], state.world.job.asks[:-1, 0]])
    np.testing.assert_array_equal(info["busy"], ~asks_before)
    assert info["busy"].any()
    jax.tree.map(np.testing.assert_array_equal, home, rollout(key, params, jnp.where(info["busy"], actions, places))[2])


# ---------------------------------------------------------------------------- what trainers do with it


def test_gymnax_log_wrapper_runs_in_a_scan_over_a_sweep_of_any_number(env, key):
    logged = LogWrapper(env)
    params = _with_battery(env.default_params.replace(max_steps_in_episode=10), 1e-6)

    def episode(key, eta):
        swept = params.replace(problem=params.problem.replace(failure_reward=eta))
        state = logged.reset(key, swept)[1]

        def step(state, key):
            _, state, reward, _, _, info = logged.step(key, state, 1, swept)
            return state, (reward, info)

        return jax.lax.scan(step, state, jax.random.split(key, 10))[1]

    eta = jnp.asarray([-0.1, -0.5], jnp.float32)
    reward, info = jax.jit(jax.vmap(episode))(jax.random.split(key, 2), eta)
    np.testing.assert_array_equal(reward, np.broadcast_to(eta[:, None], (2, 10)))
    np.testing.assert_array_equal(info["returned_episode"].sum(axis=1), [1, 1])
    np.testing.assert_array_equal(info["returned_episode_lengths"][:, -1], [10, 10])
    np.testing.assert_allclose(info["returned_episode_returns"][:, -1], 10 * eta, rtol=1e-5)


@pytest.mark.parametrize("implementation", ["threefry2x32", "rbg", "philox4x32", None])
def test_keys_of_any_kind_work(env, implementation):
    key = jax.random.PRNGKey(3) if implementation is None else jax.random.key(3, impl=implementation)
    first, state = jax.eval_shape(env.reset, key)
    after = jax.eval_shape(env.step, key, state, jnp.int32(2))
    assert first == after[0] == jax.ShapeDtypeStruct((6,), jnp.float32)
    assert jax.tree.leaves(state) == jax.tree.leaves(after[1])


def test_the_step_keeps_to_its_dtypes_under_strict_promotion(env, key):
    with jax.numpy_dtype_promotion("strict"):
        state = jax.eval_shape(env.reset_env, key, env.default_params)[1]
        jax.eval_shape(env.step_env, key, state, jnp.int32(1), env.default_params)


# ------------------------------------------------------------------------------------ values and copies


def test_equal_environments_share_their_compiled_programs(env, key):
    twin = offjax.make("nieto2024-v0")[0]
    assert twin is not env
    assert twin == env
    assert hash(twin) == hash(env)
    env.reset(key)
    compiled = OffloadEnv.reset._cache_size()
    twin.reset(key)
    assert OffloadEnv.reset._cache_size() == compiled


@pytest.mark.parametrize("env_id", IDS)
def test_other_numbers_make_another_environment(env_id):
    one, other = offjax.make(env_id)[0], offjax.make(env_id, horizon=9)[0]
    assert one != other
    assert one != "nieto2024"


@pytest.mark.parametrize("env_id", IDS)
def test_copies_and_pickles_are_equal_and_run(env_id, key):
    env, params = offjax.make(env_id)
    for twin in (copy.deepcopy(env), pickle.loads(pickle.dumps(env))):
        assert twin == env
        assert hash(twin) == hash(env)
        np.testing.assert_array_equal(twin.reset(key, params)[0], env.reset(key, params)[0])


def test_a_copy_made_while_tracing_keeps_its_numbers(env):
    """rejax copies its environment inside jit, where copies of arrays would be tracers."""
    copies = []
    jax.jit(lambda x: copies.append(copy.deepcopy(env)) or x)(1.0)
    assert copies == [env]


# --------------------------------------------------------------------------------- making and mistaking


@pytest.mark.parametrize(("env_id", "kind"), [(IDS[0], OffloadEnv), (IDS[1], LegacyEnv)])
def test_gymnax_makes_our_ids_with_the_same_arguments(env_id, kind):
    arguments = {"preset": "figures", "scenario": "scenario2", "mix": "class3", "horizon": 123}
    env, params = gymnax.make(env_id, **arguments)
    assert isinstance(env, kind)
    assert env == offjax.make(env_id, **arguments)[0]
    assert params.max_steps_in_episode == 123
    assert params.max_steps_in_episode.dtype == np.int32


def test_importing_again_registers_nothing_twice():
    importlib.reload(offjax.envs)
    assert [gymnax.registered_envs.count(env_id) for env_id in IDS] == [1] * len(IDS)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: offjax.make("nieto2042-v0"), r"env_id: 'nieto2042-v0' .* \(did you mean nieto2024-v0\?\)"),
        (
            lambda: offjax.make("CartPole-v1"),
            "one of nieto2024-v0, nieto2024-v0-legacy, laas2022-v0, laas2022-v0-legacy$",
        ),
        (lambda: offjax.make("nieto2024-v0", horizn=9), r"'horizn' .* \(did you mean horizon\?\)"),
        (lambda: offjax.make("nieto2024-v0", devices=2), "'devices' is not allowed; nieto2024-v0 takes one of preset,"),
        (lambda: offjax.make("nieto2024-v0", preset="txt"), "preset: 'txt' is not allowed; one of text, figures"),
        (lambda: offjax.make("nieto2024-v0", horizon=0), "horizon: 0 is not allowed"),
        (lambda: offjax.make("nieto2024-v0", horizon=2.5), "horizon: 2.5 is not allowed"),
        (lambda: gymnax.make("nieto2024-v0", horizon=True), "horizon: True is not allowed"),
        (lambda: OffloadEnv(nieto2024.make(devices=2)), "devices: 2 is not allowed"),
        (lambda: OffloadEnv(nieto2024.make(devices=1), slots_per_decision=3), "slots_per_decision: 3"),
    ],
)
def test_a_mistake_ends_in_one_line_that_names_it(call, words):
    with pytest.raises(ConfigError, match=words):
        call()
