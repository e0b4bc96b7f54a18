"""What a user can rely on: a message takes the same road, time and energy as the uplink of a task."""

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from world_cases import DEVICES, EDGE, NUMBERS, SLOTS, begin, go_on, make_decisions, make_params, play, uplink_rate

from offjax import world as w
from offjax.world.links import uplink
from offjax.world.phases import SLACK
from offjax.world.step import place_devices

jit_transmit = jax.jit(w.transmit)
jit_uplink = jax.jit(uplink)
sizes = st.lists(st.floats(1.0, 1e8, width=32), min_size=DEVICES, max_size=DEVICES)


def _link(up=True) -> w.Link:
    return w.Link(
        rate=jnp.full(DEVICES, 2e6), up=jnp.full(DEVICES, up), power=jnp.full(DEVICES, NUMBERS["transmit_power"])
    )


@settings(deadline=None, max_examples=25)
@given(st.floats(1e3, 5e6), st.lists(st.floats(1.0, 500.0), min_size=DEVICES, max_size=DEVICES), st.integers(0, 99))
def test_transmit_is_what_the_uplink_phase_does(key, bits, distances, seed):
    params = make_params(
        bits_low=(bits,) * 3,
        bits_high=(bits,) * 3,
        result_per_bit=(0.0,) * 3,
        distance=distances,
        shadowing=5.9,
        slot_duration=0.05,
        period=SLOTS + 1,
    )
    state, draws = begin(jax.random.fold_in(key, seed), params)
    bits = state.job.left.uplink
    delay, delivered, joules = jit_transmit(bits, jit_uplink(state, params), 0.05, 0.05 * SLACK)
    history = go_on(state, draws, params, make_decisions(EDGE))
    # One slot of the phase: the time that passed, what it cost, and what is left.
    np.testing.assert_allclose(history.outcome.passed.uplink[0], delay, rtol=1e-6)
    np.testing.assert_allclose(history.outcome.drawn_task[0], joules, rtol=1e-6)
    left = history.before.job.left.uplink[1]
    np.testing.assert_allclose(left, bits - delivered, rtol=1e-6, atol=1e-6 * float(bits.max()))


@settings(deadline=None)
@given(sizes)
def test_a_whole_message(bits):
    bits = np.float32(bits)
    delay, delivered, joules = jit_transmit(bits, _link())
    np.testing.assert_array_equal(delivered, bits)
    np.testing.assert_allclose(delay, bits / 2e6, rtol=1e-6)
    np.testing.assert_allclose(joules, NUMBERS["transmit_power"] * bits / 2e6, rtol=1e-6)


@settings(deadline=None)
@given(sizes, st.floats(0.0, 10.0, width=32, allow_subnormal=False))
def test_a_message_cut_short(bits, within):
    bits = np.float32(bits)
    delay, delivered, joules = jit_transmit(bits, _link(), within)
    time = np.minimum(bits / 2e6, within)
    np.testing.assert_allclose(delay, time, rtol=1e-6)
    np.testing.assert_allclose(delivered, np.minimum(bits, 2e6 * np.float64(within)), rtol=1e-6, atol=8.0)
    np.testing.assert_allclose(joules, NUMBERS["transmit_power"] * time, rtol=1e-6)


@settings(deadline=None)
@given(sizes, st.sampled_from([np.inf, 0.0, 1.0]))
def test_a_link_that_is_down_delivers_nothing_at_no_cost(bits, within):
    for result in jit_transmit(np.float32(bits), _link(up=False), within):
        np.testing.assert_array_equal(result, 0.0)


def test_an_instant_link():
    """An infinite rate delivers all or, without time, nothing; never a NaN."""
    link = _link().replace(rate=jnp.full(DEVICES, jnp.inf))
    bits = np.float32([0.0, 1.0, 1e3, 1e6, 1e9, 1e12])
    for within, expected in ((1.0, bits), (0.0, 0.0 * bits)):
        delay, delivered, joules = jit_transmit(bits, link, within)
        np.testing.assert_array_equal(delay, 0.0)
        np.testing.assert_array_equal(delivered, expected)
        np.testing.assert_array_equal(joules, 0.0)


def test_a_link_without_rate():
    """A device that may not transmit sends nothing, and needs nothing for an empty message."""
    link = _link().replace(rate=jnp.zeros(DEVICES))
    bits = np.float32([0.0, 0.0, 1.0, 1e3, 1e6, 1e9])
    delay, delivered, _ = jit_transmit(bits, link, 2.0)
    np.testing.assert_array_equal(delay, np.where(bits > 0, 2.0, 0.0))
    np.testing.assert_array_equal(delivered, 0.0)


def test_activity_is_the_share_of_the_slot_spent_uploading(key):
    """Devices at home do not count; those of the other cell neither."""
    slot = 0.008  # an upload takes one and a part
    params = make_params(slot_duration=slot, period=SLOTS + 1)
    history = play(key, params, make_decisions([EDGE, EDGE, 0, 0, EDGE, 0]))
    upload = 1e6 / uplink_rate()
    expected = np.outer([1.0, upload / slot - 1.0], [2, 1])
    # The active of a slot are known at the start of the next.
    np.testing.assert_allclose(history.before.cell.active[1:3], expected, rtol=1e-5)
    assert not history.before.cell.active[3:].any()


def test_devices_stand_in_the_square_around_their_station(key):
    params = make_params(devices=6000, area=100.0, nearest=15.0).replace(placement="uniform")
    distance = np.asarray(place_devices(key, params))
    assert distance.min() == 15.0
    assert 130.0 < distance.max() <= 100.0 * np.sqrt(2)
    # Nearer than r <= 100: a disc in the square; five standard errors.
    for radius in (15.1, 40.0, 70.0, 100.0):
        share = np.pi * radius**2 / 200.0**2
        assert abs((distance < radius).mean() - share) < 5 * np.sqrt(share * (1 - share) / 6000)


def test_the_uplink_is_equations_3_to_5(key):
    distances = np.array([1.0, 10.0, 70.0, 135.0, 500.0, 2000.0])
    state, _ = begin(key, make_params(distance=distances))
    np.testing.assert_allclose(jit_uplink(state, make_params()).rate, uplink_rate(distances), rtol=2e-6)
