"""What a user can rely on: the ring remembers exactly what a bounded queue would, and samples only that."""

from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numbered import numbered

from offjax.replay.ring import add, make_ring, prioritise, sample, sample_prioritised

CAPACITY, ROWS, BATCHES = 7, 4, 6
masks = st.lists(st.lists(st.booleans(), min_size=ROWS, max_size=ROWS), min_size=BATCHES, max_size=BATCHES)
jit_add = jax.jit(add)


def _filled(valid_of_batch):
    ring, queue = make_ring(CAPACITY, 2), deque(maxlen=CAPACITY)
    for index, valid in enumerate(valid_of_batch):
        ring = jit_add(ring, numbered(index * ROWS, valid))
        queue.extend(index * ROWS + row for row in range(ROWS) if valid[row])
    return ring, queue


@settings(max_examples=40, deadline=None)
@given(masks)
def test_ring_is_a_bounded_queue_in_order(valid_of_batch):
    ring, queue = _filled(valid_of_batch)
    assert int(ring.size) == len(queue)
    oldest_first = (int(ring.head) - len(queue) + np.arange(len(queue))) % CAPACITY
    np.testing.assert_array_equal(np.array(ring.experience.decision)[oldest_first], list(queue))
    assert int(ring.experience.valid.sum()) == len(queue)


@settings(max_examples=40, deadline=None)
@given(masks, st.integers(0, 2**31 - 1))
def test_samples_are_whole_experiences_of_the_filled_part(valid_of_batch, seed):
    ring, queue = _filled(valid_of_batch)
    drawn = jax.tree.map(np.array, sample(ring, jax.random.key(seed), 5))
    assert drawn.valid.all() == bool(queue)
    assert drawn.valid.any() == bool(queue)
    number = drawn.reward
    assert not queue or set(number) <= set(queue)
    np.testing.assert_array_equal(drawn.decision, number)
    if queue:
        expected = jax.tree.map(np.array, numbered(0, [True] * (ROWS * BATCHES)))
        picked = jax.tree.map(lambda rows: rows[drawn.decision], expected)
        jax.tree.map(np.testing.assert_array_equal, drawn, picked)


def test_samples_are_uniform_over_the_filled_part():
    ring, _ = _filled([[True, True, False, False], [True, False, False, True]])
    drawn = np.array(sample(ring, jax.random.key(0), 8000).decision)
    share = np.bincount(drawn, minlength=8)[[0, 1, 4, 7]] / 8000
    np.testing.assert_allclose(share, [0.25] * 4, atol=0.03)


def test_batch_without_a_valid_row_changes_nothing():
    ring, _ = _filled([[True] * 4])
    after = jit_add(ring, numbered(50, [False] * 4))
    jax.tree.map(np.testing.assert_array_equal, after, ring)


def test_batch_of_the_capacity_fits_and_a_larger_one_is_refused():
    full = add(make_ring(4, 2), numbered(0, [True] * 4))
    assert (int(full.size), int(full.head)) == (4, 0)
    with pytest.raises(ValueError, match="batch of 4"):
        jax.eval_shape(add, make_ring(3, 2), numbered(0, [True] * 4))


def test_ring_of_nothing_is_refused():
    with pytest.raises(ValueError, match="capacity"):
        make_ring(0, 2)


# ------------------------------------------------------------------------------------- prioritised, Schaul et al.

DRAWS = 20_000


@pytest.fixture(scope="module")
def prioritised():
    """Five of seven slots filled, with priorities 1 2 3 4 10; none for the last, which is never drawn."""
    ring = add(make_ring(CAPACITY, 2, prioritised=True), numbered(0, [True] * 5))
    fresh = jnp.array([1.0, 2.0, 3.0, 4.0, 10.0])
    return ring.replace(priority=prioritise(ring.priority, jnp.arange(5), fresh, jnp.ones(5, bool)))


def test_samples_are_in_proportion_to_the_priorities(prioritised):
    drawn, slots = sample_prioritised(prioritised, jax.random.key(0), DRAWS, 0.4)
    share = np.bincount(slots, minlength=CAPACITY) / DRAWS
    np.testing.assert_allclose(share, np.array([1, 2, 3, 4, 10, 0, 0]) / 20, atol=0.015)
    np.testing.assert_array_equal(drawn.decision, slots)  # whole experiences, of these slots
    assert drawn.valid.all()


def test_fully_corrected_a_weighted_mean_is_that_of_the_memory(prioritised):
    drawn, _ = sample_prioritised(prioritised, jax.random.key(0), DRAWS, 1.0)
    assert np.mean(drawn.reward) == pytest.approx(60 / 20, abs=0.05)  # 0 1 2 3 4 by their priorities
    assert np.average(drawn.reward, weights=drawn.weight) == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize("correction", [0.0, 0.4, 1.0])
def test_weights_are_those_of_the_paper(prioritised, correction):
    """w = (N P(i)) ^ -beta, over the largest of the batch (section 3.4)."""
    drawn, slots = sample_prioritised(prioritised, jax.random.key(1), 50, correction)
    chance = np.array([1, 2, 3, 4, 10]) / 20
    weight = (5 * chance[np.array(slots)]) ** -correction
    np.testing.assert_allclose(drawn.weight, weight / weight.max(), rtol=1e-5)


def test_new_rows_get_the_highest_priority(prioritised):
    after = add(prioritised, numbered(5, [True, False, True, True]))
    assert after.priority.tolist() == [10.0, 2.0, 3.0, 4.0, 10.0, 10.0, 10.0]
    assert add(make_ring(3, 2, prioritised=True), numbered(0, [True, True])).priority.tolist() == [1.0, 1.0, 0.0]


def test_only_valid_rows_are_given_another_priority():
    before = jnp.arange(1.0, 5.0)
    after = prioritise(before, jnp.array([3, 0]), jnp.array([9.0, 8.0]), jnp.array([True, False]))
    assert after.tolist() == [1.0, 2.0, 3.0, 9.0]


def test_an_empty_prioritised_memory_gives_nothing_valid():
    drawn, _ = sample_prioritised(make_ring(4, 2, prioritised=True), jax.random.key(0), 3, 0.4)
    assert not drawn.valid.any()
    assert np.isfinite(drawn.weight).all()
