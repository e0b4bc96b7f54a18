"""One device of a problem as a native gymnax 1.0 environment (6-tuple, auto-reset by gymnax)."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from gymnax.environments import environment, spaces

from offjax import world
from offjax.envs.decision import decide, decision_steps
from offjax.errors import ConfigError
from offjax.problems.spec import Problem


@struct.dataclass(kw_only=True)
class EnvParams(environment.EnvParams):
    """The problem's numbers and the length of an episode: all leaves, so that ``vmap`` sweeps any."""

    max_steps_in_episode: jax.Array | np.int32  # [] int32 environment steps
    problem: Any  # a Problem with one device


@struct.dataclass
class EnvState(environment.EnvState):
    """A world of one device, its coming random draws included."""

    time: jax.Array  # [] int32 environment steps since the reset
    world: world.State


class OffloadEnv(environment.Environment):
    """A problem seen from one device: one environment step is one decision.

    Observation: float32 [F] in 0..1, the problem's features scaled by the ranges of its default numbers.
    Action: int32 [], the place where the task runs (0 = on the device, z = server z).
    Reward: float32 [], of the slots of the step. Terminated: as the problem says. Truncated: gymnax's own,
    after ``params.max_steps_in_episode`` steps.

    ``info`` (all [], for the task that ended in the step): ``busy`` bool, the device was not asking and the
    action was ignored; ``success`` bool, ended in time; ``latency`` s; ``energy`` J; ``battery`` J left after
    the step; ``end`` int32, a :class:`offjax.world.End`, 0 where no task ended.

    Keys may be raw uint32 or typed, of any implementation: a world carries bits, never keys.
    """

    def __init__(self, problem: Problem, slots_per_decision: int = 1) -> None:
        """Show ``problem``, made with ``devices=1``; each step takes ``slots_per_decision`` slots.

        The action is read in the first slot of a step; a task that comes later waits for the next step.

        Raises:
          ConfigError: more than one device, no server, or slots that do not divide the horizon.
        """
        if problem.params.devices != 1:
            raise ConfigError("devices", problem.params.devices, "an environment shows one device: 1")
        steps = decision_steps(problem, slots_per_decision)
        self.problem = problem
        self.slots_per_decision = slots_per_decision
        # A NumPy scalar: a leaf like any, and hashable, as evosax needs it (it scans over that many keys).
        self._params = EnvParams(max_steps_in_episode=np.int32(steps), problem=problem)
        self._identity = (slots_per_decision, *_by_value(problem))
        self._hash = hash(self._identity)  # jax asks for it at every call

    def __eq__(self, other: object) -> bool:
        """Whether the other shows the same problem with the same numbers; both share compiled programs."""
        return isinstance(other, OffloadEnv) and self._identity == other._identity

    def __hash__(self) -> int:
        """Hash by value, see :meth:`__eq__`."""
        return self._hash

    def __deepcopy__(self, memo: dict[int, Any]) -> "OffloadEnv":
        # It never changes. rejax copies it while it traces, and copies of the arrays would be tracers.
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # The identity holds a treedef, which cannot be pickled.
        return type(self), (self.problem, self.slots_per_decision)

    @property
    def name(self) -> str:
        """Name of the problem."""
        return self.problem.name

    @property
    def default_params(self) -> EnvParams:
        """The problem's own numbers, and its horizon as the length of an episode."""
        return self._params

    @property
    def num_actions(self) -> int:
        """Places where a task can run."""
        return len(self.problem.decisions)

    def action_space(self, params: EnvParams | None = None) -> spaces.Discrete:
        """One action per place."""
        return spaces.Discrete(self.num_actions)

    def observation_space(self, params: EnvParams | None = None) -> spaces.Box:
        """Float32 [F] in 0..1."""
        return spaces.Box(0.0, 1.0, (len(self.problem.features),), jnp.float32)

    def reset_env(self, key: jax.Array, params: EnvParams) -> tuple[jax.Array, EnvState]:
        """A fresh world; gymnax computes this on every step, so it has one batched draw per kind."""
        start = world.init(key, params.problem.params)
        state = EnvState(time=jnp.zeros((), jnp.int32), world=start)
        return self.observe(key, state, None, params), state

    def step_env(
        self, key: jax.Array, state: EnvState, action: int | jax.Array, params: EnvParams
    ) -> tuple[jax.Array, EnvState, jax.Array, jax.Array, dict[str, jax.Array]]:
        """One decision, without truncation and without auto-reset.

        Returns:
          observation [F], state, reward [], terminated [] bool, info (see the class).
        """
        place = jnp.asarray(action).reshape(1)
        after, reward, info = decide(params.problem, state.world, place, key, self.slots_per_decision)
        state = EnvState(time=state.time + jnp.int32(1), world=after)
        observation = self.observe(key, state, action, params)
        return observation, state, reward[0], self.is_terminated(state, params), {k: v[0] for k, v in info.items()}

    def observe(self, key: jax.Array, state: EnvState, action: int | jax.Array | None, params: EnvParams) -> jax.Array:
        """Float32 [F] in 0..1; ``key`` and ``action`` are not used."""
        problem = params.problem
        return problem.normalise(problem.observe(state.world))[0]

    def is_terminated(self, state: EnvState, params: EnvParams) -> jax.Array:
        """Bool []: the problem's own end, never the time limit."""
        return params.problem.terminated(state.world)[0]


def _by_value(tree: Any) -> tuple[Any, ...]:
    """Structure, shapes and bytes of a pytree, hashable."""
    leaves, structure = jax.tree.flatten(tree)
    arrays = [np.asarray(leaf) for leaf in leaves]
    return structure, tuple((array.shape, array.dtype.str, array.tobytes()) for array in arrays)
