"""What a user can rely on: our scores of a generator are SDMetrics', and copies are found."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from golden_tables import CATEGORIES, KINDS, PLAIN, tables

from offjax.replay import fidelity
from offjax.replay.codec import Column, Columns

GOLDEN = json.loads((Path(__file__).parents[1] / "data/sdmetrics.json").read_text())  # by data/make_sdmetrics.py
shapes = jax.jit(fidelity.shapes, static_argnums=0)
pair_trends = jax.jit(fidelity.pair_trends, static_argnums=0)
copy_share = jax.jit(fidelity.copy_share, static_argnums=0)
COLUMNS = Columns((*map(Column, PLAIN), *map(Column, KINDS, CATEGORIES)))


@pytest.fixture(scope="module")
def pair():
    return tuple(map(jnp.asarray, tables()))


def test_columns_are_scored_as_sdmetrics_does(pair):
    real, synthetic, _ = pair
    np.testing.assert_allclose(shapes(COLUMNS, real, synthetic), GOLDEN["ks"] + GOLDEN["tv"], atol=1e-6)


def test_pairs_are_scored_as_sdmetrics_does(pair):
    real, synthetic, _ = pair
    correlations, contingencies = pair_trends(COLUMNS, real, synthetic)
    np.testing.assert_allclose(np.array(correlations)[np.triu_indices(3, 1)], GOLDEN["correlation"], atol=1e-6)
    np.testing.assert_allclose(contingencies, GOLDEN["contingency"], atol=1e-6)
    both = fidelity.contingency_similarity(real[:, 3:], synthetic[:, 3:], CATEGORIES)
    np.testing.assert_allclose(both, GOLDEN["contingency_of_discrete"], atol=1e-6)


def test_new_rows_are_counted_as_sdmetrics_does(pair):
    real, _, copied = pair
    np.testing.assert_allclose(fidelity.new_share(COLUMNS, copied, real), GOLDEN["new_rows"], atol=1e-6)


def test_copies_are_found_and_other_rows_of_the_same_law_are_not(pair):
    real = pair[0]
    train, holdout, others = real[:200], real[200:400], real[400:]
    assert float(copy_share(COLUMNS, train[100:], train, holdout)) == 1.0
    assert float(copy_share(COLUMNS, holdout[100:], train, holdout)) == 0.0
    assert float(copy_share(COLUMNS, others, train, holdout)) == pytest.approx(0.5, abs=0.15)


def test_the_distance_to_the_closest_record_is_that_of_a_loop(pair):
    real, synthetic, _ = map(np.array, pair)
    spans = np.ptp(real, axis=0)
    far = np.abs(synthetic[:10, None, :3] - real[None, :, :3]) / spans[:3]
    expected = (far.sum(axis=2) + (synthetic[:10, None, 3:] != real[None, :, 3:]).sum(axis=2)).min(axis=1)
    found = fidelity.closest(COLUMNS, jnp.asarray(synthetic[:10]), jnp.asarray(real), jnp.asarray(spans))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_errors_of_rewards_by_hand():
    rows = jnp.array([[1.0], [2.0], [3.0], [4.0]])
    reward = jnp.array([-1.0, -5.0, -3.0, -5.0])
    error, wrong = fidelity.reward_errors(rows, reward, lambda own: jnp.where(own[:, 0] > 2.5, -5.0, -own[:, 0]), -4.0)
    assert float(error) == pytest.approx((0 + 3 + 2 + 0) / 4)
    assert float(wrong) == pytest.approx(2 / 4)  # a penalty that should be none, and one that is missing
