"""What a user can rely on: advantages are the sums of the paper along each device's own decisions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from offjax.agents.returns import advantages
from offjax.replay.experience import Experience

SLOTS, DEVICES = 12, 30
GAMMA = 0.9


@pytest.fixture(scope="module")
def rollout():
    """Half of the rows are valid, a fifth of them end; values of all, in NumPy."""
    random = np.random.default_rng(1)
    value, next_value, reward = random.normal(size=(3, SLOTS, DEVICES)).astype(np.float32)
    rows = Experience(
        observation=jnp.zeros((SLOTS, DEVICES, 1)),
        decision=jnp.zeros((SLOTS, DEVICES), jnp.int32),
        reward=jnp.asarray(reward),
        next_observation=jnp.zeros((SLOTS, DEVICES, 1)),
        terminated=jnp.asarray(random.random((SLOTS, DEVICES)) < 0.2),
        valid=jnp.asarray(random.random((SLOTS, DEVICES)) < 0.5),
    )
    return value, next_value, rows


def _by_hand(value, next_value, rows, gae_lambda):
    """Equation 16 forwards, for each device from each of its rows to its last one, or to a termination."""
    valid, terminated, reward = np.array(rows.valid), np.array(rows.terminated), np.array(rows.reward)
    result = np.zeros((SLOTS, DEVICES))
    for device in range(DEVICES):
        slots = np.flatnonzero(valid[:, device])
        for place, start in enumerate(slots):
            weight = 1.0
            for slot in slots[place:]:
                goes_on = 0.0 if terminated[slot, device] else 1.0
                delta = reward[slot, device] + GAMMA * goes_on * next_value[slot, device] - value[slot, device]
                result[start, device] += weight * delta
                weight *= GAMMA * gae_lambda * goes_on
    return result


@pytest.mark.parametrize("gae_lambda", [0.0, 0.95, 1.0])
def test_advantages_are_the_papers_sum(rollout, gae_lambda):
    value, next_value, rows = rollout
    found = jax.jit(advantages)(jnp.asarray(value), jnp.asarray(next_value), rows, GAMMA, gae_lambda)
    np.testing.assert_allclose(found, _by_hand(value, next_value, rows, gae_lambda), atol=1e-5)


def test_with_lambda_1_and_values_that_follow_it_is_the_return_less_the_value(rollout):
    """Where V(s') of a row is V(s) of the next one, the sum telescopes to the n-step return."""
    value, _, rows = rollout
    chain = rows.replace(valid=jnp.ones_like(rows.valid), terminated=jnp.zeros_like(rows.terminated))
    next_value = np.roll(value, -1, axis=0)
    found = advantages(jnp.asarray(value), jnp.asarray(next_value), chain, GAMMA, 1.0)
    powers = GAMMA ** np.arange(SLOTS)
    returns = powers @ np.array(rows.reward) + GAMMA**SLOTS * next_value[-1]
    np.testing.assert_allclose(found[0], returns - value[0], atol=1e-5)


def test_nothing_flows_back_through_an_advantage(rollout):
    value, next_value, rows = (jnp.asarray(rollout[0]), jnp.asarray(rollout[1]), rollout[2])
    gradients = jax.grad(lambda *values: jnp.sum(advantages(*values, rows, GAMMA, 0.9)), argnums=(0, 1))
    assert all((gradient == 0).all() for gradient in gradients(value, next_value))
