"""What a user can rely on: PPO's loss is the paper's, and an update deals every row of a rollout once per epoch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from batches import SPECS, assert_same, forward, make_batch, moved

from offjax.agents.a2c.agent import A2C
from offjax.agents.policy_losses import log_probability
from offjax.agents.ppo.agent import PPO, dealt
from offjax.agents.ppo.losses import Rows, ppo_loss, standardised

KEY = jax.random.key(11)
LINEAR = {"hidden": (), "gamma": 0.9, "gae_lambda": 0.5, "rollout_slots": 4, "value_coefficient": 0.25}


def _rollout(valid=(1, 1, 0, 1)):
    """Four slots of one device."""
    return jax.tree.map(lambda leaf: leaf[:, None], make_batch(valid))


def _rows(count=5):
    random = np.random.default_rng(4)
    return Rows(
        observation=jnp.asarray(random.normal(size=(count, 2)), jnp.float32),
        decision=jnp.arange(count, dtype=jnp.int32) % 3,
        log_probability=jnp.asarray(random.normal(size=count) * 0.3 - 1.1, jnp.float32),
        advantage=jnp.asarray(random.normal(size=count), jnp.float32),
        target=jnp.asarray(random.normal(size=count), jnp.float32),
        valid=jnp.arange(count) != 1,
    )


def test_loss_is_the_papers():
    rows, random = _rows(), np.random.default_rng(5)
    logits, value = random.normal(size=(5, 3)).astype(np.float32), random.normal(size=5).astype(np.float32)
    loss, metrics = ppo_loss(jnp.asarray(logits), jnp.asarray(value), rows, 0.2, 0.25, 0.1)
    policy = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    ratio = policy[np.arange(5), rows.decision] / np.exp(rows.log_probability)
    gain = np.minimum(ratio * rows.advantage, np.clip(ratio, 0.8, 1.2) * rows.advantage)
    evenness = -(policy * np.log(policy)).sum(1)
    per_row = -gain + 0.25 * (rows.target - value) ** 2 - 0.1 * evenness
    keep = np.array(rows.valid)
    assert float(loss) == pytest.approx(np.array(per_row)[keep].mean(), rel=1e-5)
    outside = np.abs(ratio - 1) > 0.2
    assert 0 < outside[keep].sum() < 4
    assert float(metrics["clipped"]) == pytest.approx(np.array(outside)[keep].mean())


def test_a_ratio_out_of_range_on_the_gaining_side_has_no_gradient():
    rows = _rows(2).replace(valid=jnp.ones(2, bool), advantage=jnp.array([1.0, -1.0]))
    logits = jnp.array([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0]])  # both decisions are far likelier than before
    gradient = jax.grad(lambda logits: ppo_loss(logits, jnp.zeros(2), rows, 0.2, 0.0, 0.0)[0])(logits)
    assert (gradient[0] == 0).all()
    assert (gradient[1] != 0).any()


def test_advantages_are_standardised_over_the_valid_rows():
    valid = jnp.array([True, True, False, True])
    result = np.array(standardised(jnp.array([1.0, 3.0, 1e6, 8.0]), valid))[np.array(valid)]
    np.testing.assert_allclose(result, (np.array([1, 3, 8]) - 4) / np.std([1, 3, 8]), rtol=1e-5)


def test_the_first_gradient_is_that_of_a2c_with_standardised_advantages():
    """Every ratio is 1 then, and the gradient of a ratio of 1 is that of its logarithm."""
    ppo, a2c = PPO(**LINEAR, entropy_coefficient=0.0), A2C(**LINEAR, entropy_coefficient=0.0)

    @jax.jit
    def gradients(rollout):
        state, rollout = ppo.prepare(ppo.init(KEY, SPECS), rollout)
        rows = ppo.rows(state.params, rollout)
        first = jax.grad(ppo.objective, has_aux=True)(state.params, rows)[0]
        return state, rows, first, jax.grad(a2c.objective, has_aux=True)(state.params, rollout)[0]

    state, rows, first, plain = gradients(_rollout())
    np.testing.assert_allclose(first["critic"]["layer_0"]["kernel"], plain["critic"]["layer_0"]["kernel"], rtol=1e-5)
    s, keep = np.array(rows.observation), np.array(rows.valid) / 3.0
    logits = forward(ppo, state.params, "actor", s)
    score = np.eye(3)[rows.decision] - np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    by_hand = -s.T @ (score * (np.array(rows.advantage) * keep)[:, None])
    np.testing.assert_allclose(first["actor"]["layer_0"]["kernel"], by_hand, atol=1e-6)


def test_the_gradient_of_a2c_is_the_advantage_times_the_score():
    agent = A2C(**LINEAR, entropy_coefficient=0.0)

    @jax.jit
    def judged(rollout):
        state, rollout = agent.prepare(agent.init(KEY, SPECS), rollout)
        gradient = jax.grad(agent.objective, has_aux=True)(state.params, rollout)[0]
        return state, rollout, agent.judge(state.params, rollout), gradient

    state, rollout, (logits, value, advantage, target), gradient = judged(_rollout())
    # One device: row 0 goes on to row 1, which ends; row 2 is not valid; row 3 ends.
    batch = make_batch()
    v, v2 = (forward(agent, state.params, "critic", x)[:, 0] for x in (batch.observation, batch.next_observation))
    r = np.array(rollout.reward)[:, 0]
    by_hand = np.array([r[0] + 0.9 * v2[0] - v[0] + 0.45 * (r[1] - v[1]), r[1] - v[1], 0.0, r[3] - v[3]])
    np.testing.assert_allclose(advantage[:, 0], by_hand, atol=1e-6)
    np.testing.assert_allclose(target, advantage + value, atol=1e-6)
    s, keep = np.array(rollout.observation)[:, 0], np.array(rollout.valid)[:, 0] / 3.0
    policy = np.exp(logits[:, 0]) / np.exp(logits[:, 0]).sum(1, keepdims=True)
    score = np.eye(3)[np.array(rollout.decision)[:, 0]] - policy
    np.testing.assert_allclose(
        gradient["actor"]["layer_0"]["kernel"], -s.T @ (score * (by_hand * keep)[:, None]), atol=1e-6
    )
    np.testing.assert_allclose(
        gradient["critic"]["layer_0"]["kernel"][:, 0], -2 * 0.25 * s.T @ (by_hand * keep), atol=1e-6
    )


def test_rows_are_dealt_once_each_and_filled_up_with_invalid_ones():
    rows = _rows(5)
    parts = dealt(KEY, rows, 3)
    assert parts.observation.shape == (3, 2, 2)
    flat = jax.tree.map(lambda leaf: np.array(leaf).reshape(6, *leaf.shape[2:]), parts)
    assert flat.valid.sum() == 4
    order = lambda table: table[np.lexsort(table.T)]  # noqa: E731
    np.testing.assert_array_equal(
        order(flat.observation[flat.valid]), order(np.array(rows.observation)[np.array(rows.valid)])
    )
    again = dealt(jax.random.key(1), rows, 3)
    assert not np.array_equal(again.advantage, parts.advantage)


@pytest.fixture(scope="module")
def update():
    return jax.jit(lambda agent, state, rollout, key: agent.update(state, rollout, key))


def test_an_update_is_epochs_times_minibatches_steps(update):
    agent = PPO(hidden=(8,), rollout_slots=4, epochs=3, minibatches=2, entropy_coefficient=0.0)
    state = agent.init(KEY, SPECS)
    after, metrics = update(agent, state, _rollout(valid=(1, 1, 1, 1)), KEY)
    assert int(after.updates) == 6
    assert float(metrics["experiences"]) == 4
    assert_same(update(agent, state, _rollout(valid=(1, 1, 1, 1)), KEY)[0], after)
    other = update(agent, state, _rollout(valid=(1, 1, 1, 1)), jax.random.key(12))[0]
    assert moved(other.params, after.params) > 0, "dealt otherwise"


def test_a_small_range_keeps_the_policy_where_it_was(update):
    agent = PPO(hidden=(8,), rollout_slots=4, epochs=20, minibatches=1, learning_rate=0.05, entropy_coefficient=0.0)
    state, rollout = agent.init(KEY, SPECS), _rollout(valid=(1, 1, 1, 1))
    before = agent.rows(state.params, rollout).log_probability

    def far(clip_range):
        after = update(agent.replace(clip_range=clip_range), state, rollout, KEY)[0]
        logits, _ = agent.heads(after.params, make_batch().observation)
        return float(jnp.abs(log_probability(logits, make_batch().decision) - before).max())

    assert far(0.01) < 0.5 * far(10.0)
