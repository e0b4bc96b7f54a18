"""What a user can rely on: BRM and ARM lose nothing before they are full, never mix rows, and tell real from made."""

from collections import deque

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numbered import numbered

from offjax.errors import ConfigError
from offjax.replay.experience import Experience
from offjax.replay.memory import make_memory, recall, recall_mixed, remember
from offjax.replay.ring import pack, unpack

CAPACITY, ROWS, DRAWN = 7, 10, 16  # a batch may be larger than the memory
jit_remember = {made: jax.jit(lambda *a, made=made: remember(*a, generated=made)) for made in (False, True)}
jit_recall = jax.jit(lambda memory, seed: recall(memory, jax.random.key(seed), DRAWN))
jit_mixed = jax.jit(
    lambda memory, seed, share, limit, now: recall_mixed(memory, jax.random.key(seed), DRAWN, share, limit, now)
)
# Every batch: which of its rows are valid, and did a generator make it?
histories = st.lists(
    st.tuples(st.lists(st.booleans(), min_size=ROWS, max_size=ROWS), st.booleans()), min_size=0, max_size=5
)


def _filled(history):
    """The memory, and the queue [(number, generated, iteration)] that it should equal."""
    memory, queue = make_memory("arm", CAPACITY, 2), deque(maxlen=CAPACITY)
    for iteration, (valid, made) in enumerate(history):
        memory = jit_remember[made](memory, numbered(iteration * ROWS, valid), jnp.int32(iteration))
        queue.extend((iteration * ROWS + row, made, iteration) for row in range(ROWS) if valid[row])
    return memory, list(queue)


@settings(max_examples=40, deadline=None)
@given(histories)
def test_a_memory_is_a_bounded_queue_of_whole_rows(history):
    memory, queue = _filled(history)
    assert int(memory.size) == len(queue)
    order = (int(memory.ring.head) - len(queue) + np.arange(len(queue))) % CAPACITY
    held = memory.experience
    np.testing.assert_array_equal(np.array(held.decision)[order], [number for number, _, _ in queue])
    np.testing.assert_array_equal(np.array(memory.generated)[order], [made for _, made, _ in queue])
    np.testing.assert_array_equal(np.array(memory.born)[order], [iteration for _, _, iteration in queue])
    _same_rows(held, np.array(held.valid))


@settings(max_examples=40, deadline=None)
@given(histories, st.integers(0, 2**31 - 1))
def test_draws_never_mix_two_rows(history, seed):
    memory, queue = _filled(history)
    drawn = jit_recall(memory, seed)
    assert np.array(drawn.valid).all() == bool(queue)
    assert set(np.array(drawn.decision)[np.array(drawn.valid)]) <= {number for number, _, _ in queue}
    _same_rows(drawn, np.array(drawn.valid))


@settings(max_examples=60, deadline=None)
@given(histories, st.integers(0, 2**31 - 1), st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0]), st.integers(0, 4))
def test_share_and_age_of_generated_rows(history, seed, share, limit):
    memory, queue = _filled(history)
    now = max(len(history) - 1, 0)
    drawn = jit_mixed(memory, seed, share, float(limit), jnp.int32(now))
    real = {number for number, made, _ in queue if not made}
    fresh = {number for number, made, iteration in queue if made and now - iteration <= limit}
    numbers = np.array(drawn.decision)
    assert np.array(drawn.valid).all() == bool(real | fresh)
    if not real | fresh:
        return
    assert set(numbers) <= real | fresh
    if real and fresh and share >= 0:
        assert sum(number in fresh for number in numbers) == round(share * DRAWN)
    _same_rows(drawn, np.array(drawn.valid))


def test_uniform_over_what_may_be_drawn():
    memory, _ = _filled([([True] * 3 + [False] * 7, False), ([True] * 2 + [False] * 8, True)])
    numbers = np.concatenate([jit_mixed(memory, seed, -1.0, 9.0, jnp.int32(1)).decision for seed in range(200)])
    counts = np.array([(numbers == number).sum() for number in (0, 1, 2, 10, 11)])
    expected = numbers.size / 5
    assert counts.sum() == numbers.size
    assert ((counts - expected) ** 2 / expected).sum() < 18.5  # chi-square, 4 degrees of freedom, 0.1 %


def test_a_table_is_what_generators_are_given():
    memory, _ = _filled([([True] * 3 + [False] * 7, False)])
    batch = numbered(0, [True] * 3)
    np.testing.assert_array_equal(memory.table[:3], pack(batch))
    back = unpack(memory.ring, memory.table[:3], batch.valid)
    np.testing.assert_array_equal(back.next_observation, batch.next_observation)


def test_a_memory_of_nothing_is_refused():
    with pytest.raises(ConfigError, match="brm_capacity: 0 is not allowed; a whole number of at least 1"):
        make_memory("brm_capacity", 0, 2)


def _same_rows(batch: Experience, valid) -> None:
    number = np.array(batch.decision)[valid].astype(np.float32)
    np.testing.assert_array_equal(np.array(batch.reward)[valid], number)
    np.testing.assert_array_equal(np.array(batch.observation)[valid], np.stack([number, -number], axis=1))
    np.testing.assert_array_equal(np.array(batch.next_observation)[valid], np.stack([number + 0.5, number], axis=1))
    np.testing.assert_array_equal(np.array(batch.terminated)[valid], number % 2 == 0)
