"""What the replay asks of a generator of experiences: fit to a table that grows, and sample.

:class:`offjax.replay.gan.Gan` and :class:`offjax.replay.flow.Flow` are such records. The functions here are for the
host: they check, then run one compiled program, the same for every table of one capacity. Inside a program call the
record's own pure ``train`` and ``draw``.
"""

from collections.abc import Callable
from typing import Any, Protocol

import jax
import jax.numpy as jnp

from offjax.errors import ConfigError
from offjax.replay.codec import Columns, check_table
from offjax.typed_jit import compile_ahead, typed_jit


class Generator(Protocol):
    """A record with numeric hyper-parameters as leaves."""

    columns: Columns
    batch_size: int

    def init(self, key: jax.Array, capacity: int) -> Any:
        """The state of a generator that has seen nothing, for tables of ``capacity`` rows."""

    def train(self, state: Any, table: jax.Array, n_valid: jax.Array, key: jax.Array, steps: int) -> Any:
        """The encoding fitted anew and so many more steps; pure.

        Args:
            state: of this record.
            table: [capacity, columns] in units of the columns.
            n_valid: its first rows, which count.
            key: typed random key.
            steps: static.
        """

    def draw(self, state: Any, key: jax.Array, n: int, decisions: jax.Array | None = None) -> jax.Array:
        """Generated rows [n, columns]; pure."""


def train_steps(step: Callable[[Any, Any], Any], state: Any, inputs: Any) -> Any:
    """The state after a ``step(state, input)`` for each of ``inputs`` [steps, ...], with their mean ``losses``."""

    def one(carry: Any, own: Any) -> tuple[Any, jax.Array]:
        carry = step(carry, own)
        return carry, carry.losses

    state, losses = jax.lax.scan(one, state, inputs)
    return state.replace(losses=jnp.mean(losses, axis=0))


def fit(generator: Any, state: Any, table: jax.Array, n_valid: int, key: jax.Array, steps: int) -> Any:
    """Train on a table, from wherever ``state`` is.

    Args:
        generator: the record.
        state: of ``generator.init``, or of an earlier fit.
        table: [capacity, columns], always of one capacity.
        n_valid: its first rows, which count.
        key: typed random key.
        steps: at least 1.

    Raises:
        ConfigError: fewer rows than a batch, a value that is not finite, a category that is none, or no step.
    """
    check_table(generator.columns, table, n_valid, generator.batch_size)
    if steps < 1:
        raise ConfigError("steps", steps, "at least 1")
    return _train(generator, state, jnp.asarray(table, jnp.float32), jnp.int32(n_valid), key, steps)


def compile_fit(generator: Any, state: Any, table: jax.Array, steps: int) -> None:
    """Compile what :func:`fit` runs on tables of this capacity, ahead of it."""
    # Only the type of a key matters, which every key of its generator has.
    key = jax.random.key(0, impl="philox4x32")
    compile_ahead(_train, generator, state, table, jnp.int32(0), key, steps)


def sample(generator: Any, state: Any, key: jax.Array, n: int, decisions: Any = None) -> jax.Array:
    """``n`` generated rows [n, columns].

    Args:
        generator: the record.
        state: trained.
        key: typed random key.
        n: at least 1.
        decisions: [n] conditions of the decision; drawn where not given.

    Raises:
        ConfigError: a state that was never trained, no row, or decisions that are none.
    """
    if int(state.steps) == 0:
        raise ConfigError("state", "untrained", "fit it first")
    if n < 1:
        raise ConfigError("n", n, "at least 1")
    if decisions is not None:
        decisions, count = jnp.asarray(decisions, jnp.int32), generator.columns.categories[0]
        if decisions.shape != (n,) or not bool(jnp.all((decisions >= 0) & (decisions < count))):
            raise ConfigError("decisions", decisions.shape, f"{n} whole numbers from 0 to {count - 1}")
    return _draw(generator, state, key, n, decisions)


@typed_jit(static_argnames=("steps",))
def _train(generator: Any, state: Any, table: jax.Array, n_valid: jax.Array, key: jax.Array, steps: int) -> Any:
    return generator.train(state, table, n_valid, key, steps)


@typed_jit(static_argnames=("n",))
def _draw(generator: Any, state: Any, key: jax.Array, n: int, decisions: Any) -> jax.Array:
    return generator.draw(state, key, n, decisions)
