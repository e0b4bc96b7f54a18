"""What a user can rely on: every way to lose a task has a name, and costs what was really spent."""

import numpy as np
import pytest
from world_cases import (
    CLOUD,
    DEVICES,
    EDGE,
    LOCAL,
    NUMBERS,
    closed_form,
    make_decisions,
    make_params,
    play,
)

from offjax.world import DROPS, End, remaining

IDLE = NUMBERS["idle_power"]
UPLOAD = closed_form(EDGE)[0]["uplink"] * NUMBERS["transmit_power"]
ONCE = 1000  # period: no other task comes


def _ends(history) -> list[set]:
    """Ends of each device's tasks, those refused on arrival among them."""
    both = np.concatenate([history.outcome.result, history.outcome.refused])
    return [set(column[column > 0].tolist()) for column in both.T]


def _spent(history, slot) -> np.ndarray:
    outcome = history.outcome
    return outcome.drawn_task[slot] + outcome.drawn_update[slot] + outcome.drawn_idle[slot]


def test_no_decision(key):
    """Never answered: one task in the lane, one waits, all others come for nothing."""
    history = play(key, make_params(), make_decisions(-1))
    assert _ends(history) == [{End.NO_DECISION}] * DEVICES
    assert np.count_nonzero(history.outcome.refused) == DEVICES * (120 - 1)
    assert history.before.job.asks.all()
    assert not history.outcome.drawn_task.any()


def test_no_decision_while_the_answer_is_on_its_way(key):
    history = play(key, make_params(buffer=0, speed=8e9, energy_coefficient=0.0), make_decisions(LOCAL, delay=2.5))
    assert _ends(history) == [{End.NO_DECISION, End.LATE}] * DEVICES


def test_buffer_full(key):
    """Answered at once, and slow: the others find no place."""
    history = play(key, make_params(speed=NUMBERS["speed"] / 4), make_decisions(LOCAL))
    assert _ends(history) == [{End.LATE, End.BUFFER_FULL}] * DEVICES


def test_link_lost_by_the_uplink(key):
    params = make_params(link={0: [(0, 3)]}, period=ONCE)
    history = play(key, params, make_decisions([EDGE, CLOUD, LOCAL] * 2))
    assert _ends(history) == [{End.LINK_LOST}] * 2 + [{End.IN_TIME}] * 4
    np.testing.assert_allclose(_spent(history, 0)[:2], IDLE, rtol=1e-7)
    assert not history.outcome.energy[0, :2].any(), "a lost offload costs nothing"
    assert not history.outcome.latency[0, :2].any()


def test_link_lost_by_the_backhaul(key):
    """Only what goes to the cloud is lost, and its upload is paid."""
    history = play(key, make_params(backhaul={1: [(0, 3)]}, period=ONCE), make_decisions([EDGE, CLOUD, LOCAL] * 2))
    assert _ends(history) == [{End.IN_TIME}] * 4 + [{End.LINK_LOST}, {End.IN_TIME}]
    np.testing.assert_allclose(history.outcome.energy[0, 4], UPLOAD, rtol=1e-6)


@pytest.mark.parametrize(("server", "place"), [(0, EDGE), (1, CLOUD)])
def test_server_lost(key, server, place):
    """The upload is paid all the same; who runs elsewhere notices nothing."""
    other = EDGE + CLOUD - place
    params = make_params(server={server: [(0, 3)]}, period=ONCE)
    history = play(key, params, make_decisions([place, other, LOCAL] * 2))
    assert _ends(history) == [{End.SERVER_LOST}, {End.IN_TIME}, {End.IN_TIME}] * 2
    np.testing.assert_allclose(history.outcome.energy[0, [0, 3]], UPLOAD, rtol=1e-6)
    np.testing.assert_allclose(_spent(history, 0)[[0, 3]], UPLOAD + IDLE, rtol=1e-6)


def test_result_lost(key):
    """The link breaks between the upload and the download."""
    slow = (NUMBERS["server_speed"][0] / 4, NUMBERS["server_speed"][1] / 10)  # served until after slot 0
    history = play(
        key, make_params(link={0: [(1, 9)]}, period=ONCE, server_speed=slow), make_decisions([EDGE, CLOUD, LOCAL] * 2)
    )
    lost, whole = {End.RESULT_LOST}, {End.LATE}
    assert _ends(history)[:2] == [lost, lost]
    assert _ends(history)[3:5] == [whole, whole]
    assert _ends(history)[2] == _ends(history)[5] == {End.IN_TIME}


def test_link_breaks_during_the_upload(key):
    """What was sent until then is paid."""
    params = make_params(link={0: [(1, 2)]}, period=ONCE, slot_duration=0.1, bandwidth=NUMBERS["bandwidth"] / 20)
    history = play(key, params, make_decisions(EDGE))
    assert _ends(history) == [{End.LINK_LOST}] * 3 + [{End.IN_TIME}] * 3
    np.testing.assert_allclose(history.outcome.energy[1, :3], 0.1 * NUMBERS["transmit_power"], rtol=1e-6)


def test_battery_empty(key):
    """A task that needs more than is left fails and takes the rest; nothing is drawn after that."""
    task = closed_form(LOCAL)[1]
    batteries = np.array([0.5, 1.5, 2.5, 7.3, 0.01, 3.0]) * (task + 2 * IDLE)
    history = play(key, make_params(battery=batteries, period=2, slot_duration=2.0), make_decisions(LOCAL))
    left = np.maximum((np.float32(batteries) - history.before.device.spent) - history.before.device.spent_low, 0)
    for device in range(DEVICES):
        empty = np.flatnonzero(left[:, device] == 0)[0]
        assert _spent(history, slice(empty, None))[:, device].max() == 0.0
        after = history.outcome.result[empty:, device]
        assert set(after[after > 0].tolist()) == {End.BATTERY_EMPTY}
        np.testing.assert_allclose(_spent(history, slice(None))[:, device].sum(), batteries[device], rtol=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_an_energy_beyond_the_battery_leaves_exactly_nothing(key, seed):
    """Also where the capacity minus what was spent before is no float32 number."""
    rng = np.random.default_rng(seed)
    batteries = rng.uniform(1.0, 5000.0, DEVICES)
    idle = batteries * rng.uniform(0.0, 0.1, DEVICES)
    beyond = NUMBERS["energy_coefficient"] * 1e5 / closed_form(LOCAL)[1]
    # First some idle slots that take up to 60 %, then the task.
    params = make_params(
        battery=batteries, idle_power=idle, energy_coefficient=beyond, phase=3, period=ONCE, slot_duration=2.0
    )
    history = play(key, params, make_decisions(LOCAL))
    assert _ends(history) == [{End.BATTERY_EMPTY}] * DEVICES
    np.testing.assert_array_equal(remaining(history.last.device, params), 0.0)
    assert _spent(history, slice(4, None)).max() == 0.0


@pytest.mark.parametrize("loop", ["link", "backhaul"])
def test_a_decision_stands_still_while_its_loop_is_down(key, loop):
    params = make_params(**{loop: {0: [(1, 4)]}}, period=ONCE)
    history = play(key, params, make_decisions(LOCAL, delay=2.5))
    down = np.array([3.0] * 3 + [0.0] * 3)
    decide = history.outcome.passed.decide.max(0)
    np.testing.assert_allclose(decide, 2.5 + down, rtol=1e-6)
    latency = history.outcome.latency[history.outcome.result > 0]
    np.testing.assert_allclose(latency.min(), 2.5 + closed_form(LOCAL)[1] / 1.0, rtol=1e-6)


def test_a_device_that_decides_for_itself_needs_no_loop(key):
    params = make_params(link=[(0, 100)], backhaul=[(0, 100)], period=ONCE)
    history = play(key, params, make_decisions(LOCAL, delay=0.0))
    assert _ends(history) == [{End.IN_TIME}] * DEVICES


def test_the_causes_are_all_here():
    assert {end.name for end in DROPS} == {
        "NO_DECISION",
        "BUFFER_FULL",
        "LINK_LOST",
        "SERVER_LOST",
        "RESULT_LOST",
        "BATTERY_EMPTY",
    }
