"""What a user can rely on: algorithms 1 and 2 line by line, who drops tasks when the loop is slow or gone, and why."""

from fractions import Fraction
from math import ceil

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from offjax.agents import make_agent
from offjax.agents.specs import Specs
from offjax.errors import ConfigError
from offjax.learning import system
from offjax.learning.access_point import Links
from offjax.learning.centralised import Centralised
from offjax.learning.cloud import Learner, begin, blank, work
from offjax.learning.distributed import Distributed
from offjax.learning.messages import Loss
from offjax.paper_a import resilience
from offjax.problems import laas2022
from offjax.problems.laas2022 import Device
from offjax.problems.parts import Sharing
from offjax.problems.scenario import Scenario
from offjax.workload.arrivals import closed, periodic, poisson
from offjax.world import End
from offjax.world.links import uplink

DEVICES, CELLS, SLOTS, TAU = 4, 2, 120, 4  # a task every TAU slots of 1 s
SERVICE = Fraction("1.3")  # of TAU, where the service is longer than the period
FAR, ALWAYS = (10**6, 10**6 + 1), (0, 10**6)
AGENT = {"hidden": (4,), "batch_size": 4, "learning_rate": 0.0, "epsilon_start": 0.0, "epsilon_final": 0.0}


def _problem(service=Fraction("0.3"), backhaul=FAR, backup=FAR, cloud=FAR, **changes):
    """A world without coupling; at home a task takes ``service`` periods."""
    demand = float(service) * TAU * 40e6
    scenario = Scenario(redundant=True, backhaul=[backhaul], backup=[backup], cloud=[cloud])
    settings = {
        "devices": DEVICES,
        "devices_per_cell": DEVICES // CELLS,
        "fleet": [Device(battery=1e9)],
        "demand": (demand, demand),
        "theta": 0.01,
        "arrivals": periodic(TAU),
        "buffer": 0,
        "sharing": Sharing(),
    }
    problem = laas2022.make(scenario, **(settings | changes))
    return problem.replace(params=problem.params.replace(radio=problem.params.radio.replace(shadowing=jnp.float32(0))))


def _learner(**changes):
    agent = make_agent("ddqn", **(AGENT | changes.pop("agent", {})))
    return Learner(agent, **({"brm_capacity": 40, "arm_capacity": 60, "weights_period": 5} | changes))


def _central(**changes):
    """Its loop takes no time but the ``loop_latency`` of its links."""
    return Centralised(_learner(), inference=0.0, over_links=False, **changes)


def _at_home(state):
    """The same system, in which every network prefers to run at home whatever it sees."""

    def prefer(params):
        last = max(params)
        bias = params[last]["bias"].at[..., 0].add(1e6)
        return params | {last: params[last] | {"bias": bias}}

    learnt = state.learner.learnt
    state = state.replace(learner=state.learner.replace(learnt=learnt.replace(params=prefer(learnt.params))))
    if state.versions is None:
        return state
    policies = state.versions.policies
    return state.replace(versions=state.versions.replace(policies=policies.replace(params=prefer(policies.params))))


def _go(key, architecture, problem, chunks=1, home=True):
    """The state at the end, and the report [chunks SLOTS, ...]."""
    state = system.init(key, architecture, problem)
    state, reports = _at_home(state) if home else state, []
    for _ in range(chunks):
        state, report = system.run(architecture, problem, state, SLOTS)
        reports.append(jax.tree.map(np.array, report))
    return state, jax.tree.map(lambda *rows: np.concatenate(rows), *reports)


# ------------------------------------------------------------------------------ dropped tasks and the loop

LATENCIES = [Fraction(text) for text in ("0", "1", "1.7", "2", "3.7", "5.7")]
ARRIVALS = 420  # a multiple of every cycle of the pattern


def _dropped(report):
    """Shares of the tasks that were dropped for want of a decision, and because the lane was busy."""
    refused = report.refused.sum(0) / (ARRIVALS * DEVICES)
    return refused[End.NO_DECISION], refused[End.BUFFER_FULL]


def _expected(latency, service):
    """The same in theory: the lane is taken for L + S."""
    cycle, undecided = ceil(latency + service), max(ceil(latency) - 1, 0)
    return undecided / cycle, (cycle - 1 - undecided) / cycle


@pytest.mark.parametrize("latency", LATENCIES, ids=str)
def test_dropped_tasks_against_loop_latency(key, latency):
    """Fig. 4: the same world and schedule under both architectures."""
    problem, chunks = _problem(SERVICE), ARRIVALS * TAU // SLOTS
    links = Links(loop_latency=float(latency) * TAU)
    _, report = _go(key, _central(links=links), problem, chunks)
    np.testing.assert_allclose(_dropped(report), _expected(latency, SERVICE), atol=3e-3)
    _, report = _go(key, Distributed(_learner(), links=links, inference=0.01), problem, chunks)
    assert report.refused[:, End.NO_DECISION].sum() == 0
    np.testing.assert_allclose(_dropped(report)[1], 1 - 1 / ceil(SERVICE), atol=3e-3)


def test_a_device_that_waited_would_drop_tasks(key):
    """Nothing is set to zero by hand: with a decision as slow as the loop, deciding locally loses as many tasks."""
    latency = Fraction("3.7")
    slow = Distributed(_learner(), inference=float(latency) * TAU)
    _, report = _go(key, slow, _problem(SERVICE), ARRIVALS * TAU // SLOTS)
    np.testing.assert_allclose(_dropped(report), _expected(latency, SERVICE), atol=3e-3)


def test_the_claim_of_no_loss_is_broken_by_a_device_that_waits(key):
    """Row 45 is a count of what was dropped: it would not hold if devices asked the cloud."""
    latency = 3.7

    def claim(inference):
        links = Links(loop_latency=latency * TAU)
        _, report = _go(key, Distributed(_learner(), links=links, inference=inference), _problem())
        own = {name: np.asarray(value)[None, None] for name, value in resilience.tally(report).items()}
        return resilience.claim_45([latency], {"periodic": own})

    held, broken = claim(0.01), claim(latency * TAU)
    assert (held.holds, held.basis, held.measured) == (True, "emergent", 0.0)
    assert not broken.holds
    assert broken.measured == pytest.approx(_expected(Fraction("3.7"), Fraction("0.3"))[0], abs=0.03)


@pytest.mark.parametrize("gone", [{"backhaul": ALWAYS, "backup": ALWAYS}, {"cloud": ALWAYS}], ids=["links", "server"])
def test_without_the_cloud(key, gone):
    problem = _problem(**gone)
    state, report = _go(key, Distributed(_learner()), problem)
    assert report.refused.sum() == report.refused[:, End.NONE].sum() == SLOTS * DEVICES
    assert report.ends[:, End.IN_TIME].sum() == report.decisions.sum() == SLOTS // TAU * DEVICES
    assert report.experiences.arrived.sum() == report.trained.sum() == report.applied.sum() == 0
    assert int(state.learner.brm.size) == 0
    _, report = _go(key, _central(), problem)
    assert report.decisions.sum() == report.ends[:, End.IN_TIME].sum() == 0
    assert report.refused[:, End.NO_DECISION].sum() == (SLOTS // TAU) * DEVICES, "all but the first, and the next one"


def test_broadcasts_are_withheld_while_devices_hold_all_versions(key):
    """A slow way down: most transfers find no row, cost no message, and nobody stops deciding."""
    problem = _problem()
    architecture = Distributed(_learner(weights_period=1), links=Links(loop_latency=30.0))
    _, report = _go(key, architecture, problem)
    withheld, broadcasts = report.withheld.sum(), report.broadcasts.sum()
    assert broadcasts == report.trained.sum() > 0.8 * SLOTS
    assert 0.5 * broadcasts < withheld < broadcasts
    assert report.weights.sent.sum() == (broadcasts - withheld) * DEVICES
    assert report.applied.sum() > 0
    assert report.decisions.sum() == SLOTS // TAU * DEVICES
    network = architecture.weights_bits(problem) // 8
    assert architecture.traffic(problem, report)["weights_wire"] == (broadcasts - withheld) * network * CELLS


def test_one_link_to_the_cloud_is_enough(key):
    """The redundant link: learning and answers go on as before."""
    for architecture in (Distributed(_learner()), _central()):
        _, whole = _go(key, architecture, _problem())
        _, cut = _go(key, architecture, _problem(backhaul=ALWAYS))
        for left, right in zip(jax.tree.leaves(whole), jax.tree.leaves(cut), strict=True):
            np.testing.assert_array_equal(left, right)


# ----------------------------------------------------------------------------------- the two algorithms


def _by_hand(learner, period, start, slots):
    """Algorithms 1 and 2 in plain Python: experiences sent, arrived, trainings, transfers of the weights per slot."""
    counters, brm, arm, t, way = [start] * DEVICES, 0, 0, 0, 0
    rows = []
    for slot in range(slots):
        come, way, sent, trained, transfers = way, 0, 0, 0, 0
        if slot % TAU == TAU - 1:  # the next task is there: line 15 of algorithm 2
            for device in range(DEVICES):
                if counters[device] == period:
                    sent, counters[device] = sent + 1, start
                else:
                    counters[device] += 1
            way = sent
        brm = min(brm + come, learner.brm_capacity)
        if brm > 0:
            arm = min(arm + learner.agent.batch_size, learner.arm_capacity)
        if arm >= learner.agent.batch_size:
            trained, t = 1, t + 1
        if t == learner.weights_period:
            transfers, t = 1, 0
        rows.append((sent, come, trained, transfers))
    return np.array(rows), brm, arm, t, counters


@pytest.mark.parametrize(("period", "start", "transfer"), [(1, 1, 5), (3, 1, 7), (2, 0, 1), (4, 0, 3)])
def test_counters_as_in_the_algorithms(key, period, start, transfer):
    learner = _learner(weights_period=transfer)
    architecture = Distributed(learner, sending_period=period, counter_start=start)
    state, report = _go(key, architecture, _problem())
    rows, brm, arm, t, counters = _by_hand(learner, period, start, SLOTS)
    seen = [report.experiences.sent, report.experiences.arrived, report.trained, report.broadcasts]
    np.testing.assert_array_equal(np.stack(seen, axis=1), rows)
    assert (int(state.learner.brm.size), int(state.learner.arm.size), int(state.learner.trainings)) == (brm, arm, t)
    assert state.counter.tolist() == counters
    np.testing.assert_array_equal(report.applied[1:], DEVICES * report.broadcasts[:-1], "before the next decision")
    behind = np.where(report.decisions[1:] > 0, DEVICES * report.broadcasts[:-1], 0)
    np.testing.assert_array_equal(report.staleness[1:], behind, "a broadcast of the slot before is still on its way")


def test_sending_less_often_saves_bytes_and_joules(key):
    """Row 47: both in proportion to 1 / SF."""
    problem, chunks, reports = _problem(), 2, {}
    for period in (1, 2, 3, 5):
        _, reports[period] = _go(key, Distributed(_learner(), sending_period=period), problem, chunks)
    tasks = chunks * SLOTS // TAU * DEVICES
    per_message = reports[1].experiences.joules.sum() / reports[1].experiences.arrived.sum()
    assert per_message > 0
    for period, report in reports.items():
        traffic = Distributed(_learner()).traffic(problem, report)
        assert traffic["experiences"] * period == tasks * (2 * 10 + 3) * 4
        network = (10 * 4 + 4 + 4 * 3 + 3) * 4
        assert traffic["weights_wire"] == report.broadcasts.sum() * CELLS * network
        assert traffic["weights_air"] == report.broadcasts.sum() * DEVICES * network
        paid = report.experiences.joules.sum() / report.experiences.arrived.sum()
        np.testing.assert_allclose(paid, per_message, rtol=1e-5)
        np.testing.assert_allclose(report.drawn.sum(), report.experiences.joules.sum(), rtol=1e-5)


def test_experiences_are_conserved_across_outages_and_losses(key):
    links = Links(air_loss=0.1, wire_loss=0.1, jitter=2.0, duplicates=0.3)
    problem = _problem(backhaul=(20, 60), backup=(30, 50), service=Fraction("0.2"))
    state, report = _go(key, Distributed(_learner(), links=links, sending_period=3), problem, home=False)
    for tally, mail in ((report.experiences, state.up), (report.weights, state.down)):
        assert tally.lost.sum(0)[Loss.LINK] > 0
        assert tally.sent.sum() == tally.arrived.sum() + tally.lost.sum() + int(system.under_way(mail))
    assert report.experiences.arrived[31:50].sum() == report.applied[31:50].sum() == 0
    assert report.trained[31:50].all(), "the agent goes on with what it has"
    assert report.experiences.arrived.sum() == int(state.learner.brm.size) > 0
    assert report.staleness.sum() > 0
    assert int(state.versions.number[state.versions.held].min()) <= int(state.learner.sent)


def test_the_loop_of_a_decision(key):
    """Observe + send + infer + return, and what a device pays for it, by hand."""
    problem, central = _problem(), Centralised(_learner(), links=Links(loop_latency=2.0), observe=0.25, inference=0.5)
    state = system.init(key, central, problem)
    latency, joules = central.loop(problem, state)
    rate = np.array(uplink(state.world, problem.params).rate)
    wires = 2 * 0.5 * 0.02 + 32 * (len(problem.features) + 1) / 1e9
    np.testing.assert_allclose(latency, 2.0 + 0.25 + 0.5 + 32 * len(problem.features) / rate + wires, rtol=1e-6)
    assert central.request_bits(len(problem.features)) == (32 * len(problem.features), 32)
    np.testing.assert_allclose(joules, 0.1 * 32 * len(problem.features) / rate, rtol=1e-6)


def test_what_comes_is_what_was_sent(key):
    """Each message comes in the slot in which the next one takes its place: what is stored is what came before."""
    state, report = _go(key, Distributed(_learner(), links=Links(loop_latency=7.0)), _problem())
    assert report.experiences.arrived[-1] == report.experiences.sent[-1] == DEVICES
    brm, on_its_way = state.learner.brm, jax.tree.map(lambda leaf: np.array(leaf[0]), state.up.load)
    newest = (int(brm.ring.head) - DEVICES + np.arange(DEVICES)) % brm.capacity
    np.testing.assert_array_equal(np.array(brm.experience.next_observation)[newest], on_its_way.observation)
    assert (on_its_way.observation != on_its_way.next_observation).any()


@pytest.mark.parametrize(("resources", "heard"), [("arrival", [0, 1, 0, 1]), ("send", [0, 0, 0, 1])])
def test_resources_as_last_told(resources, heard):
    """Lines 18 and 19: the device's own numbers are always new, those of the servers where it was told."""
    problem = _problem()
    assert problem.told == (False,) * 4 + (True,) * 6
    old, new = jnp.zeros((DEVICES, 10)), jnp.ones((DEVICES, 10))
    due, up = jnp.array([False, False, True, True]), jnp.array([False, True, False, True])
    seen = system.told(Distributed(_learner(), resources=resources), problem, old, new, due, up)
    np.testing.assert_array_equal(seen[:, :4], 1)
    np.testing.assert_array_equal(seen[:, 4:], np.repeat(np.array(heard)[:, None], 6, axis=1))


@pytest.mark.parametrize("arrivals", [poisson(4.0), closed(0.0)], ids=["open", "closed"])
@pytest.mark.slow
def test_other_arrivals(key, arrivals):
    """Open arrivals for resilience, and algorithm 2's own loop: the next task when the last one has ended."""
    links = Links(loop_latency=10.0)
    problem = _problem(arrivals=arrivals)
    _, local = _go(key, Distributed(_learner(), links=links), problem, 4)
    _, central = _go(key, _central(links=links), problem, 4)
    assert local.refused[:, End.NO_DECISION].sum() == 0
    assert (central.refused[:, End.NO_DECISION].sum() > 0) == (arrivals.kind == "poisson")
    assert local.ends[:, End.IN_TIME].sum() > 2 * central.ends[:, End.IN_TIME].sum()


@pytest.mark.slow
def test_the_loop_ends_when_the_battery_is_empty(key):
    problem = _problem(fleet=[Device(battery=2000.0)])  # a task at home takes 77 J
    _, report = _go(key, Distributed(_learner()), problem, 2)
    assert report.alive[0] == DEVICES
    assert report.alive[-1] == 0
    gone = np.argmax(report.alive == 0) + 1
    assert report.decisions[gone:].sum() == report.experiences.sent[gone:].sum() == 0
    assert report.applied[gone:].sum() == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "name"),
    [(Distributed, name) for name in ("dueling", "ac", "a2c", "ppo")] + [(Centralised, name) for name in ("ac", "ppo")],
)
def test_other_algorithms_learn_from_the_cloud(key, name, kind):
    """Row 52; learners of whole rollouts have one place per device, so that its rows follow each other."""
    hyper = {"dueling": {"dueling": True, "batch_size": 8}, "a2c": {"rollout_slots": 20}, "ppo": {"rollout_slots": 20}}
    agent = make_agent("ddqn" if name == "dueling" else name, hidden=(4,), **hyper.get(name, {}))
    architecture = kind(Learner(agent), links=Links(places=1))
    state, report = _go(key, architecture, _problem(), home=False)
    assert report.trained.sum() > 0
    assert np.isfinite(report.td_error).all()
    assert report.broadcasts.sum() == int(state.learner.sent)


# --------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: _learner(arm_capacity=3), "arm_capacity: 3 is not allowed; at least batch_size = 4"),
        (lambda: _learner(brm_capacity=0), "brm_capacity: 0 is not allowed; use a whole number of at least 1"),
        (lambda: _learner(weights_period=0), "weights_period: 0 is not allowed; a whole number of at least 1"),
        (lambda: _learner(agent={"prioritised": True}), "prioritised: True is not allowed; false"),
        (lambda: Distributed(_learner(), sending_period=1.5), "sending_period: 1.5 is not allowed"),
        (lambda: Distributed(_learner(), counter_start=2), "counter_start: 2 is not allowed; 0 to sending_period = 1"),
        (lambda: Distributed(_learner(), resources="never"), "resources: 'never' is not allowed; one of arrival, send"),
        (lambda: Distributed(_learner(), versions=1), "versions: 1 is not allowed; at least 2"),
        (lambda: Distributed(_learner(), order="fifo"), "order: 'fifo' is not allowed; one of newest, as_they_come"),
        (lambda: Distributed(Learner(make_agent("ppo"))), r"links\.places: 4 is not allowed; 1 for ppo"),
    ],
)
def test_numbers_that_contradict_each_other(make, line):
    with pytest.raises(ConfigError, match=line):
        make()


def test_a_learner_needs_a_cloud(key):
    only_edge = laas2022.make(devices=2, servers=[laas2022.Server("edge", f=1e9)], sharing=Sharing())
    with pytest.raises(ConfigError, match="a learner in the cloud needs a server with cloud = true"):
        system.init(key, Distributed(_learner()), only_edge)


def test_a_cloud_that_is_down_collects_no_rollout(key):
    agent = make_agent("ppo", hidden=(4,), rollout_slots=2)
    learner = Learner(agent, brm_capacity=40, arm_capacity=60)
    come = blank((4,), 3).replace(valid=jnp.ones(4, bool))
    start = begin(learner, key, Specs(3, 2), 4)

    def after(*works):
        state = start
        for up in works:
            state, _, _ = work(learner, state, come, jnp.asarray(up), key)
        return state

    down = after(False, False, False)
    assert int(down.iteration) == int(down.trainings) == 0
    chex.assert_trees_all_equal(down.learnt, start.learnt)
    chex.assert_trees_all_equal(after(True, False, True), after(True, True))
    assert int(after(True, False, True).trainings) == 1
