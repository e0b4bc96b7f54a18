"""Training on many devices at once: worlds side by side, one shared learner, everything in one scan.

The worlds' clocks are staggered over the horizon, so that a batch sees every part of the schedules at any time; a
round is ``horizon / worlds`` slots, after which the world that has come to its horizon is replaced by a fresh one.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from offjax import world
from offjax.agents.specs import Specs
from offjax.learning.transitions import Transitions, decided, no_transitions, observed
from offjax.problems.spec import Problem
from offjax.replay.experience import Experience
from offjax.replay.ring import Ring, add, make_ring, sample
from offjax.typed_jit import typed_jit

GENERATOR = "philox4x32"  # six times faster here than threefry on a CPU; the reference is threefry2x32


class TrainState(struct.PyTreeNode):
    """Everything that training needs to go on; save it whole."""

    agent: Any  # the algorithm's state
    ring: Ring | None  # memory of an off-policy algorithm
    worlds: world.State  # [W, ...]
    transitions: Transitions  # [W, ...]
    observation: jax.Array  # [W, D, F] normalised, of the worlds as they are
    key: jax.Array  # typed random key
    slots: jax.Array  # [] int32 slots trained


def flatten_worlds(tree: Any) -> Any:
    """[W, D, ...] to [W D, ...]."""
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), tree)


@typed_jit(static_argnames=("worlds", "horizon"))
def init(key: jax.Array, agent: Any, problem: Problem, worlds: int, horizon: int) -> TrainState:
    """A fresh run.

    Args:
        key: typed random key.
        agent: the algorithm record.
        problem: of ``D`` devices per world.
        worlds: W, a divisor of ``horizon``.
        horizon: slots of an episode.
    """
    if horizon % worlds:
        raise ValueError(f"worlds: {worlds} does not divide the horizon of {horizon} slots")
    agent_key, world_key, run_key = jax.random.split(key, 3)
    features = len(problem.features)
    starts = jnp.arange(worlds, dtype=jnp.int32) * (horizon // worlds)
    start_world = jax.vmap(lambda k, slot: world.init(k, problem.params, slot))
    states = start_world(jax.random.split(world_key, worlds), starts)
    ring = None if agent.on_policy else make_ring(agent.replay_capacity, features)
    under_way = no_transitions(problem.params.devices, features)
    return TrainState(
        agent=agent.init(agent_key, Specs(features, len(problem.decisions))),
        ring=ring,
        worlds=states,
        transitions=jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (worlds, *leaf.shape)), under_way),
        observation=jax.vmap(partial(look, problem))(states),
        key=run_key,
        slots=jnp.zeros((), jnp.int32),
    )


def look(problem: Problem, state: world.State) -> jax.Array:
    """[D, F] normalised observation of a world."""
    return problem.normalise(problem.observe(state))


def slot(agent: Any, problem: Problem, state: TrainState) -> tuple[TrainState, dict[str, jax.Array]]:
    """One slot of every world, and what the learner makes of it."""
    act_key, world_key, learn_key, next_key = jax.random.split(state.key, 4)
    worlds, devices, features = state.observation.shape
    decision = agent.act(state.agent, state.observation.reshape(-1, features), act_key, True)
    decision = decision.reshape(worlds, devices)
    step = jax.vmap(partial(move, problem))
    keys = jax.random.split(world_key, worlds)
    states, transitions, experience, observation, metrics = step(
        state.worlds, state.transitions, state.observation, decision, keys
    )
    learnt, ring, losses = learn(agent, state.agent, state.ring, flatten_worlds(experience), learn_key)
    state = TrainState(learnt, ring, states, transitions, observation, next_key, state.slots + 1)
    return state, jax.tree.map(jnp.mean, metrics) | losses


def move(
    problem: Problem,
    state: world.State,
    transitions: Transitions,
    observation: jax.Array,
    decision: jax.Array,
    key: jax.Array,
) -> tuple[world.State, Transitions, Experience, jax.Array, dict[str, jax.Array]]:
    """One slot of one world under given decisions [D]."""
    params = problem.params
    asked = state.job.asks & ~problem.terminated(state)
    transitions = decided(transitions, observation, decision, asked)
    answer = world.Decision(place=decision.astype(jnp.int8))
    after, outcome = world.advance(state, answer, world.draw(key, params), params)
    reward = problem.reward(outcome, state)
    seen = look(problem, after)
    transitions, experience = observed(transitions, reward, seen, after.job.asks, problem.terminated(after))
    success = (outcome.result == world.End.IN_TIME).astype(jnp.float32)
    return after, transitions, experience, seen, {"reward": reward, "success": success}


def learn(
    agent: Any, learnt: Any, ring: Ring | None, batch: Experience, key: jax.Array
) -> tuple[Any, Ring | None, dict[str, jax.Array]]:
    """Learn from the slot's experiences: at once, or through the memory."""
    if ring is None:
        learnt, metrics = agent.update(learnt, batch)
        return learnt, None, metrics
    ring = add(ring, batch)
    ready = ring.size >= agent.batch_size

    def update(carry: Any, key: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
        drawn = sample(ring, key, agent.batch_size)
        return agent.update(carry, drawn.replace(valid=drawn.valid & ready))

    learnt, metrics = jax.lax.scan(update, learnt, jax.random.split(key, agent.updates_per_step))
    return learnt, ring, jax.tree.map(jnp.mean, metrics)


def renew(problem: Problem, horizon: int, state: TrainState) -> TrainState:
    """Replace the worlds that have come to their horizon by fresh ones (truncation: nothing is masked)."""
    world_key, key = jax.random.split(state.key)
    worlds = state.worlds.clock.shape[0]
    fresh = jax.vmap(lambda k: world.init(k, problem.params))(jax.random.split(world_key, worlds))
    due = state.worlds.clock >= horizon

    def pick(new: jax.Array, old: jax.Array) -> jax.Array:
        return jnp.where(due.reshape(worlds, *[1] * (old.ndim - 1)), new, old)

    under_way = state.transitions.under_way & ~due[:, None]
    return state.replace(
        worlds=jax.tree.map(pick, fresh, state.worlds),
        transitions=state.transitions.replace(under_way=under_way),
        observation=pick(jax.vmap(partial(look, problem))(fresh), state.observation),
        key=key,
    )


@typed_jit(static_argnames=("horizon",), donate_argnames=("state",))
def train_round(
    agent: Any, problem: Problem, state: TrainState, horizon: int
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One round: ``horizon / W`` slots of every world, then the renewal.

    Args:
        agent: the algorithm record; its numbers are traced.
        problem: its numbers are traced.
        state: donated.
        horizon: slots of an episode.

    Returns:
        the state to go on from, and the means [] of every metric over the round.
    """
    slots = horizon // state.worlds.clock.shape[0]
    state, metrics = jax.lax.scan(lambda carry, _: slot(agent, problem, carry), state, length=slots)
    return renew(problem, horizon, state), jax.tree.map(jnp.mean, metrics)
