"""What a user can rely on: double deep Q-learning learns the probes, and its target is the paper's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from batches import SPECS, assert_same, forward, make_batch, moved, norm

from offjax.agents.ddqn.agent import DDQN
from offjax.agents.ddqn.losses import double_q_target
from offjax.errors import ConfigError

KEY = jax.random.key(3)
TINY = DDQN(hidden=(8,), learning_rate=0.02, target_update_period=3, epsilon_decay_updates=100)
LINEAR = DDQN(hidden=(), gamma=0.9, loss="squared")


@pytest.fixture(scope="module")
def update():
    return jax.jit(lambda agent, state, batch: agent.update(state, batch, jax.random.key(0)))


def test_evaluation_picks_and_target_prices():
    batch = make_batch()
    evaluation = jnp.array([[0.0, 5.0, 1.0]] * 4)
    target = jnp.array([[9.0, 2.0, 8.0]] * 4)
    expected = np.array(batch.reward) + 0.9 * 2.0 * np.array([1, 0, 1, 0])
    np.testing.assert_allclose(double_q_target(evaluation, target, batch, 0.9), expected, rtol=1e-6)


@pytest.mark.parametrize("loss", ["squared", "huber"])
def test_gradient_is_the_td_error_times_the_observation(loss):
    agent = LINEAR.replace(loss=loss)
    batch = make_batch(valid=[1, 1, 1, 0])
    params, target_params = (agent.init(jax.random.key(seed), SPECS).params for seed in (1, 2))
    gradient = jax.grad(agent.objective, has_aux=True)(params, target_params, batch)[0]
    rows = np.arange(4)
    q, q2 = (forward(agent, params, None, x) for x in (batch.observation, batch.next_observation))
    bootstrap = forward(agent, target_params, None, batch.next_observation)[rows, q2.argmax(1)]
    error = batch.reward + 0.9 * bootstrap * (1 - batch.terminated) - q[rows, batch.decision]
    assert np.abs(error).max() > 1  # so that the Huber clip is seen
    slope = 2 * error if loss == "squared" else np.clip(error, -1, 1)
    chosen = np.eye(SPECS.decisions)[batch.decision] * (slope * np.array(batch.valid) / 3)[:, None]
    np.testing.assert_allclose(gradient["layer_0"]["kernel"], -np.array(batch.observation).T @ chosen, atol=1e-6)


def test_target_is_cloned_at_start_and_copied_after_the_period(update):
    state = TINY.init(KEY, SPECS)
    first = state.target_params
    assert_same(first, state.params)
    for done in (1, 2):
        state = update(TINY, state, make_batch())[0]
        assert int(state.updates) == done
        assert_same(state.target_params, first)
        assert moved(state.params, first) > 0
    state = update(TINY, state, make_batch())[0]
    assert_same(state.target_params, state.params)


def test_vmapped_learning_rates_learn_differently():
    rates = jnp.array([0.001, 0.01])
    state = TINY.init(KEY, SPECS)

    def learn(rate):
        return TINY.replace(learning_rate=rate, adam_eps=0.0).update(state, make_batch(), jax.random.key(0))[0].params

    params = jax.jit(jax.vmap(learn))(rates)
    for row, rate in enumerate(rates):
        after = jax.tree.map(lambda leaf, row=row: leaf[row], params)
        assert moved(state.params, after) == pytest.approx(float(rate), rel=1e-3)


def test_learning_rate_decays_with_the_updates(update):
    agent = TINY.replace(lr_decay_updates=1, lr_final_fraction=0.0)
    state = agent.init(KEY, SPECS)
    once = update(agent, state, make_batch())[0]
    assert moved(state.params, once.params) > 0
    assert_same(update(agent, once, make_batch())[0].params, once.params)


def test_gradient_is_clipped_by_its_norm(update):
    agent = TINY.replace(max_grad_norm=0.01)
    after, metrics = update(agent, agent.init(KEY, SPECS), make_batch())
    # After one step Adam's first moment is 0.1 times the clipped gradient.
    assert norm(after.optimiser.mu) == pytest.approx(0.1 * 0.01, rel=1e-4)
    assert metrics["gradient_norm"] > 0.01


def test_outputs_are_in_reward_units():
    state, observation = TINY.init(KEY, SPECS), make_batch().observation
    scaled = TINY.replace(reward_scale=100.0).outputs(state, observation)
    np.testing.assert_allclose(100 * scaled, TINY.outputs(state, observation), atol=1e-5)


def test_greedy_is_the_best_q_value_and_exploring_falls_to_its_final_rate():
    state = TINY.init(KEY, SPECS)
    observation = jnp.tile(make_batch().observation[:1], (4000, 1))
    best = int(TINY.outputs(state, observation[:1]).argmax())
    greedy = TINY.act(state, observation, KEY, explore=False)
    assert greedy.dtype == jnp.int32
    assert set(np.array(greedy).tolist()) == {best}
    for updates, epsilon in ((0, 1.0), (50, 0.525), (1000, 0.05)):
        drawn = TINY.act(state.replace(updates=jnp.int32(updates)), observation, KEY, explore=True)
        assert drawn.dtype == jnp.int32
        share = np.bincount(drawn, minlength=3) / 4000
        expected = np.full(3, epsilon / 3) + np.eye(3)[best] * (1 - epsilon)
        np.testing.assert_allclose(share, expected, atol=0.04)


@pytest.mark.parametrize(
    "wrong",
    [{"loss": "l1"}, {"batch_size": 0}, {"batch_size": 20_000}, {"hidden": (8, 0)}, {"activation": "gelu"}],
)
def test_impossible_structure_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        DDQN(**wrong)
