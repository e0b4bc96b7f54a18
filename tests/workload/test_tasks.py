"""What a user can rely on: tasks follow Table 3 of Nieto et al. 2024 and come when their period says."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from offjax.workload.arrivals import arrive, periodic
from offjax.workload.tasks import Workload, draw_class, make_tasks

DEVICES = 1000


@jax.jit
def jit_draw(class_share, size_share, workload):
    return make_tasks(draw_class(class_share, workload), size_share, size_share, workload)


@jax.jit
def jit_arrives(slot, workload):
    return arrive(workload.arrivals, None, 0.0, slot, 1.0)[0]


def _workload(probability=(0.5, 0.3, 0.2), period=1, phase=0) -> Workload:
    return Workload(
        probability=jnp.asarray(probability, jnp.float32),
        bits_low=jnp.array([8e4, 16e4, 16e5]),
        bits_high=jnp.array([32e4, 40e4, 32e5]),
        cycles_per_bit=jnp.array([1.0, 8.0, 8.0]),
        result_per_bit=jnp.array([0.0, 0.5, 0.1]),
        deadline_per_bit=jnp.array([0.5e-3, 1e-3, 2e-3]) / 8000,
        deadline_per_cycle=jnp.zeros(3),
        deadline_fixed=jnp.float32(0),
        factor_low=jnp.float32(1),
        factor_high=jnp.float32(1),
        arrivals=periodic(period, phase),
    )


shares = st.integers(0, 2**24 - 1).map(lambda upper: upper * 2.0**-24)  # what the world's uniform numbers can be


@settings(deadline=None)
@given(st.lists(st.integers(0, 10), min_size=3, max_size=3).filter(any), st.integers(0, 2**32 - 1))
def test_class_and_size_follow_their_uniform_numbers(weights, seed):
    probability = np.array(weights) / sum(weights)
    workload = _workload(probability)
    class_share, size_share = np.random.default_rng(seed).random((2, DEVICES), dtype=np.float32)
    tasks = jit_draw(class_share, size_share, workload)
    index = np.searchsorted(np.cumsum(np.float32(probability))[:2], class_share, side="right")
    np.testing.assert_array_equal(tasks.task_class, index)
    assert set(index) <= set(np.flatnonzero(weights)), "a class of share zero is never drawn"
    w = jax.tree.map(np.float64, workload)
    bits = w.bits_low[index] + (w.bits_high[index] - w.bits_low[index]) * size_share
    np.testing.assert_allclose(tasks.bits, bits, rtol=1e-6)
    np.testing.assert_allclose(tasks.cycles, bits * w.cycles_per_bit[index], rtol=1e-6)
    np.testing.assert_allclose(tasks.deadline, bits * w.deadline_per_bit[index], rtol=1e-6)
    np.testing.assert_allclose(tasks.result_bits, bits * w.result_per_bit[index], rtol=1e-6)


@settings(deadline=None)
@given(shares, shares)
def test_a_task_is_inside_its_class(class_share, size_share):
    class_share, size_share = (jnp.full(DEVICES, share, jnp.float32) for share in (class_share, size_share))
    workload = _workload()
    tasks = jit_draw(class_share, size_share, workload)
    index = int(tasks.task_class[0])
    assert workload.bits_low[index] <= tasks.bits[0] <= workload.bits_high[index]


def test_shares_of_the_classes():
    class_share = (jnp.arange(DEVICES, dtype=jnp.float32) + 0.5) / DEVICES
    tasks = jit_draw(class_share, class_share, _workload())
    np.testing.assert_array_equal(np.bincount(tasks.task_class), [500, 300, 200])


def test_one_class_alone():
    one = jax.tree.map(lambda leaf: leaf[:1] if leaf.ndim else leaf, _workload(probability=(1.0, 0.0, 0.0)))
    share = jnp.linspace(0.0, 0.99, DEVICES)
    tasks = jit_draw(share, share, one)
    assert not tasks.task_class.any()


@settings(deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 50), st.integers(0, 100))
def test_one_task_every_period_from_its_phase_on(slot, period, phase):
    workload = _workload(period=period, phase=phase)
    expected = slot >= phase and (slot - phase) % period == 0
    assert bool(jit_arrives(jnp.int32(slot), workload)) == expected


def test_every_device_has_its_own_rhythm():
    workload = _workload(period=[1, 2, 3], phase=[0, 1, 5])
    came = np.array([jit_arrives(jnp.int32(slot), workload) for slot in range(12)])
    assert [np.flatnonzero(row).tolist() for row in came.T] == [list(range(12)), [1, 3, 5, 7, 9, 11], [5, 8, 11]]
