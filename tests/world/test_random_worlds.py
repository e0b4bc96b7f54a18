"""What a user can rely on in any world: every task ends exactly once, time adds up, and so does energy."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world_cases import CELLS, DEVICES, SLOTS, make_decisions, make_params, play

from offjax.world import DROPS, End, Kind, remaining

PARTS = ("wait", "decide", "uplink", "backhaul", "queue", "service", "downlink")
all_remaining = jax.jit(jax.vmap(remaining, in_axes=(0, None)))


def _each(values):
    return st.lists(values, min_size=DEVICES, max_size=DEVICES)


def _pair(low, high):
    return st.tuples(st.floats(low, high), st.floats(low, high)).map(sorted).map(tuple)


def _spans(things):
    edges = st.lists(st.integers(0, SLOTS), min_size=4, max_size=4).map(sorted)
    spans = st.one_of(st.just([]), edges.map(lambda e: [(e[0], e[1]), (e[2], e[3])]))
    return st.fixed_dictionaries(dict.fromkeys(range(things), spans))


numbers = st.fixed_dictionaries(
    {
        "slot_duration": st.sampled_from([0.01, 0.1, 0.3, 1.0, 5.0]),
        "period": _each(st.integers(1, 9)),
        "phase": _each(st.integers(0, 9)),
        "probability": st.sampled_from([(1.0, 0.0, 0.0), (0.2, 0.3, 0.5), (0.0, 1.0, 0.0)]),
        "bits_low": st.tuples(*[st.floats(1e3, 1e6)] * 3),
        "bits_high": st.tuples(*[st.floats(1e6, 5e6)] * 3),
        "cycles_per_bit": st.tuples(*[st.floats(0, 2e3)] * 3),
        "result_per_bit": st.tuples(*[st.sampled_from([0.0, 0.3, 2.0])] * 3),
        "battery": _each(st.sampled_from([0.0, 0.01, 1.0, 7.7, 100.0, 4000.0, np.inf])),
        "idle_power": _each(st.sampled_from([0.0, 0.1, 3.0])),
        "transmit_power": _each(st.sampled_from([0.0, 0.2, 1.5])),
        "shadowing": st.sampled_from([0.0, 5.9]),
        "distance": _each(st.floats(1.0, 400.0)),
        "speed": _each(st.sampled_from([1e8, 1e9, 1e10])),
        "downlink_rate": _each(st.sampled_from([1e6, 2e7, np.inf])),
        "share_low": _pair(0.0, 0.5),
        "share_high": _pair(0.5, 1.0),
        "link": _spans(CELLS),
        "backhaul": _spans(CELLS),
        "server": _spans(2),
    }
)


habits = st.fixed_dictionaries({name: st.sampled_from([0.0, 0.2, 0.7]) for name in ("undecided", "delayed", "trains")})


def _decisions(seed, slot, undecided, delayed, trains):
    rng, shape = np.random.default_rng(seed), (SLOTS, DEVICES)
    update = {
        "place": np.where(rng.random(shape) < trains, rng.integers(0, 3, shape), -1),
        "hold": rng.choice([0.0, 0.4, 1.0, 3.7], shape) * slot,
        "bits": rng.random(shape) * 1e6,
        "cycles": rng.random(shape) * 1e9,
        "result_bits": rng.random(shape) * 1e6,
    }
    place = np.where(rng.random(shape) < undecided, -1, rng.integers(0, 3, shape))
    delay = np.where(rng.random(shape) < delayed, rng.choice([0.3, 1.0, 2.6], shape) * slot, 0.0)
    return make_decisions(place, delay, update)


@pytest.mark.parametrize("buffer", [1, 0, 3])
@settings(deadline=None, max_examples=100)
@given(numbers, habits, st.integers(0, 2**32 - 1))
def test_nothing_is_lost_or_invented(buffer, values, habits, seed):
    decisions = _decisions(seed, values["slot_duration"], **habits)
    params = make_params(buffer=buffer, **values)
    history = play(jax.random.key(seed, impl="philox4x32"), params, decisions)
    _check_tasks(history, params)
    _check_latency(history.outcome)
    _check_energy(history, params)


def _check_tasks(history, params):
    """Arrived = ended + refused + still there, by counting, and every end has its name."""
    outcome, first, last = history.outcome, history.before, history.last
    came = (first.job.kind[0] == Kind.TASK) + outcome.arrived.sum(0)
    slot = np.arange(SLOTS + 1)[:, None]
    period, phase = (np.asarray(values) for values in (params.workload.arrivals.period, params.workload.arrivals.phase))
    np.testing.assert_array_equal(came, ((slot >= phase) & ((slot - phase) % period == 0)).sum(0))
    ended, refused = (outcome.result != End.NONE).sum(0), (outcome.refused != End.NONE).sum(0)
    there = (last.job.kind == Kind.TASK).astype(int) + (last.pending.task_class >= 0).sum(0)
    np.testing.assert_array_equal(came, ended + refused + there)
    assert set(np.unique(outcome.result)) <= {*End} - {End.NO_DECISION, End.BUFFER_FULL}
    assert set(np.unique(outcome.refused)) <= {End.NONE, End.NO_DECISION, End.BUFFER_FULL}
    assert not (outcome.refused[~outcome.arrived] != End.NONE).any()
    assert set(np.unique(outcome.update)) <= {*End} - {End.LATE, End.NO_DECISION, End.BUFFER_FULL}


def _check_latency(outcome):
    parts = [getattr(outcome.passed, part) for part in PARTS]
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    np.testing.assert_array_equal(outcome.latency, total)
    for part in parts:
        assert np.isfinite(part).all()
        assert (part >= 0).all()
    completed = np.isin(outcome.result, [End.IN_TIME, End.LATE])
    in_time = outcome.latency <= outcome.deadline
    np.testing.assert_array_equal(outcome.result[completed] == End.IN_TIME, in_time[completed])
    assert not np.isin(outcome.result[completed], DROPS).any()


def _check_energy(history, params):
    outcome, last = history.outcome, history.last
    drawn = {name: getattr(outcome, f"drawn_{name}").astype(np.float64) for name in ("task", "update", "idle")}
    for joules in drawn.values():
        assert np.isfinite(joules).all()
        assert (joules >= 0).all()
    accounted = sum(drawn.values())
    spent = last.device.spent.astype(np.float64) + last.device.spent_low
    np.testing.assert_allclose(spent, accounted.sum(0), rtol=1e-6, atol=1e-12)
    of_tasks = outcome.energy.sum(0, dtype=np.float64)
    running = np.where(last.job.kind == Kind.TASK, last.job.energy, 0.0)
    np.testing.assert_allclose(of_tasks + running, drawn["task"].sum(0), rtol=5e-6, atol=1e-12)

    left = np.asarray(all_remaining(history.before.device, params))
    assert (left >= 0).all()
    # Capacity minus spent is rounded to float32, so it may seem to rise by one step of that.
    battery = np.asarray(params.fleet.battery)
    assert (left[1:] <= np.where(left[:-1] > 0, left[:-1] + 1.2e-7 * battery, 0.0)).all()
    assert not accounted[left == 0].any(), "an empty battery gives nothing"
    for part in PARTS:
        before, after = getattr(history.before.job.passed, part), getattr(outcome.passed, part)
        np.testing.assert_array_equal(after[left == 0], before[left == 0], "and nothing moves without it")
    assert (accounted.sum(0) <= battery.astype(np.float64) * (1 + 1e-6)).all()
