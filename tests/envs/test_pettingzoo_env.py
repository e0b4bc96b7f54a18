"""What users of PettingZoo rely on: agents that leave when they die, and its own tests passed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import mortal
import numpy as np
import pytest

import offjax.envs
from offjax.envs import fleet_view, make_fleet, pettingzoo_env, seed_key
from offjax.envs.pettingzoo_env import DevicesParallelEnv, parallel_env
from offjax.errors import ConfigError, MachineError

HORIZON = 12
HERE = Path(__file__).parent
CLIENTS = HERE.parents[1] / ".venv-clients"


@pytest.fixture(scope="module")
def mixed():
    return DevicesParallelEnv(fleet_view(mortal.mixed_fleet(HORIZON)), "mixed")


def test_an_agent_leaves_when_its_battery_is_empty_and_the_rest_at_the_horizon(mixed):
    weak = {"device_1", "device_3"}
    assert {agent for agent in mixed.possible_agents if _battery(mixed, agent) < 100.0} == weak
    mixed.reset(seed=0)
    died = set()
    for step in range(1, HORIZON + 1):
        before = set(mixed.agents)
        told = mixed.step(dict.fromkeys(mixed.agents, 0))
        _, rewards, terminated, truncated, infos = told
        assert all(set(each) == before for each in told)
        assert set(truncated.values()) == {step == HORIZON}
        dead = {agent for agent in before if terminated[agent]}
        assert all(infos[agent]["battery"] == 0.0 and rewards[agent] < 0 for agent in dead)
        assert set(mixed.agents) == (before - dead if step < HORIZON else set())
        died |= dead
    assert died == weak


def _battery(env, agent):
    env.reset(seed=1)
    return env.step(dict.fromkeys(env.agents, 1))[4][agent]["battery"]


def test_the_agents_are_the_devices_of_the_fleet_view(mixed):
    view = fleet_view(mortal.mixed_fleet(HORIZON))
    chain, key = jax.random.split(seed_key(5))
    first, state = jax.jit(view.reset)(key)
    seen, infos = mixed.reset(seed=5)
    np.testing.assert_allclose(np.stack(list(seen.values())), first, rtol=1e-6)
    assert infos == {agent: {} for agent in mixed.possible_agents}
    step = jax.jit(view.step)
    for action in ([0, 1, 2, 0, 1], [1, 1, 1, 1, 1], [2, 1, 0, 2, 1]):
        chain, key = jax.random.split(chain)
        observation, state, reward, *_, info = step(key, state, np.asarray(action))
        seen, rewards, _, _, infos = mixed.step(dict(zip(mixed.agents, action, strict=True)))
        np.testing.assert_allclose(np.stack(list(seen.values())), observation, rtol=1e-5)
        np.testing.assert_allclose(list(rewards.values()), reward, rtol=1e-5)
        np.testing.assert_allclose([infos[agent]["latency"] for agent in mixed.agents], info["latency"], rtol=1e-5)


def test_spaces_are_those_of_a_device_and_the_same_objects_each_time(mixed):
    agent = mixed.possible_agents[0]
    assert mixed.observation_space(agent) is mixed.observation_space(agent)
    assert mixed.action_space(agent) is mixed.action_space(agent)
    assert mixed.observation_space(agent).contains(mixed.reset(seed=0)[0][agent])
    assert mixed.action_space(agent).n == 3


def test_without_a_seed_episodes_go_on_along_the_chain(mixed):
    episodes = []
    for _ in range(2):
        episodes.append([mixed.reset(seed=2)[0]["device_0"], mixed.reset()[0]["device_0"]])
    np.testing.assert_array_equal(*episodes)
    assert not np.array_equal(*episodes[0])


# ------------------------------------------------------------------------------------------- mistakes


def test_importing_the_environments_does_not_import_pettingzoo():
    code = "import sys, offjax.envs; assert not any('pettingzoo' in name for name in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "JAX_PLATFORMS": "cpu"})


def test_without_pettingzoo_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(pettingzoo_env, "_MISSING", True)
    with pytest.raises(MachineError, match=r"^pettingzoo is not installed: pip install 'offjax\[clients\]'") as caught:
        parallel_env("nieto2024-v0")
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"env_id": "nieto2042-v0"}, r"env_id: 'nieto2042-v0' .* \(did you mean nieto2024-v0\?\)"),
        ({"env_id": "nieto2024-v0", "devices": 0}, "devices: 0 is not allowed"),
        ({"env_id": "nieto2024-v0", "mixx": "class1"}, r"'mixx' is not allowed; .* \(did you mean mix\?\)"),
    ],
)
def test_a_mistake_in_making_ends_in_one_line(monkeypatch, arguments, words):
    monkeypatch.setattr(pettingzoo_env, "_MISSING", False)
    with pytest.raises(ConfigError, match=words):
        parallel_env(**arguments)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"device_2": 3}, r"actions\[device_2\]: 3 is not allowed; one of 0 \(local\), 1 \(mec\), 2 \(cloud\)"),
        ({"device_2": 0.5}, r"actions\[device_2\]: 0\.5 is not allowed"),
        ({"device_9": 0}, "actions: 'device_9' is not allowed; one of device_0, device_1"),
        ({"device_2": None}, r"actions: \[.*\] is not allowed; an action of device_2 too"),
    ],
)
def test_a_wrong_action_is_named(mixed, change, words):
    mixed.reset(seed=0)
    actions = {**dict.fromkeys(mixed.agents, 0), **change}
    actions = {agent: action for agent, action in actions.items() if action is not None}
    with pytest.raises(ConfigError, match=words):
        mixed.step(actions)


def test_a_step_outside_an_episode_is_refused(mixed):
    fresh = DevicesParallelEnv(fleet_view(mortal.mixed_fleet(1)), "short")
    with pytest.raises(ConfigError, match=r"step: .* call reset first"):
        fresh.step({})
    fresh.reset(seed=0)
    fresh.step(dict.fromkeys(fresh.agents, 0))
    with pytest.raises(ConfigError, match=r"step: .* call reset first"):
        fresh.step({})


# -------------------------------------------------------------------------- PettingZoo's word for it


@pytest.mark.ci
@pytest.mark.skipif(not (CLIENTS / ".ready").exists(), reason="no .venv-clients: make .venv-clients/.ready")
@pytest.mark.parametrize("env_id", offjax.envs.native_ids())
def test_pettingzoos_own_tests_pass(env_id):
    command = [CLIENTS / "bin" / "python", HERE / "pettingzoo_client.py", env_id]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    rewards = np.asarray(json.loads(done.stdout.splitlines()[-1]))
    np.testing.assert_allclose(rewards, _by_the_fleet_view(env_id, *rewards.shape), rtol=1e-5)


def _by_the_fleet_view(env_id, steps, devices):
    """The rollout of pettingzoo_client.py."""
    view = make_fleet(env_id, devices=devices, horizon=30)
    chain, key = jax.random.split(seed_key(3))
    state, step = jax.jit(view.reset)(key)[1], jax.jit(view.step)
    rewards = []
    for number in range(steps):
        chain, key = jax.random.split(chain)
        action = (number + np.arange(devices)) % len(view.problem.decisions)
        state, reward = step(key, state, action)[1:3]
        rewards.append(reward)
    return np.stack(rewards)
