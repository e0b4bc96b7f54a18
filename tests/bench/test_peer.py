"""What a user can rely on: plain Python in float64 and the world have the same outcomes on the same draws."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import gymnasium.utils.env_checker
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from offjax import world as w
from offjax.bench.peer import Peer, measure, queue_up, share_events
from offjax.errors import ConfigError
from offjax.problems import nieto2024
from offjax.problems.nieto2024 import Nieto2024, Scenario
from offjax.workload import arrivals
from offjax.world import End

SLOTS, DEVICES = 300, 20
TOLERANCE = 1e-5
PARTS = ("wait", "decide", "uplink", "backhaul", "queue", "service", "downlink")
CODES = ("result", "place", "task_class", "refused", "arrived")
ENERGIES = ("energy", "drawn_task", "drawn_idle")
OUTAGES = Scenario(mec=((40, 60), (200, 207)), cloud=((70, 75),), link=((100, 115), (150, 151)), backhaul=((130, 160),))


# ------------------------------------------------------------------------------------------------- the cases


def _f32(*values):
    return jnp.asarray(values[0] if len(values) == 1 else values, jnp.float32)


def _uncoupled(slot=1.0, battery=4000.0) -> Nieto2024:
    """The paper's cell, a task per slot."""
    problem = nieto2024.make(scenario=OUTAGES, devices=DEVICES, horizon=SLOTS)
    params = problem.params
    fleet = params.fleet.replace(battery=_f32(battery))
    return problem.replace(params=params.replace(slot_duration=_f32(slot), fleet=fleet))


def _coupled(preset: str, come, slot: float, **structure) -> Nieto2024:
    """Tasks that share the air and the edge server, and bring results back, on devices that differ."""
    problem = nieto2024.make(preset, scenario=OUTAGES, devices=DEVICES, horizon=SLOTS)
    params = problem.params
    schedule = params.schedule.replace(
        load=w.steps([[(210, 0.5), (230, 1.0), (234, 0.1)], []]),
        traffic=w.steps([[(250, 4.0), (280, 0.0)]]),
        traffic_rate=_f32(1e7),
    )
    rng = np.random.default_rng(1)
    params = params.replace(
        slot_duration=_f32(slot),
        workload=params.workload.replace(arrivals=come, result_per_bit=_f32(0.2, 0.0, 0.2), deadline="uniform"),
        fleet=params.fleet.replace(
            speed=_f32(rng.choice([4e7, 1e9], DEVICES)),
            energy_coefficient=_f32(1e-25),
            battery=_f32(rng.choice([3.0, 4000.0], DEVICES)),
            receive_power=_f32(0.3),
        ),
        radio=params.radio.replace(bandwidth=_f32(1e8), cell_rate=_f32(2e8), downlink_rate=_f32(1e8)),
        schedule=schedule,
        coupling="exact",
        **structure,
    )
    return problem.replace(params=params)


def _means(low, high):
    return np.linspace(low, high, DEVICES)


def _shared_cell(cell_rate=2e8) -> Nieto2024:
    structure = {"uplink": "cell", "downlink": "cell", "queue": ("ps", "none"), "buffer": 0}
    problem = _coupled("figures", arrivals.poisson(_means(0.1, 1.0)), 0.1, **structure)
    radio = problem.params.radio.replace(cell_rate=_f32(cell_rate))
    return problem.replace(params=problem.params.replace(radio=radio))


CASES = {
    "one slot": lambda: _uncoupled(),
    "many slots": lambda: _uncoupled(slot=0.013),
    "batteries": lambda: _uncoupled(slot=0.4, battery=150.0),
    "fifo": lambda: _coupled(
        "text",
        arrivals.poisson(_means(0.06, 0.4)),
        0.05,
        uplink="active",
        downlink="fixed",
        queue=("fifo", "none"),
        delays=True,
    ),
    "ps": lambda: _shared_cell(),
    "instant": lambda: _shared_cell(cell_rate=np.inf),
    # Long queues behind rates that jump from slot to slot: what float32 rounds off grows, so slot by slot only.
    "closed": lambda: _coupled(
        "figures", arrivals.closed(_means(0.01, 0.2)), 0.01, uplink="cell", queue=("fifo", "none"), buffer=3
    ),
    "bernoulli": lambda: _coupled(
        "text", arrivals.bernoulli(_means(0.1, 1.0)), 0.05, downlink="active", queue=("ps", "none"), delays=True
    ),
}
LONG = ("one slot", "many slots", "batteries", "fifo", "ps", "instant")  # told whole; the others slot by slot


# ---------------------------------------------------------------------------------------- both, side by side


@dataclass
class Story:
    """What happened in [SLOTS, D], told by the world or by the peer."""

    codes: dict[str, np.ndarray]
    times: dict[str, np.ndarray]  # s
    energies: dict[str, np.ndarray]  # J
    deadline: np.ndarray
    reward: np.ndarray
    observation: np.ndarray  # [SLOTS, D, F] after each slot
    battery: np.ndarray


@dataclass
class Played:
    """A case as the world played it, with what the peer needs to do the same."""

    problem: Nieto2024
    places: np.ndarray
    delays: np.ndarray
    draws: w.Draws  # [SLOTS, ...]
    before: w.State  # [SLOTS, ...]
    story: Story


@jax.jit
def _play(key, problem, places, delays):
    params = problem.params
    keys = jax.random.split(key, SLOTS + 1)
    state = w.init(keys[0], params)
    draws = jax.vmap(lambda key: w.draw(key, params))(keys[1:])

    def slot(before, x):
        place, delay, bits = x
        after, outcome = w.advance(before, w.Decision(place, delay if params.delays else None), bits, params)
        seen = problem.normalise(problem.observe(after))
        told = (outcome, problem.reward(outcome, before), seen, w.remaining(after.device, params))
        return after, (before, told)

    return draws, *jax.lax.scan(slot, state, (places, delays, draws))[1]


def _story_of_world(outcome, reward, seen, battery) -> Story:
    return Story(
        codes={name: getattr(outcome, name) for name in CODES},
        times={part: getattr(outcome.passed, part) for part in PARTS} | {"latency": outcome.latency},
        energies={name: getattr(outcome, name) for name in ENERGIES},
        deadline=outcome.deadline,
        reward=reward,
        observation=seen,
        battery=battery,
    )


def _step(peer: Peer, played: Played, slot: int) -> dict[str, Any]:
    """One slot of the peer; rows [D] of what it tells."""
    places, delays = played.places[slot].tolist(), played.delays[slot].tolist()
    observation, reward, terminated, truncated, info = peer.step_delayed(places, delays)
    assert not terminated
    assert truncated == (slot + 1 >= SLOTS)
    assert reward == pytest.approx(sum(info["rewards"]))
    assert peer.observation_space.dtype == observation.dtype
    outcomes = info["outcomes"]
    rows = {name: [outcome[name] for outcome in outcomes] for name in (*CODES, *ENERGIES, "latency", "deadline")}
    rows |= {part: [outcome["passed"][part] for outcome in outcomes] for part in PARTS}
    battery = [device.left for device in peer.cell.devices]
    return rows | {"reward": info["rewards"], "observation": observation, "battery": battery}


def _story_of_peer(rows: list[dict[str, Any]]) -> Story:
    table = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return Story(
        codes={name: table[name].astype(int) for name in CODES},
        times={name: table[name] for name in (*PARTS, "latency")},
        energies={name: table[name] for name in ENERGIES},
        **{name: table[name] for name in ("deadline", "reward", "observation", "battery")},
    )


def _at(records, slot):
    return jax.tree.map(lambda leaf: leaf[slot], records)


def _told_whole(played: Played) -> Story:
    """The peer from the first slot to the last, on its own."""
    peer = Peer(played.problem)
    peer.reset(options={"state": _at(played.before, 0), "draws": (_at(played.draws, slot) for slot in range(SLOTS))})
    return _story_of_peer([_step(peer, played, slot) for slot in range(SLOTS)])


def _told_slot_by_slot(played: Played) -> Story:
    """The peer for one slot from each state of the world."""
    peer, rows = Peer(played.problem), []
    for slot in range(SLOTS):
        peer.reset(options={"state": _at(played.before, slot), "draws": ()})
        rows.append(_step(peer, played, slot))
    return _story_of_peer(rows)


@pytest.fixture(scope="module")
def played(key):
    """Name of a case -> :class:`Played`: anything is decided, and now and then nothing."""

    @cache
    def play(name: str) -> Played:
        problem, rng, shape = CASES[name](), np.random.default_rng(7), (SLOTS, DEVICES)
        places = np.where(rng.random(shape) < 0.05, -1, rng.integers(0, 3, shape)).astype(np.int8)
        late = rng.choice([0.0, 0.0, 0.0, 0.3, 2.6], shape) * float(problem.params.slot_duration)
        delays = np.where(problem.params.delays, late, 0.0).astype(np.float32)
        draws, before, told = jax.device_get(_play(key, problem, places, delays))
        return Played(problem, places, delays, draws, before, _story_of_world(*told))

    return play


def _assert_same(world: Story, peer: Story, slot: float) -> None:
    """Equal codes, and numbers to 1e-5, but where a latency is its deadline to 1e-5."""
    tie = np.abs(peer.times["latency"] - peer.deadline) < TOLERANCE * peer.deadline
    ended = (peer.codes["result"] == End.IN_TIME) | (peer.codes["result"] == End.LATE)
    assert (tie & ended).sum() < 1e-3 * ended.sum()
    for name in CODES:
        different = world.codes[name] != peer.codes[name]
        assert not (different & ~tie).any() if name == "result" else not different.any(), name
    for name, expected in peer.times.items():
        np.testing.assert_allclose(world.times[name], expected, rtol=TOLERANCE, atol=TOLERANCE * slot, err_msg=name)
    most = peer.energies["drawn_task"].max()
    for name, expected in peer.energies.items():
        np.testing.assert_allclose(world.energies[name], expected, rtol=TOLERANCE, atol=TOLERANCE * most, err_msg=name)
    np.testing.assert_allclose(world.deadline, peer.deadline, rtol=TOLERANCE)
    np.testing.assert_allclose(world.battery, peer.battery, rtol=TOLERANCE, atol=TOLERANCE * most)
    np.testing.assert_allclose(world.observation, peer.observation, atol=TOLERANCE)
    np.testing.assert_allclose(np.where(tie, 0.0, world.reward), np.where(tie, 0.0, peer.reward), atol=0.1 * TOLERANCE)


# --------------------------------------------------------------------------------------------- same outcomes


@pytest.mark.parametrize("name", LONG)
def test_the_world_is_the_peer(played, name):
    case = played(name)
    _assert_same(case.story, _told_whole(case), float(case.problem.params.slot_duration))


@pytest.mark.parametrize("name", CASES)
def test_the_world_is_the_peer_in_every_slot(played, name):
    case = played(name)
    _assert_same(case.story, _told_slot_by_slot(case), float(case.problem.params.slot_duration))


@pytest.mark.parametrize("name", CASES)
def test_the_cases_show_what_they_are_for(played, name):
    codes, times = played(name).story.codes, played(name).story.times
    params = played(name).problem.params
    ends = set(np.unique(codes["result"])) | set(np.unique(codes["refused"]))
    assert ends >= {End.IN_TIME, End.LATE, End.SERVER_LOST}
    assert (End.LINK_LOST in ends) == (name != "batteries")
    assert (End.BATTERY_EMPTY in ends) == (name not in ("one slot", "many slots"))
    assert (End.BUFFER_FULL in ends) == (name not in ("one slot", "closed"))
    assert (End.NO_DECISION in ends) == (name != "closed")
    assert (End.RESULT_LOST in ends) == (name in ("fifo", "ps", "instant"))
    assert (times["queue"].max() > 0) == ("fifo" in params.queues)
    assert (times["downlink"].max() > 0) == (params.downlink != "none" and name != "instant")
    assert (times["wait"].max() > 0) == (name != "closed")


def test_devices_stand_where_they_are_given(played):
    """Equation (3), from the peer's own beginning."""
    case = played("ps")
    peer = Peer(case.problem)
    peer.reset(seed=0)
    own = [device.path_loss for device in peer.cell.devices]
    np.testing.assert_allclose(own, case.before.device.path_loss[0], rtol=1e-6)


# ------------------------------------------------------------------------------------------------ by itself


def test_three_devices_share_by_hand():
    """Slot of 3 s: [0, .5] device 0 alone; [.5, 1] two; [1, 1.75] three, device 0 ends; then the other two."""
    time, left = share_events([1.0, 2.0, 3.0], [0.0, 0.5, 1.0], 3.0, 0.0)
    np.testing.assert_allclose(time, [1.75, 2.5, 2.0])
    np.testing.assert_allclose(left, [0.0, 0.875, 2.125])


def test_three_devices_queue_by_hand():
    """Slot of 3 s, .25 s old work: idle from .25 to 1, then the tie in order of the index; idle from 2 to 2.5."""
    waits, after = queue_up([0.5, 0.5, 1.0], [1.0, 1.0, 2.5], 0.25, 3.0)
    np.testing.assert_allclose(waits, [0.0, 0.5, 0.0])
    assert after == pytest.approx(0.5)


def test_it_is_a_gymnasium_environment():
    peer = Peer(_uncoupled())
    gymnasium.utils.env_checker.check_env(peer, skip_render_check=True)
    peer.reset(seed=3)
    steps = [peer.step(peer.action_space.sample()) for _ in range(5)]
    assert [truncated for *_, truncated, _ in steps] == [False] * 5
    assert len({observation.tobytes() for observation, *_ in steps}) == 5


@pytest.mark.parametrize("name", ["one slot", "fifo", "closed", "bernoulli"])
def test_its_own_draws_are_like_the_worlds(played, name):
    """On average, with the same decisions."""
    case = played(name)
    peer = Peer(case.problem)
    peer.reset(seed=1)
    story = _story_of_peer([_step(peer, case, slot) for slot in range(SLOTS)])
    for read in (lambda s: s.codes["arrived"], lambda s: s.codes["result"] == End.IN_TIME, lambda s: s.battery):
        assert read(story).mean() == pytest.approx(read(case.story).mean(), rel=0.15)


@pytest.mark.parametrize(
    ("field", "value"),
    [("coupling", "slot"), ("outage", "stall"), ("updates", True), ("redundant", True), ("impaired", True)],
)
def test_what_the_peer_does_not_know_is_refused(field, value):
    problem = _uncoupled()
    with pytest.raises(ConfigError, match=field):
        Peer(problem.replace(params=problem.params.replace(**{field: value})))


def test_one_cell_only():
    with pytest.raises(ConfigError, match="access_points"):
        Peer(nieto2024.make(devices=2 * DEVICES))


def test_speed():
    speed = measure(_uncoupled(), slots=20)
    assert 0 < speed.tasks_per_s <= speed.device_steps_per_s < np.inf
