"""What a user can rely on: what is scheduled for slot t acts in slot t, where it should, and is seen before."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world_cases import (
    BITS,
    CELLS,
    CLOUD,
    CYCLES,
    DEVICES,
    EDGE,
    LOCAL,
    NUMBERS,
    RESULT,
    SLOTS,
    make_decisions,
    make_params,
    play,
    uplink_rate,
)

from offjax import world as w
from offjax.world import End
from offjax.world.schedules import is_up, value_at

SPEED = np.array(NUMBERS["server_speed"], np.float32)
jit_is_up = jax.jit(jax.vmap(is_up, in_axes=(None, 0)))
jit_value_at = jax.jit(jax.vmap(value_at, in_axes=(None, 0)))
slots = st.integers(0, 20)


@settings(deadline=None)
@given(st.lists(st.lists(st.tuples(slots, slots), min_size=2, max_size=2), min_size=3, max_size=3))
def test_windows_are_half_open(spans):
    up = jit_is_up(w.windows(spans), jnp.arange(25))
    for slot in range(25):
        for thing in range(3):
            assert up[slot, thing] == (not any(slot in range(*span) for span in spans[thing]))


def test_unused_rows_are_never_down():
    spans = w.windows([[(0, 3)], [], [(0, 1), (2, 3)]])
    assert spans.start.shape == (3, 2)
    np.testing.assert_array_equal(is_up(spans, jnp.int32(0)), [False, True, False])
    np.testing.assert_array_equal(is_up(spans, jnp.int32(1)), [False, True, True])
    assert is_up(w.windows([[], []]), jnp.int32(0)).all()


changes = st.lists(st.tuples(slots, st.floats(0, 9, width=32)), max_size=3, unique_by=lambda change: change[0])


@settings(deadline=None)
@given(st.lists(changes.map(sorted), min_size=3, max_size=3))
def test_steps_hold_from_their_slot_on(rows):
    value = jit_value_at(w.steps(rows, least=3), jnp.arange(25))
    for slot in range(25):
        for thing in range(3):
            before = [number for start, number in rows[thing] if start <= slot]
            assert value[slot, thing] == (before[-1] if before else 0.0)


def test_steps_and_windows_of_one_shape():
    """Filled up to the longest, and to ``least``: one program for many schedules."""
    steps = w.steps([[(3, 0.5)], [], [(1, 1.0), (4, 2.0)]])
    np.testing.assert_array_equal(steps.start, [[3, 3], [0, 0], [1, 4]])
    np.testing.assert_array_equal(steps.value, [[0.5, 0.5], [0, 0], [1, 2]])
    assert w.steps([[]], least=4).start.shape == w.windows([[]], least=4).stop.shape == (1, 4)
    assert steps.start.dtype == w.windows([[(0, 1)]]).start.dtype == jnp.int32
    none = w.no_steps(2)
    np.testing.assert_array_equal([value_at(none, jnp.int32(slot)) for slot in (0, 1000)], np.zeros((2, 2)))


def _down(flags) -> list[int]:
    return np.flatnonzero(~flags).tolist()


def test_the_slot_of_an_outage_is_the_slot_of_its_flags(key):
    params = make_params(
        link={0: [(3, 5)], 1: [(4, 6), (8, 9)]},
        backhaul={1: [(10, 12)]},
        server={0: [(0, 2)], 1: [(20, 23)]},
    )
    before = play(key, params, make_decisions(LOCAL)).before
    np.testing.assert_array_equal(before.clock, np.arange(SLOTS))
    assert [_down(column) for column in before.cell.up.T] == [[3, 4], [4, 5, 8]]
    assert [_down(column) for column in before.cell.backhaul_up.T] == [[], [10, 11]]
    assert [[_down(before.server.up[:, cell, z]) for z in (0, 1)] for cell in (0, 1)] == [[[0, 1], [20, 21, 22]]] * 2

    told = np.broadcast_to(SPEED, (SLOTS, CELLS, 2)).copy()
    told[0:2, :, 0] = 0.0
    told[20:23, :, 1] = 0.0
    told[10:12, 1, 1] = 0.0
    np.testing.assert_array_equal(before.cell.told, told)
    np.testing.assert_array_equal(before.cell.told_slot, np.arange(SLOTS)[:, None] * [1, 1])


@pytest.mark.parametrize(
    ("outage", "place", "cause", "devices"),
    [
        ({"link": {0: [(7, 9)]}}, EDGE, End.LINK_LOST, slice(0, 3)),
        ({"link": {1: [(7, 9)]}}, CLOUD, End.LINK_LOST, slice(3, 6)),
        ({"backhaul": {1: [(7, 9)]}}, CLOUD, End.LINK_LOST, slice(3, 6)),
        ({"server": {0: [(7, 9)]}}, EDGE, End.SERVER_LOST, slice(0, 6)),
        ({"server": {1: [(7, 9)]}}, CLOUD, End.SERVER_LOST, slice(0, 6)),
    ],
)
def test_an_outage_acts_in_its_slots_only(key, outage, place, cause, devices):
    """A slot is long enough for a task, and brings one: task t lives in slot t."""
    history = play(key, make_params(slot_duration=5.0, battery=np.inf, **outage), make_decisions(place))
    expected = np.full((SLOTS, DEVICES), End.IN_TIME)
    expected[7:9, devices] = cause
    np.testing.assert_array_equal(history.outcome.result, expected)


def test_a_world_may_start_in_the_middle_of_its_schedule(key):
    params = make_params(slot_duration=5.0, server={0: [(100, 103)]})
    history = play(key, params, make_decisions(EDGE), start=98)
    assert _down(history.outcome.result[:, 0] != End.SERVER_LOST) == [2, 3, 4]
    np.testing.assert_array_equal(history.before.clock, np.arange(98, 98 + SLOTS))


def test_the_free_share_is_drawn_for_each_edge_server_and_once_for_the_cloud(key):
    params = make_params(share_low=(0.8, 0.3), share_high=(1.0, 0.9))
    share = play(key, params, make_decisions(LOCAL)).before.server.share
    for z, (low, high) in enumerate([(0.8, 1.0), (0.3, 0.9)]):
        assert share[:, :, z].min() >= np.float32(low)
        assert share[:, :, z].max() < high
        np.testing.assert_allclose(share[:, :, z].mean(), (low + high) / 2, atol=0.05)
    assert (share[:, 0, 0] != share[:, 1, 0]).all()
    assert (share[:, 0, 1] == share[:, 1, 1]).all()


def test_a_device_is_served_by_its_own_cells_share(key):
    params = make_params(share_low=(0.1, 0.1), slot_duration=30.0, battery=np.inf)
    places = np.array([EDGE, CLOUD, EDGE, EDGE, CLOUD, EDGE])
    history = play(key, params, make_decisions(places))
    cells = np.arange(DEVICES) // 3
    speed = SPEED[places - 1] * history.before.server.share[:, cells, places - 1]
    np.testing.assert_allclose(history.outcome.passed.service, CYCLES / speed, rtol=1e-6)


# -------------------------------------------------------------------------------------- load, background, one of many

ROOMY = {"slot_duration": 200.0, "battery": np.inf}  # whatever happens to a task, it ends in its slot


def test_load_takes_its_share_of_a_server(key):
    """From nothing to all of it, which is the server's end; what is told, and to whom."""
    load = {0: [(10, 0.25), (20, 1.0), (30, 0.9)], 1: [(15, 0.5)]}
    params = make_params(load=load, **ROOMY)
    history = play(key, params, make_decisions([EDGE, CLOUD, LOCAL] * 2))
    taken = np.zeros((SLOTS, 2))
    taken[10:, 0], taken[20:, 0], taken[30:, 0], taken[15:, 1] = 0.25, 1.0, 0.9, 0.5
    np.testing.assert_allclose(history.before.cell.told, np.repeat(SPEED * (1 - taken)[:, None], 2, axis=1), rtol=1e-6)
    result, service = history.outcome.result, history.outcome.passed.service
    lost = np.isin(np.arange(SLOTS), np.arange(20, 30))
    for place, devices in ((EDGE, [0, 3]), (CLOUD, [1, 4])):
        gone = lost if place == EDGE else np.zeros(SLOTS, bool)
        np.testing.assert_array_equal((result[:, devices] == End.SERVER_LOST).T, [gone, gone])
        expected = CYCLES / (SPEED[place - 1] * (1 - taken[~gone, place - 1]))
        np.testing.assert_allclose(service[~gone][:, devices].T, [expected] * 2, rtol=1e-5)
    np.testing.assert_allclose(service[:, [2, 5]], CYCLES / NUMBERS["speed"], rtol=1e-6)


def test_load_comes_off_what_is_free(key):
    """A share that is drawn, and a load: what others take is taken from what is left."""
    params = make_params(load={0: [(0, 0.5)]}, share_low=(0.8, 1.0))
    share = play(key, params, make_decisions(LOCAL)).before.server.share[:, :, 0]
    assert share.min() >= 0.4
    assert share.max() < 0.5
    assert np.ptp(share) > 0.09


def test_background_traffic_takes_its_share_of_the_air(key):
    """Each of n virtual devices takes 1 of 20 Mbit/s, and never more than its share of one among n + 1."""
    params = make_params(traffic={0: [(10, 5.0), (20, 18.0), (30, 60.0)], 1: [(40, 1.0)]}, traffic_rate=1e6, **ROOMY)
    history = play(key, params, make_decisions([EDGE, CLOUD, LOCAL] * 2))
    air = np.ones((SLOTS, CELLS))
    # 18 take nine tenths, which is less than 18 of 19 shares; 60 ask for three times the air and leave 1/61.
    air[10:, 0], air[20:, 0], air[30:, 0], air[40:, 1] = 0.75, 0.1, 1 / 61, 0.95
    np.testing.assert_allclose(history.before.cell.air, air, rtol=1e-5)
    outcome = history.outcome
    for cell, devices in ((0, [0, 1]), (1, [3, 4])):
        up = np.repeat(BITS / (uplink_rate() * air[:, cell, None]), 2, axis=1)
        down = np.repeat(RESULT / (NUMBERS["downlink_rate"] * air[:, cell, None]), 2, axis=1)
        np.testing.assert_allclose(outcome.passed.uplink[:, devices], up, rtol=1e-5)
        np.testing.assert_allclose(outcome.passed.downlink[:, devices], down, rtol=1e-5)
        # A slower sub-band is a longer transmission, which the device pays for.
        energy = NUMBERS["transmit_power"] * up + NUMBERS["receive_power"] * down
        np.testing.assert_allclose(outcome.energy[:, devices], energy, rtol=1e-5)


def test_a_change_acts_in_the_middle_of_a_task(key):
    """Work for 8 s from slot 0 on: 2 s at full speed, then at a half until 6, then at a quarter for 16 s."""
    params = make_params(
        load={0: [(2, 0.5), (6, 0.75)]},
        period=SLOTS + 1,
        cycles_per_bit=(8 * 4e9 / BITS,) * 3,
        result_per_bit=(0.0,) * 3,
    )
    history = play(key, params, make_decisions(EDGE))
    served = 8.0 - 2.0 - 4.0 / 2
    upload = BITS / uplink_rate()  # the first second is shorter by it
    expected = 6.0 - upload + (served + upload) * 4
    np.testing.assert_allclose(history.outcome.passed.service.max(0), expected, rtol=1e-5)
