"""What a user can rely on: laas2022 observes and rewards what paper A says, and its world is that of the paper."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from offjax import world as w
from offjax.errors import ConfigError
from offjax.problems import laas2022
from offjax.problems.laas2022 import Device, Server
from offjax.problems.parts import Sharing
from offjax.problems.scenario import Scenario
from offjax.world import End, checks

DEVICES, SLOTS = 6, 40
ALONE = Sharing()
SERVERS = (
    Server("edge", f=1e9, energy_per_unit=1e-7),
    Server("cloud", f=10e9, energy_per_unit=2e-7, link_rate=1e8, link_delay=0.02, cloud=True),
)


def _make(**options):
    return laas2022.make(devices=DEVICES, devices_per_cell=3, **{"sharing": ALONE, "servers": SERVERS, **options})


@partial(jax.jit, static_argnames=("slots",))
def _play(problem, key, places, slots=SLOTS):
    """States before each slot, outcomes, rewards and states at the end under the places [T, D]."""
    start, run = jax.random.split(key)

    def slot(state, each):
        after, outcome = w.advance(state, w.Decision(each[1]), w.draw(each[0], problem.params), problem.params)
        return after, (state, outcome, problem.reward(outcome, state), problem.terminated(after))

    keys = jax.random.split(run, slots)
    return jax.lax.scan(slot, w.init(start, problem.params), (keys, places))


@pytest.fixture(scope="module")
def places():
    return jax.random.randint(jax.random.key(1), (SLOTS, DEVICES), 0, 3).astype(jnp.int8)


def test_the_state_of_the_paper_has_4_and_3_numbers_for_each_server():
    for servers in (SERVERS[:1], SERVERS, (*SERVERS, Server("second", f=2e9))):
        problem = _make(servers=servers)
        assert len(problem.features) == 4 + 3 * len(servers)
        seen = problem.observe(w.init(jax.random.key(0), problem.params))
        assert seen.shape == (DEVICES, 4 + 3 * len(servers))
    flags = _make(observe_battery=True, observe_delays=True, observe_cell=True)
    seen = flags.observe(w.init(jax.random.key(0), flags.params))
    assert seen.shape == (DEVICES, 10 + 1 + 2 + 2 * 2) == (DEVICES, len(flags.features))


def test_what_is_observed(key):
    problem = _make(observe_battery=True, observe_delays=True, observe_cell=True)
    state = w.init(key, problem.params)
    seen = np.asarray(problem.observe(state))
    named = {feature.name: seen[:, index] for index, feature in enumerate(problem.features)}
    np.testing.assert_allclose(named["device_capacity"], 40e6)
    np.testing.assert_allclose(named["device_energy"], 1.6e-6, rtol=1e-5)
    np.testing.assert_allclose(named["task_demand"], state.job.left.service)
    np.testing.assert_allclose(named["edge_energy"], 1e-7, rtol=1e-5)
    np.testing.assert_allclose(named["cloud_capacity"], 10e9)
    np.testing.assert_allclose(named["cloud_link"], 1e8)
    np.testing.assert_allclose(named["cloud_delay"], 0.02, rtol=1e-5)
    np.testing.assert_allclose(named["battery"], 4000.0)
    np.testing.assert_allclose(named["demand_of_1"], named["task_demand"].reshape(2, 3)[:, [1, 2, 0]].ravel())
    np.testing.assert_allclose(named["link_rate_of_2"], named["link_rate"].reshape(2, 3)[:, [2, 0, 1]].ravel())
    scaled = np.asarray(problem.normalise(seen))
    assert (scaled >= 0).all()
    assert (scaled <= 1).all()


def test_a_node_that_is_lost_is_seen(key):
    what = Scenario(mec=((0, 9),), link=((0, 9),), backhaul=((0, 9),))
    problem = _make(scenario=what)
    seen = np.asarray(problem.observe(w.init(key, problem.params)))
    named = {feature.name: seen[:, index] for index, feature in enumerate(problem.features)}
    for name in ("link_rate", "edge_capacity", "cloud_capacity", "cloud_link"):
        assert not named[name].any(), name
    redundant = _make(scenario=Scenario(backhaul=((0, 9),), redundant=True, backup_rate=3e7))
    seen = np.asarray(redundant.observe(w.init(key, redundant.params)))
    np.testing.assert_allclose(seen[:, 9], 3e7)


@pytest.mark.parametrize("reading", ["rate", "cycles_per_unit"])
@pytest.mark.parametrize("form", ["one_choice", "literal"])
def test_rewards_are_equations_1_to_5(key, places, reading, form):
    """Alone, with servers that are all free, against NumPy in float64."""
    cycles = reading == "cycles_per_unit"
    servers = tuple(Server(**{**vars(s), "f": 2.0, "clock": 2 * s.f}) if cycles else s for s in SERVERS)
    fleet = (Device(f=4.0, clock=160e6),) if cycles else (Device(),)
    problem = _make(servers=servers, reading=reading, cost=form, fleet=fleet, path_loss="umi_los", theta=0.3)
    _, (before, outcome, reward, _) = jax.device_get(_play(problem, key, places))
    ended = outcome.result != End.NONE
    assert ended.all()  # each in its slot: what it was is in the state before
    demand = before.job.left.service.astype(np.float64)
    np.testing.assert_allclose(before.job.left.uplink, 0.3 * demand, rtol=1e-5)
    capacity = np.array([40e6, 1e9, 10e9])[outcome.place]
    crossing = np.array([0.0, 1e-9, 1e-8])[outcome.place] * 0.3 * demand + 0.02 * (outcome.place == 2)
    time = outcome.passed.uplink + crossing + demand / capacity
    energy = np.where(outcome.place == 0, demand * 1.6e-6, 0.1 * outcome.passed.uplink)
    energy = energy + demand * np.array([0.0, 1e-7, 2e-7])[outcome.place]
    alpha, beta = 1 / (5.5e6 * 1.6e-6), 1 / (5.5e6 / 40e6)
    expected = alpha * energy + beta * time
    if form == "literal":
        expected = expected + (alpha * demand * 1.6e-6 + beta * demand / 40e6)
    np.testing.assert_allclose(reward, -expected, rtol=2e-5)


def test_a_drop_has_a_reward_of_its_own(key):
    problem = _make(scenario=Scenario(link=((0, 9),)), drop_reward=-7.0)
    _, (_, outcome, reward, _) = jax.device_get(_play(problem, key, jnp.ones((5, DEVICES), jnp.int8), slots=5))
    assert (outcome.result == End.LINK_LOST).all()
    np.testing.assert_allclose(reward, -7.0)


def test_the_loop_ends_with_the_battery(key):
    problem = _make(fleet=(Device(battery=20.0),))
    state, (_, _, reward, terminated) = jax.device_get(_play(problem, key, jnp.zeros((SLOTS, DEVICES), jnp.int8)))
    assert terminated[-1].all()
    died = terminated.argmax(axis=0)
    for device in range(DEVICES):
        assert not terminated[: died[device], device].any()
        assert terminated[died[device] :, device].all()
        assert reward[: died[device] + 1, device].all()
        assert not reward[died[device] + 1 :, device].any(), "nothing counts after the end"
    assert not np.asarray(w.remaining(state.device, problem.params)).any()


def test_a_device_with_m_tasks_is_done_after_them(key):
    problem = _make(tasks=7)
    _, (_, outcome, reward, terminated) = jax.device_get(_play(problem, key, jnp.zeros((SLOTS, DEVICES), jnp.int8)))
    assert ((outcome.result != End.NONE).sum(axis=0) == 7).all()
    assert terminated[6:].all()
    assert not terminated[:6].any()
    assert not reward[7:].any()


def test_devices_of_a_cell_share_air_and_edge(key):
    """Twenty that all offload are slower than any of them alone."""
    crowded = laas2022.make(devices=20)
    checks.check(crowded.params)
    assert (crowded.params.coupling, crowded.params.uplink, crowded.params.queue) == ("exact", "active", ("ps", "none"))
    alone = crowded.replace(params=crowded.params.replace(coupling="none"))
    one = jnp.ones((10, 20), jnp.int8)
    _, (_, outcome, *_) = _play(crowded, key, one, slots=10)
    _, (_, free, *_) = _play(alone, key, one, slots=10)
    both = (np.asarray(outcome.result[0]) == End.IN_TIME) & (np.asarray(free.result[0]) == End.IN_TIME)
    assert both.sum() > 3
    assert (np.asarray(outcome.latency)[0][both] > 2 * np.asarray(free.latency)[0][both]).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"servers": ()}, "servers: 0 is not allowed; a problem needs at least one server"),
        ({"servers": (Server("local", f=1e9),)}, "a name of its own"),
        ({"servers": (Server("edge", f=0.0),)}, r"servers\.edge\.f: 0\.0 .*a number > 0"),
        (
            {"servers": (Server("edge", f=1.0, clock=0.0),), "reading": "cycles_per_unit"},
            r"servers\.edge\.clock: 0\.0 ",
        ),
        ({"fleet": (Device(f=float("nan")),)}, r"fleet\.iot\.f: nan "),
        ({"reading": "speed"}, "reading: 'speed' is not allowed; one of rate, cycles_per_unit"),
        ({"cost": "sum"}, "cost: 'sum' .* one_choice, literal"),
        ({"path_loss": "free"}, "path_loss: 'free' .* inf_sh, umi_los, umi_nlos"),
        ({"scenario": "storm"}, "scenario: 'storm' .* calm"),
        ({"demand": (2.0, 1.0)}, r"demand: \(2\.0, 1\.0\)"),
        ({"theta": 0.0}, "theta: 0.0 .*a number > 0"),
        ({"fleet": (Device(energy_per_unit=0.0),)}, "energy_weight: None"),
    ],
)
def test_bad_numbers_are_refused_in_one_line(options, words):
    with pytest.raises(ConfigError, match=words) as caught:
        _make(**options)
    assert "\n" not in str(caught.value)


def test_devices_that_do_not_fill_their_cells_are_refused():
    with pytest.raises(ConfigError, match="devices: 7 "):
        laas2022.make(devices=7, devices_per_cell=3)
