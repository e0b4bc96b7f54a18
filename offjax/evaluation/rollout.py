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

NARROW = 127  # the largest int8
PARTS = ("wait", "decide", "uplink", "backhaul", "queue", "service", "downlink")


class Learned(struct.PyTreeNode):
    """A trained agent, greedy, seeing only its observation."""

    agent: Any
    state: Any  # [D, ...] where every device has its own
    independent: bool = struct.field(pytree_node=False, default=False)

    def decide(self, problem: Problem, state: world.State, observation: jax.Array, key: jax.Array) -> jax.Array:
        """[D] int8."""
        if not self.independent:
            return self.agent.act(self.state, observation, key, False).astype(jnp.int8)
        alone = jax.vmap(lambda own, seen: self.agent.act(own, seen[None], key, False)[0])
        return alone(self.state, observation).astype(jnp.int8)


class Episode(struct.PyTreeNode):
    """What happened in one episode of one world; sums over its devices, or over those of one kind."""

    reward: jax.Array  # [T] sum over devices
    success: jax.Array  # [T] tasks that ended in time
    energy: jax.Array  # [T] J drawn for tasks that ended
    latency: jax.Array  # [T] s of tasks that ended with a result (in time or late)
    parts: jax.Array  # [T, 7] s, the latency by parts, in the order of PARTS
    battery: jax.Array  # [T] J left after the slot
    ends: jax.Array  # [End, G, P] int32 tasks by how they ended, group of classes and place
    refused: jax.Array  # [End] int32 tasks dropped on arrival
    left: jax.Array  # [D] J left at the end, not a number for devices of another kind
    outlasting: jax.Array = struct.field(default=None)  # [] int32 tasks that outlasted the slot they were decided in
    profiles: Any = None  # an Episode, the same for each kind of device [K, ...], where there are several


def _one_hot(codes: jax.Array, count: int) -> jax.Array:
    return (codes[:, None] == jnp.arange(count, dtype=codes.dtype)[None, :]).astype(jnp.float32)


def count_ends(outcome: world.Outcome, ends: int, classes: int, places: int) -> jax.Array:
    """Tasks of one slot by how they ended, class and place, [ends, classes, places] int32.

    A product of one-hot matrices: exact below 2^24 devices, and many times faster on a CPU than a scatter.
    """
    wide = jnp.int8 if classes * places <= NARROW else jnp.int32
    codes = outcome.task_class.astype(wide) * wide(places) + outcome.place.astype(wide)
    counts = _one_hot(outcome.result, ends).T @ _one_hot(codes, classes * places)
    return counts.astype(jnp.int32).reshape(ends, classes, places)


def _no_counts(problem: Problem) -> dict[str, jax.Array]:
    return {
        "ends": jnp.zeros((len(world.End), len(problem.groups), len(problem.decisions)), jnp.int32),
        "refused": jnp.zeros(len(world.End), jnp.int32),
        "outlasting": jnp.zeros((), jnp.int32),
    }


def _count(
    problem: Problem, state: world.State, outcome: world.Outcome, mine: jax.Array | bool
) -> dict[str, jax.Array]:
    """What one slot adds to the counts of an episode, over the devices ``mine`` [D] bool."""
    none = jnp.int8(world.End.NONE)
    outcome = outcome.replace(
        result=jnp.where(mine, outcome.result, none),
        refused=jnp.where(mine, outcome.refused, none),
        task_class=problem.group(outcome.task_class),
    )
    outlasts = state.job.asks & (outcome.result == none) & mine
    return {
        "ends": count_ends(outcome, len(world.End), len(problem.groups), len(problem.decisions)),
        "refused": jnp.sum(_one_hot(outcome.refused, len(world.End)), axis=0).astype(jnp.int32),
        "outlasting": jnp.sum(outlasts, dtype=jnp.int32),
    }


def _sum(
    problem: Problem, state: world.State, after: world.State, outcome: world.Outcome, mine: jax.Array | bool
) -> dict[str, jax.Array]:
    """Sums of one slot over the devices ``mine`` [D] bool."""
    done = ((outcome.result == world.End.IN_TIME) | (outcome.result == world.End.LATE)) & mine
    return {
        "reward": jnp.sum(jnp.where(mine, problem.reward(outcome, state), 0.0)),
        "success": jnp.sum((outcome.result == world.End.IN_TIME) & mine, dtype=jnp.int32),
        "energy": jnp.sum(jnp.where(mine, outcome.energy, 0.0)),
        "latency": jnp.sum(jnp.where(done, outcome.latency, 0.0)),
        "parts": jnp.stack([jnp.sum(jnp.where(done, getattr(outcome.passed, part), 0.0)) for part in PARTS]),
        "battery": jnp.sum(jnp.where(mine, world.remaining(after.device, problem.params), 0.0)),
    }


def _kinds(problem: Problem) -> jax.Array | None:
    """[K, D] bool, the devices of each kind, or none where there is but one."""
    kinds = len(problem.profiles)
    profile = jnp.broadcast_to(problem.params.fleet.profile, (problem.params.devices,))
    return None if kinds < 2 else profile[None, :] == jnp.arange(kinds, dtype=profile.dtype)[:, None]


def _slot(policy: Policy, problem: Problem, kinds: jax.Array | None, carry: Any, key: jax.Array) -> tuple[Any, Any]:
    state, counts = carry
    act_key, draw_key = jax.random.split(key)
    observation = problem.normalise(problem.observe(state))
    decision = world.Decision(place=policy.decide(problem, state, observation, act_key))
    after, outcome = world.advance(state, decision, world.draw(draw_key, problem.params), problem.params)
    alive = ~problem.terminated(state)
    added = [_count(problem, state, outcome, alive)]
    sums = [_sum(problem, state, after, outcome, alive)]
    if kinds is not None:
        added.append(jax.vmap(lambda mine: _count(problem, state, outcome, mine & alive))(kinds))
        sums.append(jax.vmap(lambda mine: _sum(problem, state, after, outcome, mine & alive))(kinds))
    return (after, jax.tree.map(jnp.add, counts, added)), sums


def episode(policy: Policy, problem: Problem, key: jax.Array, slots: int) -> Episode:
    """One episode of ``slots`` slots.

    Args:
        policy: decides.
        problem: its world and rewards.
        key: typed random key; the same key gives every policy the same tasks, channels and servers.
        slots: static.
    """
    start_key, slot_key = jax.random.split(key)
    kinds, none = _kinds(problem), _no_counts(problem)
    counts = [none]
    if kinds is not None:
        counts.append(jax.tree.map(lambda count: jnp.broadcast_to(count, (len(kinds), *count.shape)), none))
    carry = (world.init(start_key, problem.params), counts)
    step = partial(_slot, policy, problem, kinds)
    (state, counts), sums = jax.lax.scan(step, carry, jax.random.split(slot_key, slots))
    left = world.remaining(state.device, problem.params)
    whole = _episode(counts[0], sums[0], left)
    if kinds is None:
        return whole
    by_kind = jax.tree.map(lambda rows: jnp.moveaxis(rows, 0, 1), sums[1])
    return whole.replace(profiles=_episode(counts[1], by_kind, jnp.where(kinds, left, jnp.nan)))


def _episode(counts: dict[str, jax.Array], sums: dict[str, jax.Array], left: jax.Array) -> Episode:
    refused = counts["refused"].at[..., world.End.NONE].set(0)
    return Episode(**counts | {"refused": refused}, **sums, left=left)


@typed_jit(static_argnames=("slots",))
def settlement(policy: Any, problem: Problem, keys: jax.Array, slots: int) -> tuple[jax.Array, jax.Array]:
    """Share [] of the slots of cells in which best response ended in an equilibrium, and its mean rounds [].

    Args:
        policy: a :class:`offjax.baselines.games.BestResponse`.
        problem: its world and rewards.
        keys: [S] typed random keys.
        slots: static.
    """

    def slot(state: world.State, key: jax.Array) -> tuple[world.State, tuple[jax.Array, jax.Array]]:
        found = policy.solve(problem, state)
        after, _ = world.advance(state, world.Decision(found.places), world.draw(key, problem.params), problem.params)
        return after, (jnp.mean(found.stable.astype(jnp.float32)), jnp.mean(found.rounds.astype(jnp.float32)))

    def run(key: jax.Array) -> tuple[jax.Array, jax.Array]:
        start_key, slot_key = jax.random.split(key)
        return jax.lax.scan(slot, world.init(start_key, problem.params), jax.random.split(slot_key, slots))[1]

    stable, rounds = jax.lax.map(run, keys)
    return jnp.mean(stable), jnp.mean(rounds)


@typed_jit(static_argnames=("slots",))
def episodes(policy: Policy, problem: Problem, keys: jax.Array, slots: int) -> Episode:
    """One policy through an episode per key: leaves [S, ...]."""
    return jax.vmap(lambda key: episode(policy, problem, key, slots))(keys)


@typed_jit(static_argnames=("slots",))
def episodes_of_many(policies: Policy, problem: Problem, keys: jax.Array, slots: int) -> Episode:
    """Policies of one kind, stacked on a leading axis [K], one after the other: leaves [K, S, ...]."""
    return jax.lax.map(lambda policy: episodes(policy, problem, keys, slots), policies)


@typed_jit(static_argnames=("slots", "own_problems"))
def episodes_together(policies: Policy, problems: Problem, keys: jax.Array, slots: int, own_problems: bool) -> Episode:
    """The same side by side: all on one problem, or each on its own [K] where ``own_problems``."""
    axes = (0, 0 if own_problems else None)
    return jax.vmap(lambda policy, problem: episodes(policy, problem, keys, slots), in_axes=axes)(policies, problems)
