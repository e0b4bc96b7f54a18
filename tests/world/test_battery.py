"""What a user can rely on: no joule is lost to rounding, and an empty battery is exactly empty."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from world_cases import make_params

from offjax import world as w
from offjax.world import battery
from offjax.world.records import DeviceState

DEVICES, SLOTS = 4, 100_000
JOULES = np.float32([1e-4, 3.3e-5, 7e-3, 0.1])  # per slot


def _fresh() -> DeviceState:
    zero = jnp.zeros(DEVICES, jnp.float32)
    return DeviceState(spent=zero, spent_low=zero, gain=zero, path_loss=zero, jitter=None)


@jax.jit
def _drain(joules):
    """Compensated, and as a plain float32 balance that starts full."""

    def slot(_, carry):
        device, balance = carry
        return battery.spend(device, joules), balance - joules

    return jax.lax.fori_loop(0, SLOTS, slot, (_fresh(), jnp.full(DEVICES, 4000.0, jnp.float32)))


def test_a_hundred_thousand_small_draws():
    device, balance = jax.device_get(_drain(JOULES))
    exact = SLOTS * JOULES.astype(np.float64)
    np.testing.assert_allclose(device.spent.astype(np.float64) + device.spent_low, exact, rtol=1e-6)
    # 0.1 mJ is less than half of what float32 can tell apart at 4000 J: a running balance never moves.
    assert balance[0] == balance[1] == 4000.0
    assert np.all(np.abs((4000.0 - balance) / exact - 1) > 1e-4)


@jax.jit
def _empty(capacity, draws):
    """Some draws, then the rest: what is left, drawn to the last."""
    params = PARAMS.replace(fleet=PARAMS.fleet.replace(battery=capacity))
    device = jax.lax.fori_loop(0, 7, lambda i, device: battery.spend(device, draws[i]), _fresh())
    before = w.remaining(device, params)
    drawn, rest = battery.draw_up_to(jnp.full(DEVICES, 1e9, jnp.float32), before)
    return before, rest, w.remaining(battery.drain(battery.spend(device, drawn), rest <= 0, params), params)


PARAMS = make_params(devices=DEVICES, cells=1)
levels = st.lists(st.floats(2.0**-20, 5000.0, width=32), min_size=DEVICES, max_size=DEVICES)


@settings(deadline=None, max_examples=300)
@given(levels, st.integers(0, 2**32 - 1))
def test_all_that_is_left_leaves_nothing(capacity, seed):
    capacity = np.float32(capacity)
    shares = np.random.default_rng(seed).random((7, DEVICES)) ** 4 / 7
    before, rest, after = _empty(capacity, np.float32(capacity * shares))
    assert (before > 0).all()
    np.testing.assert_array_equal(rest, 0.0)
    np.testing.assert_array_equal(after, 0.0)
