"""What a user can rely on: every decision becomes one experience, with all that its task earned, and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from offjax.learning.train import look, move
from offjax.learning.transitions import decided, no_transitions, observed
from offjax.problems import nieto2024
from offjax.problems.nieto2024 import Nieto2024
from offjax.world import init, remaining

ALIVE = jnp.zeros(1, bool)
YES, NO = jnp.ones(1, bool), jnp.zeros(1, bool)


def _seen(number):
    return jnp.full((1, 2), float(number))


def _slot(transitions, asked, decision, reward, after, asks, terminated=ALIVE):
    """One slot of one device: asked on the observation ``after - 1``."""
    transitions = decided(transitions, _seen(after - 1), jnp.full(1, decision, jnp.int32), asked)
    return observed(transitions, jnp.full(1, reward), _seen(after), asks, terminated)


# ---------------------------------------------------------------------------------------- by hand, one device


def test_a_task_of_one_slot_is_one_experience():
    under_way, experience = _slot(no_transitions(1, 2), YES, 2, -0.3, 1, YES)
    assert experience.valid.tolist() == [True]
    assert not under_way.under_way.any()
    assert experience.decision.tolist() == [2]
    assert experience.observation.tolist() == [[0, 0]]
    assert experience.next_observation.tolist() == [[1, 1]]
    assert not experience.terminated.any()
    np.testing.assert_allclose(experience.reward, [-0.3])


def test_a_task_of_three_slots_earns_until_the_next_question():
    """A refused arrival (-0.1) on the way belongs to the decision that kept the device busy."""
    under_way, first = _slot(no_transitions(1, 2), YES, 1, 0.0, 1, NO)
    under_way, second = _slot(under_way, NO, 0, -0.1, 2, NO)
    assert not first.valid.any()
    assert not second.valid.any()
    assert under_way.under_way.all()
    under_way, third = _slot(under_way, NO, 2, -0.02, 3, YES)
    assert third.valid.all()
    assert third.observation.tolist() == [[0, 0]], "of the question, not of the busy slots"
    assert third.decision.tolist() == [1], "what a busy device is told counts for nothing"
    assert third.next_observation.tolist() == [[3, 3]]
    np.testing.assert_allclose(third.reward, [-0.12], rtol=1e-6)
    _, fourth = _slot(under_way, YES, 0, -0.5, 4, YES)
    assert fourth.observation.tolist() == [[3, 3]]
    np.testing.assert_allclose(fourth.reward, [-0.5])


def test_an_idle_gap_belongs_to_the_task_before_it():
    """It ended, and for two slots there was nothing to ask."""
    under_way, _ = _slot(no_transitions(1, 2), YES, 1, -0.2, 1, NO)
    under_way, gap = _slot(under_way, NO, 0, 0.0, 2, NO)
    _, closed = _slot(under_way, NO, 0, 0.0, 3, YES)
    assert not gap.valid.any()
    assert closed.valid.all()
    np.testing.assert_allclose(closed.reward, [-0.2])


def test_before_the_first_question_there_is_nothing():
    under_way, early = _slot(no_transitions(1, 2), NO, 1, -0.4, 1, YES)
    assert not early.valid.any()
    _, first = _slot(under_way, YES, 1, -0.1, 2, YES)
    np.testing.assert_allclose(first.reward, [-0.1])


@pytest.mark.parametrize("asks", [YES, NO])
def test_an_empty_battery_ends_it_once(asks):
    under_way, last = _slot(no_transitions(1, 2), YES, 0, -0.1, 1, asks, terminated=YES)
    assert last.valid.all()
    assert last.terminated.all()
    np.testing.assert_allclose(last.reward, [-0.1])
    for slot in (2, 3):  # nobody asks the dead: the caller says so
        under_way, after = _slot(under_way, NO, 0, -0.1, slot, asks, terminated=YES)
        assert not after.valid.any()


def test_devices_do_not_mix():
    """One is busy, one is asked again, one dies, one never was asked."""
    asked = jnp.array([True, True, True, False])
    opened = decided(no_transitions(4, 2), jnp.arange(8.0).reshape(4, 2), jnp.arange(4, dtype=jnp.int32), asked)
    asks, dead = jnp.array([False, True, False, False]), jnp.array([False, False, True, False])
    under_way, experience = observed(opened, jnp.array([0.1, 0.2, 0.3, 0.4]), jnp.ones((4, 2)), asks, dead)
    assert experience.valid.tolist() == [False, True, True, False]
    assert experience.terminated.tolist()[1:3] == [False, True]
    assert under_way.under_way.tolist() == [True, False, False, False]
    assert experience.decision.tolist()[1:3] == [1, 2]
    np.testing.assert_array_equal(experience.observation[1], [2, 3])


# ----------------------------------------------------------------------------------------- in a real world

DEVICES, SLOTS = 40, 120


class Mortal(Nieto2024):
    """The same problem, in which an empty battery ends a device's episode."""

    def terminated(self, state):
        return remaining(state.device, self.params) <= 0


@jax.jit
def _run(problem, key, decisions):
    def body(carry, x):
        state, transitions, observation = carry
        decision, slot_key = x
        asked = state.job.asks & ~problem.terminated(state)
        after, transitions, experience, seen, metrics = move(
            problem, state, transitions, observation, decision, slot_key
        )
        row = {"asked": asked, "seen": observation, "left": remaining(after.device, problem.params)}
        return (after, transitions, seen), (row | metrics, experience)

    keys = jax.random.split(key, SLOTS + 1)
    state = init(keys[0], problem.params)
    start = (state, no_transitions(DEVICES, len(problem.features)), look(problem, state))
    (_, transitions, _), (rows, experience) = jax.lax.scan(body, start, (decisions, keys[1:]))
    return rows, experience, transitions


@pytest.fixture(scope="module")
def run(key):
    """Slots of 0.1 s: tasks of class 3 keep a device busy for up to seven, and its arrivals are refused."""

    def play(battery=4000.0):
        problem = nieto2024.make("text", "scenario1", "uniform", devices=DEVICES)
        fleet = problem.params.fleet.replace(battery=jnp.float32(battery))
        params = problem.params.replace(slot_duration=jnp.float32(0.1), fleet=fleet)
        mortal = Mortal(
            params, *[getattr(problem, n) for n in ("failure_reward", "horizon", "remaining_battery", "features")]
        )
        decisions = np.random.default_rng(1).integers(0, 3, (SLOTS, DEVICES)).astype(np.int32)
        return jax.device_get((*_run(mortal, key, jnp.asarray(decisions)), decisions))

    return play


@pytest.fixture(scope="module")
def slow(run):
    return run()


def test_every_reward_is_counted_once(slow):
    rows, experience, open_, _ = slow
    closed = np.where(experience.valid, experience.reward, 0).sum(axis=0)
    total = closed + np.where(open_.under_way, open_.reward, 0)
    np.testing.assert_allclose(total, rows["reward"].sum(axis=0), rtol=1e-5, atol=1e-6)
    assert (rows["reward"].sum(axis=0) < -0.1).all()


def test_every_decision_is_one_experience(slow):
    """In order, with the observation and the answer of its question, and the next question's observation."""
    rows, experience, open_, decisions = slow
    np.testing.assert_array_equal(rows["asked"].sum(axis=0), experience.valid.sum(axis=0) + open_.under_way)
    assert not rows["asked"].all(), "some are busy"
    assert not experience.terminated.any()
    for device in range(DEVICES):
        questions = np.flatnonzero(rows["asked"][:, device])
        answers = np.flatnonzero(experience.valid[:, device])
        opened = questions[: len(answers)]
        np.testing.assert_array_equal(experience.observation[answers, device], rows["seen"][opened, device])
        np.testing.assert_array_equal(experience.decision[answers, device], decisions[opened, device])
        later = questions[1 : len(answers) + 1]
        np.testing.assert_array_equal(answers[: len(later)], later - 1, "closed in the slot before the next question")
        np.testing.assert_array_equal(
            experience.next_observation[answers[: len(later)], device], rows["seen"][later, device]
        )


def test_a_dead_device_gives_one_terminated_experience(run):
    rows, experience, open_, _ = run(battery=40.0)
    ends = experience.valid & experience.terminated
    died = rows["left"][-1] == 0
    assert died.sum() > DEVICES / 2
    assert ends[:, died].sum(axis=0).tolist() == [1] * int(died.sum())
    assert not ends[:, ~died].any()
    for device in np.flatnonzero(died):
        last = int(np.argmax(ends[:, device]))
        assert last == int(np.argmax(rows["left"][:, device] == 0))
        assert not experience.valid[last + 1 :, device].any()
        assert not rows["asked"][last + 1 :, device].any()
    assert not open_.under_way[died].any()
