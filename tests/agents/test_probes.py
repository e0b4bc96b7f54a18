"""What a user can rely on: every algorithm, in every form, learns the probes."""

import jax
import numpy as np
import probes
import pytest

from offjax.agents import make_agent

KEY = jax.random.key(3)
Q = {"hidden": (8,), "learning_rate": 0.02, "epsilon_decay_updates": 100}
DDQN = Q | {"replay_capacity": 1024, "batch_size": 64, "target_update_period": 10}
ALL_OF_DDQN = {"dueling": True, "n_steps": 3, "rollout_slots": 4, "updates_per_step": 4, "prioritised": True}
AC = {"hidden": (8,), "actor_learning_rate": 0.02, "critic_learning_rate": 0.02, "joint_learning_rate": 0.02}
ROLLOUT = {"hidden": (8,), "learning_rate": 0.02, "rollout_slots": 4, "entropy_coefficient": 0.0}
FORMS = {  # form: algorithm, hyper-parameters, rollouts
    "dqn": ("dqn", Q, 600),
    "ddqn": ("ddqn", DDQN, 600),
    "ddqn, dueling, 3 steps, prioritised": ("ddqn", DDQN | ALL_OF_DDQN, 200),
    "ac": ("ac", AC, 600),
    "ac, joint, normalised": ("ac", AC | {"networks": "joint", "normalise_observations": True}, 600),
    "a2c": ("a2c", ROLLOUT, 400),
    "ppo": ("ppo", ROLLOUT | {"epochs": 2, "minibatches": 2}, 150),
}


@pytest.fixture(scope="module", params=FORMS)
def learnt(request):
    """Of one form: values [state], and whether the best decision stands out, of each probe."""
    name, hyper, rollouts = FORMS[request.param]
    agent = make_agent(name, gamma=probes.GAMMA, reward_scale=2.0, **hyper)
    states = probes.train_on_probes(agent, KEY, rollouts)
    outputs = jax.vmap(agent.outputs)(states, probes.STACKED.observation)
    values = jax.vmap(agent.value)(states, probes.STACKED.observation) if hasattr(agent, "value") else outputs.max(-1)
    by_name = lambda rows: dict(zip(probes.PROBES, np.array(rows), strict=True))  # noqa: E731
    return agent, by_name(values), by_name(outputs)


@pytest.mark.parametrize("name", probes.PROBES)
def test_value_is_that_of_the_probe(learnt, name):
    np.testing.assert_allclose(learnt[1][name], probes.PROBES[name].best_value, atol=0.1)


@pytest.mark.parametrize("name", probes.BEST_DECISION)
def test_decision_that_earns_is_preferred(learnt, name):
    agent, _, outputs = learnt
    np.testing.assert_array_equal(outputs[name].argmax(axis=1), probes.BEST_DECISION[name])
    if hasattr(agent, "value"):
        assert (outputs[name].max(axis=1) > 0.9).all(), "a policy is all but sure"
