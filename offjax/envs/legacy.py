"""The 5-tuple that gymnax had before 1.0, for trainers that still unpack five values."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from gymnax.environments import environment, spaces


class LegacyEnv:
    """A native environment behind ``step -> (observation, state, reward, done, info)``.

    gymnax's own ``LegacyStepAPIWrapper`` forwards every attribute, ``__setstate__`` included, and so recurses
    without end when it is copied or pickled (rejax deep-copies its environment). This one names what it
    forwards, and is compared by the value of the environment inside.

    ``info`` keeps ``terminated``, ``truncated`` and ``final_observation``: a learner can bootstrap from them.
    """

    def __init__(self, env: environment.Environment) -> None:
        """Wrap ``env``, a native gymnax 1.0 environment."""
        self.env = env

    def __eq__(self, other: object) -> bool:
        """Whether the environment inside is equal."""
        return isinstance(other, LegacyEnv) and self.env == other.env

    def __hash__(self) -> int:
        """Hash by value, see :meth:`__eq__`."""
        return hash((LegacyEnv, self.env))

    @property
    def name(self) -> str:
        """Name of the environment inside."""
        return self.env.name

    @property
    def default_params(self) -> Any:
        """Parameters of the environment inside."""
        return self.env.default_params

    @property
    def num_actions(self) -> int:
        """Actions to choose from."""
        return self.env.num_actions

    def action_space(self, params: Any = None) -> spaces.Space:
        """Action space of the environment inside."""
        return self.env.action_space(params)

    def observation_space(self, params: Any = None) -> spaces.Space:
        """Observation space of the environment inside."""
        return self.env.observation_space(params)

    @partial(jax.jit, static_argnames=("self",))
    def reset(self, key: jax.Array, params: Any = None) -> tuple[jax.Array, Any]:
        """A fresh episode: observation and state."""
        return self.env.reset(key, params)

    @partial(jax.jit, static_argnames=("self",))
    def step(
        self, key: jax.Array, state: Any, action: int | jax.Array, params: Any = None
    ) -> tuple[jax.Array, Any, jax.Array, jax.Array, dict[str, jax.Array]]:
        """One step with auto-reset; ``done`` is terminated or truncated, as it was before gymnax 1.0."""
        observation, state, reward, terminated, truncated, info = self.env.step(key, state, action, params)
        return observation, state, reward, jnp.logical_or(terminated, truncated), info
