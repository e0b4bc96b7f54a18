"""Running a policy through whole episodes, everything reduced inside the scan."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from offjax import world
from offjax.baselines.policy import Policy
from offjax.problems.spec import Problem
from offjax.typed_jit import typed_jit

PARTS = ("wait", "decide", "uplink", "backhaul", "queue", "service", "downlink")


class Learned(struct.PyTreeNode):
    """A trained agent, greedy, seeing only its observation."""

    agent: Any
    state: Any

    def decide(self, problem: Problem, state: world.State, observation: jax.Array, key: jax.Array) -> jax.Array:
        """[D] int8."""
        return self.agent.act(self.state, observation, key, False).astype(jnp.int8)


class Episode(struct.PyTreeNode):
    """What happened in one episode of one world; sums over its devices."""

    reward: jax.Array  # [T] sum over devices
    success: jax.Array  # [T] tasks that ended in time
    energy: jax.Array  # [T] J drawn for tasks that ended
    latency: jax.Array  # [T] s of tasks that ended with a result (in time or late)
    parts: jax.Array  # [T, 7] s, the latency by parts, in the order of PARTS
    battery: jax.Array  # [T] J left after the slot
    ends: jax.Array  # [End, C, P] int32 tasks by how they ended, class and place
    refused: jax.Array  # [End] int32 tasks dropped on arrival
    left: jax.Array  # [D] J left at the end


def _one_hot(codes: jax.Array, count: int) -> jax.Array:
    return (codes[:, None] == jnp.arange(count, dtype=codes.dtype)[None, :]).astype(jnp.float32)


def count_ends(outcome: world.Outcome, ends: int, classes: int, places: int) -> jax.Array:
    """Tasks of one slot by how they ended, class and place, [ends, classes, places] int32.

    A product of one-hot matrices: exact below 2^24 devices, and many times faster on a CPU than a scatter.
    """
    kinds = _one_hot(outcome.task_class * jnp.int8(places) + outcome.place, classes * places)
    counts = _one_hot(outcome.result, ends).T @ kinds
    return counts.astype(jnp.int32).reshape(ends, classes, places)


def _slot(policy: Policy, problem: Problem, carry: Any, key: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
    state, ends, refused = carry
    params = problem.params
    act_key, draw_key = jax.random.split(key)
    observation = problem.normalise(problem.observe(state))
    place = policy.decide(problem, state, observation, act_key)
    decision = world.Decision(place=place, delay=jnp.zeros(params.devices, jnp.float32))
    after, outcome = world.advance(state, decision, world.draw(draw_key, params), params)
    done = (outcome.result == world.End.IN_TIME) | (outcome.result == world.End.LATE)
    ends = ends + count_ends(outcome, *ends.shape)
    refused = refused + jnp.sum(_one_hot(outcome.refused, refused.shape[0]), axis=0).astype(jnp.int32)
    sums = {
        "reward": jnp.sum(problem.reward(outcome, state)),
        "success": jnp.sum(outcome.result == world.End.IN_TIME, dtype=jnp.int32),
        "energy": jnp.sum(outcome.energy),
        "latency": jnp.sum(jnp.where(done, outcome.latency, 0.0)),
        "parts": jnp.stack([jnp.sum(jnp.where(done, getattr(outcome.passed, part), 0.0)) for part in PARTS]),
        "battery": jnp.sum(world.remaining(after.device, params)),
    }
    return (after, ends, refused), sums


def episode(policy: Policy, problem: Problem, key: jax.Array, slots: int) -> Episode:
    """One episode of ``slots`` slots.

    Args:
        policy: decides.
        problem: its world and rewards.
        key: typed random key; the same key gives every policy the same tasks, channels and servers.
        slots: static.
    """
    start_key, slot_key = jax.random.split(key)
    classes = problem.params.workload.probability.shape[0]
    ends = jnp.zeros((len(world.End), classes, len(problem.decisions)), jnp.int32)
    refused = jnp.zeros(len(world.End), jnp.int32)
    carry = (world.init(start_key, problem.params), ends, refused)
    step = partial(_slot, policy, problem)
    (state, ends, refused), sums = jax.lax.scan(step, carry, jax.random.split(slot_key, slots))
    return Episode(ends=ends, refused=refused.at[0].set(0), left=world.remaining(state.device, problem.params), **sums)


@typed_jit(static_argnames=("slots",))
def episodes(policy: Policy, problem: Problem, keys: jax.Array, slots: int) -> Episode:
    """One policy through an episode per key: leaves [S, ...]."""
    return jax.vmap(lambda key: episode(policy, problem, key, slots))(keys)


@typed_jit(static_argnames=("slots",))
def episodes_of_many(policies: Policy, problem: Problem, keys: jax.Array, slots: int) -> Episode:
    """Policies of one kind, stacked on a leading axis [K], one after the other: leaves [K, S, ...]."""
    return jax.lax.map(lambda policy: episodes(policy, problem, keys, slots), policies)
