"""Training a whole system: an architecture in one world, life by life; a unit trains it like an agent of its own.

A round is a life of the devices, ``plan.horizon`` slots. After it they start again with full batteries and nothing
under way; the agent keeps its networks and memories, and every device the network that it holds. The functions are
those of :mod:`offjax.learning.train`, with an architecture in the place of an algorithm.
"""

from functools import partial

import jax
import jax.numpy as jnp

from offjax import world
from offjax.learning import system
from offjax.learning.system import Architecture, Report, SystemState
from offjax.learning.train import Plan, look
from offjax.learning.transitions import no_transitions
from offjax.problems.spec import Problem
from offjax.typed_jit import typed_jit
from offjax.world.records import DROPS, End


def algorithm(architecture: Architecture) -> object:
    """The algorithm record that learns and decides."""
    return architecture.learner.agent


def init(key: jax.Array, architecture: Architecture, problem: Problem, plan: Plan) -> SystemState:
    """A fresh system.

    Args:
        key: typed random key.
        architecture: the record.
        problem: of ``D`` devices, with a server in the cloud.
        plan: static.

    Raises:
        ValueError: a plan of several worlds, or of a learner for each device.
    """
    if plan.worlds != 1 or plan.independent:
        raise ValueError("an architecture has one world and one agent")
    return system.init(key, architecture, problem)


@typed_jit(static_argnames=("plan", "own_problems"))
def init_many(
    keys: jax.Array, architectures: Architecture, problems: Problem, plan: Plan, own_problems: bool
) -> SystemState:
    """Fresh systems of several members [K]; the arguments are those of :func:`init` and :func:`train_rounds`."""
    axes = (0, 0, 0 if own_problems else None)
    return jax.vmap(partial(init, plan=plan), in_axes=axes)(keys, architectures, problems)


@typed_jit(static_argnames=("plan",), donate_argnames=("state",))
def train_round(
    architecture: Architecture, problem: Problem, state: SystemState, plan: Plan
) -> tuple[SystemState, dict[str, jax.Array]]:
    """One life of all devices, then the start of the next.

    Args:
        architecture: its numbers are traced.
        problem: its numbers are traced.
        state: donated.
        plan: static.

    Returns:
        the state to go on from, and the means [points] of every metric over the parts of the life.
    """
    return live(architecture, problem, state, plan)


@typed_jit(static_argnames=("plan", "own_problems"), donate_argnames=("states",))
def train_rounds(
    architectures: Architecture, problems: Problem, states: SystemState, plan: Plan, own_problems: bool
) -> tuple[SystemState, dict[str, jax.Array]]:
    """One life of several systems at once: every leaf of ``architectures`` and ``states`` is [K, ...].

    Args:
        architectures: records of one structure.
        problems: one for all, or one each [K, ...] where ``own_problems``.
        states: donated.
        plan: static.
        own_problems: static.
    """
    axes = (0, 0 if own_problems else None, 0)
    return jax.vmap(partial(live, plan=plan), in_axes=axes)(architectures, problems, states)


def live(
    architecture: Architecture, problem: Problem, state: SystemState, plan: Plan
) -> tuple[SystemState, dict[str, jax.Array]]:
    """The same as :func:`train_round` inside a program."""
    state, report = system.run(architecture, problem, state, plan.round_slots)
    return reborn(architecture, problem, state), measures(architecture, problem, report, plan.points)


def reborn(architecture: Architecture, problem: Problem, state: SystemState) -> SystemState:
    """The same agent and networks in a fresh world; what was under way in the old one is gone with it."""
    params = architecture.within(problem).params
    world_key, key = jax.random.split(state.key)
    fresh = world.init(world_key, params)
    return state.replace(
        world=fresh,
        transitions=no_transitions(params.devices, len(problem.features)),
        observation=look(problem, fresh),
        counter=jnp.full(params.devices, architecture.counter_start, jnp.int32),
        up=state.up.replace(there=jnp.zeros_like(state.up.there)),
        down=state.down.replace(there=jnp.zeros_like(state.down.there)),
        key=key,
    )


def measures(architecture: Architecture, problem: Problem, report: Report, points: int) -> dict[str, jax.Array]:
    """What a life was like, [points] float32: rates are per device and slot, shares of the tasks that came.

    Args:
        architecture: says what a message weighs.
        problem: of the run.
        report: leaves [slots, ...].
        points: static, a divisor of the slots.
    """
    steps = report.reward.shape[0] // points * problem.params.devices

    def total(leaf: jax.Array) -> jax.Array:
        return jnp.sum(leaf.astype(jnp.float32).reshape(points, -1), axis=1)

    tasks, decisions = (jnp.maximum(total(count), 1.0) for count in (report.arrived, report.decisions))
    ends = (report.ends + report.refused).astype(jnp.float32)
    up, down = architecture.air_bits(problem, report)
    kinds = (report.experiences, report.weights, report.requests)
    return {
        "reward": total(report.reward) / steps,
        "success": total(report.ends[:, End.IN_TIME]) / tasks,
        "dropped": total(jnp.sum(ends[:, list(DROPS)], axis=1)) / tasks,
        "no_decision": total(ends[:, End.NO_DECISION]) / tasks,
        "staleness": total(report.staleness) / decisions,
        "uplink_bytes": total(up) / (8.0 * steps),
        "downlink_bytes": total(down) / (8.0 * steps),
        "message_joules": sum((total(kind.joules) for kind in kinds), jnp.zeros(points)) / steps,
        "messages_lost": sum((total(jnp.sum(kind.lost, axis=-1)) for kind in kinds), jnp.zeros(points)) / steps,
        "trained": total(report.trained) / (steps / problem.params.devices),
        "td_error": total(report.td_error) / jnp.maximum(total(report.trained), 1.0),
        "spoilt": total(report.spoilt),
    }
