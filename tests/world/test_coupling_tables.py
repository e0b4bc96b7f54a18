"""What a user can rely on: three devices of a cell that share its air or its server, on tables worked by hand.

The devices need 2, 3 and 1 s of the shared thing and come at .25, .5 and 3 s.

*Queue*: device 0 is served in [.25, 2.25], device 1 in [2.25, 5.25], device 2 in [5.25, 6.25].

*Processor sharing*: [.25, .5] device 0 alone, 1.75 left. [.5, 3] two: each does 1.25, left .5 and 1.75. [3, 4.5] three:
each does .5, device 0 is through, left 1.25 and .5. [4.5, 5.5] two: each does .5, device 2 is through. Device 1 alone
has .75 left and is through at 6.25.
"""

import numpy as np
import pytest
from coupled_cases import (
    CELL,
    DEVICES,
    NEED,
    PARTS,
    ROWS,
    at_the_server,
    bandwidth_for,
    ended,
    in_the_downlink,
    in_the_uplink,
    make_coupled,
    play_coupled,
    spread,
    table,
)
from world_cases import NUMBERS

from offjax.world import End

QUEUED, SHARED = np.array([0.0, 1.75, 2.25]), np.array([4.25, 5.75, 2.5])
UP, DOWN = NUMBERS["transmit_power"], NUMBERS["receive_power"]
EXACT_SLOTS = [0.25, 0.3, 1.0, 20.0]
ALONE = np.array([1.0, 2.0, 0.5])


def _play(key, structure, slot, chunks=1, **numbers):
    """The tasks of the three devices, {field: [3]}: both cells saw the same, and the other devices nothing."""
    history = play_coupled(key, table(structure, slot, **numbers), chunks=chunks)
    cells = [[ended(history, device) for device in rows] for rows in ROWS]
    for one, other in zip(*cells, strict=True):
        for field, values in one.items():
            np.testing.assert_allclose(values, other[field], rtol=1e-6, atol=1e-6, err_msg=field)
    idle = [device for device in range(DEVICES) if device not in ROWS[0] + ROWS[1]]
    assert not history.outcome.result[:, idle].any()
    assert not history.outcome.drawn_task[:, idle].any()
    return {field: np.array([task[field].item() for task in cells[0]]) for field in cells[0][0]}


def _check(tasks, parts, energy, rtol=1e-5, atol=1e-5):
    """Every part of the latency, its sum and the energy; parts not named are zero."""
    tolerance = {"rtol": rtol, "atol": atol}
    assert (tasks["result"] == End.IN_TIME).all()
    for part in PARTS:
        np.testing.assert_allclose(tasks[part], parts.get(part, np.zeros(3)), **tolerance, err_msg=part)
    np.testing.assert_allclose(tasks["latency"], sum(parts.values()), **tolerance)
    np.testing.assert_allclose(tasks["energy"], energy, **tolerance)


# ------------------------------------------------------------------------------------------------------ FIFO


@pytest.mark.parametrize(
    ("structure", "slot"), [*(("exact fifo", slot) for slot in EXACT_SLOTS), ("slot fifo", 0.25), ("slot fifo", 0.125)]
)
def test_a_queue_over_several_slots(key, structure, slot):
    """By slot it is exact too: one device comes in each."""
    _check(_play(key, structure, slot, **at_the_server()), {"queue": QUEUED, "service": NEED}, 0.0)


@pytest.mark.parametrize(("structure", "slot"), [("exact fifo", 0.25), ("exact fifo", 1.0), ("slot fifo", 0.25)])
def test_a_queue_whose_server_slows_down(key, structure, slot):
    """Half the speed from 2 s on, when device 0 has .25 left: until 2.5; device 1 until 8.5, device 2 until 10.5."""
    tasks = _play(key, structure, slot, load={0: [(round(2 / slot), 0.5)]}, **at_the_server())
    _check(tasks, {"queue": np.array([0.0, 2.0, 5.5]), "service": np.array([2.25, 6.0, 2.0])}, 0.0)


def test_a_queue_by_slot_when_two_come_at_once(key):
    """Slot of 1 s: of the other that comes in the same slot each finds one half.

    Device 0 waits 1.5 s, device 1 1 s. What they leave at the slot's end: 5 less the rest of it after their mean
    instant (2 x .25 + 3 x .5) / 5 = .4, which is 4.4; at 3 s it is 2.4. Truth: 0, 1.75, 2.25.
    """
    tasks = _play(key, "slot fifo", 1.0, **at_the_server())
    _check(tasks, {"queue": np.array([1.5, 1.0, 2.4]), "service": NEED}, 0.0)


# ----------------------------------------------------------------------------------------- processor sharing


@pytest.mark.parametrize("slot", EXACT_SLOTS)
def test_a_shared_server(key, slot):
    _check(_play(key, "exact ps", slot, **at_the_server()), {"service": SHARED}, 0.0)


@pytest.mark.parametrize("slot", [0.25, 1.0])
def test_a_shared_server_that_slows_down(key, slot):
    """Half the speed from 2 s on, when there are 1 and 2.25 left.

    At 3 there are .75 and 2, and device 2 comes. Three do 1/6 a second each: device 0 is through at 7.5, left 1.25 and
    .25. Two do 1/4 a second: device 2 is through at 8.5. Device 1 has 1 left and is through at 10.5.
    """
    tasks = _play(key, "exact ps", slot, load={0: [(round(2 / slot), 0.5)]}, **at_the_server())
    _check(tasks, {"service": np.array([7.25, 10.0, 5.5])}, 0.0)


@pytest.mark.parametrize("slot", EXACT_SLOTS)
def test_a_cell_whose_devices_take_turns(key, slot):
    """A device pays for its own turns."""
    _check(_play(key, "exact fifo", slot, **in_the_uplink()), {"uplink": SHARED}, UP * NEED)
    _check(_play(key, "exact fifo", slot, **in_the_downlink()), {"downlink": SHARED}, DOWN * NEED)


@pytest.mark.parametrize("slot", EXACT_SLOTS)
def test_a_band_shared_by_the_active(key, slot):
    """A device pays for all the time; a third of the band is worth a third of what the device has alone."""
    _check(_play(key, "exact ps", slot, **in_the_uplink(ALONE)), {"uplink": SHARED}, UP * SHARED)
    _check(_play(key, "exact ps", slot, **in_the_downlink()), {"downlink": SHARED}, DOWN * SHARED)


@pytest.mark.parametrize(("slot", "chunks"), [(0.1, 1), (0.05, 2)])
def test_sharing_by_slot(key, slot, chunks):
    """Slots of a tenth and a twentieth of the least need: the error falls with the slot; what is paid has none."""
    tolerance = {"rtol": 0.1 * slot, "atol": 1e-5}
    turns = _play(key, "slot fifo", slot, chunks, **in_the_uplink())
    _check(turns, {"uplink": SHARED}, UP * NEED, **tolerance)
    np.testing.assert_allclose(turns["energy"], UP * NEED, rtol=1e-5)
    turns = _play(key, "slot fifo", slot, chunks, **in_the_downlink())
    _check(turns, {"downlink": SHARED}, DOWN * NEED, **tolerance)
    band = _play(key, "slot ps", slot, chunks, **in_the_uplink(ALONE))
    _check(band, {"uplink": SHARED}, UP * SHARED, **tolerance)
    np.testing.assert_allclose(band["energy"], UP * band["uplink"], rtol=1e-5)
    band = _play(key, "slot ps", slot, chunks, **in_the_downlink())
    _check(band, {"downlink": SHARED}, DOWN * SHARED, **tolerance)
    _check(_play(key, "slot ps", slot, chunks, **at_the_server()), {"service": SHARED}, 0.0, **tolerance)


# -------------------------------------------------------------------------------------------- what is not shared


@pytest.mark.parametrize("structure", ["exact fifo", "exact ps"])
def test_who_goes_to_another_server_is_in_nobodys_way(key, structure):
    """Device 1 goes to the cloud, which has no queue; the other two are at the edge server one after the other."""
    place = np.ones(DEVICES)
    place[[ROWS[0][1], ROWS[1][1]]] = 2
    params = table(structure, 1.0, backhaul_delay=(0.0, 0.0), **at_the_server())
    history = play_coupled(key, params, place)
    for rows in ROWS:
        for device, service in zip(rows, (2.0, 0.3, 1.0), strict=True):
            np.testing.assert_allclose(ended(history, device)["service"], [service], rtol=1e-5)
            np.testing.assert_allclose(ended(history, device)["queue"], [0.0], atol=1e-5)


@pytest.mark.parametrize("structure", ["exact fifo", "exact ps", "slot fifo", "slot ps"])
def test_what_others_do_at_home_is_in_nobodys_way(key, structure):
    place = np.where(np.arange(DEVICES) % CELL == 1, 1, 0)
    numbers = {"bits_low": (1e3,) * 3, "bits_high": (1e3,) * 3, "cycles_per_bit": (1e6,) * 3}
    rates = {"cell_rate": 1e3, "bandwidth": bandwidth_for(1e3), "server_speed": (1e9, 1e9)}
    history = play_coupled(key, make_coupled(structure, [[0.5]] * DEVICES, 1.0, **numbers, **rates), place)
    for device in (1, 6):
        task = ended(history, device)
        np.testing.assert_allclose([task["uplink"], task["queue"], task["service"]], [[1.0], [0.0], [1.0]], atol=1e-5)


@pytest.mark.parametrize("structure", ["exact ps", "slot ps"])
def test_who_cannot_send_keeps_its_share_for_ever(key, structure):
    """Device 1 has no power: it is there from .5 s on, as in the table, and never gets anything done."""
    power = spread([UP, 0.0, UP])
    history = play_coupled(key, table(structure, 0.25, transmit_power=power, **in_the_uplink()))
    for rows in ROWS:
        for device, uplink in ((rows[0], SHARED[0]), (rows[2], SHARED[2])):
            np.testing.assert_allclose(ended(history, device)["uplink"], [uplink], rtol=1e-5)
        assert not history.outcome.result[:, rows[1]].any()
        np.testing.assert_array_equal(history.before.job.left.uplink[2:, rows[1]], NEED[1] * 1e3)
