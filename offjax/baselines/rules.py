"""Policies that look at nothing but the task's class, or the group of classes that the problem puts it in."""

import itertools
from collections.abc import Iterator

import jax
import jax.numpy as jnp
from flax import struct

from offjax.problems.spec import Problem
from offjax.world import State


class Rule(struct.PyTreeNode):
    """A fixed place for each group of task classes (``Problem.groups``; in nieto2024 each class is its own)."""

    places: jax.Array  # [G] int8

    def decide(self, problem: Problem, state: State, observation: jax.Array, key: jax.Array) -> jax.Array:
        """[D] the place of the task's group."""
        return self.places[problem.group(state.job.task_class).astype(jnp.int32)]


class Random(struct.PyTreeNode):
    """Any place, each with the same probability."""

    def decide(self, problem: Problem, state: State, observation: jax.Array, key: jax.Array) -> jax.Array:
        """[D] drawn from the key."""
        places = len(problem.decisions)
        return jax.random.randint(key, (observation.shape[0],), 0, places).astype(jnp.int8)


def always(place: int, groups: int) -> Rule:
    """The rule that sends everything to ``place``."""
    return Rule(places=jnp.full(groups, place, jnp.int8))


def all_rules(groups: int, places: int) -> Iterator[tuple[int, ...]]:
    """Every fixed rule, one place per group of classes: ``places ** groups`` of them."""
    return itertools.product(range(places), repeat=groups)
