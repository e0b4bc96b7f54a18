"""What a user can rely on: a world that couples is an event-driven simulation of the same cell, in float64."""

import numpy as np
import pytest
from coupled_cases import CELL, CELLS, DEVICES, bandwidth_for, ended, make_coupled, play_coupled

from offjax.world import End

TASKS = 12
SPREAD, PERIOD = 4.0, 12.0  # s: the tasks of one round come within 4 s, and are done long before the next
RATE, SPEED = 1e6, 1e9
NUMBERS = {
    "bits_low": (0.2e6,) * 3,
    "bits_high": (1.0e6,) * 3,
    "cycles_per_bit": (1.2e3,) * 3,
    "result_per_bit": (0.0,) * 3,
    "cell_rate": RATE,
    "server_speed": (SPEED, 1e10),
    "backhaul_delay": (0.0, 0.0),
    "battery": np.inf,
}
EPSILON = 1e-12


def _simulate(jobs, discipline):
    """One cell, one lane of each kind of work per job: [jobs, (uplink, queue, service)] s.

    ``jobs`` are (instant, uplink, service): the air and the server are shared equally among those who are there, or
    the server takes one after the other in the order in which they come to it.
    """
    left = np.array([[uplink, service] for _, uplink, service in jobs])
    start = np.array([instant for instant, _, _ in jobs])
    passed, at_server, now = np.zeros((len(jobs), 3)), [], 0.0
    while left.any():
        there = start <= now
        sends = there & (left[:, 0] > 0)
        at_server += [
            job for job in np.flatnonzero(there & (left[:, 0] == 0) & (left[:, 1] > 0)) if job not in at_server
        ]
        served = at_server if discipline == "ps" else at_server[:1]
        pace = np.zeros_like(left)
        pace[sends, 0] = 1 / max(sends.sum(), 1)
        pace[served, 1] = 1 / max(len(served), 1)
        ends = np.where(pace > 0, left / np.where(pace > 0, pace, 1), np.inf).min()
        step = min([ends, *(start[~there] - now)])
        left = left - pace * step
        left[left < EPSILON] = 0
        passed[sends, 0] += step
        passed[served, 2] += step
        passed[[job for job in at_server if job not in served], 1] += step
        at_server = [job for job in at_server if left[job, 1] > 0]
        now += step
    return passed


def _instants(seed):
    """[D, tasks] s: in every round one task per device, close to those of the others."""
    rng = np.random.default_rng(seed)
    return PERIOD * np.arange(TASKS) + rng.uniform(0.0, SPREAD, (DEVICES, TASKS))


def _world(key, structure, instants, slot):
    """The world: its parts [D, tasks, 3] s, and what each task brought as seconds of air and server [D, tasks, 2]."""
    alone = np.linspace(0.6, 1.5, DEVICES) * RATE  # each device's own rate counts where the band is shared
    params = make_coupled(structure, instants, slot, bandwidth=bandwidth_for(alone), **NUMBERS)
    chunks = int(np.ceil(TASKS * PERIOD / slot / 120))
    history = play_coupled(key, params, chunks=chunks)
    rate = np.full(DEVICES, RATE) if "fifo" in structure else alone
    parts, brought = [], []
    for device in range(DEVICES):
        tasks = ended(history, device)
        assert (tasks["result"] == End.IN_TIME).all()
        parts.append(np.stack([tasks[part] for part in ("uplink", "queue", "service")], axis=1))
        asks = history.before.job.asks[:, device]
        left = history.before.job.left
        bits, cycles = np.float64(left.uplink[asks, device]), np.float64(left.service[asks, device])
        brought.append(np.stack([bits / rate[device], cycles / SPEED], axis=1))
        np.testing.assert_allclose(tasks["latency"], parts[-1].sum(1), rtol=1e-6)
    return np.stack(parts), np.stack(brought)


def _reference(instants, brought, discipline):
    parts = np.zeros((DEVICES, TASKS, 3))
    for cell in range(CELLS):
        here = slice(cell * CELL, (cell + 1) * CELL)
        jobs = np.concatenate([instants[here, :, None], brought[here]], axis=2).reshape(-1, 3)
        parts[here] = _simulate(jobs, discipline).reshape(CELL, TASKS, 3)
    return parts


def test_the_reference_by_hand():
    """Two devices send from 0 on: 1 s shared is 2 s; then one computes for 3 s and the other behind it, or with it."""
    jobs = [(0.0, 1.0, 3.0), (0.0, 1.0, 1.0), (3.5, 0.5, 1.0)]
    np.testing.assert_allclose(_simulate(jobs, "fifo"), [[2, 0, 3], [2, 3, 1], [0.5, 2, 1]])
    # From 2 on two: at 4 both have done 1, the second is through; then 2 and the third: at 6 it is through.
    np.testing.assert_allclose(_simulate(jobs, "ps"), [[2, 0, 5], [2, 0, 2], [0.5, 0, 2]])


@pytest.mark.parametrize("slot", [0.25, 0.9, 4.0])
@pytest.mark.parametrize("structure", ["exact fifo", "exact ps"])
def test_exact_is_the_event_simulation(key, structure, slot):
    """With slots shorter than a task, and longer than most."""
    instants = _instants(7)
    parts, brought = _world(key, structure, instants, slot)
    expected = _reference(instants, brought, structure.split()[1])
    assert expected[..., 0].sum() > 1.2 * brought[..., 0].sum(), "the air is shared"
    assert expected[..., 1:].sum() > 1.2 * brought[..., 1].sum(), "and the server"
    np.testing.assert_allclose(parts, expected, rtol=1e-4, atol=1e-4)


def _errors(key, structure, slot, seeds):
    """Mean absolute error of the latency, task by task, relative to the mean latency, in mode slot."""
    error, total = 0.0, 0.0
    for seed in seeds:
        instants = _instants(seed)
        parts, brought = _world(key, structure, instants, slot)
        expected = _reference(instants, brought, structure.split()[1]).sum(-1)
        error += np.abs(parts.sum(-1) - expected).sum()
        total += expected.sum()
    return error / total


@pytest.mark.parametrize(("structure", "seeds"), [("slot fifo", range(12)), ("slot ps", range(3))])
def test_half_the_slot_halves_the_error_of_a_task(key, structure, seeds):
    """A queue has more of it and more noise: two who come in one slot may find each other in the wrong order."""
    errors = [_errors(key, structure, slot, seeds) for slot in (0.8, 0.4, 0.2)]
    assert errors[0] < 0.2
    assert errors[1] < 0.7 * errors[0]
    assert errors[2] < 0.7 * errors[1]
    assert errors[2] < 0.4 * errors[0]
