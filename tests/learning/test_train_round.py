"""What a user can rely on: worlds are staggered and renewed one by one, and a round is a pure function of its state."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from offjax.agents import make_agent
from offjax.learning import train
from offjax.problems import nieto2024
from offjax.workload.arrivals import periodic

WORLDS, DEVICES, HORIZON = 2, 20, 40
HALF = HORIZON // WORLDS
PLAN = train.Plan(HORIZON, WORLDS)
AGENTS = {
    "ac": {"hidden": (4,)},
    "ddqn": {"hidden": (4,), "replay_capacity": 2000, "batch_size": 16, "epsilon_decay_updates": 20},
}


@pytest.fixture(scope="module")
def problem():
    """Tasks come at any clock, those before 0 included."""
    problem = nieto2024.make("text", "scenario1", "uniform", devices=DEVICES)
    workload = problem.params.workload.replace(arrivals=periodic(1, -1000))
    return problem.replace(params=problem.params.replace(workload=workload))


@pytest.fixture(scope="module")
def begin(problem, key):
    return lambda agent, problem=problem: train.init(key, agent, problem, PLAN)


@pytest.fixture(scope="module", params=AGENTS)
def agent(request):
    return make_agent(request.param, **AGENTS[request.param])


def plain(tree):
    """NumPy copies, keys as their bits: nothing that a donated buffer can take away."""
    is_key = lambda leaf: jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)  # noqa: E731
    return jax.tree.map(lambda leaf: np.array(jax.random.key_data(leaf) if is_key(leaf) else leaf), tree)


def same(left, right) -> bool:
    return all(map(np.array_equal, jax.tree.leaves(plain(left)), jax.tree.leaves(plain(right))))


def test_worlds_start_staggered(begin, agent):
    state = begin(agent)
    assert state.worlds.clock.tolist() == [0, HALF]
    assert state.observation.shape == (WORLDS, DEVICES, 6)
    assert (state.ring is None) != agent.replays
    assert not state.transitions.under_way.any()


def test_worlds_must_divide_the_horizon():
    with pytest.raises(ValueError, match="worlds: 3 does not divide the horizon of 40 slots"):
        train.Plan(40, 3)


def test_same_key_same_bits(begin, problem, agent):
    first, metrics = train.train_round(agent, problem, begin(agent), PLAN)
    second, again = train.train_round(agent, problem, begin(agent), PLAN)
    assert same(first, second)
    assert same(metrics, again)
    assert not same(first.agent, begin(agent).agent), "it learns"
    assert int(first.slots) == HALF
    assert first.worlds.clock.tolist() == [HALF, 0]


def test_a_batch_where_nobody_is_asked_changes_nothing(begin, problem, agent):
    """No task ever comes: the clocks run, and the learner stays as it is, bit by bit."""
    workload = problem.params.workload.replace(arrivals=periodic(1, 10_000))
    silent = problem.replace(params=problem.params.replace(workload=workload))
    state = begin(agent, silent)
    before = plain(state.agent)
    after, metrics = train.train_round(agent, silent, state, PLAN)
    assert same(before, after.agent)
    assert float(metrics["experiences"][0]) == 0
    assert float(metrics["reward"][0]) == 0
    assert int(after.slots) == HALF
    if after.ring is not None:
        assert int(after.ring.size) == 0


# ------------------------------------------------------------------------------------------------ the renewal

LONG_BEFORE = 100  # slots: clocks set back by so much are nowhere near the horizon when the round ends


def _shift(state, slots):
    return state.replace(worlds=state.worlds.replace(clock=state.worlds.clock + slots))


@pytest.fixture(scope="module")
def half_way(begin, problem):
    """The same round without and with a world that comes to its horizon at its end, from one program.

    DDQN: its memory tells what was learnt from.
    """
    agent = make_agent("ddqn", **AGENTS["ddqn"])
    early, _ = train.train_round(agent, problem, _shift(begin(agent), -LONG_BEFORE), PLAN)
    renewed, _ = train.train_round(agent, problem, begin(agent), PLAN)
    return _shift(early, LONG_BEFORE), renewed


def _world(state, index):
    """Everything of one world: its state, what is under way, what it sees."""
    return jax.tree.map(lambda leaf: leaf[index], (state.worlds, state.transitions, state.observation))


def test_exactly_the_world_at_the_horizon_is_fresh(half_way):
    before, renewed = half_way
    assert before.worlds.clock.tolist() == [HALF, HORIZON]
    assert renewed.worlds.clock.tolist() == [HALF, 0]
    told = renewed.worlds.cell.told_slot.tolist()
    assert told == [[HALF], [0]]
    before = before.replace(worlds=before.worlds.replace(cell=renewed.worlds.cell))  # told_slot was set back too
    assert same(_world(before, 0), _world(renewed, 0))
    assert (before.worlds.device.spent[1] > 0).all()
    assert (renewed.worlds.device.spent[1] == 0).all()
    assert (renewed.worlds.device.path_loss[1] != before.worlds.device.path_loss[1]).all(), "other places"
    assert (renewed.observation[1, :, 0] == 1).all(), "full batteries"
    np.testing.assert_array_equal(jnp.round(renewed.observation[1, :, 5] * 2), renewed.worlds.job.task_class[1])
    assert same(before.agent, renewed.agent)
    assert same(before.ring, renewed.ring)


def test_truncation_is_not_masked(half_way):
    """The last experiences of the world that ends lead to what it saw before it was replaced."""
    before, renewed = half_way
    assert int(before.ring.size) == HALF * WORLDS * DEVICES
    last = slice((HALF - 1) * WORLDS * DEVICES + DEVICES, HALF * WORLDS * DEVICES)  # world 1, last slot
    rows = jax.tree.map(lambda leaf: leaf[last], before.ring.experience)
    np.testing.assert_array_equal(rows.next_observation, before.observation[1])
    assert (np.asarray(rows.next_observation)[:, 0] < 1).all()
    assert not np.array_equal(rows.next_observation, renewed.observation[1])
    assert not rows.terminated.any()
    assert rows.valid.all()


def test_open_transitions_of_a_renewed_world_are_dropped(begin, problem):
    """Slots of 50 ms: devices that are busy when their world ends are forgotten, those of the other go on."""
    agent = make_agent("ddqn", **AGENTS["ddqn"])
    slow = problem.replace(params=problem.params.replace(slot_duration=jnp.float32(0.05)))
    early, _ = train.train_round(agent, slow, _shift(begin(agent, slow), -LONG_BEFORE), PLAN)
    renewed, _ = train.train_round(agent, slow, begin(agent, slow), PLAN)
    busy = np.asarray(early.transitions.under_way)
    assert busy.any(axis=1).all()
    np.testing.assert_array_equal(renewed.transitions.under_way, [busy[0], np.zeros(DEVICES, bool)])


# --------------------------------------------------------------------------------- a learner for every device

OWN = train.Plan(HORIZON, WORLDS, independent=True)
FEW = 4


def test_every_device_has_a_learner_that_only_it_teaches(key):
    """PPO on four devices, of which the last never gets a task."""
    agent = make_agent("ppo", hidden=(4,), rollout_slots=10, epochs=1, minibatches=2, normalise_observations=True)
    few = nieto2024.make("text", "scenario1", "uniform", devices=FEW)
    workload = few.params.workload.replace(arrivals=periodic(1, [-1000, -1000, -1000, 10_000]))
    few = few.replace(params=few.params.replace(workload=workload))
    before = plain(train.init(key, agent, few, OWN).agent)
    after, metrics = train.train_round(agent, few, train.init(key, agent, few, OWN), OWN)
    learnt = plain(after.agent)
    own = [jax.tree.map(lambda leaf, device=device: leaf[device], (before, learnt)) for device in range(FEW)]
    assert same(*own[3])
    assert not any(same(*own[device]) for device in range(3))
    assert not same(own[0][1].params, own[1][1].params)
    assert learnt.normaliser.count.tolist() == [HALF * WORLDS] * 3 + [0]
    assert float(metrics["experiences"][0]) == 10 * WORLDS * 3 / FEW  # the mean over learners
