"""What a user can rely on: what is scheduled for slot t acts in slot t, where it should, and is seen before."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world_cases import CELLS, CLOUD, CYCLES, DEVICES, EDGE, LOCAL, NUMBERS, SLOTS, make_decisions, make_params, play

from offjax import world as w
from offjax.world import End
from offjax.world.schedules import is_up

SPEED = np.array(NUMBERS["server_speed"], np.float32)
jit_is_up = jax.jit(jax.vmap(is_up, in_axes=(None, 0)))
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
