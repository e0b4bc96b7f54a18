"""What a user can rely on: jobs that stand still in an outage, the redundant link, and delays that vary.

Alone, a task uploads for 3 s, is served for 4 s and downloads for 2 s; the way to the cloud and back takes 2 s more.
"""

import numpy as np
import pytest
from coupled_cases import PARTS, bandwidth_for, ended, play_long
from world_cases import CLOUD, EDGE, NUMBERS, SLOTS, make_decisions, make_params, play

from offjax.world import End

UP, DOWN = NUMBERS["transmit_power"], NUMBERS["receive_power"]
TASK = {
    "bits_low": (3e6,) * 3,
    "bits_high": (3e6,) * 3,
    "cycles_per_bit": (4e9 / 3e6,) * 3,
    "result_per_bit": (2e6 / 3e6,) * 3,
    "bandwidth": bandwidth_for(1e6),
    "downlink_rate": 1e6,
    "server_speed": (1e9, 1e9),
    "backhaul_rate": (np.inf, 1e12),
    "backhaul_delay": (0.0, 2.0),
    "deadline_fixed": 1e4,
}
ALONE = {"uplink": 3.0, "service": 4.0, "downlink": 2.0}
# outage, place, the part of the latency in which the job stands, the end it else has, and when it comes to it
OUTAGES = {
    "uplink": ("link", (1, 3), EDGE, "uplink", End.LINK_LOST, 1),
    "backhaul": ("backhaul", (4, 6), CLOUD, "backhaul", End.LINK_LOST, 4),
    "server": ("server", (5, 8), EDGE, "queue", End.SERVER_LOST, 5),
    "before the server": ("server", (2, 5), EDGE, "queue", End.SERVER_LOST, 3),
    "downlink": ("link", (8, 10), EDGE, "downlink", End.RESULT_LOST, 8),
}


def _params(slot=1.0, **numbers):
    numbers = {"period": 1000, "slot_duration": slot, "timeout": 10.0, "failover": 1000, **TASK, **numbers}
    return make_params(outage="stall", redundant=True, impaired=True, updates=False, **numbers)


def _play(key, params, place):
    return play_long(key, params, make_decisions(place))


def _case(name, slot):
    """Schedule in slots, place, part, cause, instant and seconds of standing still."""
    thing, (start, stop), place, part, cause, comes = OUTAGES[name]
    spans = {0: [(round(start / slot), round(stop / slot))]}
    return {thing: spans}, place, part, cause, comes, stop - comes


# ------------------------------------------------------------------------------------------------------- stalling


@pytest.mark.parametrize("slot", [1.0, 0.25])
@pytest.mark.parametrize("name", OUTAGES)
def test_a_job_goes_on_after_the_outage(key, name, slot):
    """Its latency has the time of standing still in it, its energy has not."""
    schedule, place, part, _, _, stands = _case(name, slot)
    history = _play(key, _params(slot, **schedule), place)
    alone = {**ALONE, "backhaul": 2.0} if place == CLOUD else ALONE
    for device in range(3 if "server" not in schedule else 6):
        task = ended(history, device)
        assert task["result"].tolist() == [End.IN_TIME]
        for each in PARTS:
            expected = alone.get(each, 0.0) + (stands if each == part else 0.0)
            np.testing.assert_allclose(task[each], [expected], rtol=1e-5, err_msg=each)
        np.testing.assert_allclose(task["latency"], [sum(alone.values()) + stands], rtol=1e-5)
        np.testing.assert_allclose(task["energy"], [UP * 3.0 + DOWN * 2.0], rtol=1e-5)


@pytest.mark.parametrize("thing", ["link", "backhaul"])
def test_the_other_cell_notices_nothing(key, thing):
    history = _play(key, _params(**{thing: {0: [(1, 9)]}}), CLOUD)
    latency = [19.0 if thing == "link" else 17.0] * 3 + [11.0] * 3
    np.testing.assert_allclose(history.outcome.latency.max(0), latency, rtol=1e-5)


@pytest.mark.parametrize("slot", [1.0, 0.25, 0.4])
@pytest.mark.parametrize("name", [name for name in OUTAGES if name != "before the server"])
def test_a_job_is_dropped_after_the_timeout(key, name, slot):
    """With the cause of its outage, 1.3 s after it stood still, and nothing is drawn for it from then on."""
    schedule, place, part, cause, comes, _ = _case(name, slot)
    # With slots of .4 s an outage starts and ends where slots do.
    (spans,) = next(iter(schedule.values())).values()
    comes, lasts = spans[0][0] * slot, (spans[0][1] - spans[0][0]) * slot
    assert lasts > 1.3
    history = _play(key, _params(slot, timeout=1.3, **schedule), place)
    task = ended(history, 0)
    assert task["result"].tolist() == [cause]
    np.testing.assert_allclose(task["latency"], [comes + 1.3], rtol=1e-5)
    assert task["slot"] == [np.floor((comes + 1.3) / slot)]
    done = {"uplink": (min(comes, 3.0), 0.0), "backhaul": (3.0, 0.0), "queue": (3.0, 0.0)}
    upload, download = done.get(part, (3.0, comes - 7.0))
    np.testing.assert_allclose(task["energy"], [UP * upload + DOWN * download], rtol=1e-5)
    assert not history.outcome.drawn_task[spans[0][0] :, 0].any(), "not while it stands either"


def test_the_timeout_counts_all_outages_of_a_job(key):
    """Down in [1, 2) and [3, 4): by 3.3 it has stood for 1.3 s and sent for 2."""
    history = _play(key, _params(timeout=1.3, link={0: [(1, 2), (3, 4)]}), EDGE)
    task = ended(history, 0)
    assert task["result"].tolist() == [End.LINK_LOST]
    np.testing.assert_allclose(task["uplink"], [3.3], rtol=1e-5)
    np.testing.assert_allclose(task["energy"], [UP * 2.0], rtol=1e-5)
    assert not history.before.job.stalled[5:].any(), "the next job starts anew"
    history = _play(key, _params(timeout=2.1, link={0: [(1, 2), (3, 4)]}), EDGE)
    np.testing.assert_allclose(ended(history, 0)["uplink"], [5.0], rtol=1e-5)


def test_an_empty_battery_ends_a_job_that_stands(key):
    idle = NUMBERS["idle_power"]
    params = _params(battery=UP + 3.96 * idle, link={0: [(1, 50)]}, timeout=1e3)
    history = _play(key, params, EDGE)
    task = ended(history, 0)
    assert task["result"].tolist() == [End.BATTERY_EMPTY]
    np.testing.assert_allclose(task["latency"], [4.0], rtol=1e-5)
    np.testing.assert_allclose(task["energy"], [UP], rtol=1e-5)


@pytest.mark.parametrize("place", [EDGE, CLOUD])
def test_without_patience_stalling_is_dropping(key, place):
    """Timeout 0: result, latency and energy of the world that drops, slot by slot."""
    schedule = {
        "link": {0: [(7, 9), (40, 41)], 1: [(22, 25)]},
        "backhaul": {1: [(3, 6), (60, 64)]},
        "server": {0: [(12, 15)], 1: [(80, 83)]},
        "load": {0: [(30, 1.0), (33, 0.2)]},
    }
    numbers = {**TASK, **schedule, "slot_duration": 0.9, "period": 3}
    stalls = _play(key, _params(timeout=0.0, **numbers), place).outcome
    drops = play(key, make_params(**numbers), make_decisions(place)).outcome
    for field in ("result", "refused"):
        np.testing.assert_array_equal(getattr(stalls, field), getattr(drops, field))
    for field in ("latency", "energy", "drawn_task"):
        np.testing.assert_allclose(getattr(stalls, field), getattr(drops, field), rtol=1e-6)
    assert {End.IN_TIME, End.LINK_LOST, End.SERVER_LOST} <= set(drops.result.ravel().tolist())


# ------------------------------------------------------------------------------------------------- redundant link

BACKUP = {"backup_rate": (np.inf, 1e6), "backup_delay": (0.0, 0.5)}
LONG = {"slot_duration": 30.0, "battery": np.inf, "period": 1, "timeout": 0.0}  # task t lives in slot t


def _crossings(key, place=CLOUD, **schedule):
    history = _play(key, _params(**{**LONG, **BACKUP, **schedule}), place)
    return history, history.outcome.passed.backhaul


def test_the_redundant_link_takes_over_and_gives_back(key):
    """Down from slot 10 to 30: three slots of nothing, then the backup with its rate and delay, then as before."""
    history, crossing = _crossings(key, backhaul={0: [(10, 30)]}, failover=3)
    lost, backup = np.zeros((SLOTS, 6), bool), np.zeros((SLOTS, 6), bool)
    lost[10:13, :3], backup[13:30, :3] = True, True
    np.testing.assert_array_equal(history.outcome.result, np.where(lost, End.LINK_LOST, End.IN_TIME))
    np.testing.assert_allclose(crossing[~lost], np.where(backup, 3e6 / 1e6 + 0.5, 2.0)[~lost], rtol=1e-5)
    np.testing.assert_array_equal(history.before.cell.on_backup, backup[:, ::3])
    np.testing.assert_array_equal(history.before.cell.backhaul_up, ~lost[:, ::3])
    np.testing.assert_array_equal(history.before.cell.told[:, :, 1] > 0, ~lost[:, ::3])


def test_no_time_to_switch_is_no_gap(key):
    history, crossing = _crossings(key, backhaul=[(10, 30)], failover=0)
    assert (history.outcome.result == End.IN_TIME).all()
    np.testing.assert_allclose(crossing[10:30], 3.5, rtol=1e-5)


def test_an_outage_shorter_than_the_switch(key):
    history, crossing = _crossings(key, backhaul=[(10, 12), (20, 24)], failover=3)
    lost = np.isin(np.arange(SLOTS), [10, 11, 20, 21, 22])
    np.testing.assert_array_equal((history.outcome.result == End.LINK_LOST).all(1), lost)
    np.testing.assert_allclose(crossing[23], 3.5, rtol=1e-5)
    np.testing.assert_allclose(crossing[24], 2.0, rtol=1e-5)


def test_both_links_down_is_lost(key):
    """The backup is of no use while it is down itself, and its own outages matter to nobody else."""
    history, crossing = _crossings(key, backhaul=[(10, 30)], backup={0: [(20, 22), (50, 60)]}, failover=3)
    slots = np.arange(SLOTS)
    np.testing.assert_array_equal(_lost(history, 0), np.isin(slots, [10, 11, 12, 20, 21]))
    np.testing.assert_array_equal(_lost(history, 3), np.isin(slots, [10, 11, 12]))
    np.testing.assert_allclose(crossing[30:], 2.0, rtol=1e-5)


def _lost(history, device):
    return history.outcome.result[:, device] == End.LINK_LOST


def test_the_edge_needs_neither_link(key):
    history, crossing = _crossings(key, place=EDGE, backhaul=[(10, 30)], backup=[(0, 100)], failover=3)
    assert (history.outcome.result == End.IN_TIME).all()
    assert not crossing.any()


def test_a_job_waits_for_the_switch_where_it_may_stand(key):
    """It comes to the backhaul at 3 s, 1 s after the outage began; the other link is there at 5 s.

    How long the way takes was settled when the job was sent, by the link of that slot.
    """
    params = _params(backhaul=[(2, 30)], failover=3, timeout=10.0, **BACKUP)
    history = _play(key, params, CLOUD)
    np.testing.assert_allclose(ended(history, 0)["backhaul"], [2.0 + 2.0], rtol=1e-5)
    np.testing.assert_allclose(ended(history, 0)["latency"], [13.0], rtol=1e-5)


# ---------------------------------------------------------------------------------------------- delay and jitter

MEAN, DEVIATION = 0.05, 0.01


def _extra(key, chunks=1, place=EDGE, **numbers):
    """[tasks, D] s: the extra delay of each task, one per slot (or period)."""
    params = _params(**{**LONG, **numbers})
    outcome = play_long(key, params, make_decisions(place), chunks).outcome
    assert set(outcome.result.ravel().tolist()) <= {End.NONE, End.IN_TIME}
    extra = np.float64(outcome.passed.backhaul)
    return extra[(outcome.result > 0).all(1)]


def test_delay_in_its_slots_and_its_cell(key):
    """At the edge it is all there is between the parts; on the way to the cloud it adds up."""
    delay = {0: [(10, MEAN), (20, 0.3), (40, 0.0)], 1: [(15, 0.2)]}
    expected = np.zeros((SLOTS, 6))
    expected[10:20, :3], expected[20:40, :3], expected[15:, 3:] = MEAN, 0.3, 0.2
    np.testing.assert_allclose(_extra(key, delay=delay), expected, rtol=1e-6)
    np.testing.assert_allclose(_extra(key, place=CLOUD, delay=delay), 2.0 + expected, rtol=1e-5)


@pytest.mark.parametrize(("correlation", "period"), [(0.0, 1), (0.8, 1), (0.8, 3), (0.95, 1)])
def test_jitter_of_a_devices_transfers(key, correlation, period):
    """Mean, deviation and AR(1): a transfer remembers the one before it, whenever that was, and no other device's."""
    chunks = 8 * period
    extra = _extra(key, chunks, period=period, delay=[(0, MEAN)], jitter=[(0, DEVIATION)], correlation=correlation)
    scaled = (extra - MEAN) / DEVIATION
    effective = scaled.size * (1 - correlation) / (1 + correlation)
    squares = scaled.size * (1 - correlation**2) / (1 + correlation**2)
    assert abs(scaled.mean()) < 5 / np.sqrt(effective)
    assert abs((scaled**2).mean() - 1) < 5 * np.sqrt(2 / squares)
    one, two = (scaled[lag:] * scaled[:-lag] for lag in (1, 2))
    assert abs(one.mean() - correlation) < 5 / np.sqrt(effective)
    assert abs(two.mean() - correlation**2) < 5 / np.sqrt(effective)
    across = (scaled[:, 0] * scaled[:, 1]).mean()
    assert abs(across) < 5 / np.sqrt(squares / 6)
    assert extra.min() > 0


def test_no_delay_is_negative(key):
    """Without a mean, half of the transfers take no longer; the others by half a normal number."""
    extra = _extra(key, 8, jitter=[(0, DEVIATION)])
    assert extra.min() == 0.0
    assert abs((extra == 0).mean() - 0.5) < 5 * 0.5 / np.sqrt(extra.size)
    assert abs(extra.mean() / DEVIATION - 1 / np.sqrt(2 * np.pi)) < 5 * np.sqrt((0.5 - 0.5 / np.pi) / extra.size)


def test_jitter_of_one_cell(key):
    extra = _extra(key, delay=[(0, MEAN)], jitter={1: [(60, DEVIATION)]})
    np.testing.assert_allclose(extra[:, :3], MEAN, rtol=1e-6)
    np.testing.assert_allclose(extra[:60], MEAN, rtol=1e-6)
    assert (extra[60:, 3:] != np.float32(MEAN)).all()
