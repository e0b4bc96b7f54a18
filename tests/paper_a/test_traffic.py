"""What is measured of links, losses and other algorithms: schedules, scores and times."""

from pathlib import Path

import jax
import numpy as np
import pytest

from offjax import world
from offjax.config.paper_a import load_paper_a
from offjax.errors import ConfigError
from offjax.paper_a import algorithms, scale, systems, traffic

CONFIG = load_paper_a(Path(__file__).parents[2] / "configs/paper_a.yaml")
START = CONFIG.traffic.failure_start


def test_slots_until_a_score_is_back():
    score = np.array([[0.95, 0.2, 0.5, 0.91, 0.3, 0.99], [0.95, 0.95, 0.95, 0.95, 0.95, 0.95], [1, 0, 0, 0, 0, 0]])
    np.testing.assert_array_equal(traffic.slots_to(score, 1, 0.9), [2, 0, 5], "what never gets there counts all")


def test_a_case_has_its_schedule_and_its_numbers():
    cases = {case.name: case for case in traffic.cases(CONFIG)}
    assert cases["SF=5"].sending_period == cases["T=5"].weights_period == 5
    stop = START + CONFIG.traffic.failure_slots

    def spans(name):
        schedule = traffic.problem_of(CONFIG, cases[name]).params.schedule
        kinds = (schedule.backhaul, schedule.backup, schedule.server)
        return [
            [int(own) for own in (kind.start[row, 0], kind.stop[row, 0])]
            for kind in kinds
            for row in range(len(kind.start))
        ]

    never = [traffic.FAR, traffic.FAR + 1]
    assert spans("cut=first") == [[START, stop], never, never, never]
    assert spans("cut=both") == [[START, stop], [START, stop], never, never]
    assert spans("lost=edge") == [never, never, [START, traffic.FAR], never]
    assert spans("lost=cloud") == [never, never, never, [START, traffic.FAR]]
    before = [4 * [CONFIG.traffic.seen_slots]] * 4
    schedule = traffic.problem_of(CONFIG, cases["seen=cloud"]).params.schedule
    lengths = [kind.stop - kind.start for kind in (schedule.backhaul, schedule.backup, schedule.server)]
    assert np.concatenate(lengths)[:, :4].tolist() == before, "each node failed four times"
    assert (schedule.server.start[1, 4], schedule.server.stop[1, 4]) == (START, traffic.FAR)
    starts = np.sort(np.concatenate([schedule.backhaul.start[0, :4], *schedule.server.start[:, :4]]))
    assert (np.diff(starts) >= CONFIG.traffic.seen_slots).all(), "one after the other"
    assert starts[-1] + CONFIG.traffic.seen_slots <= START
    structures = {jax.tree.structure(traffic.problem_of(CONFIG, case)) for case in cases.values()}
    assert len(structures) == 1, "all are members of one program"


@pytest.mark.slow
def test_what_can_be_reached_is_the_best_of_every_task(key):
    """Against the world itself: the best of three worlds that send everything to one place."""
    problem = traffic.problem_of(CONFIG, traffic.cases(CONFIG)[0])
    state = world.init(key, problem.params)
    draws = world.draw(key, problem.params)

    def reward(place):
        decision = world.Decision(jax.numpy.full(problem.params.devices, place, jax.numpy.int8))
        long = problem.params.replace(slot_duration=jax.numpy.float32(1e4))
        return problem.reward(world.advance(state, decision, draws, long)[1], state)

    rewards = np.stack([jax.jit(reward)(place) for place in range(len(problem.decisions))])
    told = jax.jit(problem.rewards)(problem.observe(state))
    np.testing.assert_allclose(told.T, rewards, rtol=2e-3)


@pytest.mark.slow
def test_nobody_does_better_than_what_can_be_reached_in_the_same_world(key):
    """The reference meets the tasks, channels and servers of the system."""
    case = traffic.Case("", 1, 10)
    problem, slots = traffic.problem_of(CONFIG, case), 60
    architecture = traffic.architecture_of(CONFIG, case)
    reward = np.asarray(systems.run(architecture, problem, key, slots).reward) / problem.params.devices
    told = jax.jit(traffic.reachable, static_argnames="slots")(problem, key, slots=slots)
    assert reward.mean() < told["best"].mean()
    assert (reward > told["best"] + 1e-4).mean() < 0.1, "but where a task goes on after its slot"
    assert np.corrcoef(told["best"], reward)[0, 1] > 0.5, "slots with large tasks and bad channels are the same ones"


def test_claims_of_links_and_energy():
    shape = (len(traffic.cases(CONFIG)), 3)
    found = {name: np.zeros(shape) for name in ("joules", "sent")}
    for row, period in enumerate(CONFIG.traffic.sending_periods):
        found["joules"][row] = found["sent"][row] = 1e4 / period
    found["applied"] = np.ones((*shape, CONFIG.traffic.slots))
    names = [case.name for case in traffic.cases(CONFIG)]
    assert not traffic.claim_24(CONFIG, found).holds, "weights that come over two links that are down"
    found["applied"][names.index("cut=both"), :, START : START + CONFIG.traffic.failure_slots] = 0
    told = traffic.claim_24(CONFIG, found)
    assert (told.holds, told.basis, told.measured) == (True, "construction", 1.0)
    assert traffic.claim_47(CONFIG, found).holds
    found["joules"][0] *= 2
    assert not traffic.claim_47(CONFIG, found).holds


def test_a_large_fleet_has_few_slots():
    assert scale.slots_of(CONFIG, 10) == CONFIG.scale.slots_most
    assert scale.slots_of(CONFIG, 1_000_000) == CONFIG.scale.slots_least
    ones = np.ones((2, 3))
    assert scale.claim_49(CONFIG, ones, 0 * ones, np.ones(2)).holds
    assert not scale.claim_49(CONFIG, ones * [[1], [2]], 0 * ones, np.ones(2)).holds
    assert not scale.claim_49(CONFIG, ones, ones, np.ones(2)).holds


def test_an_algorithm_that_is_not_there_is_named_before_anything_is_computed():
    wrong = CONFIG.algorithms.model_copy(update={"agents": {"x": {"agent": "sarsa"}}})
    with pytest.raises(ConfigError, match="agent: 'sarsa' is not allowed; use one of ddqn"):
        algorithms.jobs(CONFIG.model_copy(update={"algorithms": wrong}))
    assert all(algorithms.agent_of(CONFIG, name) for name in CONFIG.algorithms.agents)
    names = [algorithms.file_of(name) for name in CONFIG.algorithms.agents]
    assert len(set(names)) == len(names)
