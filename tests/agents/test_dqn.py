"""What a user can rely on: DQN is paper B's, and learns without a target network unless it is given one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from batches import SPECS, assert_same, forward, make_batch, moved

from offjax.agents.dqn.agent import DQN
from offjax.agents.dqn.losses import q_target
from offjax.agents.specs import Specs

KEY = jax.random.key(8)


def test_defaults_are_the_papers():
    agent = DQN()
    params = jax.eval_shape(lambda: agent.init(KEY, Specs(5, 3))).params
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 199_683  # PAPERS.md 2.2
    assert (agent.activation, agent.gamma, agent.learning_rate) == ("relu", 0.99, 1e-3)
    assert not agent.replays
    assert agent.rollout_slots == 1


def test_target_is_the_best_q_value_that_follows():
    batch = make_batch()
    following = jnp.array([[0.0, 5.0, 1.0]] * 4)
    expected = np.array(batch.reward) + 0.9 * 5.0 * np.array([1, 0, 1, 0])
    np.testing.assert_allclose(q_target(following, batch, 0.9), expected, rtol=1e-6)


def test_gradient_is_the_td_error_times_the_observation():
    agent, batch, rows = DQN(hidden=(), gamma=0.9), make_batch(valid=[1, 1, 1, 0]), np.arange(4)
    params, target_params = (agent.init(jax.random.key(seed), SPECS).params for seed in (1, 2))
    gradient = jax.grad(agent.objective, has_aux=True)(params, target_params, batch)[0]
    q = forward(agent, params, None, batch.observation)[rows, batch.decision]
    following = forward(agent, target_params, None, batch.next_observation).max(axis=1)
    error = np.array(batch.reward) + 0.9 * following * (1 - np.array(batch.terminated)) - q
    chosen = np.eye(SPECS.decisions)[batch.decision] * (2 * error * np.array(batch.valid) / 3)[:, None]
    np.testing.assert_allclose(gradient["layer_0"]["kernel"], -np.array(batch.observation).T @ chosen, atol=1e-6)


@pytest.mark.parametrize(("period", "copied"), [(0, [True] * 4), (1, [True] * 4), (2, [False, True, False, True])])
def test_a_period_of_0_is_no_target_network(update, period, copied):
    agent = DQN(hidden=(8,), target_update_period=period)
    state = agent.init(KEY, SPECS)
    for due in copied:
        state = update(agent, state, make_batch())
        assert (moved(state.params, state.target_params) == 0) is due
        if due:
            assert_same(state.params, state.target_params)


@pytest.fixture(scope="module")
def update():
    return jax.jit(lambda agent, state, batch: agent.update(state, batch, KEY)[0])
