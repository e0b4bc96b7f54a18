"""What a user can rely on in any world: every task ends exactly once, time adds up, and so does energy."""

import jax
import numpy as np
import pytest
from coupled_cases import EVERYTHING, make_everything, play_long
from hypothesis import given, settings
from hypothesis import strategies as st
from world_cases import CELLS, DEVICES, EDGE, NUMBERS, SLOTS, make_decisions, make_params, play

from offjax.workload.arrivals import NEVER
from offjax.world import DROPS, End, Kind, remaining
from offjax.world.phases import SLACK
from offjax.world.step import every_part

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
    if params.workload.arrivals.kind == "periodic":
        slot = np.arange(SLOTS + 1)[:, None]
        arrivals = params.workload.arrivals
        period, phase = np.asarray(arrivals.period), np.asarray(arrivals.phase)
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
        before, after = getattr(every_part(history.before.job.passed), part), getattr(outcome.passed, part)
        np.testing.assert_array_equal(after[left == 0], before[left == 0], "and nothing moves without it")
    assert (accounted.sum(0) <= battery.astype(np.float64) * (1 + 1e-6)).all()


# -------------------------------------------------------------------------------------------- everything switched on


def _steps(things, values):
    edges = st.lists(st.integers(0, SLOTS), min_size=3, max_size=3, unique=True).map(sorted)
    row = st.tuples(edges, st.tuples(*[values] * 3)).map(lambda pair: list(zip(*pair, strict=True)))
    return st.fixed_dictionaries(dict.fromkeys(range(things), st.one_of(st.just([]), row)))


def _slots(*shares):
    """Times that are so many slots long: multiplied by the slot when the world is made."""
    return st.sampled_from(shares)


IN_SLOTS = ("mean", "delay", "jitter", "timeout", "backup_delay")
everything = st.fixed_dictionaries(
    {
        "slot_duration": st.sampled_from([0.1, 0.5, 3.0]),
        "mean": _each(_slots(0.3, 1.0, 4.0)),
        "chance": _each(st.sampled_from([0.0, 0.3, 1.0])),
        "probability": st.sampled_from([(1.0, 0.0, 0.0), (0.2, 0.3, 0.5)]),
        "bits_low": st.tuples(*[st.floats(1e3, 1e6)] * 3),
        "bits_high": st.tuples(*[st.floats(1e6, 2e6)] * 3),
        "cycles_per_bit": st.tuples(*[st.floats(0, 2e3)] * 3),
        "result_per_bit": st.tuples(*[st.sampled_from([0.0, 0.3, 2.0])] * 3),
        "factor_low": st.floats(0.0, 1.0),
        "factor_high": st.floats(1.0, 9.0),
        "battery": _each(st.sampled_from([0.0, 1.0, 30.0, 4000.0, np.inf])),
        "idle_power": _each(st.sampled_from([0.0, 0.1, 1.0])),
        "transmit_power": _each(st.sampled_from([0.0, 0.2, 1.5])),
        "shadowing": st.sampled_from([0.0, 5.9]),
        "distance": _each(st.floats(1.0, 400.0)),
        "bandwidth": _each(st.sampled_from([2e5, 5e6])),
        "cell_rate": st.sampled_from([1e6, 2e7]),
        "speed": _each(st.sampled_from([1e8, 1e10])),
        "server_speed": st.tuples(st.sampled_from([2e8, 1e9, 1e10]), st.just(1e10)),
        "downlink_rate": _each(st.sampled_from([1e6, 2e7, np.inf])),
        "share_low": _pair(0.0, 0.5),
        "share_high": _pair(0.5, 1.0),
        "link": _spans(CELLS),
        "backhaul": _spans(CELLS),
        "backup": _spans(CELLS),
        "server": _spans(2),
        "backup_delay": st.tuples(st.just(0.0), _slots(0.0, 1.7)),
        "failover": st.integers(0, 5),
        "timeout": _slots(0.0, 0.7, 4.0, np.inf),
        "load": _steps(2, st.sampled_from([0.0, 0.5, 1.0])),
        "traffic": _steps(CELLS, st.sampled_from([0.0, 1.0, 30.0])),
        "traffic_rate": st.sampled_from([0.0, 1e5]),
        "delay": _steps(CELLS, _slots(0.0, 0.3, 2.0)),
        "jitter": _steps(CELLS, _slots(0.0, 0.3, 2.0)),
        "correlation": st.sampled_from([0.0, 0.9, 1.0]),
    }
)


def _in_seconds(values):
    """Times given in slots, in seconds."""
    slot = values["slot_duration"]

    def scaled(value):
        if isinstance(value, dict):
            return {thing: [(start, number * slot) for start, number in row] for thing, row in value.items()}
        return tuple(np.asarray(value, np.float64) * slot) if np.ndim(value) else value * slot

    return {**values, **{name: scaled(values[name]) for name in IN_SLOTS}}


@pytest.mark.parametrize("structure", EVERYTHING)
@settings(deadline=None, max_examples=50)
@given(everything, habits, st.integers(0, 2**32 - 1))
def test_nothing_is_lost_or_invented_with_everything_on(structure, values, habits, seed):
    decisions = _decisions(seed, values["slot_duration"], **habits)
    params = make_everything(structure, **_in_seconds(values))
    history = play_long(jax.random.key(seed, impl="philox4x32"), params, decisions)
    _check_tasks(history, params)
    _check_latency(history.outcome)
    _check_energy(history, params)
    _check_source(history, params)
    _check_messages(history, params)
    _check_servers(history, params)
    jax.tree.map(_check_number, (history.outcome, history.before.job, history.before.server))


def _check_number(values):
    if values.dtype == np.float32:
        assert not np.isnan(values).any()


def _check_source(history, params):
    """A closed loop has either a job or a task to come; of what is due one is let in per slot."""
    if params.workload.arrivals.kind == "closed":
        np.testing.assert_array_equal(history.before.source.due == NEVER, history.before.job.kind != Kind.NONE)
    if params.workload.arrivals.kind == "poisson":
        due, slot = np.int64(history.before.source.due), np.arange(SLOTS)[:, None]
        came = history.outcome.arrived
        np.testing.assert_array_equal(came, due <= slot + 1)


def _brought(history):
    """[slots, D] bits and result bits of the task that is under way, or ends, in each slot."""
    job = history.before.job
    up, down = np.zeros((2, SLOTS, DEVICES), np.float64)
    for slot in range(SLOTS):
        up[slot] = np.where(job.asks[slot], job.left.uplink[slot], up[slot - 1])
        if job.left.downlink is not None:
            down[slot] = np.where(job.asks[slot], job.left.downlink[slot], down[slot - 1])
    return up, down


def _check_messages(history, params):
    """Every bit of a completed task was sent once and is paid for; no cell sends more than its air carries."""
    outcome, job, fleet = history.outcome, history.before.job, params.fleet
    bits, result_bits = _brought(history)
    done = np.isin(outcome.result, [End.IN_TIME, End.LATE]) & (outcome.place > 0)
    passed = jax.tree.map(np.float64, outcome.passed)
    upload, download = (np.asarray(power, np.float64) for power in (fleet.transmit_power, fleet.receive_power))
    most = upload * passed.uplink + download * passed.downlink
    if params.uplink == "active":  # all the time is paid
        np.testing.assert_allclose(outcome.energy[done], most[done], rtol=1e-4, atol=1e-9)
    else:  # only its own turns; the downlink at most for all the time
        rate = float(params.radio.cell_rate)
        own = upload * bits / rate
        if params.downlink == "cell":
            np.testing.assert_allclose(
                outcome.energy[done], (own + download * result_bits / rate)[done], rtol=1e-4, atol=1e-9
            )
        else:
            assert (outcome.energy[done] >= own[done] * (1 - 1e-4) - 1e-9).all()
            assert (outcome.energy[done] <= (own + download * passed.downlink)[done] * (1 + 1e-4) + 1e-9).all()
    assert (job.left.uplink >= 0).all()
    same = (job.kind[:-1] == job.kind[1:]) & ~job.asks[:-1] & ~job.asks[1:] & (outcome.result == 0)[:-1]
    same &= (outcome.update == 0)[:-1]
    sent = np.where(same, job.left.uplink[:-1] - np.float64(job.left.uplink[1:]), 0.0)
    assert (sent >= -1e-6 * bits[:-1]).all()
    if params.uplink == "cell" and params.coupling == "exact":
        slot = float(params.slot_duration)
        time = slot * (1 + SLACK) + np.maximum(job.credit, 0)[:-1].reshape(SLOTS - 1, CELLS, -1).sum(2)
        room = float(params.radio.cell_rate) * history.before.cell.air[:-1] * time
        assert (sent.reshape(SLOTS - 1, CELLS, -1).sum(2) <= room * (1 + 1e-4) + 1.0).all()


def _check_servers(history, params):
    """Work in front of a FIFO server is never negative, drains no faster than it can, and is there for all who wait."""
    server, job, slot = history.before.server, history.before.job, float(params.slot_duration)
    backlog = np.float64(server.backlog)
    assert np.isfinite(backlog).all()
    assert (backlog >= 0).all()
    assert not backlog[:, :, 1].any(), "the cloud has no queue"
    if params.queue[0] == "ps":
        assert not backlog.any()
        return
    backlog, speed = backlog[:, :, 0], float(params.servers.speed[0]) * server.share[:, :, 0]
    before, after, works = backlog[:-1], backlog[1:], speed[:-1] > 0
    if params.outage == "drop":
        assert not backlog[speed == 0].any(), "a lost server has lost its work"
    else:
        assert ((after == before) | (after == 0))[~works].all(), "it stands still, until all who waited are gone"
    kept = works & ((speed[1:] > 0) | (params.outage == "stall"))
    assert (before - after <= speed[:-1] * slot * (1 + 1e-4) + 1e-5 * before)[kept].all()
    if params.coupling == "exact":
        waits = (job.place == EDGE) & (job.left.ahead >= 0) & (job.left.service > 0) & ~job.asks
        own = np.where(waits, np.float64(job.left.ahead) + job.left.service, 0.0).reshape(SLOTS, CELLS, -1)
        assert (own.max(2) <= backlog * (1 + 1e-4) + 2 * SLACK * slot * NUMBERS["server_speed"][0]).all()
