"""What users of Gymnasium rely on: its API kept, seeds that mean something, and the world that everybody else sees."""

import copy
import pickle

import gymnasium
import jax
import mortal
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import RecordEpisodeStatistics

import offjax
import offjax.envs
from offjax.envs import LegacyEnv, OffloadEnv, fleet_view, seed_key
from offjax.envs.gymnasium_env import GymnasiumEnv, GymnasiumVectorEnv
from offjax.envs.pettingzoo_env import DevicesParallelEnv
from offjax.errors import ConfigError

SEED, HORIZON, STEPS = 3, 9, 24
ROWS, ROW = 3, 1
ID = "offjax/nieto2024-v0"


def _problem(env_id):
    if env_id == "mortal":
        return mortal.weak_device(HORIZON)
    return offjax.make(env_id, horizon=HORIZON)[1].problem


PROBLEMS = {env_id: _problem(env_id) for env_id in (*offjax.envs.native_ids(), "mortal")}


# One problem in every run, whose devices die; each of the others costs half a minute of compiling.
ONE_AND_ALL = ["mortal", *(pytest.param(env_id, marks=pytest.mark.ci) for env_id in offjax.envs.native_ids())]


@pytest.fixture(scope="module", params=ONE_AND_ALL)
def problem(request):
    return PROBLEMS[request.param]


@pytest.fixture(scope="module")
def actions(problem):
    """Mostly at home, where a weak battery does not last."""
    places = np.random.default_rng(0).integers(len(problem.decisions), size=STEPS)
    return np.where(np.arange(STEPS) % 3 == 0, places, 0).astype(np.int32)


@pytest.fixture(scope="module")
def native(problem, actions):
    """The stream of the native environment, by the loop that host.py documents."""
    env = OffloadEnv(problem)
    chain, key = jax.random.split(seed_key(SEED))
    first, state = env.reset(key)
    told = []
    for action in actions:
        chain, key = jax.random.split(chain)
        observation, state, reward, terminated, truncated, info = env.step(key, state, action)
        told.append((reward, terminated, truncated, info["final_observation"], observation))
    return np.asarray(first), tuple(np.stack(values) for values in zip(*told, strict=True))


def _assert_same(native, told, steps=STEPS, columns=5):
    for wanted, seen in zip(native[1][:columns], zip(*told, strict=True), strict=False):
        np.testing.assert_allclose(np.asarray(seen, np.float64), wanted[:steps], rtol=1e-5, atol=1e-9)


# ---------------------------------------------------------------- one stream through every interface


def test_the_stream_has_more_than_one_episode(native, problem):
    _, (_, terminated, truncated, _, _) = native
    assert (terminated | truncated)[:-1].any()
    assert terminated.any() or not isinstance(problem, mortal.Mortal)


def test_legacy_is_the_native_stream(problem, actions, native):
    env = LegacyEnv(OffloadEnv(problem))
    chain, key = jax.random.split(seed_key(SEED))
    _, state = env.reset(key)
    told = []
    for action in actions:
        chain, key = jax.random.split(chain)
        _, state, reward, _, info = env.step(key, state, action)
        told.append((reward, info["terminated"], info["truncated"], info["final_observation"]))
    _assert_same(native, told, columns=4)


def test_the_fleet_view_of_one_device_is_the_native_stream(problem, actions, native):
    """To the end of the first episode: it has no auto-reset."""
    view = fleet_view(problem)
    step = jax.jit(view.step)
    chain, key = jax.random.split(seed_key(SEED))
    first, state = jax.jit(view.reset)(key)
    np.testing.assert_allclose(first[0], native[0], rtol=1e-6)
    told = []
    for action in actions:
        chain, key = jax.random.split(chain)
        observation, state, reward, terminated, truncated, _ = step(key, state, action[None])
        told.append((reward[0], terminated[0], truncated, observation[0]))
        if bool(view.is_over(state)):
            break
    _assert_same(native, told, steps=len(told), columns=4)
    assert len(told) <= HORIZON


def test_gymnasium_is_the_native_stream(problem, actions, native):
    """Episode after episode: ``reset()`` shows the one that gymnax's auto-reset would."""
    env = GymnasiumEnv(fleet_view(problem))
    first, info = env.reset(seed=SEED)
    np.testing.assert_allclose(first, native[0], rtol=1e-6)
    assert info == {}
    told = []
    for action in actions:
        observation, reward, terminated, truncated, _ = env.step(action)
        shown = env.reset()[0] if terminated or truncated else observation
        told.append((reward, terminated, truncated, observation, shown))
    _assert_same(native, told)


def test_a_row_of_the_vector_is_the_native_stream_of_its_seed(problem, actions, native):
    vector = GymnasiumVectorEnv(fleet_view(problem), ROWS)
    first, _ = vector.reset(seed=SEED - ROW)
    np.testing.assert_allclose(first[ROW], native[0], rtol=1e-6)
    told = []
    for action in actions:
        places = np.arange(ROWS) % 2
        places[ROW] = action
        observation, reward, terminated, truncated, info = vector.step(places)
        over = terminated | truncated
        np.testing.assert_array_equal(info.get("_final_obs", np.zeros(ROWS, bool)), over)
        final = info["final_obs"][ROW] if over[ROW] else observation[ROW]
        told.append((reward[ROW], terminated[ROW], truncated[ROW], final, observation[ROW]))
    _assert_same(native, told)


def test_an_agent_of_pettingzoo_is_the_native_stream(problem, actions, native):
    env = DevicesParallelEnv(fleet_view(problem), "one")
    first, _ = env.reset(seed=SEED)
    np.testing.assert_allclose(first["device_0"], native[0], rtol=1e-6)
    told = []
    for action in actions:
        observation, reward, terminated, truncated, _ = (each["device_0"] for each in env.step({"device_0": action}))
        shown = observation if env.agents else env.reset()[0]["device_0"]
        told.append((reward, terminated, truncated, observation, shown))
    _assert_same(native, told)


# -------------------------------------------------------------------------------------------- the API


@pytest.mark.parametrize("env_id", offjax.envs.native_ids())
def test_gymnasiums_own_check_passes(env_id):
    check_env(gymnasium.make(f"offjax/{env_id}").unwrapped)


def test_make_takes_the_arguments_of_the_problem():
    env = gymnasium.make(ID, mix="class3", horizon=5)
    env.reset(seed=0)
    assert [env.step(1)[3] for _ in range(5)] == [False] * 4 + [True]
    assert env.unwrapped.spec.id == ID


def test_a_step_says_python_values_and_what_happened_to_the_task():
    env = gymnasium.make(ID, horizon=HORIZON)
    env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step(np.int64(0))
    assert (observation.dtype, observation.shape) == (np.float32, (6,))
    assert [type(value) for value in (reward, terminated, truncated)] == [float, bool, bool]
    assert {name: type(value) for name, value in info.items()} == {
        "busy": bool, "battery": float, "success": bool, "latency": float, "energy": float, "end": int,
    }  # fmt: skip
    assert info["battery"] == pytest.approx(4000.0 - 0.1 - info["energy"])


def test_a_seed_fixes_all_that_follows_and_none_does_not():
    envs = [GymnasiumEnv(fleet_view(PROBLEMS["nieto2024-v0"])) for _ in range(2)]
    for seed in (7, 2**40 + 7, None, None):  # the same lower 32 bits; then the next of the chain
        firsts = [env.reset(seed=seed)[0] for env in envs]
        np.testing.assert_array_equal(*firsts)
    fresh = [GymnasiumEnv(fleet_view(PROBLEMS["nieto2024-v0"])).reset()[0] for _ in range(2)]
    assert not np.array_equal(*fresh)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_goes_on_where_the_episode_stands(copied):
    env = gymnasium.make(ID, horizon=HORIZON).unwrapped
    env.reset(seed=0)
    env.step(1)
    twin = copied(env)
    assert [twin.step(0)[1] for _ in range(3)] == [env.step(0)[1] for _ in range(3)]


def test_a_reset_in_the_middle_of_an_episode_is_another_episode():
    env = GymnasiumEnv(fleet_view(PROBLEMS["nieto2024-v0"]))
    seen = [env.reset(seed=0)[0], env.reset()[0], env.reset()[0]]
    assert len({array.tobytes() for array in seen}) == 3


# ---------------------------------------------------------------------------------------- many worlds


@pytest.fixture(scope="module")
def vector():
    return gymnasium.make_vec(ID, num_envs=ROWS, horizon=HORIZON)


def test_make_vec_makes_our_vector(vector):
    assert isinstance(vector, GymnasiumVectorEnv)
    assert vector.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    assert vector.observation_space.contains(vector.reset(seed=0)[0])
    observation, reward, terminated, truncated, info = vector.step(vector.action_space.sample())
    assert vector.observation_space.contains(observation)
    assert [value.dtype for value in (reward, terminated, truncated)] == [np.float64, bool, bool]
    assert info["_battery"].all()
    assert (info["battery"] < 4000.0).all()


def test_the_end_of_a_row_is_told_as_gymnasium_tells_it(vector):
    """Against Gymnasium's own vector of our single environments, in the same mode."""
    own = gymnasium.make_vec(
        ID, num_envs=ROWS, horizon=HORIZON, vectorization_mode="sync", vector_kwargs={"autoreset_mode": "SameStep"}
    )
    np.testing.assert_allclose(vector.reset(seed=4)[0], own.reset(seed=4)[0], rtol=1e-6)
    for _ in range(HORIZON + 1):
        places = np.asarray([0, 1, 2])
        ours, theirs = vector.step(places), own.step(places)
        _assert_equal_trees(ours[:4], theirs[:4])
        mine, other = ours[4], theirs[4]
        assert mine.keys() >= other.keys()
        _assert_equal_trees({name: mine[name] for name in other}, other)


def _assert_equal_trees(seen, wanted):
    for mine, other in zip(jax.tree.leaves(seen), jax.tree.leaves(wanted), strict=True):
        if other.dtype == object:
            mine, other = np.stack(mine), np.stack(other)
        np.testing.assert_allclose(np.asarray(mine, np.float64), np.asarray(other, np.float64), rtol=1e-5, atol=1e-9)


def test_gymnasiums_wrapper_counts_our_episodes(vector):
    recorded = RecordEpisodeStatistics(vector)
    recorded.reset(seed=0)
    infos = [recorded.step(np.ones(ROWS, int))[4] for _ in range(HORIZON)]
    assert "episode" not in infos[-2]
    np.testing.assert_array_equal(infos[-1]["episode"]["l"], [HORIZON] * ROWS)


def test_each_row_may_have_a_seed_of_its_own(vector):
    by_list, _ = vector.reset(seed=[6, 5, 5])
    np.testing.assert_array_equal(by_list[1], by_list[2])
    np.testing.assert_array_equal(by_list[0], vector.reset(seed=6)[0][0])
    assert not np.array_equal(vector.reset()[0][0], by_list[0])


# ------------------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: gymnasium.make(ID, horizn=9), r"'horizn' is not allowed; .* \(did you mean horizon\?\)"),
        (lambda: gymnasium.make(ID, devices=2), "'devices' is not allowed"),
        (lambda: gymnasium.make(ID, preset="txt"), "preset: 'txt' is not allowed"),
        (lambda: gymnasium.make_vec(ID, num_envs=0), "num_envs: 0 is not allowed; a whole number from 1"),
        (lambda: GymnasiumEnv(fleet_view(mortal.mixed_fleet(4))), "devices: 5 is not allowed"),
        (lambda: GymnasiumEnv(fleet_view(PROBLEMS["mortal"]), render_mode="human"), "render_mode: 'human'"),
    ],
)
def test_a_mistake_in_making_ends_in_one_line(call, words):
    with pytest.raises(ConfigError, match=words):
        call()


def test_an_unknown_id_is_gymnasiums_to_say():
    with pytest.raises(gymnasium.error.NameNotFound, match="nieto2042"):
        gymnasium.make("offjax/nieto2042-v0")


@pytest.mark.parametrize("action", [3, -1, 0.5, "mec", None, np.array([1])])
def test_a_wrong_action_is_named(action):
    env = gymnasium.make(ID, horizon=HORIZON, disable_env_checker=True)
    env.reset(seed=0)
    with pytest.raises(ConfigError, match=r"^action: .* is not allowed; one of 0 \(local\), 1 \(mec\), 2 \(cloud\)$"):
        env.step(action)


def test_a_step_outside_an_episode_is_refused():
    env = gymnasium.make(ID, horizon=1, disable_env_checker=True)
    with pytest.raises(ConfigError, match=r"step: .* call reset first"):
        env.step(0)
    env.reset(seed=0)
    env.step(0)
    with pytest.raises(ConfigError, match=r"step: .* call reset first"):
        env.step(0)


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        ([0, 3, 0], r"action\[1\]: 3 is not allowed; one of 0 \(local\)"),
        ([0, 0], r"action: \[2\] is not allowed; an array of shape \[3\]"),
        ([0.0, 0.5, 0.0], "whole numbers"),
    ],
)
def test_wrong_actions_are_named(vector, actions, words):
    vector.reset(seed=0)
    with pytest.raises(ConfigError, match=words):
        vector.step(np.asarray(actions))


@pytest.mark.parametrize(
    ("seed", "words"), [(-1, "seed: -1"), (1.5, "seed: 1.5"), ([1, 2], r"seed: \[1, 2\] .* 3 rows")]
)
def test_a_wrong_seed_is_named(vector, seed, words):
    with pytest.raises(ConfigError, match=words):
        vector.reset(seed=seed)


def test_rows_cannot_be_reset_by_a_mask(vector):
    with pytest.raises(ConfigError, match="reset_mask"):
        vector.reset(options={"reset_mask": np.ones(ROWS, bool)})


def test_a_vector_before_its_reset_refuses_a_step():
    vector = gymnasium.make_vec(ID, num_envs=2)
    with pytest.raises(ConfigError, match="call reset first"):
        vector.step(np.zeros(2, int))
