"""A rectified flow over the rows of a table, with the decision as its condition.

Liu et al. 2023 (rectified flow), Lipman et al. 2023 (flow matching): a network learns the velocity x - z on the line
from noise z to a row x, and a row is made by following it from noise (Heun). The continuous columns are Gaussian
ranks (:mod:`offjax.replay.quantile`), so noise and rows have the same marginals. Discrete columns are not generated:
they are drawn from those of the table, and everything else is made to fit them. Whether a marked column has its
commonest value (is a reward the penalty?) is such a discrete column, too: a jump that no smooth velocity makes.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import linen as nn
from flax import struct

from offjax.errors import ConfigError
from offjax.replay import mixture, quantile
from offjax.replay.codec import Columns, merge, one_hot, split
from offjax.replay.conditions import log_weights, require_frequency
from offjax.replay.generator import train_steps
from offjax.replay.quantile import Quantiles

MARK_SHARE = 0.01  # of the rows that have a value for it to be a mark
WAVES = 16  # frequencies that tell the network the time


class Velocity(nn.Module):
    """A residual perceptron of (point, time, condition)."""

    width: int
    blocks: int
    outputs: int

    @nn.compact
    def __call__(self, point: jax.Array, time: jax.Array, condition: jax.Array) -> jax.Array:
        """Map ``point`` [B, C], ``time`` [B] in 0 ... 1 and ``condition`` [B, categories] to velocities [B, C]."""
        angles = 2.0 * jnp.pi * time[:, None] * jnp.arange(1, WAVES + 1)[None] / 2.0
        known = jnp.concatenate([jnp.sin(angles), jnp.cos(angles), condition], axis=1)
        known = nn.Dense(self.width)(nn.silu(nn.Dense(self.width)(known)))
        signal = nn.Dense(self.width)(point) + known
        for _ in range(self.blocks):
            hidden = nn.Dense(self.width)(nn.silu(nn.LayerNorm()(signal) + known))
            signal = signal + hidden
        return nn.Dense(self.outputs, kernel_init=nn.initializers.zeros)(nn.silu(nn.LayerNorm()(signal)))


class FlowState(struct.PyTreeNode):
    """Everything that a flow needs to be trained on or sampled; save it whole."""

    quantiles: Quantiles
    marks: jax.Array  # [M] commonest value of each marked column
    is_mark: jax.Array  # [M] bool, is it common enough to be one?
    counts: jax.Array  # [product of all categories] int32, rows of each combination of discrete values
    params: Any
    averaged: Any  # their exponential mean, by which rows are made
    moments: optax.OptState
    steps: jax.Array  # [] int32, trained
    losses: jax.Array  # [1] mean of the last fit


class Encoded(NamedTuple):
    """A table as the flow is shown it."""

    normal: jax.Array  # [capacity, C]
    condition: jax.Array  # [capacity, sum of all categories]
    n_valid: jax.Array  # [] int32


class Flow(struct.PyTreeNode):
    """The record of a flow. Numbers are leaves; columns and sizes are static."""

    columns: Columns = struct.field(pytree_node=False)
    marked: tuple[str, ...] = struct.field(pytree_node=False, default=())  # continuous columns, no differences
    learning_rate: float | jax.Array = 1e-3  # at the start of a fit; it falls to 0 along a cosine
    average: float | jax.Array = 0.999  # decay of the mean of the parameters
    max_norm: float | jax.Array = 1.0  # of a gradient
    batch_size: int = struct.field(pytree_node=False, default=512)
    width: int = struct.field(pytree_node=False, default=256)
    blocks: int = struct.field(pytree_node=False, default=4)
    solver_steps: int = struct.field(pytree_node=False, default=6)  # of Heun: two velocities each
    sample_size: int = struct.field(pytree_node=False, default=1024)  # rows that are made at once
    sample_frequency: str = struct.field(pytree_node=False, default="true")  # log, uniform

    def init(self, key: jax.Array, capacity: int) -> FlowState:
        """A flow that has seen nothing.

        Args:
            key: typed random key.
            capacity: rows of its tables, n_valid and others; a state keeps its table's values in order.

        Raises:
            ConfigError: an unknown frequency, or a marked column that is none, or discrete, or a difference.
        """
        require_frequency(self.sample_frequency)
        plain = [own.name for own in self.columns.of if not own.categories and own.minus is None]
        for name in self.marked:
            if name not in plain:
                raise ConfigError("marked", name, f"of {', '.join(plain)}")
        columns, categories = len(self.columns.continuous), sum(self.categories)
        params = self._network.init(key, jnp.zeros((1, columns)), jnp.zeros(1), jnp.zeros((1, categories)))
        return FlowState(
            quantiles=quantile.no_quantiles(columns, capacity),
            marks=jnp.zeros(len(self.marked)),
            is_mark=jnp.zeros(len(self.marked), bool),
            counts=jnp.zeros(self._combinations, jnp.int32),
            params=params,
            averaged=jax.tree.map(jnp.copy, params),
            moments=_ADAM.init(params),
            steps=jnp.zeros((), jnp.int32),
            losses=jnp.zeros(1),
        )

    def train(self, state: FlowState, table: jax.Array, n_valid: jax.Array, key: jax.Array, steps: int) -> FlowState:
        """As :meth:`offjax.replay.generator.Generator.train`; the rate falls along a cosine over these steps."""
        encode_key, steps_key = jax.random.split(key)
        state, encoded = self.encode(state, table, n_valid, encode_key)
        rates = self.learning_rate * 0.5 * (1.0 + jnp.cos(jnp.pi * jnp.arange(steps) / steps))
        inputs = (jax.random.split(steps_key, steps), rates)
        return train_steps(lambda carry, own: self.step(carry, encoded, *own), state, inputs)

    def encode(
        self, state: FlowState, table: jax.Array, n_valid: jax.Array, key: jax.Array
    ) -> tuple[FlowState, Encoded]:
        """The encoding fitted to a table, and the table in it."""
        valid = jnp.arange(table.shape[0]) < n_valid
        values, discrete = split(self.columns, jnp.where(valid[:, None], table, 0.0))
        rank_key, noise_key = jax.random.split(key)
        marks, is_mark = self._find_marks(values, valid)
        flags = (values[:, self._marked] == marks[None]) & is_mark[None]
        ranked = jnp.ones(values.shape, bool).at[:, self._marked].set(~flags)
        quantiles = quantile.fit(values, valid[:, None] & ranked)
        # A value that the condition says is noise to the velocity, as it will be when a row is made.
        noise = jax.random.normal(noise_key, values.shape)
        normal = jnp.where(ranked, quantile.encode(quantiles, values, rank_key), noise)
        discrete = jnp.concatenate([discrete, flags.astype(jnp.int32)], axis=1)
        combination = jnp.where(valid, _number(self.categories, discrete), self._combinations)
        counts = jnp.bincount(combination, length=self._combinations + 1)[:-1].astype(jnp.int32)
        encoded = Encoded(normal, one_hot(self.categories, discrete), n_valid)
        return state.replace(quantiles=quantiles, marks=marks, is_mark=is_mark, counts=counts), encoded

    def step(self, state: FlowState, encoded: Encoded, key: jax.Array, rate: jax.Array) -> FlowState:
        """One step against the loss of a batch of rows, drawn with replacement."""
        loss, gradients = jax.value_and_grad(self.loss)(state.params, encoded, key)
        norm = optax.tree.norm(gradients)
        gradients = jax.tree.map(lambda leaf: leaf * jnp.minimum(1.0, self.max_norm / (norm + 1e-12)), gradients)
        direction, moments = _ADAM.update(gradients, state.moments)
        params = jax.tree.map(lambda value, move: value - rate * move, state.params, direction)
        # Young parameters count more at first: a mean over a thousand steps would be that of the start.
        decay = jnp.minimum(self.average, (1.0 + state.steps) / (10.0 + state.steps))
        averaged = jax.tree.map(lambda old, new: decay * old + (1.0 - decay) * new, state.averaged, params)
        return state.replace(
            params=params, averaged=averaged, moments=moments, steps=state.steps + 1, losses=loss[None]
        )

    def loss(self, params: Any, encoded: Encoded, key: jax.Array) -> jax.Array:
        """Mean squared error of the velocity over a batch and random times."""
        row_key, noise_key, time_key = jax.random.split(key, 3)
        rows = jax.random.randint(row_key, (self.batch_size,), 0, jnp.maximum(encoded.n_valid, 1))
        target = encoded.normal[rows]
        noise = jax.random.normal(noise_key, target.shape)
        time = jax.random.uniform(time_key, (self.batch_size,))
        point = (1.0 - time[:, None]) * noise + time[:, None] * target
        velocity = self._velocity(params, point, time, encoded.condition[rows])
        return jnp.mean((velocity - (target - noise)) ** 2)

    def draw(self, state: FlowState, key: jax.Array, n: int, decisions: jax.Array | None = None) -> jax.Array:
        """Generated rows [n, columns] in units of the columns; pure.

        Args:
            state: trained.
            key: typed random key.
            n: static.
            decisions: [n] int32, which the rows have exactly; by default the discrete columns are drawn together,
                by ``sample_frequency`` over their combinations. The others always fit the decision.
        """
        batches = -(-n // self.sample_size)
        condition_key, noise_key = jax.random.split(key)
        logits = log_weights(state.counts, self.sample_frequency)[None]
        if decisions is not None:
            logits = self._of_decision(state)[decisions]
        logits = jnp.broadcast_to(logits, (n, self._combinations))
        discrete = _values(self.categories, jax.random.categorical(condition_key, logits))
        filled = jnp.pad(discrete, ((0, batches * self.sample_size - n), (0, 0)))
        parts = filled.reshape(batches, self.sample_size, -1)

        def batch(inputs: tuple[jax.Array, jax.Array]) -> jax.Array:
            key, own = inputs
            values = quantile.decode(state.quantiles, self.follow(state, key, one_hot(self.categories, own)))
            plain = len(self.columns.categories)
            kept = jnp.where(own[:, plain:] == 1, state.marks[None], values[:, self._marked])
            return merge(self.columns, values.at[:, self._marked].set(kept), own[:, :plain])

        rows = jax.lax.map(batch, (jax.random.split(noise_key, batches), parts))
        return rows.reshape(batches * self.sample_size, -1)[:n]

    def follow(self, state: FlowState, key: jax.Array, condition: jax.Array) -> jax.Array:
        """Encoded rows [B, C] of ``condition`` [B, categories], from noise along the velocity."""
        noise = jax.random.normal(key, (condition.shape[0], len(self.columns.continuous)))
        length = 1.0 / self.solver_steps

        def velocity(point: jax.Array, time: jax.Array) -> jax.Array:
            times = jnp.broadcast_to(time, point.shape[:1])
            return self._velocity(state.averaged, point, times, condition)

        def step(point: jax.Array, time: jax.Array) -> tuple[jax.Array, None]:
            first = velocity(point, time)
            second = velocity(point + length * first, time + length)
            return point + 0.5 * length * (first + second), None

        return jax.lax.scan(step, noise, jnp.arange(self.solver_steps) * length)[0]

    @property
    def categories(self) -> tuple[int, ...]:
        """Of each column of the condition: the discrete ones, then whether each marked one has its value."""
        return (*self.columns.categories, *(2,) * len(self.marked))

    @property
    def _marked(self) -> np.ndarray:
        """[M] numbers of the marked columns among the continuous ones."""
        names = [self.columns.of[place].name for place in self.columns.continuous]
        return np.array([names.index(name) for name in self.marked], np.int32)

    def _find_marks(self, values: jax.Array, valid: jax.Array) -> tuple[jax.Array, jax.Array]:
        """The commonest values [M] of the marked columns, and whether each is an atom [M] bool."""
        if not self.marked:
            return jnp.zeros(0), jnp.zeros(0, bool)
        find = jax.vmap(lambda own: mixture.find_atoms(own, valid, MARK_SHARE, 1), in_axes=1)
        marks, is_mark = find(values[:, self._marked])
        return marks[:, 0], is_mark[:, 0].astype(bool)  # strongly typed, as that of a fresh state is

    @property
    def _combinations(self) -> int:
        return math.prod(self.categories)

    @property
    def _network(self) -> Velocity:
        return Velocity(self.width, self.blocks, len(self.columns.continuous))

    def _velocity(self, params: Any, point: jax.Array, time: jax.Array, condition: jax.Array) -> jax.Array:
        return cast(jax.Array, self._network.apply(params, point, time, condition))

    def _of_decision(self, state: FlowState) -> jax.Array:
        """Logits [decisions, combinations]: only combinations with the decision, as often as in the table.

        A decision that the table does not have goes with every combination of the rest alike.
        """
        first = self.columns.categories[0]
        own = state.counts.reshape(first, -1)
        own = jnp.where(jnp.sum(own, axis=1, keepdims=True) > 0, own, 1)
        fits = jnp.eye(first, dtype=bool)[:, :, None]
        logits = jnp.where(fits, log_weights(own, "true")[None], -jnp.inf)
        return logits.reshape(first, self._combinations)


_ADAM = optax.scale_by_adam()


def _number(categories: Sequence[int], discrete: jax.Array) -> jax.Array:
    """[N] the number of the combination of discrete values [N, D]; the decision is the leading digit."""
    number = jnp.zeros(discrete.shape[0], jnp.int32)
    for index, count in enumerate(categories):
        number = number * count + discrete[:, index]
    return number


def _values(categories: Sequence[int], number: jax.Array) -> jax.Array:
    """The way back of :func:`_number`: [N, D] int32."""
    return jnp.stack(jnp.unravel_index(number, tuple(categories)), axis=1).astype(jnp.int32)
