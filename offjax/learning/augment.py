"""Rows for the augmented memory without a trained generator: the controls of :mod:`offjax.learning.generated`.

``Relabel`` is exact: real states, all decisions, the problem's own reward. ``Noise`` is a copy with Gaussian noise. A
control without any extra row is ``Learner(augment=None)``, thinned by the devices' SF or, with SF = 1, full.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from offjax.agents.common import Scalar, require_positive
from offjax.errors import ConfigError


@struct.dataclass
class Relabel:
    """Each row once per decision that was not taken, with the exact reward of the problem (counterfactual rows).

    Exact where a task ends within the slot of its decision and nothing is shared by devices; otherwise the reward is
    that of a device that has what its observation says for all of its task. The next state stays as it was: it does not
    depend on the decision where tasks come whatever the device does.
    """

    fits: ClassVar[bool] = False

    problem: Any
    """Has ``denormalise(observation)`` and ``rewards(observation)``, as laas2022 has."""

    def __post_init__(self) -> None:
        """Refuse a problem without a closed form with a ConfigError."""
        require_closed_form("relabel", self.problem)

    def init(self, key: jax.Array, features: int, capacity: int) -> Any:
        """Nothing to learn."""
        return ()

    def generate(
        self, state: Any, table: jax.Array, size: jax.Array, rows: jax.Array, key: jax.Array
    ) -> tuple[Any, jax.Array, jax.Array]:
        """[(A - 1) B] rows, see :class:`offjax.replay.memory.Augment`."""
        features, places = len(self.problem.features), len(self.problem.decisions)
        rewards = exact_rewards(self.problem, rows)
        taken = rows[:, 2 * features].astype(jnp.int32)
        others = (taken[:, None] + jnp.arange(1, places)[None, :]) % places
        made = jnp.repeat(rows[:, None], places - 1, axis=1)
        made = made.at[:, :, 2 * features].set(others.astype(jnp.float32))
        made = made.at[:, :, 2 * features + 1].set(jnp.take_along_axis(rewards, others, axis=1))
        made = made.reshape(-1, rows.shape[1])
        return state, made, jnp.ones(made.shape[0], bool)


def require_closed_form(field: str, problem: Any) -> None:
    """Raise ConfigError unless the problem can say what every decision earns."""
    if not hasattr(problem, "rewards"):
        raise ConfigError(field, getattr(problem, "name", None), "a problem with a reward in closed form: laas2022")


def exact_rewards(problem: Any, rows: jax.Array) -> jax.Array:
    """[B, A] the problem's own reward of every decision in the states of ``rows`` [B, 2 F + 3]."""
    observation: jax.Array = problem.denormalise(rows[:, : len(problem.features)])
    return jnp.asarray(problem.rewards(observation))


@struct.dataclass
class Noise:
    """Copies of each row with Gaussian noise on states and reward; decisions and terminations stay."""

    fits: ClassVar[bool] = False

    copies: int = struct.field(pytree_node=False, default=1)
    """Rows made of each."""
    scale: Scalar = 0.1
    """Standard deviation over that of the column in the batch."""

    def __post_init__(self) -> None:
        """Refuse no copies with a ConfigError."""
        require_positive("copies", self.copies)

    def init(self, key: jax.Array, features: int, capacity: int) -> Any:
        """Nothing to learn."""
        return ()

    def generate(
        self, state: Any, table: jax.Array, size: jax.Array, rows: jax.Array, key: jax.Array
    ) -> tuple[Any, jax.Array, jax.Array]:
        """[copies B] rows, see :class:`offjax.replay.memory.Augment`."""
        features = (rows.shape[1] - 3) // 2
        stays = jnp.zeros(rows.shape[1]).at[jnp.array([2 * features, 2 * features + 2])].set(1.0)
        made = jnp.tile(rows, (self.copies, 1))
        deviation = jnp.std(rows, axis=0) * self.scale * (1.0 - stays)
        made = made + deviation[None, :] * jax.random.normal(key, made.shape)
        return state, made, jnp.ones(made.shape[0], bool)
