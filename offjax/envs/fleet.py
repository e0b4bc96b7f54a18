"""All devices of a problem at once: the view that our own learners and the interfaces for other people share."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from offjax import world
from offjax.envs.actions import after_the_end, check_actions, check_shape
from offjax.envs.decision import decide, decision_steps
from offjax.problems.spec import Problem


class FleetState(struct.PyTreeNode):
    """A world of D devices, and which of them still take part."""

    time: jax.Array  # [] int32 steps since the reset
    alive: jax.Array  # [D] bool, not terminated so far
    world: world.State


class FleetView(struct.PyTreeNode):
    """A problem seen by its D devices together; one step is one decision of each. Made by :func:`fleet_view`.

    There is no auto-reset, and it is no gymnax environment. It is a pytree whose leaves are the problem's
    numbers: pass it to ``jit`` and map over any of them with ``vmap``.

    Keys are used as by ``OffloadEnv``, whose ``step`` gives the first half of its key to the world and keeps the
    second for its auto-reset: with one device both show the same episode for the same keys and actions.
    """

    problem: Any  # a Problem with D devices
    slots_per_decision: int = struct.field(pytree_node=False, default=1)

    @property
    def devices(self) -> int:
        """D."""
        return self.problem.params.devices

    @property
    def observation_size(self) -> int:
        """F, numbers that a device observes."""
        return len(self.problem.features)

    def reset(self, key: jax.Array) -> tuple[jax.Array, FleetState]:
        """A fresh world: observation float32 [D, F] in 0..1, and state."""
        start = world.init(key, self.problem.params)
        alive = jnp.ones((self.devices,), bool)
        return self._observe(start), FleetState(time=jnp.zeros((), jnp.int32), alive=alive, world=start)

    def step(
        self, key: jax.Array, state: FleetState, action: jax.Array
    ) -> tuple[jax.Array, FleetState, jax.Array, jax.Array, jax.Array, dict[str, jax.Array]]:
        """One decision of each device.

        Args:
          key: random key, never used before.
          state: from ``reset`` or the step before; one of an episode that has not ended.
          action: [D] integer, the place where the task of each device runs (0 = on the device, z = server z);
            not read where a device is busy or dead.

        Returns:
          observation float32 [D, F] in 0..1; state; reward float32 [D], 0 from the step on after the one in which a
          device died; terminated bool [D], the device is dead, now or since earlier; truncated bool [], the
          horizon is reached, whoever is alive; info, arrays [D] as of ``OffloadEnv``, zero (and busy) where a device
          was dead before the step.

        Raises:
          ConfigError: an action of another shape; outside ``jit``, where values are known, also one that names no
            place, and a step after the end of the episode.
        """
        check_shape(action, self.devices)
        if not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((action, state))):
            action = jnp.asarray(check_actions(action, self.devices, self.problem.decisions))
            if bool(self.is_over(state)):
                raise after_the_end()
        return self.advance(jax.random.split(key)[0], state, action)

    def advance(
        self, key: jax.Array, state: FleetState, action: jax.Array
    ) -> tuple[jax.Array, FleetState, jax.Array, jax.Array, jax.Array, dict[str, jax.Array]]:
        """:meth:`step` without checks, whose world draws from ``key`` itself instead of its first half."""
        alive = state.alive
        after, reward, info = decide(self.problem, state.world, action, key, self.slots_per_decision)
        info = {name: jnp.where(alive, value, jnp.zeros_like(value)) for name, value in info.items()}
        info["busy"] = info["busy"] | ~alive
        still = alive & ~self.problem.terminated(after)
        state = FleetState(time=state.time + jnp.int32(1), alive=still, world=after)
        return self._observe(after), state, jnp.where(alive, reward, 0.0), ~still, self.is_truncated(state), info

    def is_truncated(self, state: FleetState) -> jax.Array:
        """Bool []: the horizon is reached."""
        return state.time * self.slots_per_decision >= self.problem.horizon

    def is_over(self, state: FleetState) -> jax.Array:
        """Bool []: the horizon is reached, or nobody is alive."""
        return self.is_truncated(state) | ~jnp.any(state.alive)

    def _observe(self, state: world.State) -> jax.Array:
        return self.problem.normalise(self.problem.observe(state))


def fleet_view(problem: Problem, slots_per_decision: int = 1) -> FleetView:
    """The fleet view of a problem, each step of which takes ``slots_per_decision`` slots.

    Raises:
      ConfigError: no server, or slots that do not divide the horizon.
    """
    decision_steps(problem, slots_per_decision)
    return FleetView(problem=problem, slots_per_decision=slots_per_decision)
