"""What a user can rely on: limits that are numbers, and the names of what they are of."""

import jax
import numpy as np
import pytest

from offjax.bench import machine

SIZE, WIDTH, BUDGET = 1 << 16, 64, 0.02


@pytest.mark.parametrize(
    "rate",
    [
        lambda: machine.copy_rate(BUDGET, size=SIZE),
        lambda: machine.copy_rate(BUDGET, in_place=True, size=SIZE),
        lambda: machine.numpy_copy_rate(BUDGET, size=SIZE),
        lambda: machine.matmul_rate(BUDGET, width=WIDTH),
    ],
)
def test_rates_are_positive_and_finite(rate):
    assert 0 < rate() < np.inf


def test_arrays_are_cut_over_all_devices():
    array = machine.spread((len(jax.devices()), 3), 2.0)
    assert len(array.sharding.device_set) == len(jax.devices()) > 1
    np.testing.assert_array_equal(array, np.full((len(jax.devices()), 3), 2.0, np.float32))


def test_a_call_is_repeated_until_it_gets_no_faster():
    calls = []
    seconds = machine.best_time(lambda: calls.append(None), budget=60.0)
    assert seconds >= 0
    assert len(calls) > machine.PATIENCE


def test_a_slow_call_is_timed_once_at_least():
    calls = []
    assert machine.best_time(lambda: calls.append(None), budget=0.0) >= 0
    assert len(calls) == 2


def test_names_and_versions():
    about = machine.describe()
    assert {"processor", "processors", "device", "devices", "python", "jax", "jaxlib", "numpy"} <= set(about)
    assert about["devices"] == len(jax.devices())
