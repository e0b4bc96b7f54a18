"""What a user can rely on: training holds the lane, on the device for its time, on a server as a job like a task."""

import jax.numpy as jnp
import numpy as np
import pytest
from coupled_cases import make_everything
from world_cases import (
    CLOUD,
    CYCLES,
    DEVICES,
    EDGE,
    LOCAL,
    NUMBERS,
    begin,
    closed_form,
    go_on,
    make_decisions,
    make_params,
    play,
)

from offjax.world import End, Kind

SERVICE = 0.3  # of a period; a local task, so that it waits for nothing but the lane
PLACES = np.array([LOCAL, EDGE, CLOUD] * 2)


def _params(tau, slots_per_task, buffer=1):
    return make_params(
        buffer=buffer,
        slot_duration=tau / slots_per_task,
        period=slots_per_task,
        speed=CYCLES / (SERVICE * tau),
        energy_coefficient=0.0,
    )


def _only_first(values):
    """A field of an update that comes with the decision of slot 0 alone."""
    rows = np.zeros((120, DEVICES))
    rows[0] = values
    return rows


def _lane(count: int, tau: float, service: float, first_hold: float, buffer: int = 1) -> tuple[list, list]:
    """Waits of the tasks let in, and the numbers of those refused, by hand: one lane, ``buffer`` places to wait."""
    starts, waits, refused, free = [], [], [], 0.0
    for task in range(count):
        came = task * tau
        if sum(start > came + 1e-6 * tau for start in starts) >= buffer:
            refused.append(task)
            continue
        starts.append(max(came, free))
        waits.append(starts[-1] - came)
        free = starts[-1] + service + (first_hold if task == 0 else 0.0)
    return waits, refused


def _waits(history, device):
    slots = history.ended(device)
    return history.outcome.passed.wait[slots, device]


@pytest.mark.parametrize("buffer", [1, 3])
@pytest.mark.parametrize("slots_per_task", [1, 4])
@pytest.mark.parametrize("tau", [1.0, 0.3])
@pytest.mark.parametrize("holds", [[0.0, 0.1, 0.7, 0.9, 1.2, 1.7], [2.0, 2.4, 2.7, 3.45, 4.9, 7.0]])
def test_training_on_the_device_delays_the_next_task_by_the_overlap(key, tau, slots_per_task, holds, buffer):
    update = {"place": np.where(_only_first(1) > 0, 0, -1), "hold": _only_first(np.array(holds) * tau)}
    history = play(key, _params(tau, slots_per_task, buffer), make_decisions(LOCAL, update=update))
    for device, hold in enumerate(holds):
        waits, refused = _lane(120 // slots_per_task, tau, SERVICE * tau, hold * tau, buffer)
        assert waits[1] == pytest.approx(max(0.0, (SERVICE + hold - 1) * tau))
        ended = _waits(history, device)
        np.testing.assert_allclose(ended, waits[: len(ended)], rtol=1e-5, atol=2e-6 * tau)
        assert len(waits) - len(ended) <= 1 + buffer, "what has not ended is in the lane or in the buffer"
        assert np.count_nonzero(history.outcome.refused[:-1, device]) == len(refused)
        joules = history.outcome.drawn_update[:, device].sum(dtype=np.float64)
        np.testing.assert_allclose(joules, NUMBERS["update_power"] * hold * tau, rtol=1e-5)


def test_training_on_the_device_is_no_part_of_the_latency(key):
    history = play(key, _params(1.0, 1), make_decisions(LOCAL, update={"place": 0, "hold": 2.5}))
    (first, *_) = history.ended(0)
    assert first == 0
    np.testing.assert_allclose(history.outcome.latency[0], SERVICE, rtol=1e-6)
    assert history.outcome.update[2, 0] == End.IN_TIME, "held until 2.8 s, reported in the slot in which it ends"
    assert not history.outcome.update[:2].any()


@pytest.mark.parametrize("slots_per_task", [1, 4])
@pytest.mark.parametrize("size", [0.05, 0.5, 3.0])
def test_training_on_a_server_is_a_job_through_the_same_phases(key, size, slots_per_task):
    bits, cycles, result = size * 4e7, size * 3e9, size * 8e6
    places = np.array([EDGE, CLOUD] * 3)
    update = {
        "place": np.where(_only_first(1) > 0, places, -1),
        "bits": _only_first(bits),
        "cycles": _only_first(cycles),
        "result_bits": _only_first(result),
    }
    history = play(key, _params(1.0, slots_per_task), make_decisions(LOCAL, update=update))
    for device, place in enumerate(places):
        parts, energy = closed_form(place, bits, cycles, result)
        busy = SERVICE + sum(parts.values())
        # Its end is reported once, in the slot in which it ends (at least one after the task's).
        (slot,) = np.flatnonzero(history.outcome.update[:, device])
        assert history.outcome.update[slot, device] == End.IN_TIME
        assert slot == max(np.floor(SERVICE * slots_per_task) + 1, np.floor(busy * slots_per_task))
        # The lane is taken meanwhile: the next task waits for it.
        waits, refused = _lane(120 // slots_per_task, 1.0, SERVICE, sum(parts.values()))
        ended = _waits(history, device)
        np.testing.assert_allclose(ended, waits[: len(ended)], rtol=1e-5, atol=2e-6)
        assert np.count_nonzero(history.outcome.refused[:-1, device]) == len(refused)
        joules = history.outcome.drawn_update[:, device].sum(dtype=np.float64)
        np.testing.assert_allclose(joules, energy, rtol=1e-5)


def test_an_update_may_follow_a_task_that_went_to_a_server(key):
    """And a device whose decision carries none trains nothing."""
    update = {"place": [-1, EDGE, CLOUD] * 2, "bits": 1e6, "cycles": 1e8}
    history = play(key, _params(1.0, 1), make_decisions(PLACES, update=update))
    assert (history.outcome.result > 0).any(0).all()
    np.testing.assert_array_equal((history.outcome.update > 0).any(0), [False, True, True] * 2)
    assert not history.outcome.drawn_update[:, [0, 3]].any()


def test_an_update_can_be_lost_like_a_task(key):
    update = {"place": EDGE, "bits": 5e8, "cycles": 1e9}
    params = make_params(link={0: [(2, 5)]}, server={0: [(20, 40)]}, period=1000, idle_power=0.0)
    history = play(key, params, make_decisions(LOCAL, update=update))
    ends = [set(column[column > 0]) for column in history.outcome.update.T]
    assert ends == [{End.LINK_LOST}] * 3 + [{End.IN_TIME}] * 3


def test_training_on_a_server_is_in_the_way_of_tasks(key):
    """Devices 0 and 3 train, 1 and 4 have tasks; all start at once. The air: 1 s each, shared, so 2 s; then the queue.

    In order of the index: the training is served in [2, 5], the task waits for it until 5. Nobody else is there.
    """
    params = make_everything("exact fifo stall", mean=1e9, cell_rate=1e6, server_speed=(1e9, 1e9), deadline_fixed=1e4)
    state, draws = begin(key, params)
    kind = jnp.array([Kind.UPDATE, Kind.TASK, Kind.NONE] * 2, jnp.int8)
    busy = (kind != Kind.NONE).astype(jnp.float32)
    left = state.job.left.replace(uplink=1e6 * busy, ahead=-busy, service=jnp.array([3e9, 2e9, 0.0] * 2))
    place = jnp.where(kind == Kind.NONE, -1, EDGE).astype(jnp.int8)
    state = state.replace(job=state.job.replace(kind=kind, place=place, left=left, deadline=1e4 * busy))
    outcome = go_on(state, draws, params, make_decisions(-1)).outcome
    for task, training in ((1, 0), (4, 3)):
        (slot,) = np.flatnonzero(outcome.result[:, task])
        parts = [getattr(outcome.passed, part)[slot, task] for part in ("uplink", "queue", "service")]
        np.testing.assert_allclose(parts, [2.0, 3.0, 2.0], rtol=1e-5)
        assert np.flatnonzero(outcome.update[:, training]) == [4]
        joules = outcome.drawn_update[:, training].sum(dtype=np.float64)
        np.testing.assert_allclose(joules, NUMBERS["transmit_power"], rtol=1e-5)
