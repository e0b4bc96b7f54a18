"""A unit whose members are whole systems: an architecture in one world, life by life, resumable like any other.

A round is a life of the devices, ``plan.horizon`` slots. After it they start again with full batteries and nothing
under way; the agent keeps its networks and memories, and every device the network that it holds.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from offjax import world
from offjax.learning import system
from offjax.learning.system import Architecture, Report, SystemState
from offjax.learning.train import Plan, look
from offjax.learning.transitions import no_transitions
from offjax.learning.unit import Unit
from offjax.problems.spec import Problem
from offjax.typed_jit import compile_ahead, typed_jit
from offjax.world.records import DROPS, End


@dataclass(frozen=True)
class SystemUnit(Unit):
    """What is trained, and for how long; the agent of a member is that of its architecture."""

    architectures: tuple[Architecture, ...] = ()  # [K]

    def __post_init__(self) -> None:
        """Refuse members side by side in one program, and several worlds, with a ValueError."""
        super().__post_init__()
        if self.chunk != 1 or self.plan.worlds != 1 or len(self.architectures) != self.members:
            raise ValueError(f"{self.name}: a system is alone in its program and has one world")

    def start_chunk(self, place: int) -> Any:
        """A fresh system."""
        return system.init(self.put(place, self.keys[place]), *self._system(place))

    def step(self, place: int, state: Any) -> tuple[Any, dict[str, jax.Array]]:
        """One life of it; the state is donated."""
        return live(*self._system(place), state, self.plan)

    def compile(self) -> None:
        """See the base."""
        if not self.devices:
            compile_ahead(live, *self._system(0), jax.eval_shape(lambda: self.start_chunk(0)), self.plan)

    def _system(self, place: int) -> tuple[Architecture, Problem]:
        return self.put(place, (self.architectures[place], self.problems[place]))


@typed_jit(static_argnames=("plan",), donate_argnames=("state",))
def live(
    architecture: Architecture, problem: Problem, state: SystemState, plan: Plan
) -> tuple[SystemState, dict[str, jax.Array]]:
    """One life of all devices, then the start of the next.

    Args:
        architecture: its numbers are traced.
        problem: its numbers are traced.
        state: donated.
        plan: static; of one world.

    Returns:
        the state to go on from, and the means [points] of every metric over the parts of the life.
    """
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
