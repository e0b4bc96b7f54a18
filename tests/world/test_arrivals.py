"""What a user can rely on: tasks come when their process says, and wait from that very instant, in any slot length."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from coupled_cases import (
    DEVICES,
    STRUCTURES,
    bandwidth_for,
    ended,
    make_coupled,
    make_everything,
    play_coupled,
    play_long,
)
from world_cases import EDGE, LOCAL, NUMBERS, make_decisions, make_params, play

from offjax.errors import ConfigError
from offjax.workload import arrivals
from offjax.workload.arrivals import NEVER, arrive, bernoulli, given, periodic, poisson
from offjax.workload.tasks import make_tasks
from offjax.world import End
from offjax.world.draws import Draw, kinds, uniform
from offjax.world.phases import SLACK

MANY, LONG = 4000, 240  # devices and slots of the processes alone
NINE = np.arange(1, 10) / 10


@jax.jit
def _process(process, shares, slot_duration, first=0):
    """Slot by slot: which devices get a task, and when after the slot's start."""

    def slot(source, x):
        number, share = x
        came, instant, source = arrive(process, source, share, number, slot_duration)
        return source, (jnp.broadcast_to(came, share.shape), jnp.broadcast_to(instant, share.shape))

    source = arrivals.start(process, shares[0], first, slot_duration)
    return jax.lax.scan(slot, source, (jnp.arange(LONG, dtype=jnp.int32) + first, shares[1:]))[1]


def _let_in(key, process, slot_duration=1.0, devices=MANY):
    """Per device: the slots in which tasks are let in, and the instants s at which they came (float64)."""
    shares = uniform(jax.random.bits(key, (LONG + 1, devices)))
    came, instant = jax.device_get(_process(process, shares, jnp.float32(slot_duration)))
    slots = [np.flatnonzero(column) for column in came.T]
    dt = np.float64(np.float32(slot_duration))
    return slots, [slots[d] * dt + instant[slots[d], d] for d in range(devices)], np.asarray(shares)


def _chi_square(shares, cells=20):
    """Of numbers that should be uniform in [0, 1): below 5 standard deviations above its mean of ``cells - 1``."""
    count = np.histogram(shares, cells, (0, 1))[0]
    expected = len(shares) / cells
    return ((count - expected) ** 2 / expected).sum() < cells - 1 + 5 * np.sqrt(2 * (cells - 1))


# ------------------------------------------------------------------------------------------- the processes alone


def test_bernoulli(key):
    """Each device with its own chance, at the start of a slot, whatever came before."""
    chance = np.linspace(0.0, 1.0, MANY)
    slots, times, _ = _let_in(key, bernoulli(chance))
    flags = np.zeros((MANY, LONG))
    for device in range(MANY):
        flags[device, slots[device]] = 1
        np.testing.assert_array_equal(times[device], slots[device])
    deviation = np.sqrt(LONG * chance * (1 - chance))
    assert not flags[0].any()
    assert flags[-1].all()
    scaled = (flags.sum(1) - LONG * chance)[1:-1] / deviation[1:-1]
    assert abs(scaled.mean()) < 5 / np.sqrt(MANY)
    assert abs(scaled.var() - 1) < 5 * np.sqrt(2 / MANY)
    centred = (flags - chance[:, None])[1:-1] / np.sqrt(chance * (1 - chance))[1:-1, None]
    assert abs((centred[:, 1:] * centred[:, :-1]).mean()) < 5 / np.sqrt(MANY * LONG)


@pytest.mark.parametrize("slot_duration", [0.2, 1.0, 1.9])
def test_poisson_gaps_are_exponential(key, slot_duration):
    """With slots so long that often several come in one, the gaps are those that were drawn, and none is lost."""
    mean = 2.0
    slots, times, shares = _let_in(key, poisson(np.full(MANY, mean)), slot_duration)
    # The next gap is drawn in the slot in which a task is let in.
    gaps = [np.diff(row, prepend=0.0) for row in times]
    for device in range(0, MANY, 100):
        drawn = -mean * np.log1p(-np.float64(shares[np.append(0, slots[device][:-1] + 1), device]))
        np.testing.assert_allclose(gaps[device], drawn, rtol=1e-4, atol=2e-5)
    count = 5 if slot_duration < 1 else 20
    first = np.array([row[:count] for row in gaps if len(row) >= count])
    assert len(first) == MANY
    assert _chi_square(np.exp(-first.ravel() / mean))
    assert _chi_square(np.exp(-first[:, 0] / mean)), "the first too: nothing is special about slot 0"
    assert abs(np.corrcoef(first[:, 1], first[:, 2])[0, 1]) < 5 / np.sqrt(MANY)


def test_poisson_counts(key):
    """Mean and variance of the number that came are the rate times the time; each device has its rate."""
    mean = np.repeat([2.0, 4.0], MANY // 2)
    slots, times, _ = _let_in(key, poisson(mean))
    horizon = 100.0
    counts = np.array([(row < horizon).sum() for row in times])
    for half, rate in ((slice(None, MANY // 2), 0.5), (slice(MANY // 2, None), 0.25)):
        expected = horizon * rate
        assert abs(counts[half].mean() - expected) < 5 * np.sqrt(expected / (MANY / 2))
        assert abs(counts[half].var() / expected - 1) < 5 * np.sqrt(2 / (MANY / 2))
    crowded = [np.unique(np.floor(row), return_counts=True)[1].max() for row in times]
    assert max(crowded) >= 4, "four in one slot, and all of them come"
    for row, let in zip(times, slots, strict=True):
        assert (np.diff(row) > 0).all()
        assert (let >= np.floor(row)).all(), "none is let in before it came"


def test_periodic(key):
    period, phase = np.array([1, 3, 7, 200]), np.array([0, 2, 9, 119])
    slots, times, _ = _let_in(key, periodic(period, phase), devices=4)
    for device in range(4):
        expected = np.arange(phase[device], LONG, period[device])
        np.testing.assert_array_equal(slots[device], expected)
        np.testing.assert_array_equal(times[device], expected)


@pytest.mark.parametrize("slot_duration", [0.1, 0.7, 3.0])
def test_given_instants_are_kept(key, slot_duration):
    """To 1e-6 s, however late; two in one slot are both let in."""
    rng = np.random.default_rng(5)
    horizon = LONG * slot_duration
    rows = [np.sort(rng.uniform(0, 0.6 * horizon, rng.integers(0, 40))) for _ in range(50)]
    slots, times, _ = _let_in(key, given(rows, slot_duration), slot_duration, devices=50)
    assert max(np.bincount(np.floor(row / slot_duration).astype(int)).max() for row in rows if len(row)) > 2
    for row, let, came in zip(rows, slots, times, strict=True):
        np.testing.assert_allclose(came, row, rtol=0, atol=1e-6 + LONG * 1e-8)
        expected = []
        for slot in np.floor(row / slot_duration):
            expected.append(max(slot, expected[-1] + 1) if expected else slot)
        np.testing.assert_array_equal(let, expected)


def test_given_instants_from_the_middle_on():
    """A world that starts at slot 30,000 meets what comes from there on, to 1e-6 s after almost an hour."""
    times = [[1.0, 2999.97, 3000.03, 3005.512345], [2.0, 2.5]]
    shares = np.zeros((LONG + 1, 2), np.float32)
    came, instant = jax.device_get(_process(given(times, 0.1), shares, jnp.float32(0.1), jnp.int32(30_000)))
    assert np.flatnonzero(came[:, 0]).tolist() == [0, 55]
    np.testing.assert_allclose(instant[[0, 55], 0], [0.03, 0.012345], atol=1e-6)
    assert not came[:, 1].any()


def test_given_rows_may_end_and_be_empty():
    process = given([[], [0.5], [0.25, np.inf]], 1.0)
    np.testing.assert_array_equal(process.slots, [[NEVER, NEVER], [0, NEVER], [0, NEVER]])
    assert given([[], []], 1.0).slots.shape == (2, 1)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([[0.0, np.nan]], "instants must be numbers >= 0 s"),
        ([[-0.1, 1.0]], "arrivals.times: -0.1 is not allowed; instants must be numbers >= 0 s"),
        ([[0.0], [2.0, 1.0]], "the instants of each device must rise"),
    ],
)
def test_given_instants_that_make_no_sense(times, message):
    with pytest.raises(ConfigError, match=message):
        given(times, 1.0)


# ------------------------------------------------------------------------------------------ through lane and buffer


def _lane(times, let_in, service, slot, buffer):
    """A device alone, slot by slot: waits of the tasks let in, and numbers of those refused.

    With the start of a slot a lane that became free in the slot before takes the oldest task that waits, else the one
    that comes; it starts when both were there.
    """
    waits, refused, waiting, end, over = [], [], [], -np.inf, -1

    for number in range(int(max(let_in)) + 200):
        came = np.flatnonzero(np.asarray(let_in) == number)
        # A lane that has been free for longer takes nothing from before the slot before.
        since = end if over == number - 1 else (number - 1) * slot
        if over < number and (waiting or len(came)):
            came, task = (came, waiting.pop(0)) if waiting else (came[1:], came[0])
            start = max(since, times[task])
            waits.append(start - times[task])
            end = start + service
            over = max(np.floor(end / slot - 1e-9), number)
        for task in came:
            (waiting if len(waiting) < buffer else refused).append(task)
    return waits, refused


def _check_lane(history, device, times, service, slot, buffer):
    let_in = []
    for came in np.floor(np.asarray(times) / slot + 1e-9):
        let_in.append(max(came, let_in[-1] + 1) if let_in else came)
    waits, refused = _lane(times, let_in, service, slot, buffer)
    tasks = ended(history, device)
    np.testing.assert_allclose(tasks["wait"], waits[: len(tasks["wait"])], rtol=1e-5, atol=1e-5 * slot)
    np.testing.assert_allclose(tasks["latency"] - tasks["wait"], service, rtol=1e-5, atol=1e-5)
    found = np.flatnonzero(history.outcome.refused[:, device]) + 1
    within = [let_in[task] for task in refused if let_in[task] <= len(history.outcome.refused)]
    np.testing.assert_array_equal(found, within)
    assert set(history.outcome.refused[:, device]) <= {End.NONE, End.BUFFER_FULL}
    return len(tasks["wait"]), len(refused)


def _at_home(service):
    """Every task takes ``service`` s on the device."""
    return {"bits_low": (1e3,) * 3, "bits_high": (1e3,) * 3, "cycles_per_bit": (service * 1e6,) * 3, "speed": 1e9}


@pytest.mark.parametrize("slot", [0.25, 1.0, 3.0])
@pytest.mark.parametrize("structure", ["slot ps", "exact fifo"])
def test_given_instants_wait_in_buffers_of_0_and_3(key, structure, slot):
    """Two come in one slot, bursts overflow the buffer: waits count from the true instants all the same."""
    rng, service = np.random.default_rng(2), 0.83
    times = [np.sort(rng.uniform(0, 30.0 * rng.uniform(0.2, 0.9), 12)) for _ in range(DEVICES)]
    params = make_coupled(structure, times, slot, battery=np.inf, **_at_home(service))
    history = play_coupled(key, params, LOCAL)
    counts = [
        _check_lane(history, device, times[device], service, slot, STRUCTURES[structure]["buffer"])
        for device in range(DEVICES)
    ]
    through, refused = np.sum(counts, axis=0)
    assert through + refused == 12 * DEVICES
    assert through > 30
    if slot < service:
        assert refused > 0


@pytest.mark.parametrize("structure", ["slot ps", "exact fifo"])
@pytest.mark.parametrize("slot", [0.25, 1.0, 3.0])
def test_alone_in_its_cell_a_device_offloads_as_if_nothing_were_shared(key, structure, slot):
    """One after the other through air and server, each backdated to the instant when the lane became free."""
    rng, service = np.random.default_rng(3), 0.83
    times = [np.sort(rng.uniform(0, 20.0, 12)) if device % 5 == 2 else [] for device in range(DEVICES)]
    work = {**_at_home(1.0), "result_per_bit": (0.0,) * 3, "server_speed": (1e9 / 0.53, 1e9)}
    rate = {"cell_rate": 1e3 / 0.3, "bandwidth": bandwidth_for(1e3 / 0.3)}
    params = make_coupled(structure, times, slot, battery=np.inf, **work, **rate)
    history = play_coupled(key, params, EDGE)
    for device in (2, 7):
        through, _ = _check_lane(history, device, times[device], service, slot, STRUCTURES[structure]["buffer"])
        assert through > 4
        assert not ended(history, device)["queue"].any()


def test_given_classes_in_their_order(key):
    """Also of those who wait; a refused task takes its class with it."""
    classes = np.array([[0, 2, 1, 1, 0, 2]] * DEVICES)
    times = [[0.5, 1.5, 2.5, 3.5, 4.5, 40.0]] * DEVICES
    params = make_coupled("exact fifo", times, 1.0, classes, battery=np.inf, **_at_home(10.0))
    history = play_coupled(key, params, LOCAL)
    for device in range(DEVICES):
        slots = history.ended(device)
        assert history.outcome.task_class[slots, device].tolist() == [0, 2, 1, 1, 2]


@pytest.mark.parametrize("structure", ["slot fifo drop", "exact ps drop"])
def test_poisson_waits_count_from_the_instant(key, structure):
    """Against the instants that the source names; no buffer, and one place."""
    service, slot = 1.7, 1.0
    params = make_everything(structure, mean=3.0, battery=np.inf, slot_duration=slot, **_at_home(service))
    history = play_long(key, params, make_decisions(LOCAL), chunks=2)
    source, through, refused = history.before.source, 0, 0
    for device in range(6):
        due, offset = np.float64(source.due[:, device]), np.float64(source.offset[:, device])
        times = np.unique(due * slot + offset)
        if history.before.job.asks[0, device]:  # it came with the first slot: the source is one further
            times = np.append(-np.float64(history.before.job.credit[0, device]), times)
        counts = _check_lane(history, device, times, service, slot, params.buffer)
        through, refused = through + counts[0], refused + counts[1]
        crowded = np.diff(np.floor(times)) == 0
        assert crowded.any(), "two in one slot"
    assert through > 150
    assert refused > 10


def test_a_closed_loop_thinks_from_the_instant_it_became_free(key):
    """Think times are the exponential numbers that were drawn, from ends below the slot to instants below the slot."""
    mean, service, slot = np.array([0.3, 0.5, 0.8, 1.5, 4.0, 9.0]), 0.83, 1.0
    params = make_everything("exact fifo stall", mean=mean, battery=np.inf, slot_duration=slot, **_at_home(service))
    history = play_long(key, params, make_decisions(LOCAL), chunks=5)
    share = uniform(history.before.draws.device[:, kinds(params).index(Draw.ARRIVAL)])
    drawn = -mean * np.log1p(-np.float64(share))
    every = []
    for device in range(6):
        tasks = ended(history, device)
        assert not tasks["wait"].any(), "nobody comes while the lane is taken"
        source = history.before.source
        # A task that is due is let in with the next slot; after that the source knows nothing until it ends.
        ends = tasks["slot"][:-1]
        due, offset = np.float64(source.due[:, device]), np.float64(source.offset[:, device])
        asks = np.flatnonzero(history.before.job.asks[:, device])
        came = asks * slot - np.float64(history.before.job.credit[asks, device])
        error = np.abs(np.diff(came[: len(ends) + 1]) - service - drawn[ends, device])
        # Who ends within the slack after a slot is free from the slot's end on.
        assert error.max() < SLACK * slot
        assert (error < 2e-5).mean() > 0.99
        assert (due[asks] == NEVER).all()
        assert (offset >= 0).all()
        every.append(share[ends, device])
    assert _chi_square(np.concatenate(every))


def test_bernoulli_in_a_world(key):
    chance = np.array([0.0, 0.1, 0.3, 0.5, 0.9, 1.0])
    params = make_everything("slot ps stall", chance=chance, **_at_home(0.5))
    outcome = play_long(key, params, make_decisions(LOCAL), chunks=4).outcome
    share, deviation = outcome.arrived.mean(0), np.sqrt(chance * (1 - chance) / 480)
    assert (np.abs(share - chance) <= 5 * deviation).all()
    assert not outcome.passed.wait.any()
    assert not outcome.refused.any()


# ------------------------------------------------------------------------------------------------ sizes and deadlines


@jax.jit
def _tasks(share, factor, workload):
    return make_tasks(jnp.arange(len(share), dtype=jnp.int32) % 3, share, factor, workload)


def _workload(size="uniform", deadline="size", **numbers):
    numbers = {"bits_low": (1e5, 0.0, 3e5), "bits_high": (2e5, 4e5, 3e5), **numbers}
    return make_params(deadline=deadline, **numbers).workload.replace(size=size)


def test_exponential_sizes(key):
    """Low plus an exponential number of mean high - low; work follows the bits."""
    share = uniform(jax.random.bits(key, (90_000,)))
    tasks = _tasks(share, share, _workload("exponential"))
    for task_class, (low, mean) in enumerate([(1e5, 1e5), (0.0, 4e5), (3e5, 0.0)]):
        bits = np.float64(tasks.bits[task_class::3])
        np.testing.assert_allclose(bits, low - mean * np.log1p(-np.float64(share[task_class::3])), rtol=1e-5)
        if mean:
            assert _chi_square(np.exp(-(bits - low) / mean))
        cycles = bits * np.array(NUMBERS["cycles_per_bit"])[task_class]
        np.testing.assert_allclose(tasks.cycles[task_class::3], cycles, rtol=1e-6)


def test_uniform_sizes(key):
    share = uniform(jax.random.bits(key, (90_000,)))
    bits = np.float64(_tasks(share, share, _workload()).bits)
    assert _chi_square((bits[0::3] - 1e5) / 1e5)
    assert _chi_square(bits[1::3] / 4e5)
    np.testing.assert_array_equal(bits[2::3], 3e5)


@pytest.mark.parametrize("deadline", ["none", "size", "uniform"])
def test_deadlines(key, deadline):
    """Of bits and of cycles, by a factor of the task or none, and a fixed part that no factor touches."""
    size, factor = uniform(jax.random.bits(key, (2, 900)))
    per = {"deadline_per_bit": (2e-6, 3e-6, 0.0), "deadline_per_cycle": (1e-9, 0.0, 2e-9), "deadline_fixed": 0.25}
    tasks = _tasks(size, factor, _workload(deadline=deadline, factor_low=0.5, factor_high=3.0, **per))
    bits, cycles, kind = np.float64(tasks.bits), np.float64(tasks.cycles), np.arange(900) % 3
    base = bits * np.array(per["deadline_per_bit"])[kind] + cycles * np.array(per["deadline_per_cycle"])[kind]
    times = {"none": np.inf, "size": 1.0, "uniform": 0.5 + 2.5 * np.float64(factor)}[deadline]
    np.testing.assert_allclose(tasks.deadline, base * times + 0.25, rtol=1e-6)


def test_deadlines_in_a_world(key):
    """Of each task its own factor; in time means within it, and without a deadline always."""
    fit = {"slot_duration": 3.0, "battery": np.inf, "deadline_per_bit": (1e-3,) * 3, **_at_home(1.0)}
    params = make_everything("slot fifo drop", mean=3.0, factor_low=0.5, factor_high=2.0, **fit)
    outcome = play_long(key, params, make_decisions(LOCAL), chunks=2).outcome
    done = outcome.result > 0
    deadline, latency = outcome.deadline[done], outcome.latency[done]
    assert _chi_square((deadline - 0.5) / 1.5, cells=10)
    np.testing.assert_array_equal(outcome.result[done], np.where(latency <= deadline, End.IN_TIME, End.LATE))
    assert 0.1 < (latency <= deadline).mean() < 0.9
    params = make_everything("slot ps stall", **{**fit, **_at_home(40.0)})
    outcome = play_long(key, params, make_decisions(LOCAL)).outcome
    assert set(outcome.result.ravel().tolist()) == {End.NONE, End.IN_TIME}
    assert np.isinf(outcome.deadline[outcome.result > 0]).all()


# ------------------------------------------------------------------------------------------------- a last task


@pytest.mark.parametrize(
    "process", [periodic(3, phase=2), bernoulli(0.4), poisson(2.5)], ids=["periodic", "bernoulli", "poisson"]
)
def test_no_more_tasks_than_the_limit(process, key):
    """The first seven are those that would come without a limit, and then there are no more."""
    free, limited = process, arrivals.limited(process, 7)
    slots, instants, _ = _let_in(key, free, devices=50)
    few, first, _ = _let_in(key, limited, devices=50)
    for device in range(50):
        np.testing.assert_array_equal(few[device], slots[device][:7])
        np.testing.assert_array_equal(first[device], instants[device][:7])
        assert len(few[device]) == 7


def test_a_limit_for_each_device_and_a_closed_loop(key):
    limit = np.arange(1, 7)
    params = make_params(devices=6, come=arrivals.limited(arrivals.closed(1.0), limit))
    outcome = play(key, params, make_decisions(LOCAL)).outcome
    np.testing.assert_array_equal((np.asarray(outcome.result) != End.NONE).sum(axis=0), limit)


def test_the_last_task_is_known_to_be_the_last(key):
    assert not arrivals.exhausted(periodic(3), None, jnp.int32(10**6))
    last = arrivals.limited(periodic(3, phase=2), 4)  # slots 2, 5, 8, 11
    over = [bool(arrivals.exhausted(last, None, jnp.int32(slot))) for slot in range(14)]
    assert over == [slot >= 11 for slot in range(14)]
    with pytest.raises(ConfigError, match=r"arrivals\.limit: 3 .*end by themselves"):
        arrivals.limited(given([[1.0]], 1.0), 3)
