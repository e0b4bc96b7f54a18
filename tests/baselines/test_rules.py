"""What a user can rely on: a rule is its table, and all 27 of them are there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from offjax.baselines.rules import Random, Rule, all_rules, always
from offjax.problems import nieto2024
from offjax.world import init

DEVICES = 60


@pytest.fixture(scope="module")
def problem():
    return nieto2024.make(devices=DEVICES)


@pytest.fixture(scope="module")
def state(problem, key):
    return jax.jit(init)(key, problem.params)


def _decide(policy, problem, state, key):
    observation = problem.normalise(problem.observe(state))
    return np.asarray(policy.decide(problem, state, observation, key))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_always_is_the_rule_with_one_place(problem, state, key, place):
    rule = Rule(jnp.full(3, place, jnp.int8))
    np.testing.assert_array_equal(always(place, 3).places, rule.places)
    np.testing.assert_array_equal(_decide(always(place, 3), problem, state, key), np.full(DEVICES, place))


def test_there_are_27_rules_and_no_two_are_the_same(problem, state, key):
    tables = list(all_rules(3, 3))
    assert len(tables) == len(set(tables)) == 27
    decisions = {tuple(_decide(Rule(jnp.asarray(table, jnp.int8)), problem, state, key)) for table in tables}
    assert len(decisions) == 27


def test_a_rule_looks_its_class_up(problem, state, key):
    classes = np.asarray(state.job.task_class)
    assert set(classes) == {0, 1, 2}
    decision = _decide(Rule(jnp.asarray([2, 0, 1], jnp.int8)), problem, state, key)
    np.testing.assert_array_equal(decision, np.array([2, 0, 1])[classes])
    assert decision.dtype == np.int8


def test_random_goes_everywhere_alike_and_only_the_key_counts(key):
    problem = nieto2024.make(devices=6000)
    observation = jnp.zeros((6000, 6))
    decision = np.asarray(Random().decide(problem, None, observation, key))
    np.testing.assert_allclose(np.bincount(decision, minlength=3) / 6000, 1 / 3, atol=0.03)
    np.testing.assert_array_equal(decision, Random().decide(problem, None, observation, key))
