"""What a user can rely on: a task alone takes and costs what the closed forms say, however slots cut it."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from world_cases import CLOUD, DEVICES, EDGE, LOCAL, NUMBERS, SLOTS, closed_form, make_decisions, make_params, play

from offjax.world import End

PLACES = np.arange(DEVICES) % 3
FORMS = {place: closed_form(place) for place in (LOCAL, EDGE, CLOUD)}
LONGEST = max(sum(parts.values()) for parts, _ in FORMS.values())


def _first_task(key, slot_duration):
    # The one task of each device; the next would come after the run.
    params = make_params(slot_duration=slot_duration, period=SLOTS + 1)
    return play(key, params, make_decisions(PLACES))


def _check(history, relative):
    for device, place in enumerate(PLACES):
        parts, energy = FORMS[place]
        (slot,) = history.ended(device)
        outcome = history.outcome
        assert outcome.result[slot, device] in (End.IN_TIME, End.LATE)
        assert outcome.place[slot, device] == place
        np.testing.assert_allclose(outcome.latency[slot, device], sum(parts.values()), rtol=relative)
        np.testing.assert_allclose(outcome.energy[slot, device], energy, rtol=relative)
        for part in ("wait", "decide", "uplink", "backhaul", "queue", "service", "downlink"):
            passed = getattr(outcome.passed, part)[slot, device]
            np.testing.assert_allclose(passed, parts.get(part, 0.0), rtol=relative, err_msg=part)


def test_the_cases_pass_every_phase():
    assert set(FORMS[CLOUD][0]) == {"uplink", "backhaul", "service", "downlink"}
    assert min(FORMS[CLOUD][0].values()) > 0


@settings(deadline=None, max_examples=20)
@given(st.floats(1.001, 1e3))
def test_a_task_within_one_slot(key, factor):
    _check(_first_task(key, LONGEST * factor), 1e-6)


@settings(deadline=None, max_examples=40)
@given(st.floats(1.0, 100.0))
@example(1.0)
@example(2.0)
@example(100.0)
def test_a_task_of_up_to_a_hundred_slots(key, slots):
    _check(_first_task(key, LONGEST / slots), 1e-5)


@pytest.mark.parametrize("slots", [0.3, 7.7, 90.0])
def test_in_time_means_latency_within_the_deadline(key, slots):
    latency = sum(FORMS[EDGE][0].values())
    ends = {}
    for share in (0.999, 1.001):
        deadline = latency * share / NUMBERS["bits_low"][0]
        params = make_params(slot_duration=latency / slots, period=SLOTS + 1, deadline_per_bit=(deadline,) * 3)
        ends[share] = set(play(key, params, make_decisions(EDGE)).outcome.result.ravel()) - {End.NONE}
    assert ends == {0.999: {End.LATE}, 1.001: {End.IN_TIME}}


@pytest.mark.parametrize("delay", [0.0, 0.4, 2.0, 3.3])
def test_the_answer_takes_its_time(key, delay):
    params = make_params(period=SLOTS + 1)
    history = play(key, params, make_decisions(PLACES, delay=delay))
    for device, place in enumerate(PLACES):
        (slot,) = history.ended(device)
        np.testing.assert_allclose(history.outcome.passed.decide[slot, device], delay, rtol=1e-6)
        latency = delay + sum(FORMS[place][0].values())
        np.testing.assert_allclose(history.outcome.latency[slot, device], latency, rtol=1e-6)


def test_a_server_gives_the_share_that_is_free(key):
    params = make_params(period=SLOTS + 1, share_low=(0.5, 0.25), share_high=(0.5, 0.25), slot_duration=10.0)
    history = play(key, params, make_decisions(PLACES))
    for device, place in enumerate(PLACES):
        share = {LOCAL: 1.0, EDGE: 0.5, CLOUD: 0.25}[place]
        service = FORMS[place][0]["service"] / share
        np.testing.assert_allclose(history.outcome.passed.service[0, device], service, rtol=1e-6)
