"""A rectified flow over the rows of a table, with the decision as its condition.

Liu et al. 2023 (rectified flow), Lipman et al. 2023 (flow matching): a network learns the velocity x - z on the line
from noise z to a row x, and a row is made by following it from noise (Heun). The continuous columns are Gaussian
ranks (:mod:`offjax.replay.quantile`), so noise and rows have the same marginals. Discrete columns are not generated:
they are drawn from those of the table, and everything else is made to fit them.
"""

from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from offjax.replay import quantile
from offjax.replay.codec import Columns, merge, one_hot, split
from offjax.replay.conditions import log_weights, require_frequency
from offjax.replay.generator import train_steps
from offjax.replay.quantile import Quantiles

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
            ConfigError: an unknown frequency.
        """
        require_frequency(self.sample_frequency)
        columns, categories = len(self.columns.continuous), sum(self.columns.categories)
        params = self._network.init(key, jnp.zeros((1, columns)), jnp.zeros(1), jnp.zeros((1, categories)))
        return FlowState(
            quantiles=quantile.no_quantiles(columns, capacity),
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
        quantiles = quantile.fit(values, valid)
        combination = jnp.where(valid, _number(self.columns, discrete), self._combinations)
        counts = jnp.bincount(combination, length=self._combinations + 1)[:-1].astype(jnp.int32)
        encoded = Encoded(quantile.encode(quantiles, values, key), one_hot(self.columns, discrete), n_valid)
        return state.replace(quantiles=quantiles, counts=counts), encoded

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
        discrete = _values(self.columns, jax.random.categorical(condition_key, logits))
        filled = jnp.pad(discrete, ((0, batches * self.sample_size - n), (0, 0)))
        parts = filled.reshape(batches, self.sample_size, -1)

        def batch(inputs: tuple[jax.Array, jax.Array]) -> jax.Array:
            key, own = inputs
            normal = self.follow(state, key, one_hot(self.columns, own))
            return merge(self.columns, quantile.decode(state.quantiles, normal), own)

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
    def _combinations(self) -> int:
        total = 1
        for count in self.columns.categories:
            total *= count
        return total

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


def _number(columns: Columns, discrete: jax.Array) -> jax.Array:
    """[N] the number of the combination of discrete values [N, D]; the decision is the leading digit."""
    number = jnp.zeros(discrete.shape[0], jnp.int32)
    for index, count in enumerate(columns.categories):
        number = number * count + discrete[:, index]
    return number


def _values(columns: Columns, number: jax.Array) -> jax.Array:
    """The way back of :func:`_number`: [N, D] int32."""
    return jnp.stack(jnp.unravel_index(number, columns.categories), axis=1).astype(jnp.int32)
