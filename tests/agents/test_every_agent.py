"""What a user can rely on, whatever the algorithm: what does not count changes nothing, and layers are the policy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from batches import SPECS, assert_same, make_batch, moved

from offjax.agents import make_agent
from offjax.agents.normaliser import Normaliser
from offjax.errors import ConfigError
from offjax.learning import train

KEY = jax.random.key(5)
TINY = {
    "ddqn": {"batch_size": 4, "replay_capacity": 8, "target_update_period": 3},
    "dqn": {},
    "ac": {"actor_learning_rate": 1e-3, "critic_learning_rate": 1e-3},
    "a2c": {"rollout_slots": 4},
    "ppo": {"rollout_slots": 4, "epochs": 2, "minibatches": 3},
}
FORMS = {
    **{name: (name, {}) for name in TINY},
    "ddqn, dueling": ("ddqn", {"dueling": True}),
    "ac, joint": ("ac", {"networks": "joint"}),
    "ppo, joint, no hidden layer": ("ppo", {"networks": "joint", "hidden": ()}),
}


def _make(name, **hyper):
    return make_agent(name, **{"hidden": (8,), "normalise_observations": True} | TINY[name] | hyper)


@pytest.fixture(scope="module", params=TINY)
def learner(request):
    """An agent that normalises, its jitted update of four rows, and a state that is not fresh."""
    agent = _make(request.param)
    jitted = jax.jit(agent.update)

    def update(state, rows):
        rows = jax.tree.map(lambda leaf: leaf[:, None], rows) if agent.sequential else rows
        return jitted(state, rows, KEY)

    return update, update(agent.init(KEY, SPECS), make_batch())[0]


def test_invalid_rows_change_nothing(learner):
    update, state = learner
    some = make_batch(valid=[1, 0, 1, 0])
    trash = some.replace(
        observation=some.observation.at[1].set(jnp.nan),
        reward=some.reward.at[3].set(jnp.nan),
        next_observation=some.next_observation.at[3].set(jnp.inf),
        decision=some.decision.at[1].set(-99),
    )
    assert_same(update(state, trash), update(state, some))
    used = update(state, some.replace(valid=jnp.ones(4, bool)))[0]
    assert moved(update(state, some)[0].params, used.params) > 0


def test_a_batch_without_a_valid_row_changes_nothing(learner):
    """The moments are not zero: an ungated Adam would keep moving."""
    update, state = learner
    after, metrics = update(state, make_batch(valid=[0, 0, 0, 0]))
    assert_same(after, state)
    assert all(np.isfinite(value) for value in metrics.values())
    assert metrics["experiences"] == 0


def test_metrics_are_f32_scalars_and_observations_are_counted(learner):
    update, state = learner
    after, metrics = update(state, make_batch(valid=[1, 1, 1, 0]))
    assert all(value.dtype == jnp.float32 and value.shape == () for value in metrics.values())
    assert metrics["experiences"] == 3
    assert {"td_error", "value"} <= set(metrics)
    assert float(state.normaliser.count) == 4
    assert float(after.normaliser.count) == 7


@pytest.mark.parametrize("form", FORMS)
def test_layers_are_the_outputs(form):
    """On plain observations, although the agent normalises them; one of them never moves."""
    name, hyper = FORMS[form]
    agent = _make(name, reward_scale=100.0, **hyper)
    statistics = Normaliser(jnp.float32(9), jnp.array([0.4, 0.7]), jnp.array([0.09, 0.0]))
    state = agent.init(KEY, SPECS).replace(normaliser=statistics)
    observation = make_batch().observation
    signal = np.array(observation)
    for kernel, bias, activation in agent.layers(state):
        signal = ACTIVATIONS[activation](signal @ np.array(kernel) + np.array(bias))
    assert signal.shape == (4, SPECS.decisions)
    np.testing.assert_allclose(signal, agent.outputs(state, observation), atol=2e-5)
    plain = agent.replace(normalise_observations=False)
    unlike = plain.outputs(state.replace(normaliser=None), observation)
    assert np.abs(signal - unlike).max() > 1e-4, "normalising matters here"
    normalised = (observation - statistics.mean[None]) / jnp.array([[0.3, 0.01]])
    same = plain.outputs(state.replace(normaliser=None), normalised)
    np.testing.assert_allclose(agent.outputs(state, observation), same, rtol=1e-5, atol=1e-6)
    greedy = agent.act(state, observation, KEY, explore=False)
    np.testing.assert_array_equal(greedy, signal.argmax(axis=1))


def _softmax(logits):
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


ACTIVATIONS = {"relu": lambda x: np.maximum(x, 0), "tanh": np.tanh, "linear": lambda x: x, "softmax": _softmax}


# ------------------------------------------------------------------------------- a learner for every device

DEVICES, SLOTS = 3, 4
OWN = train.Plan(horizon=SLOTS, worlds=1, independent=True)


@pytest.fixture(scope="module", params=TINY)
def own(request):
    """A learner for each of three devices, before and after the same rollout, and the jitted step."""
    agent = _make(request.param, **({"rollout_slots": SLOTS, "n_steps": 2} if request.param == "ddqn" else {}))
    keys = jax.random.split(KEY, DEVICES)
    learnt = jax.vmap(lambda key: agent.init(key, SPECS))(keys)
    ring = jax.vmap(lambda _: agent.memory(SPECS))(keys) if agent.replays else None
    step = jax.jit(lambda learnt, rollout: train.learn(agent, OWN, learnt, ring, rollout, KEY)[0])
    slots = jnp.stack([jnp.roll(jnp.arange(4), shift) for shift in range(DEVICES)], axis=1)
    rollout = jax.tree.map(lambda leaf: leaf[slots][:, None], make_batch())  # [SLOTS, 1, DEVICES, ...]
    return learnt, step, rollout, step(learnt, rollout)


def _of(device, tree):
    return jax.tree.map(lambda leaf: leaf[device], tree)


def test_every_device_learns_for_itself(own):
    learnt, _, _, after = own
    for device in range(DEVICES):
        assert moved(_of(device, learnt.params), _of(device, after.params)) > 0
    assert moved(_of(0, after.params), _of(1, after.params)) > 0.01
    assert np.asarray(after.normaliser.count).tolist() == [4] * DEVICES


def test_a_device_that_was_never_asked_keeps_its_learner(own):
    learnt, step, rollout, _ = own
    silent = step(learnt, rollout.replace(valid=rollout.valid.at[:, :, 1].set(False)))
    assert_same(_of(1, silent), _of(1, learnt))
    assert moved(_of(0, silent.params), _of(0, learnt.params)) > 0


def test_a_learner_knows_its_device_alone(own):
    learnt, step, rollout, after = own
    other = step(learnt, rollout.replace(reward=rollout.reward.at[:, :, 1].add(1.0)))
    for device in (0, 2):
        assert_same(_of(device, other), _of(device, after))
    assert moved(_of(1, other.params), _of(1, after.params)) > 0


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("ac", {"networks": "one"}),
        ("a2c", {"rollout_slots": 0}),
        ("ppo", {"epochs": 0}),
        ("ppo", {"minibatches": 1.5}),
        ("dqn", {"loss": "l1"}),
    ],
)
def test_impossible_structure_is_refused(name, wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        make_agent(name, **wrong)
