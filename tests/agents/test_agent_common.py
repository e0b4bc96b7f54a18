"""What a user can rely on: the shared schedules and clip, and clear refusals by make_agent."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from offjax.agents import AGENTS, common, make_agent
from offjax.agents.ac.agent import ActorCritic
from offjax.errors import ConfigError


def test_learning_rate_falls_linearly_and_then_stays():
    updates = jnp.array([0, 5, 10, 99], jnp.int32)
    decayed = common.learning_rate_at(updates, 0.2, 0.1, 10)
    np.testing.assert_allclose(decayed, [0.2, 0.11, 0.02, 0.02], rtol=1e-6)
    np.testing.assert_allclose(common.learning_rate_at(updates, 0.2, 0.1, 0), [0.2] * 4, rtol=1e-6)


def test_epsilon_falls_linearly_and_then_stays():
    updates = jnp.array([0, 5, 10, 99], jnp.int32)
    np.testing.assert_allclose(common.epsilon_at(updates, 1.0, 0.2, 10), [1.0, 0.6, 0.2, 0.2], rtol=1e-6)


@pytest.mark.parametrize(("max_norm", "expected"), [(0.0, 5.0), (1.0, 1.0), (10.0, 5.0)])
def test_clip_only_shortens(max_norm, expected):
    clipped, norm = common.clip_by_norm({"a": jnp.array([3.0]), "b": jnp.array([4.0])}, max_norm)
    assert float(norm) == pytest.approx(5.0 if max_norm else 0.0), "not looked at without a clip"
    np.testing.assert_allclose([clipped["a"][0], clipped["b"][0]], np.array([0.6, 0.8]) * expected, rtol=1e-6)


def test_clip_of_a_zero_gradient_is_zero():
    clipped, norm = common.clip_by_norm(jnp.zeros(3), 1.0)
    np.testing.assert_array_equal(clipped, np.zeros(3))
    assert norm == 0


def test_masked_mean_ignores_invalid_rows_and_survives_none():
    values = jnp.array([1.0, jnp.nan, 3.0])
    assert common.masked_mean(values, jnp.array([True, False, True])) == 2.0
    assert common.masked_mean(values, jnp.zeros(3, bool)) == 0.0


def test_make_agent_sets_numbers_and_structure():
    agent = make_agent("ac", hidden=[4, 4], gamma=0.5, critic_learning_rate=jnp.array([0.1, 0.2]))
    assert isinstance(agent, ActorCritic)
    assert (agent.hidden, agent.gamma, agent.critic_learning_rate.shape) == ((4, 4), 0.5, (2,))


def test_every_agent_has_the_common_leaves_and_its_own_name():
    for name in AGENTS:
        agent = make_agent(name)
        assert agent.name == name
        assert agent.replays is (name == "ddqn")
        for leaf in ("gamma", "lr_decay_updates", "lr_final_fraction", "adam_eps", "reward_scale"):
            assert hasattr(agent, leaf)
        assert all(isinstance(leaf, float | int) for leaf in jax.tree.leaves(agent))


@pytest.mark.parametrize(
    ("name", "hyper", "says"),
    [
        ("sarsa", {}, "use one of ddqn, dqn, ac, a2c, ppo"),
        ("ac", {"learning_rat": 1.0}, "critic_learning_rate"),
        ("ac", {"gamma": "1e-4"}, "number"),
        ("ddqn", {"loss": "l1"}, "huber, squared"),
        ("ddqn", {"batch_size": 1.5}, "whole number"),
    ],
)
def test_make_agent_says_what_is_allowed(name, hyper, says):
    with pytest.raises(ConfigError, match=says):
        make_agent(name, **hyper)


def test_importing_the_room_imports_no_jax():
    check = "import sys, offjax.agents; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
