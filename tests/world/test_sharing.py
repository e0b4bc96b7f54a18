"""What a user can rely on: shared links and queues against hand-worked tables and an event simulation in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from offjax.world.sharing import ahead_exact, ahead_slot, share_exact, shares_slot

CELLS, CELL = 3, 8
TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}

ps_exact, ps_slot = jax.jit(share_exact), jax.jit(shares_slot)
fifo_exact, fifo_slot = jax.jit(ahead_exact), jax.jit(ahead_slot)


def _f32(values):
    return np.asarray(values, np.float32)


# ------------------------------------------------------------------------------------------------ references


def _shared_by_events(need, join, slot):
    """One cell of processor sharing, event by event: (time, left, seconds in which anyone was there)."""
    left, time, now, busy = need.copy(), np.zeros_like(need), 0.0, 0.0
    while now < slot:
        active = (join <= now) & (left > 0)
        until = min([slot, *join[(join > now) & (need > 0)]])
        step = min(until - now, (left[active] * active.sum()).min() if active.any() else np.inf)
        left[active] -= step / max(active.sum(), 1)
        left[np.abs(left) < 1e-12] = 0.0
        time[active] += step
        busy += step * active.any()
        now = until if step == until - now else now + step
    return time, left, busy


def _queued_by_events(work, join, backlog, slot):
    """One FIFO queue by the instant at which its server is free: (ahead, backlog after, seconds busy from 0 on)."""
    free_at = backlog if backlog > 0 else -np.inf
    ahead, busy = np.zeros_like(work), min(backlog, slot)
    for job in sorted(np.flatnonzero(work > 0), key=lambda job: (join[job], job)):
        start = max(free_at, join[job])
        ahead[job] = start - join[job]
        free_at = start + work[job]
        busy += max(min(free_at, slot) - min(max(start, 0.0), slot), 0.0)
    return ahead, max(free_at - slot, 0.0), busy


def _each_cell(reference, *arguments):
    cells = [reference(*(np.float64(argument[cell]) for argument in arguments)) for cell in range(CELLS)]
    return [np.stack(part) for part in zip(*cells, strict=True)]


# ------------------------------------------------------------------------------------------ drawn situations

# On a grid of 1/8 many things happen at once; of the others every decade counts.
grid = st.integers(0, 24).map(lambda eighths: eighths / 8)
amounts = st.one_of(st.just(0.0), grid, st.floats(2.0**-13, 10.0, width=32))
instants = st.one_of(st.just(0.0), grid, st.floats(2.0**-13, 3.0, width=32))


def _table(elements, shape=(CELLS, CELL)):
    return arrays(np.float32, shape, elements=elements, fill=st.nothing())


needs, joins, backlogs = _table(amounts), _table(instants), _table(amounts, (CELLS,))
backdated = _table(st.one_of(instants, st.sampled_from([-0.125, -0.5, -2.0])))
slots = st.sampled_from([0.0, 0.125, 1.0, 2.5, 8.0]).map(np.float32)


# ---------------------------------------------------------------------------------- processor sharing, exact


def test_three_devices_share_by_hand():
    """Slot of 3 s.

    Cell 0: [0, .5] device 0 alone, .5 left. [.5, 1] two: .25 each. [1, 1.75] three: .25 each, device 0 ends after
    1.75 s. [1.75, 3] two: .625 each. Device 1: 2 - .25 - .25 - .625 = .875 left; device 2: 3 - .25 - .625 = 2.125 left.
    Cell 1: devices 0 and 1 end together at 1; nobody until 2; device 2 alone for 1 s.
    Cell 2: device 0 comes with the end of the slot; device 1 has nothing to do; device 2 ends just with the slot.
    """
    need = _f32([[1, 2, 3], [0.5, 0.5, 4], [1, 0, 2]])
    join = _f32([[0, 0.5, 1], [0, 0, 2], [3, 0, 1]])
    time, left = share_exact(need, join, np.float32(3))
    np.testing.assert_array_equal(time, [[1.75, 2.5, 2], [1, 1, 1], [0, 0, 2]])
    np.testing.assert_array_equal(left, [[0, 0.875, 2.125], [0, 0, 3], [1, 0, 0]])


@settings(deadline=None, max_examples=150)
@given(needs, joins, slots)
def test_sharing_is_the_event_simulation(need, join, slot):
    time, left = map(np.asarray, ps_exact(need, join, slot))
    expected_time, expected_left, busy = _each_cell(_shared_by_events, need, join, np.full(CELLS, slot))
    np.testing.assert_allclose(time, expected_time, **TOLERANCE)
    np.testing.assert_allclose(left, expected_left, **TOLERANCE)
    # The resource works at full speed whenever anyone is there, and never for more than it was asked.
    np.testing.assert_allclose(np.sum(np.float64(need) - left, axis=1), busy, **TOLERANCE)
    assert (left >= 0).all()
    assert (time >= 0).all()
    assert (left <= need).all()


@settings(deadline=None, max_examples=50)
@given(needs, joins, st.integers(0, 24))
def test_two_slots_are_one(need, join, eighths):
    """Where a slot is cut does not matter."""
    slot, cut = np.float32(3), np.float32(eighths / 8)
    first, rest = ps_exact(need, join, cut)
    second, left = ps_exact(rest, jnp.maximum(join - cut, 0.0), slot - cut)
    time, expected = ps_exact(need, join, slot)
    np.testing.assert_allclose(first + second, time, **TOLERANCE)
    np.testing.assert_allclose(left, expected, **TOLERANCE)


def test_a_miss_by_less_than_the_slack_is_a_finish():
    need, join = _f32([[0.3001, 0.4, 0]]), _f32([[0.7, 1.0, 0]])
    time, left = share_exact(need, join, np.float32(1), np.float32(1e-3))
    np.testing.assert_allclose(time, [[0.3001, 0, 0]], rtol=1e-6)
    np.testing.assert_array_equal(left, _f32([[0, 0.4, 0]]))


# --------------------------------------------------------------------------------- processor sharing, by slot


def test_three_devices_share_a_slot_by_hand():
    """Slot of 1 s, all there from its start.

    First pass: n = 3 for each, so device 2 would be there for 3 x .25 = .75 of the slot, the others to its end.
    Devices 0 and 1: mean 1 + 1 + .75, variance .75 x .25; n = 2.75^3 / (2.75^2 + .1875) = 20.796875 / 7.75.
    The truth is 1 / (.75 / 3 + .25 / 2) = 2.667. Device 2: n = 3.
    """
    n = shares_slot(_f32([[2, 2, 0.25]]), _f32([[1, 1, 1]]), np.float32(1))
    np.testing.assert_allclose(n, [[20.796875 / 7.75, 20.796875 / 7.75, 3]], rtol=1e-6)


def test_short_jobs_share_a_long_slot_by_hand():
    """Slot of 1 s, the jobs come after .5 s.

    First pass: n = 1 + 2 x .5, so they stay for .1, .1 and .2; the span is .2, and device 2 is there all the time.
    Device 0: mean 1 + .5 + 1, variance .25; n = 2.5^3 / (2.5^2 + .25) = 15.625 / 6.5 (truth 2.8, their times .14).
    Device 2: mean 1 + .5 + .5, variance .5; n = 8 / 4.5 (truth 1.9, its time .19).
    """
    n = shares_slot(_f32([[0.05, 0.05, 0.1]]), _f32([[0.5, 0.5, 0.5]]), np.float32(1))
    np.testing.assert_allclose(n, [[15.625 / 6.5, 15.625 / 6.5, 8 / 4.5]], rtol=1e-6)


@settings(deadline=None, max_examples=50)
@given(st.integers(1, CELL), st.floats(2.0**-9, 4.0, width=32), st.sampled_from([0.0, 0.25, 0.5]))
def test_equal_jobs_that_start_together_are_exact_in_a_slot(jobs, amount, start):
    """The slot game: everyone starts with the slot, or after the same decision time."""
    need = np.where(np.arange(CELL) < jobs, np.float32(amount), np.float32(0)) * np.ones((CELLS, 1), np.float32)
    join, slot = np.full_like(need, start), np.float32(1)
    n = np.asarray(ps_slot(need, slot - join, slot))
    np.testing.assert_allclose(n[:, :jobs], jobs, rtol=1e-4)
    time, _ = ps_exact(need, join, slot)
    np.testing.assert_allclose(np.minimum(need * n, slot - join), time, rtol=1e-4)


@settings(deadline=None, max_examples=100)
@given(needs, joins, slots)
def test_sharers_are_at_least_one_and_at_most_all(need, join, slot):
    budget = np.maximum(slot - join, 0)
    n = np.asarray(ps_slot(need, budget, slot))
    there = np.sum((need > 0) & (budget > 0), axis=1, keepdims=True)
    assert (n >= 1).all()
    assert (n <= there + 1 + 1e-5).all()


@settings(deadline=None, max_examples=50)
@given(needs, st.integers(0, CELL))
def test_sharers_who_all_stay_are_counted(need, jobs):
    need = np.where(np.arange(CELL) < jobs, need + 1, np.float32(0))
    n = np.asarray(ps_slot(need, np.full_like(need, 1.25), np.float32(1)))
    np.testing.assert_allclose(n[:, :jobs], jobs, rtol=1e-6)


# ------------------------------------------------------------------------------------------------ FIFO, exact


def test_three_devices_queue_by_hand():
    """Slot of 3 s.

    Cell 0, idle: device 0 is served in [0, 1], 1 in [1, 3], 2 in [3, 6].
    Cell 1, .25 s old work: idle from .25 to 1, then the tie in order of the index; idle from 2 to 2.5.
    Cell 2, 2 s old work: device 0 came .25 s before the slot and found 2.25; at .25 there are 2 + .5 - .25.
    Cell 3, the same without old work: device 0 was served in [-.25, .25].
    """
    work = _f32([[1, 2, 3], [0.5, 0.5, 1], [0.5, 1, 0], [0.5, 1, 0]])
    join = _f32([[0, 0.5, 1], [1, 1, 2.5], [-0.25, 0.25, 0], [-0.25, 0.25, 0]])
    ahead, after = ahead_exact(work, join, _f32([0, 0.25, 2, 0]), np.float32(3))
    np.testing.assert_array_equal(ahead, [[0, 0.5, 2], [0, 0.5, 0], [2.25, 2.25, 0], [0, 0, 0]])
    np.testing.assert_array_equal(after, [3, 0.5, 0.5, 0])


@settings(deadline=None, max_examples=150)
@given(needs, backdated, backlogs, slots)
def test_queueing_is_the_event_simulation(work, join, backlog, slot):
    join = np.minimum(join, slot)
    ahead, after = map(np.asarray, fifo_exact(work, join, backlog, slot))
    wide = np.full(CELLS, slot)
    expected_ahead, expected_after, busy = _each_cell(_queued_by_events, work, join, backlog, wide)
    np.testing.assert_allclose(ahead, expected_ahead, **TOLERANCE)
    np.testing.assert_allclose(after, expected_after, **TOLERANCE)
    if (join >= 0).all():  # the server works for as long as there is work
        np.testing.assert_allclose(backlog + np.sum(work, axis=1) - after, busy, rtol=1e-5, atol=4e-5)


def test_all_join_at_once_in_order_of_the_index():
    work = np.ones((CELLS, CELL), np.float32)
    ahead, after = fifo_exact(work, np.zeros_like(work), np.zeros(CELLS, np.float32), np.float32(2.5))
    np.testing.assert_array_equal(ahead, np.broadcast_to(np.arange(CELL), work.shape))
    np.testing.assert_array_equal(after, [CELL - 2.5] * CELLS)


# ---------------------------------------------------------------------------------------------- FIFO, by slot


def test_three_devices_queue_in_a_slot_by_hand():
    """Slot of 1 s, .3 s old work, 1.75 s new work at its mean instant (.2 + .4 x .5 + .6 x .25) / 1.75 = .55 / 1.75.

    Each finds what is left of the old work and half of the new work of the others. At the mean instant the old work
    is done; the new work has the rest of the slot: 1.75 - (1 - .55 / 1.75).
    """
    work, join = _f32([[1, 0.5, 0.25]]), _f32([[0.2, 0.4, 0.6]])
    ahead, after = ahead_slot(work, join, _f32([0.3]), np.float32(1))
    np.testing.assert_allclose(ahead, [[0.1 + 0.375, 0.625, 0.75]], rtol=1e-6)
    np.testing.assert_allclose(after, [0.75 + 0.55 / 1.75], rtol=1e-6)


@settings(deadline=None, max_examples=100)
@given(needs, joins, backlogs)
def test_nothing_is_lost_while_the_server_is_never_idle(work, join, backlog):
    """The wait weighted by work does not depend on the order, so half of the others is right in the sum."""
    slot = np.float32(3)
    backlog = backlog + slot
    ahead, after = map(np.asarray, fifo_slot(work, join, backlog, slot))
    exact, exact_after = map(np.asarray, fifo_exact(work, join, backlog, slot))
    np.testing.assert_allclose(np.sum(work * ahead, axis=1), np.sum(work * exact, axis=1), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(after, exact_after, rtol=1e-5, atol=1e-5)


@settings(deadline=None, max_examples=100)
@given(needs, backdated, backlogs, slots)
def test_no_slot_drains_more_than_it_can(work, join, backlog, slot):
    join = np.minimum(join, slot)
    ahead, after = map(np.asarray, fifo_slot(work, join, backlog, slot))
    there = backlog + np.sum(work, axis=1)
    early = np.maximum(-join, 0).max(axis=1)  # a backdated job may have been served before the slot
    assert (ahead >= 0).all()
    assert (ahead[work == 0] == 0).all()
    assert (after >= np.maximum(there - slot - early, 0) - 2e-5).all()
    assert (after <= there + 1e-5).all()


# ---------------------------------------------------------------------------------------- both modes, all kernels


@settings(deadline=None, max_examples=50)
@given(needs, backdated, backlogs, st.sampled_from([0.125, 1.0, 8.0]).map(np.float32), st.integers(0, CELL - 1))
def test_one_job_alone_is_exact_in_both_modes(need, join, backlog, slot, lane):
    need = np.where(np.arange(CELL) == lane, need, np.float32(0))
    join = np.minimum(join, slot)
    n = ps_slot(need, slot - join, slot)
    np.testing.assert_array_equal(n[:, lane], np.ones(CELLS))
    join_now = np.maximum(join, 0)
    time, left = ps_exact(need, join_now, slot)
    np.testing.assert_array_equal(time, np.minimum(need, np.where(need > 0, slot - join_now, 0)))
    np.testing.assert_allclose(need - time, left, rtol=0, atol=1e-6)
    for one, other in zip(fifo_slot(need, join, backlog, slot), fifo_exact(need, join, backlog, slot), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def test_nobody_is_there():
    nothing, idle, slot = jnp.zeros((CELLS, CELL)), jnp.zeros(CELLS), np.float32(1)
    for values in (*ps_exact(nothing, nothing, slot), *fifo_exact(nothing, nothing, idle, slot)):
        np.testing.assert_array_equal(values, np.zeros_like(values))
    np.testing.assert_array_equal(ps_slot(nothing, nothing, slot), np.ones((CELLS, CELL)))
    for kernel in (fifo_exact, fifo_slot):
        np.testing.assert_array_equal(kernel(nothing, nothing, idle + 2.5, slot)[1], [1.5] * CELLS)


def test_a_slot_of_no_length_changes_nothing():
    need, join, slot = np.ones((CELLS, CELL), np.float32), np.zeros((CELLS, CELL), np.float32), np.float32(0)
    time, left = ps_exact(need, join, slot)
    np.testing.assert_array_equal(time, join)
    np.testing.assert_array_equal(left, need)
    assert np.isfinite(ps_slot(need, join, slot)).all()
    for kernel in (fifo_exact, fifo_slot):
        np.testing.assert_array_equal(kernel(need, join, np.ones(CELLS, np.float32), slot)[1], [1.0 + CELL] * CELLS)


def test_a_cell_of_one_device():
    need, join, slot = _f32([[0.5], [2.0]]), _f32([[0.25], [0.25]]), np.float32(1)
    time, left = share_exact(need, join, slot)
    np.testing.assert_array_equal(time, [[0.5], [0.75]])
    np.testing.assert_array_equal(left, [[0], [1.25]])
    np.testing.assert_array_equal(shares_slot(need, slot - join, slot), [[1], [1]])
    for kernel in (ahead_exact, ahead_slot):
        ahead, after = kernel(need, join, _f32([0, 1]), slot)
        np.testing.assert_array_equal(ahead, [[0], [0.75]])
        np.testing.assert_array_equal(after, [0, 2])


def test_many_worlds_are_each_as_alone():
    """``vmap`` over worlds: a world that is through waits for the others unchanged."""
    rng = np.random.default_rng(3)
    need = _f32(rng.exponential(1.0, (2, CELLS, CELL)) * (rng.random((2, CELLS, CELL)) < 0.5))
    join, backlog = _f32(rng.random((2, CELLS, CELL))), _f32(rng.random((2, CELLS)))
    slot = _f32([0.1, 2.0])

    def kernels(need, join, backlog, slot):
        return share_exact(need, join, slot), ahead_exact(need, join, backlog, slot)

    together = jax.tree.leaves(jax.jit(jax.vmap(kernels))(need, join, backlog, slot))
    alone = [jax.tree.leaves(kernels(need[k], join[k], backlog[k], slot[k])) for k in range(2)]
    for values, one, other in zip(together, *alone, strict=True):
        np.testing.assert_allclose(values, [one, other], rtol=1e-6, atol=1e-6)


def test_dtypes_are_strict():
    table, row = jax.ShapeDtypeStruct((CELLS, CELL), jnp.float32), jax.ShapeDtypeStruct((CELLS,), jnp.float32)
    slot = jax.ShapeDtypeStruct((), jnp.float32)
    with jax.numpy_dtype_promotion("strict"):
        found = (
            jax.eval_shape(shares_slot, table, table, slot),
            jax.eval_shape(share_exact, table, table, slot, slot),
            jax.eval_shape(ahead_exact, table, table, row, slot),
            jax.eval_shape(ahead_slot, table, table, row, slot),
        )
    assert {leaf.dtype for leaf in jax.tree.leaves(found)} == {jnp.dtype("float32")}


# ---------------------------------------------------------------------------------------------- error O(slot)


@jax.jit
def _sojourns_by_slot(need, start, slot, slots):
    """Seconds that each job spends at the link, by ``shares_slot``, and mean seconds ahead of it by ``ahead_slot``."""

    def step(number, carry):
        left, spent, backlog, waits = carry
        join = start - number.astype(jnp.float32) * slot
        budget = slot - jnp.clip(join, 0.0, slot)
        n = shares_slot(left, budget, slot)
        ends = left * n <= budget
        time = jnp.where(left > 0, jnp.where(ends, left * n, budget), 0.0)
        now = (join >= 0) & (join < slot)
        ahead, backlog = ahead_slot(jnp.where(now, need, 0.0), join, backlog, slot)
        return jnp.where(ends, 0.0, left - time / n), spent + time, backlog, waits + ahead

    start_of_all = (need, jnp.zeros_like(need), jnp.zeros(len(need)), jnp.zeros_like(need))
    left, spent, _, waits = jax.lax.fori_loop(0, slots, step, start_of_all)
    return left, spent, waits


@pytest.fixture(scope="module")
def errors():
    """Mean absolute error of each mode, relative to the mean, with slots of .4, .2 and .1 of the mean need."""
    rng, shape, horizon = np.random.default_rng(11), (400, CELL), 32.0
    need, start = _f32(rng.exponential(1.0, shape)), _f32(rng.uniform(0.0, 8.0, shape))
    time, left = jax.jit(share_exact)(need, start, np.float32(horizon))
    wait, _ = jax.jit(ahead_exact)(need, start, np.zeros(len(need), np.float32), np.float32(horizon))
    assert not np.any(left)
    table = []
    for slot in (0.4, 0.2, 0.1):
        left, spent, waits = _sojourns_by_slot(need, start, np.float32(slot), np.int32(round(horizon / slot)))
        assert not np.any(left)
        table.append([np.abs(spent - time).mean() / time.mean(), np.abs(waits - wait).mean() / wait.mean()])
    return np.array(table)


@pytest.mark.parametrize("mode", [0, 1], ids=["sharing", "fifo"])
def test_half_the_slot_halves_the_error(errors, mode):
    assert errors[2, mode] < 0.04
    assert (errors[1:, mode] < 0.6 * errors[:-1, mode]).all()
