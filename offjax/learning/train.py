"""Training on many devices at once: worlds side by side, everything in one scan.

The worlds' clocks are staggered over the horizon, so that a batch sees every part of the schedules at any time; a
round is ``horizon / worlds`` slots, after which the world that has come to its horizon is replaced by a fresh one.
One learner is shared by all devices, or every device of a world has its own (device d of all worlds: learner d).
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from offjax import world
from offjax.agents.specs import Specs
from offjax.learning.transitions import Transitions, decided, no_transitions, observed
from offjax.problems.spec import Problem
from offjax.replay.experience import Experience, merge_slots, n_step
from offjax.replay.ring import Ring, add, prioritise
from offjax.typed_jit import compile_ahead, typed_jit

GENERATOR = "philox4x32"  # six times faster here than threefry on a CPU; the reference is threefry2x32


@dataclass(frozen=True)
class Plan:
    """What fixes the shape of a training program; static and hashable."""

    horizon: int
    """Slots of an episode."""
    worlds: int
    """W, side by side, a divisor of ``horizon``."""
    independent: bool = False
    """Every device of a world has a learner of its own; otherwise one is shared by all."""
    points: int = 1
    """How many means of every metric a round reports, evenly spaced; a divisor of its rollouts."""

    def __post_init__(self) -> None:
        """Refuse a plan whose parts do not fit together with a ValueError."""
        if self.horizon % self.worlds:
            raise ValueError(f"worlds: {self.worlds} does not divide the horizon of {self.horizon} slots")

    @property
    def round_slots(self) -> int:
        """Slots of one round."""
        return self.horizon // self.worlds


class TrainState(struct.PyTreeNode):
    """Everything that training needs to go on; save it whole."""

    agent: Any  # the algorithm's state; [D, ...] where every device has its own
    ring: Any  # Ring, the memory of an algorithm that replays, or None; [D, ...] as well
    worlds: world.State  # [W, ...]
    transitions: Transitions  # [W, ...]
    observation: jax.Array  # [W, D, F] normalised, of the worlds as they are
    key: jax.Array  # typed random key
    slots: jax.Array  # [] int32 slots trained


def algorithm(agent: Any) -> Any:
    """The algorithm record that learns and decides: what is trained here is one itself."""
    return agent


@typed_jit(static_argnames=("plan",))
def init(key: jax.Array, agent: Any, problem: Problem, plan: Plan) -> TrainState:
    """A fresh run.

    Args:
        key: typed random key.
        agent: the algorithm record.
        problem: of ``D`` devices per world.
        plan: static.
    """
    return start(key, agent, problem, plan)


@typed_jit(static_argnames=("plan", "own_problems"))
def init_many(keys: jax.Array, agents: Any, problems: Problem, plan: Plan, own_problems: bool) -> TrainState:
    """Fresh runs of several members [K]; the arguments are those of :func:`init` and :func:`train_rounds`."""
    axes = (0, 0, 0 if own_problems else None)
    return jax.vmap(partial(start, plan=plan), in_axes=axes)(keys, agents, problems)


def begin(key: jax.Array, agent: Any, problem: Problem, plan: Plan) -> TrainState:
    """The same, while the program of its rounds compiles: two processors make the wait shorter."""
    state = jax.eval_shape(lambda k, a, p: init(k, a, p, plan), key, agent, problem)
    with ThreadPoolExecutor(max_workers=1) as pool:
        compiling = pool.submit(compile_ahead, train_round, agent, problem, state, plan)
        fresh = init(key, agent, problem, plan)
        compiling.result()
    return fresh


def start(key: jax.Array, agent: Any, problem: Problem, plan: Plan) -> TrainState:
    """The same inside a program."""
    agent_key, world_key, run_key = jax.random.split(key, 3)
    features, devices = len(problem.features), problem.params.devices
    specs = Specs(features, len(problem.decisions))
    starts = jnp.arange(plan.worlds, dtype=jnp.int32) * plan.round_slots
    start_world = jax.vmap(lambda k, slot: world.init(k, problem.params, slot))
    states = start_world(jax.random.split(world_key, plan.worlds), starts)
    under_way = no_transitions(devices, features)
    make = partial(_make_learner, agent, specs)
    learnt, ring = jax.vmap(make)(jax.random.split(agent_key, devices)) if plan.independent else make(agent_key)
    return TrainState(
        agent=learnt,
        ring=ring,
        worlds=states,
        transitions=jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (plan.worlds, *leaf.shape)), under_way),
        observation=jax.vmap(partial(look, problem))(states),
        key=run_key,
        slots=jnp.zeros((), jnp.int32),
    )


def _make_learner(agent: Any, specs: Specs, key: jax.Array) -> tuple[Any, Ring | None]:
    return agent.init(key, specs), agent.memory(specs) if agent.replays else None


def look(problem: Problem, state: world.State) -> jax.Array:
    """[D, F] normalised observation of a world."""
    return problem.normalise(problem.observe(state))


def slot(agent: Any, problem: Problem, plan: Plan, state: TrainState) -> tuple[TrainState, Experience, dict[str, Any]]:
    """One slot of every world under the policy as it is, and its experiences [W, D, ...]."""
    act_key, world_key, next_key = jax.random.split(state.key, 3)
    decision = decide(agent, plan, state.agent, state.observation, act_key)
    step = jax.vmap(partial(move, problem))
    keys = jax.random.split(world_key, plan.worlds)
    states, transitions, experience, observation, metrics = step(
        state.worlds, state.transitions, state.observation, decision, keys
    )
    state = state.replace(
        worlds=states, transitions=transitions, observation=observation, key=next_key, slots=state.slots + 1
    )
    return state, experience, jax.tree.map(jnp.mean, metrics)


def decide(agent: Any, plan: Plan, learnt: Any, observation: jax.Array, key: jax.Array) -> jax.Array:
    """Exploring decisions [W, D] int32 for observations [W, D, F]."""
    worlds, devices, features = observation.shape
    if not plan.independent:
        return agent.act(learnt, observation.reshape(-1, features), key, True).reshape(worlds, devices)
    act = jax.vmap(lambda own, seen, k: agent.act(own, seen, k, True), in_axes=(0, 1, 0), out_axes=1)
    return act(learnt, observation, jax.random.split(key, devices))


def move(
    problem: Problem,
    state: world.State,
    transitions: Transitions,
    observation: jax.Array,
    decision: jax.Array,
    key: jax.Array,
) -> tuple[world.State, Transitions, Experience, jax.Array, dict[str, jax.Array]]:
    """One slot of one world under given decisions [D]."""
    answer = world.Decision(place=decision.astype(jnp.int8))
    after, transitions, experience, seen, outcome, reward = answered(
        problem, state, transitions, observation, answer, key
    )
    success = (outcome.result == world.End.IN_TIME).astype(jnp.float32)
    return after, transitions, experience, seen, {"reward": reward, "success": success}


def answered(
    problem: Problem,
    state: world.State,
    transitions: Transitions,
    observation: jax.Array,
    answer: world.Decision,
    key: jax.Array,
) -> tuple[world.State, Transitions, Experience, jax.Array, world.Outcome, jax.Array]:
    """One slot of one world under given answers; a place of -1 leaves a device without one.

    Returns:
        the world after it, what is under way, the experiences [D] that closed, the observation [D, F] after the slot,
        the outcome and the reward [D].
    """
    params = problem.params
    asked = state.job.asks & ~problem.terminated(state) & (answer.place >= 0)
    transitions = decided(transitions, observation, answer.place.astype(jnp.int32), asked)
    after, outcome = world.advance(state, answer, world.draw(key, params), params)
    reward = problem.reward(outcome, state)
    seen = look(problem, after)
    transitions, experience = observed(transitions, reward, seen, after.job.asks, problem.terminated(after))
    return after, transitions, experience, seen, outcome, reward


def learn(
    agent: Any, plan: Plan, learnt: Any, ring: Any, rollout: Experience, key: jax.Array
) -> tuple[Any, Any, dict[str, jax.Array]]:
    """Learn from the experiences [T, W, D, ...] of a rollout: one learner from all, or each from its device's."""
    if not plan.independent:
        return _learn(agent, learnt, ring, merge_devices(rollout), key)
    keys = jax.random.split(key, rollout.valid.shape[-1])
    own = jax.vmap(partial(_learn, agent), in_axes=(0, 0, 2, 0))
    learnt, ring, metrics = own(learnt, ring, rollout, keys)
    return learnt, ring, jax.tree.map(jnp.mean, metrics)


def merge_devices(rollout: Experience) -> Experience:
    """[T, W, D, ...] to [T, W D, ...]."""
    return jax.tree.map(lambda leaf: leaf.reshape(leaf.shape[0], -1, *leaf.shape[3:]), rollout)


def _learn(
    agent: Any, learnt: Any, ring: Ring | None, rollout: Experience, key: jax.Array
) -> tuple[Any, Ring | None, dict[str, jax.Array]]:
    """One learner and its experiences [T, B, ...]: at once, or through the memory."""
    if ring is None:
        batch = rollout if agent.sequential else merge_slots(rollout)
        learnt, metrics = agent.update(learnt, batch, key)
        return learnt, None, metrics
    rows = rollout if agent.n_steps == 1 else n_step(rollout, agent.gamma, agent.n_steps)
    ring = add(ring, merge_slots(rows))
    ready = ring.size >= agent.batch_size

    def update(carry: Any, key: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
        learnt, priority = carry
        draw_key, update_key = jax.random.split(key)
        drawn, slots = agent.draw(ring.replace(priority=priority), draw_key, learnt)
        drawn = drawn.replace(valid=drawn.valid & ready)
        learnt, metrics = agent.update(learnt, drawn, update_key)
        if priority is not None:
            priority = prioritise(priority, slots, agent.priorities(learnt, drawn), drawn.valid)
        return (learnt, priority), metrics

    keys = jax.random.split(key, agent.updates_per_step)
    (learnt, priority), metrics = jax.lax.scan(update, (learnt, ring.priority), keys)
    return learnt, ring.replace(priority=priority), jax.tree.map(jnp.mean, metrics)


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


@typed_jit(static_argnames=("plan",), donate_argnames=("state",))
def train_round(agent: Any, problem: Problem, state: TrainState, plan: Plan) -> tuple[TrainState, dict[str, jax.Array]]:
    """One round: ``horizon / W`` slots of every world, then the renewal.

    Args:
        agent: the algorithm record; its numbers are traced.
        problem: its numbers are traced.
        state: donated.
        plan: static.

    Returns:
        the state to go on from, and the means [points] of every metric over the parts of the round.
    """
    return one_round(agent, problem, state, plan)


@typed_jit(static_argnames=("plan", "own_problems"), donate_argnames=("states",))
def train_rounds(
    agents: Any, problems: Problem, states: TrainState, plan: Plan, own_problems: bool
) -> tuple[TrainState, dict[str, jax.Array]]:
    """One round of several members at once: every leaf of ``agents`` and ``states`` is [K, ...].

    Args:
        agents: algorithm records of one structure.
        problems: one for all, or one each [K, ...] where ``own_problems``.
        states: donated.
        plan: static.
        own_problems: static.
    """
    axes = (0, 0 if own_problems else None, 0)
    return jax.vmap(partial(one_round, plan=plan), in_axes=axes)(agents, problems, states)


def one_round(agent: Any, problem: Problem, state: TrainState, plan: Plan) -> tuple[TrainState, dict[str, jax.Array]]:
    """The same as :func:`train_round` inside a program."""
    rollouts, left = divmod(plan.round_slots, agent.rollout_slots)
    if left or rollouts % plan.points:
        raise ValueError(
            f"a round of {plan.round_slots} slots is not {plan.points} parts of whole rollouts "
            f"of {agent.rollout_slots} slots"
        )
    body = partial(_rollout, agent, problem, plan)
    state, metrics = jax.lax.scan(lambda carry, _: body(carry), state, length=rollouts)
    means = jax.tree.map(lambda rows: jnp.mean(rows.reshape(plan.points, -1), axis=1), metrics)
    return renew(problem, plan.horizon, state), means


def _rollout(agent: Any, problem: Problem, plan: Plan, state: TrainState) -> tuple[TrainState, dict[str, jax.Array]]:
    """Some slots under one policy, then what the learner makes of them."""

    def step(carry: TrainState, _: None) -> tuple[TrainState, tuple[Experience, dict[str, jax.Array]]]:
        carry, experience, metrics = slot(agent, problem, plan, carry)
        return carry, (experience, metrics)

    if agent.rollout_slots == 1:  # a scan of length 1 would cost its copies
        state, (experience, metrics) = step(state, None)
        rollout = jax.tree.map(lambda leaf: leaf[None], experience)
    else:
        state, (rollout, metrics) = jax.lax.scan(step, state, length=agent.rollout_slots)
    learn_key, next_key = jax.random.split(state.key)
    learnt, ring, losses = learn(agent, plan, state.agent, state.ring, rollout, learn_key)
    return state.replace(agent=learnt, ring=ring, key=next_key), jax.tree.map(jnp.mean, metrics) | losses
