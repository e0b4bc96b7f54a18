"""What a user can rely on: running statistics are those of all valid observations, however they came in."""

import jax
import jax.numpy as jnp
import numpy as np

from offjax.agents.normaliser import make_normaliser, merge, normalise

FEATURES = 3
jit_merge = jax.jit(merge)


def _batches(count=5, slots=4, rows=6):
    random = np.random.default_rng(0)
    shift, scale = np.array([0.5, -2.0, 30.0]), np.array([1.0, 0.2, 5.0])
    for _ in range(count):
        observation = random.normal(size=(slots, rows, FEATURES)) * scale + shift
        yield observation.astype(np.float32), random.random((slots, rows)) < 0.6


def test_merged_statistics_are_those_of_the_concatenation():
    normaliser, seen = make_normaliser(FEATURES), []
    for observation, valid in _batches():
        trash = np.where(valid[..., None], observation, 1e9)
        normaliser = jit_merge(normaliser, jnp.asarray(trash), jnp.asarray(valid))
        seen.append(observation[valid])
        rows = np.concatenate(seen).astype(np.float64)
        assert int(normaliser.count) == len(rows)
        np.testing.assert_allclose(normaliser.mean, rows.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(normaliser.variance, rows.var(axis=0), rtol=1e-4)
    normalised = normalise(normaliser, jnp.asarray(rows, jnp.float32))
    np.testing.assert_allclose(normalised.mean(axis=0), np.zeros(FEATURES), atol=1e-4)
    np.testing.assert_allclose(normalised.std(axis=0), np.ones(FEATURES), rtol=1e-4)


def test_a_batch_without_a_valid_row_changes_nothing():
    observation, valid = next(_batches())
    one = jit_merge(make_normaliser(FEATURES), jnp.asarray(observation), jnp.asarray(valid))
    two = jit_merge(one, jnp.asarray(observation) + 7, jnp.zeros_like(valid))
    jax.tree.map(np.testing.assert_array_equal, two, one)


def test_before_the_first_observation_nothing_is_changed():
    observation = jnp.asarray(next(_batches())[0])
    np.testing.assert_array_equal(normalise(make_normaliser(FEATURES), observation), observation)
    np.testing.assert_array_equal(normalise(None, observation), observation)


def test_a_feature_that_never_moves_is_not_blown_up():
    still = jnp.full((8, FEATURES), 0.7)
    normaliser = jit_merge(make_normaliser(FEATURES), still, jnp.ones(8, bool))
    np.testing.assert_allclose(normalise(normaliser, still + 0.001), np.full((8, FEATURES), 0.1), rtol=1e-3)
