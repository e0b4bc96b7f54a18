"""Policies that know the world: they try every place in the simulator itself and take the best.

With nothing coupled a device's outcome does not depend on the others, so trying a place for all devices at once
tells each device its own outcome. A task that does not end within its slot is judged by what is known by then.
"""

import jax
import jax.numpy as jnp
from flax import struct

from offjax.problems.spec import Problem
from offjax.world import DROPS, Decision, Outcome, State, advance


def try_places(problem: Problem, state: State) -> tuple[Outcome, jax.Array]:
    """The outcome of every place: records [P, D], and the rewards [P, D]."""
    places = jnp.arange(len(problem.decisions), dtype=jnp.int8)
    devices = problem.params.devices

    def attempt(place: jax.Array) -> tuple[Outcome, jax.Array]:
        decision = Decision(jnp.broadcast_to(place, (devices,)), jnp.zeros(devices, jnp.float32))
        _, outcome = advance(state, decision, state.draws, problem.params)
        return outcome, problem.reward(outcome, state)

    return jax.vmap(attempt)(places)


def dropped(outcome: Outcome) -> jax.Array:
    """[P, D] bool: the task was dropped."""
    return outcome.result >= min(DROPS)


class LeastLatency(struct.PyTreeNode):
    """The place where the task is done first, whatever it costs."""

    def decide(self, problem: Problem, state: State, observation: jax.Array, key: jax.Array) -> jax.Array:
        """[D] int8; where every place drops the task, the first."""
        outcome, _ = try_places(problem, state)
        latency = jnp.where(dropped(outcome), jnp.inf, outcome.latency)
        return jnp.argmin(latency, axis=0).astype(jnp.int8)


class LeastEnergy(struct.PyTreeNode):
    """The place that costs the device least, whatever the deadline."""

    def decide(self, problem: Problem, state: State, observation: jax.Array, key: jax.Array) -> jax.Array:
        """[D] int8; where every place drops the task, the first."""
        outcome, _ = try_places(problem, state)
        energy = jnp.where(dropped(outcome), jnp.inf, outcome.drawn_task)
        return jnp.argmin(energy, axis=0).astype(jnp.int8)


class Oracle(struct.PyTreeNode):
    """The place with the best reward of this task, ties to the least energy; each joule may have a price.

    At price zero it is the per-task oracle: exact where the reward of one task does not touch the next (preset
    ``text`` of nieto2024 as long as no battery runs out), myopic otherwise. A price makes it save energy for later.
    """

    price: jax.Array  # [D] or [] reward/J
    blind: bool = struct.field(pytree_node=False, default=False)  # judge each task as if the battery were full?

    def decide(self, problem: Problem, state: State, observation: jax.Array, key: jax.Array) -> jax.Array:
        """[D] int8."""
        if self.blind:
            full = jnp.zeros_like(state.device.spent)
            state = state.replace(device=state.device.replace(spent=full, spent_low=full))
        outcome, reward = try_places(problem, state)
        energy = outcome.drawn_task
        price = jnp.broadcast_to(self.price, (problem.params.devices,))
        value = reward - price[None, :] * energy
        best = value >= jnp.max(value, axis=0, keepdims=True)
        return jnp.argmin(jnp.where(best, energy, jnp.inf), axis=0).astype(jnp.int8)
