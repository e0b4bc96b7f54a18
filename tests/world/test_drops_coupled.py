"""What a user can rely on: who loses a task while it shares or queues, when, at what cost, and what others notice.

The table of test_coupling_tables.py: needs of 2, 3 and 1 s, coming at .25, .5 and 3 s, in slots of .25 s.
"""

import numpy as np
import pytest
from coupled_cases import (
    COME,
    ROWS,
    STRUCTURES,
    at_the_server,
    ended,
    in_the_downlink,
    in_the_uplink,
    play_coupled,
    spread,
    table,
)
from world_cases import EDGE, NUMBERS

from offjax.world import End

SLOT = 0.25
UP, DOWN = NUMBERS["transmit_power"], NUMBERS["receive_power"]
OUTAGE = [(8, 12)]  # slots: from 2 to 3 s
# A world that stalls drops at once with a timeout of 0.
AT_ONCE = {"timeout": 0.0}
ALL = sorted(STRUCTURES)


def _column(history, field, rows=ROWS[0]):
    """The only task of each of the three devices."""
    return [ended(history, device)[field].item() for device in rows]


def _check(history, result, latency, rows=ROWS[0], **parts):
    assert _column(history, "result", rows) == result
    np.testing.assert_allclose(_column(history, "latency", rows), latency, atol=1e-5)
    for part, expected in parts.items():
        np.testing.assert_allclose(_column(history, part, rows), expected, atol=1e-5, err_msg=part)


def test_a_lost_server_drops_everyone_in_its_queue(key):
    """At 2 device 0 has .25 s of service left, device 1 waits; when the server is back, device 2 finds it idle."""
    history = play_coupled(key, table("exact fifo", SLOT, server={0: OUTAGE}, **at_the_server()))
    for rows in ROWS:
        lost, whole = End.SERVER_LOST, End.IN_TIME
        _check(history, [lost, lost, whole], [1.75, 1.5, 1.0], rows, queue=[0.0, 1.5, 0.0], service=[1.75, 0.0, 1.0])
    backlog = history.before.server.backlog[:, :, 0]
    np.testing.assert_allclose(backlog[7] / 1e9, [3.5, 3.5], rtol=1e-5)
    assert not backlog[8:13].any()


@pytest.mark.parametrize("structure", ["slot ps", "exact ps"])
def test_a_lost_server_drops_all_who_share_it(key, structure):
    history = play_coupled(key, table(structure, SLOT, server={0: OUTAGE}, **AT_ONCE, **at_the_server()))
    lost, whole = End.SERVER_LOST, End.IN_TIME
    for rows in ROWS:
        _check(history, [lost, lost, whole], [1.75, 1.5, 1.0], rows, queue=[0.0] * 3)


@pytest.mark.parametrize("load", [1.0, 0.0])
def test_a_server_without_a_free_cycle_is_lost(key, load):
    params = table("exact fifo", SLOT, load={0: [(8, load), (12, 0.0)]}, **at_the_server())
    lost = End.SERVER_LOST if load == 1.0 else End.IN_TIME
    assert _column(play_coupled(key, params), "result") == [lost, lost, End.IN_TIME]


def test_a_queue_stands_still_with_its_server(key):
    """Down from 2 to 3: device 0 has .25 left and is through at 3.25, device 1 at 6.25, then device 2."""
    params = table("slot fifo", SLOT, server={0: OUTAGE}, timeout=5.0, **at_the_server())
    history = play_coupled(key, params)
    for rows in ROWS:
        _check(history, [End.IN_TIME] * 3, [3.0, 5.75, 4.25], rows, queue=[1.0, 2.75, 3.25], service=[2.0, 3.0, 1.0])
    np.testing.assert_allclose(history.before.server.backlog[8:13, 0, 0] / 1e9, [3.25] * 5, rtol=1e-5)


def test_a_server_that_comes_back_to_nobody_is_idle(key):
    """All who waited gave up at 2.5: device 2, which comes at 3, finds nothing of theirs."""
    history = play_coupled(key, table("slot fifo", SLOT, server={0: OUTAGE}, timeout=0.5, **at_the_server()))
    for rows in ROWS:
        _check(history, [End.SERVER_LOST, End.SERVER_LOST, End.IN_TIME], [2.25, 2.0, 1.0], rows, queue=[0.5, 2.0, 0.0])


def test_who_stands_still_is_not_active(key):
    """Devices 0 and 1 send until 2 and from 3 on, when device 2 comes; what is told is of the slot before."""
    history = play_coupled(key, table("slot fifo", SLOT, link={0: OUTAGE}, timeout=5.0, **in_the_uplink()))
    active = history.before.cell.active
    np.testing.assert_allclose(active[1:17, 0], [0] + [1] + [2] * 6 + [0] * 4 + [3] * 4, atol=1e-5)
    np.testing.assert_allclose(active[1:17, 1], [0] + [1] + [2] * 10 + [3] * 4, atol=1e-5)


@pytest.mark.parametrize("structure", ["exact fifo", "exact ps"])
def test_background_traffic_in_a_shared_cell(key, structure):
    """Five virtual devices take half of the air in cell 0: in half of what is left everything takes twice as long.

    Device 0: [.25, .5] alone, 1.875 left; two until 3: each .625, left 1.25 and 2.375; three: device 2 is through at
    9, left .25 and 1.375; two: device 0 at 10; device 1 alone has 1.125 left, until 12.25. In turns a device pays for
    its own, which are as long as ever; in a band for all the time.
    """
    traffic = {"traffic": {0: [(0, 5.0)]}, "traffic_rate": 100.0}
    history = play_coupled(key, table(structure, SLOT, **traffic, **in_the_uplink()))
    time = np.array([9.75, 11.75, 6.0])
    _check(history, [End.IN_TIME] * 3, time, uplink=time)
    paid = [2.0, 3.0, 1.0] if "fifo" in structure else time
    np.testing.assert_allclose(_column(history, "energy"), UP * np.array(paid), rtol=1e-5)
    np.testing.assert_allclose(_column(history, "uplink", ROWS[1]), [4.25, 5.75, 2.5], rtol=1e-5)


@pytest.mark.parametrize("structure", ALL)
def test_a_lost_link_drops_all_who_share_it(key, structure):
    """Down from 2 to 3 in cell 0: devices 0 and 1 have had it for 1.75 and 1.5 s, and 1 and .75 s for themselves."""
    params = table(structure, SLOT, link={0: OUTAGE}, **AT_ONCE, **in_the_uplink())
    history = play_coupled(key, params)
    _check(history, [End.LINK_LOST, End.LINK_LOST, End.IN_TIME], [1.75, 1.5, 1.0])
    paid = [1.0, 0.75, 1.0] if "fifo" in structure else [1.75, 1.5, 1.0]
    np.testing.assert_allclose(_column(history, "energy"), UP * np.array(paid), rtol=1e-5)
    assert _column(history, "result", ROWS[1]) == [End.IN_TIME] * 3, "the other cell has another link"
    np.testing.assert_allclose(_column(history, "uplink", ROWS[1])[1], 5.75, rtol=0.03)


@pytest.mark.parametrize("structure", ALL)
def test_results_are_lost_with_the_link_that_they_share(key, structure):
    params = table(structure, SLOT, link={0: OUTAGE}, **AT_ONCE, **in_the_downlink())
    history = play_coupled(key, params)
    _check(history, [End.RESULT_LOST, End.RESULT_LOST, End.IN_TIME], [1.75, 1.5, 1.0])
    paid = [1.0, 0.75, 1.0] if "fifo" in structure else [1.75, 1.5, 1.0]
    np.testing.assert_allclose(_column(history, "energy"), DOWN * np.array(paid), rtol=1e-4)
    assert _column(history, "result", ROWS[1]) == [End.IN_TIME] * 3


@pytest.mark.parametrize("structure", ALL)
def test_the_buffer_of_a_device_that_queues_is_full(key, structure):
    """Five more tasks come while the first is under way: the buffer's worth of them is let in."""
    come = (COME[0], [COME[1], *np.arange(1.0, 2.25, SLOT)], COME[2])
    history = play_coupled(key, table(structure, SLOT, come, **at_the_server()))
    buffer = STRUCTURES[structure]["buffer"]
    for rows in ROWS:
        refused = history.outcome.refused[:, rows[1]]
        assert np.count_nonzero(refused) == 5 - buffer
        assert set(refused[refused > 0].tolist()) <= {End.BUFFER_FULL}
        assert ended(history, rows[1])["result"].tolist() == [End.IN_TIME] * (1 + buffer)


@pytest.mark.parametrize("structure", ALL)
def test_the_undecided_are_in_nobodys_way(key, structure):
    """Device 1 never decides, and its next tasks come for nothing; the other two share with nobody."""
    come = (COME[0], [COME[1], *np.arange(1.0, 2.25, SLOT)], COME[2])
    place = np.where(spread([1, 0, 1]) > 0, EDGE, -1)
    for work, part in ((at_the_server(), "service"), (in_the_uplink(), "uplink")):
        history = play_coupled(key, table(structure, SLOT, come, **work), place)
        for rows in ROWS:
            for device, need in ((rows[0], 2.0), (rows[2], 1.0)):
                np.testing.assert_allclose(ended(history, device)["latency"], [need], rtol=1e-5)
                np.testing.assert_allclose(ended(history, device)[part], [need], rtol=1e-5)
            refused = history.outcome.refused[:, rows[1]]
            assert refused[refused > 0].tolist() == [End.NO_DECISION] * (5 - STRUCTURES[structure]["buffer"])
            assert not history.outcome.result[:, rows[1]].any()


@pytest.mark.parametrize("structure", ALL)
def test_the_battery_ends_in_the_queue(key, structure):
    """Device 1 draws its last at 1.5 s.

    Queue: its work stays at the server, which does not know: device 2 waits as before. Sharing: device 0 has 1.25 left
    then and is alone, until 2.75; so is device 2.
    """
    idle = NUMBERS["idle_power"] * SLOT
    battery = spread([4000.0, 5.96 * idle, 4000.0])
    params = table(structure, SLOT, battery=battery, **at_the_server())
    history = play_coupled(key, params)
    latency = [2.0, 1.0, 3.25] if "fifo" in structure else [2.5, 1.0, 1.0]
    for rows in ROWS:
        _check(history, [End.IN_TIME, End.BATTERY_EMPTY, End.IN_TIME], latency, rows)
        drawn = history.outcome.drawn_idle[:, rows[1]].sum(dtype=np.float64)
        np.testing.assert_allclose(drawn, 5.96 * idle, rtol=1e-6)
