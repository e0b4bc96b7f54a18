"""What a user can rely on: an n-step experience is what a device went through in its next n decisions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from offjax.replay.experience import Experience, n_step

SLOTS, DEVICES, GAMMA = 12, 30, 0.9
FIELDS = ("observation", "decision", "reward", "next_observation", "terminated", "steps")


@pytest.fixture(scope="module")
def rollout():
    """Half of the rows are valid and a fifth of them end; what is not valid is trash."""
    random = np.random.default_rng(2)
    shape = (SLOTS, DEVICES)
    valid = random.random(shape) < 0.5
    return Experience(
        observation=random.normal(size=(*shape, 2)).astype(np.float32),
        decision=random.integers(0, 3, shape).astype(np.int32),
        reward=np.where(valid, random.normal(size=shape), np.nan).astype(np.float32),
        next_observation=random.normal(size=(*shape, 2)).astype(np.float32),
        terminated=random.random(shape) < 0.2,
        valid=valid,
    )


def _by_hand(rows, n):
    """slot, device -> fields, device by device and decision by decision."""
    result = {}
    for device in range(DEVICES):
        slots = np.flatnonzero(rows.valid[:, device])
        for place, start in enumerate(slots):
            reward, steps = 0.0, 0
            for slot in slots[place : place + n]:
                reward += GAMMA**steps * rows.reward[slot, device]
                steps += 1
                if rows.terminated[slot, device]:
                    break
            result[start, device] = {
                "observation": rows.observation[start, device],
                "decision": rows.decision[start, device],
                "reward": reward,
                "next_observation": rows.next_observation[slot, device],
                "terminated": rows.terminated[slot, device],
                "steps": steps,
            }
    return result


@pytest.mark.parametrize("n", [1, 3, SLOTS])
def test_spans_are_a_devices_next_decisions(rollout, n):
    spans = jax.device_get(jax.jit(n_step, static_argnames="n")(jax.tree.map(jnp.asarray, rollout), GAMMA, n=n))
    np.testing.assert_array_equal(spans.valid, rollout.valid)
    expected = _by_hand(rollout, n)
    assert {row["steps"] for row in expected.values()} >= set(range(1, min(n, 4)))
    for (slot, device), row in expected.items():
        for field in FIELDS:
            np.testing.assert_allclose(getattr(spans, field)[slot, device], row[field], atol=1e-5, err_msg=field)
