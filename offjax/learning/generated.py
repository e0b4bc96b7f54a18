"""Rows for the augmented memory from a generator that is fitted to the basic memory as it grows: paper A's tabular GAN.

Algorithm 1 calls its generator in every iteration (lines 11 to 14). Here it is fitted once in ``Learner.fit_period``
slots, from where it was, and makes a pool of rows then; every iteration takes some of the pool. Where a problem can
compute rewards, or a regressor has learnt them, a generated row may carry those in place of its own.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import optax
from flax import struct

from offjax.agents.common import Scalar, adam_step, choose, init_moments, masked_mean, require_choice, require_positive
from offjax.agents.networks import MLP, Params, apply_mlp, init_mlp
from offjax.errors import ConfigError
from offjax.learning.augment import exact_rewards, require_closed_form
from offjax.problems.spec import Problem
from offjax.replay.codec import Columns, ring_columns
from offjax.replay.conditions import log_weights

REWARDS = ("generated", "exact", "learned")
DECISIONS = {"policy": "true", "uniform": "uniform", "log-frequency": "log"}  # to the words of replay.conditions
HELD_BACK = 10  # one of so many rows of the memory is never shown to the regressor of the reward


def columns_of(problem: Problem) -> Columns:
    """The columns of a memory's rows, s' as it is: most features of laas2022 have atoms, which a difference loses."""
    return ring_columns(len(problem.features), len(problem.decisions))


@struct.dataclass
class RewardHead:
    """A small regressor of the reward from state and decision, trained on real rows alone."""

    learning_rate: Scalar = 1e-3
    """Adam's step (guess)."""
    least: Scalar = 50
    """Real rows that a decision needs, or generated rows with it are not used (guess)."""
    hidden: tuple[int, ...] = struct.field(pytree_node=False, default=(64, 64))
    """Widths of the hidden layers (guess)."""
    steps: int = struct.field(pytree_node=False, default=200)
    """Of Adam at every fit (guess)."""
    batch_size: int = struct.field(pytree_node=False, default=128)
    """Rows of a step (guess)."""


class HeadState(struct.PyTreeNode):
    """What the regressor has learnt."""

    params: Params
    moments: optax.OptState
    count: jax.Array  # [A] int32 real rows of each decision
    bias: jax.Array  # [A] mean of (predicted - real) reward over held-back rows; NaN for a decision without any


class GeneratedState(struct.PyTreeNode):
    """A generator and the rows that it made last; save it whole."""

    generator: Any  # of the record
    head: HeadState | None
    pool: jax.Array  # [pool, 2 F + 3]
    usable: jax.Array  # [pool] bool
    fits: jax.Array  # [] int32 fits so far
    failed: jax.Array  # [] int32 fits that were undone, as something in them was not finite


@struct.dataclass
class Generated:
    """Rows made by :class:`offjax.replay.gan.Gan` or :class:`offjax.replay.flow.Flow`.

    As long as the basic memory has fewer than ``least_rows`` there are none, and batches are made of real rows alone.
    """

    fits: ClassVar[bool] = True

    generator: Any
    """The record, for :func:`columns_of` the problem."""
    problem: Any = None
    """For ``reward="exact"``; exact as far as that of :class:`offjax.learning.augment.Relabel` is."""
    head: RewardHead = RewardHead()
    """For ``reward="learned"``."""
    least_rows: Scalar = 100
    """Real rows that a fit needs (guess)."""
    reward: str = struct.field(pytree_node=False, default="generated")
    """Of a generated row: its own, the ``exact`` one of the problem, or ``learned`` by a regressor."""
    decisions: str = struct.field(pytree_node=False, default="policy")
    """Of generated rows: as often as in the memory (``policy``), ``uniform`` over those that it has, or by
    ``log-frequency``, as CTGAN has it."""
    steps: int = struct.field(pytree_node=False, default=20)
    """Of a fit (guess); it goes on from the one before."""
    pool: int = struct.field(pytree_node=False, default=1000)
    """Rows that are made after a fit (guess)."""
    rows: int = struct.field(pytree_node=False, default=64)
    """Of them that go into the augmented memory in an iteration (guess); how many of a batch are generated is
    ``Learner.generated_share``."""

    def __post_init__(self) -> None:
        """Refuse what does not fit together with a ConfigError."""
        require_choice("augment.reward", self.reward, REWARDS)
        require_choice("augment.decisions", self.decisions, DECISIONS)
        for field in ("steps", "pool", "rows"):
            require_positive(f"augment.{field}", getattr(self, field))
        if self.reward == "exact":
            require_closed_form("augment.reward", self.problem)

    def init(self, key: jax.Array, features: int, capacity: int) -> GeneratedState:
        """A generator that has seen nothing, and an empty pool; see :class:`offjax.replay.memory.Augment`.

        Raises:
            ConfigError: columns that are not those of a memory of such observations.
        """
        width = len(self.generator.columns.of)
        if width != 2 * features + 3:
            raise ConfigError("augment.generator.columns", width, f"{2 * features + 3}: s, s', a, r, terminated")
        generator_key, head_key = jax.random.split(key)
        zero = jnp.zeros((), jnp.int32)
        return GeneratedState(
            generator=self.generator.init(generator_key, capacity),
            head=self._first_head(head_key, features) if self.reward == "learned" else None,
            pool=jnp.zeros((self.pool, width)),
            usable=jnp.zeros(self.pool, bool),
            fits=zero,
            failed=zero,
        )

    def refit(self, state: GeneratedState, table: jax.Array, size: jax.Array, key: jax.Array) -> GeneratedState:
        """Fit to the memory and fill the pool; a fit to, or with losses of, numbers that are not finite is undone."""
        fit_key, head_key, draw_key = jax.random.split(key, 3)
        enough = size >= self.least_rows
        generator = self.generator.train(state.generator, table, size, fit_key, self.steps)
        counts = (jnp.arange(table.shape[0]) < size)[:, None]
        good = jnp.all(jnp.isfinite(generator.losses)) & jnp.all(jnp.isfinite(table) | ~counts)
        fresh = state.replace(generator=generator, fits=state.fits + 1)
        state = choose(enough & good, fresh, state.replace(failed=state.failed + (enough & ~good)))
        if state.head is not None:
            state = state.replace(
                head=choose(enough & good, self._train_head(state.head, table, size, head_key), state.head)
            )
        pool, usable = self.draw(state, table, size, draw_key)
        return state.replace(pool=pool, usable=usable & (state.fits > 0))

    def generate(
        self, state: GeneratedState, table: jax.Array, size: jax.Array, rows: jax.Array, key: jax.Array
    ) -> tuple[GeneratedState, jax.Array, jax.Array]:
        """[rows] of the pool, drawn with replacement; see :class:`offjax.replay.memory.Augment`."""
        places = jax.random.randint(key, (self.rows,), 0, self.pool)
        return state, state.pool[places], state.usable[places]

    def draw(
        self, state: GeneratedState, table: jax.Array, size: jax.Array, key: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """A pool of rows [pool, 2 F + 3] as ``reward`` and ``decisions`` want them, and which are usable [pool]."""
        decision_key, row_key = jax.random.split(key)
        wanted = self.wanted(table, size, decision_key)
        return self.rewarded(state, self.generator.draw(state.generator, row_key, self.pool, wanted))

    def wanted(self, table: jax.Array, size: jax.Array, key: jax.Array) -> jax.Array:
        """[pool] int32 decisions that the generator is asked for."""
        logits = log_weights(self.count(table, size), DECISIONS[self.decisions])
        return jax.random.categorical(key, logits, shape=(self.pool,)).astype(jnp.int32)

    def rewarded(self, state: GeneratedState, rows: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Generated ``rows`` [pool, 2 F + 3] with the rewards that they shall have, and which are usable [pool]."""
        features = (rows.shape[1] - 3) // 2
        decision, usable = rows[:, 2 * features].astype(jnp.int32), jnp.ones(self.pool, bool)
        if self.reward == "exact":
            right = jnp.take_along_axis(exact_rewards(self.problem, rows), decision[:, None], axis=1)
            rows = rows.at[:, 2 * features + 1].set(right[:, 0])
        if self.reward == "learned":
            assert state.head is not None
            rows = rows.at[:, 2 * features + 1].set(self._predict(state.head.params, rows))
            usable = state.head.count[decision] >= self.head.least
        return rows, usable

    def count(self, table: jax.Array, size: jax.Array) -> jax.Array:
        """[A] int32, how many of the first ``size`` rows of ``table`` have each decision."""
        column, most = self.generator.columns.discrete[0], self._places
        decision = jnp.where(jnp.arange(table.shape[0]) < size, table[:, column].astype(jnp.int32), most)
        return jnp.bincount(decision, length=most + 1)[:most].astype(jnp.int32)

    # ------------------------------------------------------------------------------------ the learned reward

    @property
    def _places(self) -> int:
        return int(self.generator.columns.categories[0])

    @property
    def _network(self) -> MLP:
        return MLP(self.head.hidden, 1, "relu")

    def _first_head(self, key: jax.Array, features: int) -> HeadState:
        params = init_mlp(self._network, key, features + self._places)
        none = jnp.full(self._places, jnp.nan)
        return HeadState(params, init_moments(params), jnp.zeros(self._places, jnp.int32), none)

    def _predict(self, params: Params, rows: jax.Array) -> jax.Array:
        """[B] rewards of the states and decisions of ``rows`` [B, 2 F + 3]."""
        features = (rows.shape[1] - 3) // 2
        chosen = jax.nn.one_hot(rows[:, 2 * features].astype(jnp.int32), self._places)
        seen = jnp.concatenate([rows[:, :features], chosen], axis=1)
        return apply_mlp(params, "relu", seen)[:, 0]

    def _train_head(self, state: HeadState, table: jax.Array, size: jax.Array, key: jax.Array) -> HeadState:
        """More steps on the squared error; the bias is measured on the rows that are held back."""
        reward = table[:, -2]

        def step(carry: tuple[Params, optax.OptState], key: jax.Array) -> tuple[tuple[Params, optax.OptState], None]:
            params, moments = carry
            places = jax.random.randint(key, (self.head.batch_size,), 0, jnp.maximum(size, 1))
            shown = places % HELD_BACK > 0

            def loss(params: Params) -> jax.Array:
                return masked_mean((self._predict(params, table[places]) - reward[places]) ** 2, shown)

            return adam_step(params, jax.grad(loss)(params), moments, self.head.learning_rate, 1e-8), None

        keys = jax.random.split(key, self.head.steps)
        (params, moments), _ = jax.lax.scan(step, (state.params, state.moments), keys)
        error, row = self._predict(params, table) - reward, jnp.arange(table.shape[0])
        asked = (row < size) & (row % HELD_BACK == 0)
        mine = (table[:, -3].astype(jnp.int32)[None] == jnp.arange(self._places)[:, None]) & asked[None]
        bias = jnp.sum(jnp.where(mine, error[None], 0.0), axis=1) / jnp.sum(mine, axis=1)
        return HeadState(params, moments, self.count(table, size), bias)
