"""Policies that know the world: they try every place in the simulator itself and take the best.

A place is tried as if the device were alone and the slot went on until the task ends: the present channel, schedules
and free shares, nothing shared, nobody else. Where nothing couples and every task ends within its slot that is what
will happen, so trying a place for all devices at once tells each device its own outcome; elsewhere it is a forecast.
"""

import jax
import jax.numpy as jnp
from flax import struct

from offjax.problems.spec import Problem
from offjax.world import DROPS, Decision, End, Outcome, Params, State, advance
from offjax.world.lane import idle_job

LONG = 1e5  # s, longer than any task


def couples(params: Params) -> bool:
    """Do the devices of a cell get in each other's way?"""
    shared = [mode in ("active", "cell") for mode in (params.uplink, params.downlink)]
    return params.coupling != "none" and (any(shared) or any(queue != "none" for queue in params.queues))


def alone(params: Params) -> Params:
    """The world with nothing shared, and slots that no task outlasts."""
    return params.replace(coupling="none", slot_duration=jnp.maximum(params.slot_duration, LONG))


def without_queues(state: State, params: Params) -> State:
    """The state in the form of a world of ``params``, where nobody queues and so no job remembers what is ahead."""
    form = idle_job(params)
    left, passed = state.job.left, state.job.passed
    left = left.replace(ahead=None if form.left.ahead is None else left.ahead)
    passed = passed.replace(queue=None if form.passed.queue is None else passed.queue)
    return state.replace(job=state.job.replace(left=left, passed=passed))


def try_places(problem: Problem, state: State) -> tuple[Outcome, jax.Array]:
    """The outcome of every place for the devices that are asked: records [P, D], and the rewards [P, D]."""
    places = jnp.arange(len(problem.decisions), dtype=jnp.int8)
    params = alone(problem.params)
    before = without_queues(state, params)

    def attempt(place: jax.Array) -> tuple[Outcome, jax.Array]:
        decision = Decision(jnp.broadcast_to(place, (params.devices,)))
        _, outcome = advance(before, decision, before.draws, params)
        return outcome, problem.reward(outcome, before)

    return jax.vmap(attempt)(places)


def dropped(outcome: Outcome) -> jax.Array:
    """[P, D] bool: the task was dropped, or would never end."""
    return (outcome.result >= min(DROPS)) | (outcome.result == End.NONE)


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

    At price zero it is the per-task oracle: exact where no decision touches another task (``evaluation.setting``
    says when), myopic otherwise. A price makes it save energy for later.
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
        value = jnp.where(outcome.result == End.NONE, -jnp.inf, reward - price[None, :] * energy)
        best = value >= jnp.max(value, axis=0, keepdims=True)
        return jnp.argmin(jnp.where(best, energy, jnp.inf), axis=0).astype(jnp.int8)
