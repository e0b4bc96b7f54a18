"""What a user can rely on: the actor-critic learns the probes, and its update is the paper's equation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from batches import SPECS, assert_same, forward, make_batch, moved, norm

from offjax.agents.ac.agent import ActorCritic
from offjax.agents.specs import Specs

KEY = jax.random.key(7)
TINY = ActorCritic(hidden=(8,), actor_learning_rate=0.02, critic_learning_rate=0.02)
LINEAR = ActorCritic(hidden=(), gamma=0.9)


@pytest.fixture(scope="module")
def update():
    return jax.jit(lambda agent, state, batch: agent.update(state, batch, jax.random.key(0)))


def test_gradients_are_the_td_error_times_the_score():
    batch = make_batch(valid=[1, 1, 0, 1])
    state = LINEAR.init(KEY, SPECS)
    gradient = jax.grad(LINEAR.objective, has_aux=True)(state.params, batch)[0]
    s, s2 = np.array(batch.observation), np.array(batch.next_observation)
    logits, value, value2 = (forward(LINEAR, state.params, net, x) for net, x in _nets(s, s2))
    policy = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    error = batch.reward + 0.9 * value2[:, 0] * (1 - batch.terminated) - value[:, 0]
    keep = np.array(batch.valid) / 3.0
    score = np.eye(SPECS.decisions)[batch.decision] - policy
    np.testing.assert_allclose(
        gradient["actor"]["layer_0"]["kernel"], -s.T @ (score * (error * keep)[:, None]), atol=1e-6
    )
    np.testing.assert_allclose(gradient["critic"]["layer_0"]["kernel"][:, 0], -2.0 * s.T @ (error * keep), atol=1e-6)


def _nets(s, s2):
    return ("actor", s), ("critic", s), ("critic", s2)


def test_entropy_bonus_makes_the_policy_more_even(update):
    state = TINY.init(KEY, SPECS)
    batch = make_batch().replace(reward=jnp.zeros(4))
    # Without a TD error the bonus is the actor's only gradient.
    flat = TINY.replace(gamma=0.0, entropy_coefficient=1.0)
    state = state.replace(params=state.params | {"critic": jax.tree.map(jnp.zeros_like, state.params["critic"])})
    after, before = update(flat, state, batch)[0], state
    assert update(flat, after, batch)[1]["entropy"] > update(flat, before, batch)[1]["entropy"]


def test_first_step_of_each_adam_is_its_own_learning_rate(update):
    agent = TINY.replace(actor_learning_rate=0.001, critic_learning_rate=0.01, adam_eps=0.0)
    state = agent.init(KEY, SPECS)
    after = update(agent, state, make_batch())[0]
    assert moved(state.params["actor"], after.params["actor"]) == pytest.approx(0.001, rel=1e-3)
    assert moved(state.params["critic"], after.params["critic"]) == pytest.approx(0.01, rel=1e-3)


def test_learning_rate_decays_with_the_updates(update):
    agent = TINY.replace(lr_decay_updates=1, lr_final_fraction=0.0)
    state = agent.init(KEY, SPECS)
    once = update(agent, state, make_batch())[0]
    twice = update(agent, once, make_batch())[0]
    assert moved(state.params["actor"], once.params["actor"]) > 0
    assert moved(state.params["critic"], once.params["critic"]) > 0
    assert_same(twice.params, once.params)


def test_each_network_is_clipped_by_its_own_norm(update):
    agent = TINY.replace(max_grad_norm=0.01)
    after, metrics = update(agent, agent.init(KEY, SPECS), make_batch())
    # After one step Adam's first moment is 0.1 times the clipped gradient.
    for moments in after.optimisers.values():
        assert norm(moments.mu) == pytest.approx(0.1 * 0.01, rel=1e-4)
    assert min(metrics["actor_gradient_norm"], metrics["critic_gradient_norm"]) > 0.01


def test_a_joint_network_is_a_trunk_with_two_heads(update):
    """Its gradient is the sum of both losses' gradients; it has one Adam with its own rate."""
    agent = LINEAR.replace(networks="joint")
    batch = make_batch(valid=[1, 1, 0, 1])
    state = agent.init(KEY, SPECS)
    gradient = jax.grad(agent.objective, has_aux=True)(state.params, batch)[0]["joint"]["layer_0"]["kernel"]
    heads = {"actor": lambda leaf: leaf[..., :-1], "critic": lambda leaf: leaf[..., -1:]}
    separate = {net: jax.tree.map(own, state.params["joint"]) for net, own in heads.items()}
    parts = jax.grad(LINEAR.objective, has_aux=True)(separate, batch)[0]
    by_hand = np.concatenate([parts[net]["layer_0"]["kernel"] for net in ("actor", "critic")], axis=1)
    np.testing.assert_allclose(gradient, by_hand, atol=1e-6)  # without a trunk the heads share nothing
    deep = TINY.replace(networks="joint", joint_learning_rate=0.003, adam_eps=0.0)
    state = deep.init(KEY, SPECS)
    after = update(deep, state, make_batch())[0]
    assert moved(state.params, after.params) == pytest.approx(0.003, rel=1e-3)
    assert list(after.optimisers) == ["joint"]
    trunk = jax.grad(deep.objective, has_aux=True)(state.params, make_batch())[0]["joint"]["layer_0"]["kernel"]
    assert (np.abs(trunk) > 0).all()


def test_defaults_are_the_papers():
    agent = ActorCritic()
    assert (agent.gamma, agent.actor_learning_rate, agent.critic_learning_rate) == (0.99, 1e-5, 1e-4)
    assert (agent.entropy_coefficient, agent.max_grad_norm, agent.lr_decay_updates) == (0, 0, 0)
    params = jax.eval_shape(lambda: agent.init(KEY, Specs(5, 3))).params
    sizes = {net: sum(leaf.size for leaf in jax.tree.leaves(params[net])) for net in params}
    assert sizes == {"actor": 68_099, "critic": 67_585}  # PAPERS.md 2.2


def test_kernels_start_lecun_normal():
    kernel = ActorCritic().init(KEY, Specs(5, 3)).params["actor"]["layer_1"]["kernel"]
    assert float(jnp.std(kernel)) == pytest.approx(1 / 16, rel=0.02)  # 1 / sqrt(256 inputs)
    assert float(jnp.mean(kernel)) == pytest.approx(0.0, abs=0.001)


def test_vmapped_learning_rates_learn_differently():
    rates = jnp.array([0.001, 0.01])
    state = TINY.init(KEY, SPECS)

    def learn(rate):
        return (
            TINY.replace(actor_learning_rate=rate, adam_eps=0.0)
            .update(state, make_batch(), jax.random.key(0))[0]
            .params
        )

    actors = jax.jit(jax.vmap(learn))(rates)["actor"]
    for row, rate in enumerate(rates):
        after = jax.tree.map(lambda leaf, row=row: leaf[row], actors)
        assert moved(state.params["actor"], after) == pytest.approx(float(rate), rel=1e-3)


def test_greedy_is_the_likeliest_and_exploring_follows_the_policy():
    state = TINY.init(KEY, SPECS)
    observation = jnp.tile(make_batch().observation[:1], (4000, 1))
    policy = np.array(TINY.outputs(state, observation[:1]))[0]
    greedy = TINY.act(state, observation, KEY, explore=False)
    drawn = TINY.act(state, observation, KEY, explore=True)
    assert greedy.dtype == drawn.dtype == jnp.int32
    assert set(np.array(greedy).tolist()) == {policy.argmax()}
    np.testing.assert_allclose(np.bincount(drawn, minlength=3) / 4000, policy, atol=0.04)
