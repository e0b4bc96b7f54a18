"""CTGAN, the tabular GAN of paper A's replay, trained in one scan.

Xu et al. 2019, "Modeling Tabular Data using Conditional GAN", with the constants of its authors' package, of which
paper A's tabgan (Ashrapov 2020) is a copy: a conditional vector with training by sampling, a residual generator with
batch normalisation, a critic of packed rows (Lin et al. 2018), the gradient penalty of Gulrajani et al. 2017. Atoms
and differences (:mod:`offjax.replay.codec`) are ours; ``atom_share`` 1 and plain columns give the original.
"""

from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn
from flax import struct

from offjax.errors import ConfigError
from offjax.replay import mixture
from offjax.replay.codec import Columns, merge, one_hot, split
from offjax.replay.conditions import (
    Conditions,
    Rows,
    draw_conditions,
    draw_rows,
    ends_of,
    index_rows,
    no_conditions,
    require_frequency,
    vector_of,
)
from offjax.replay.generator import train_steps
from offjax.replay.mixture import Mixtures

NEVER = -1e9  # logit of a slot that is not in use
SLOPE = 0.2  # of the critic's leaky rectifier


def _torch_dense(width: int, inputs: int) -> nn.Dense:
    """A layer that starts as one of torch does: all uniform within 1 / sqrt(inputs)."""

    def bias(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -1.0, 1.0) / jnp.sqrt(inputs)

    return nn.Dense(width, kernel_init=nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform"), bias_init=bias)


class Generator(nn.Module):
    """Residual blocks: what a block makes is put beside what it was given; statistics are always those of the batch."""

    width: int
    blocks: int
    outputs: int

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        """Map ``inputs`` [B, latent + categories] to logits [B, outputs]."""
        signal = inputs
        for _ in range(self.blocks):
            hidden = _torch_dense(self.width, signal.shape[-1])(signal)
            signal = jnp.concatenate([nn.relu(_BatchNorm()(hidden)), signal], axis=-1)
        return _torch_dense(self.outputs, signal.shape[-1])(signal)


class _BatchNorm(nn.Module):
    """Batch normalisation that keeps no statistics: CTGAN samples in training mode as well."""

    @nn.compact
    def __call__(self, inputs: jax.Array) -> jax.Array:
        scale = self.param("scale", nn.initializers.ones, inputs.shape[-1:])
        bias = self.param("bias", nn.initializers.zeros, inputs.shape[-1:])
        centred = inputs - jnp.mean(inputs, axis=0, keepdims=True)
        variance = jnp.mean(centred**2, axis=0, keepdims=True)
        return scale[None] * centred / jnp.sqrt(variance + 1e-5) + bias[None]


class Critic(nn.Module):
    """Scores of packs of rows."""

    width: int
    blocks: int

    @nn.compact
    def __call__(self, packs: jax.Array, keep: jax.Array) -> jax.Array:
        """Map ``packs`` [P, pac row] and dropout factors ``keep`` [blocks, P, width] to scores [P]."""
        signal = packs
        for index in range(self.blocks):
            signal = nn.leaky_relu(_torch_dense(self.width, signal.shape[-1])(signal), SLOPE) * keep[index]
        return _torch_dense(1, signal.shape[-1])(signal)[:, 0]


class GanState(struct.PyTreeNode):
    """Everything that a GAN needs to be trained on or sampled; save it whole."""

    mixtures: Mixtures
    conditions: Conditions
    generator: Any  # parameters
    critic: Any  # parameters
    generator_moments: optax.OptState
    critic_moments: optax.OptState
    steps: jax.Array  # [] int32, trained
    losses: jax.Array  # [2] of critic and generator, means of the last fit; they say nothing about quality


class Encoded(NamedTuple):
    """A table as the GAN is shown it."""

    scalars: jax.Array  # [capacity, C]
    slots: jax.Array  # [capacity, C] int32
    discrete: jax.Array  # [capacity, D] int32
    rows: Rows


class Gan(struct.PyTreeNode):
    """The record of a GAN. Numbers are leaves; columns, sizes and the law of sampled conditions are static."""

    columns: Columns = struct.field(pytree_node=False)
    learning_rate: float | jax.Array = 2e-4  # of both
    generator_decay: float | jax.Array = 1e-6  # L2, part of the gradient
    critic_decay: float | jax.Array = 1e-6  # CTGAN's; tabgan has 0
    penalty: float | jax.Array = 10.0  # weight of the gradient penalty
    temperature: float | jax.Array = 0.2  # of the Gumbel softmax
    dropout: float | jax.Array = 0.5  # of the critic
    atom_share: float | jax.Array = 0.01  # of the rows above which a value is an atom
    batch_size: int = struct.field(pytree_node=False, default=500)
    pac: int = struct.field(pytree_node=False, default=10)  # rows of a pack
    latent: int = struct.field(pytree_node=False, default=128)
    width: int = struct.field(pytree_node=False, default=256)
    blocks: int = struct.field(pytree_node=False, default=2)  # hidden layers of each
    modes: int = struct.field(pytree_node=False, default=10)
    atoms: int = struct.field(pytree_node=False, default=4)
    sample_frequency: str = struct.field(pytree_node=False, default="log")  # CTGAN's; true, uniform

    def init(self, key: jax.Array, capacity: int) -> GanState:
        """A GAN that has seen nothing.

        Args:
            key: typed random key.
            capacity: of the tables, which does not matter to it.

        Raises:
            ConfigError: a batch that is no whole number of packs, or an unknown frequency.
        """
        if self.batch_size % self.pac:
            raise ConfigError("batch_size", self.batch_size, f"a multiple of pac, which is {self.pac}")
        require_frequency(self.sample_frequency)
        generator_key, critic_key = jax.random.split(key)
        inputs = self.latent + self._categories
        packs = jnp.zeros((1, self.pac * (self._outputs + self._categories)))
        generator = self._generator.init(generator_key, jnp.zeros((2, inputs)))
        critic = self._critic.init(critic_key, packs, jnp.ones((self.blocks, 1, self.width)))
        return GanState(
            mixtures=mixture.no_mixtures(len(self.columns.continuous), self.modes, self.atoms),
            conditions=no_conditions(self.columns),
            generator=generator,
            critic=critic,
            generator_moments=_ADAM.init(generator),
            critic_moments=_ADAM.init(critic),
            steps=jnp.zeros((), jnp.int32),
            losses=jnp.zeros(2),
        )

    def train(self, state: GanState, table: jax.Array, n_valid: jax.Array, key: jax.Array, steps: int) -> GanState:
        """As :meth:`offjax.replay.generator.Generator.train`; modes are fitted from where they were.

        Each step is one of the critic and one of the generator.
        """
        encode_key, steps_key = jax.random.split(key)
        state, encoded = self.encode(state, table, n_valid, encode_key)
        keys = jax.random.split(steps_key, steps)
        return train_steps(lambda carry, own: self.step(carry, encoded, own), state, keys)

    def encode(self, state: GanState, table: jax.Array, n_valid: jax.Array, key: jax.Array) -> tuple[GanState, Encoded]:
        """The encoding fitted to a table, and the table in it; the first fit also says how the critic starts."""
        valid = jnp.arange(table.shape[0]) < n_valid
        values, discrete = split(self.columns, jnp.where(valid[:, None], table, 0.0))
        mixtures = mixture.fit(state.mixtures, values, valid, self.atom_share)
        conditions, rows = index_rows(state.conditions, discrete, valid)
        encoded = Encoded(*mixture.encode(mixtures, values, key), discrete, rows)
        scale = jnp.where(state.mixtures.fitted, 1.0, self._spread(mixtures))
        return state.replace(mixtures=mixtures, conditions=conditions, critic=_scaled(state.critic, scale)), encoded

    def step(self, state: GanState, encoded: Encoded, key: jax.Array) -> GanState:
        """One step of the critic, then one of the generator."""
        critic_key, generator_key = jax.random.split(key)
        critic_loss, gradients = jax.value_and_grad(self.critic_loss)(state.critic, state, encoded, critic_key)
        critic, critic_moments = self._adam(state.critic, gradients, state.critic_moments, self.critic_decay)
        state = state.replace(critic=critic, critic_moments=critic_moments)
        generator_loss, gradients = jax.value_and_grad(self.generator_loss)(state.generator, state, generator_key)
        generator, generator_moments = self._adam(
            state.generator, gradients, state.generator_moments, self.generator_decay
        )
        losses = jnp.stack([critic_loss, generator_loss])
        return state.replace(
            generator=generator, generator_moments=generator_moments, steps=state.steps + 1, losses=losses
        )

    def critic_loss(self, critic: Any, state: GanState, encoded: Encoded, key: jax.Array) -> jax.Array:
        """Wasserstein loss and gradient penalty of one batch; real rows have the conditions of the generated ones."""
        fake_key, condition_key, real_key, mix_key, *drop_keys = jax.random.split(key, 7)
        column, category = draw_conditions(state.conditions, condition_key, self.batch_size, "log")
        condition = vector_of(self.columns, column, category)
        fake = self._activated(state, self._logits(state.generator, fake_key, condition), fake_key)
        real = self._shown(encoded, draw_rows(state.conditions, encoded.rows, real_key, column, category))
        fake, real = (jnp.concatenate([rows, condition], axis=1) for rows in (fake, real))
        # CTGAN shuffles the real rows; as the conditions are independent, a shift by one does the same.
        fake, real = self._pack(fake), self._pack(jnp.roll(real, 1, axis=0))
        score_fake, score_real = (
            self._score(critic, packs, self._keep(drop_key))
            for packs, drop_key in ((fake, drop_keys[0]), (real, drop_keys[1]))
        )
        inputs = self._inputs(state.mixtures)
        penalty = self.gradient_penalty(critic, real, fake, inputs, mix_key, self._keep(drop_keys[2]))
        return jnp.mean(score_fake) - jnp.mean(score_real) + penalty

    def gradient_penalty(
        self, critic: Any, real: jax.Array, fake: jax.Array, inputs: jax.Array, key: jax.Array, keep: jax.Array
    ) -> jax.Array:
        """How far the critic's slope is from 1 somewhere between ``real`` and ``fake`` packs, squared and weighted.

        The slope is that in ``inputs`` [pac row] 0 or 1: CTGAN has no slots that are not in use.
        """
        share = jax.random.uniform(key, (real.shape[0], 1))
        between = share * real + (1.0 - share) * fake
        slope = jax.grad(lambda packs: jnp.sum(self._score(critic, packs, keep)))(between)
        norm = jnp.sqrt(jnp.sum((slope * inputs[None]) ** 2, axis=1) + 1e-12)
        return self.penalty * jnp.mean((norm - 1.0) ** 2)

    def generator_loss(self, generator: Any, state: GanState, key: jax.Array) -> jax.Array:
        """What the critic does not think real, and how far the conditions are missed (cross entropy)."""
        fake_key, condition_key, drop_key = jax.random.split(key, 3)
        column, category = draw_conditions(state.conditions, condition_key, self.batch_size, "log")
        condition = vector_of(self.columns, column, category)
        logits = self._logits(generator, fake_key, condition)
        packs = self._pack(jnp.concatenate([self._activated(state, logits, fake_key), condition], axis=1))
        score = self._score(state.critic, packs, self._keep(drop_key))
        miss = -jnp.sum(condition * self._log_chances(logits), axis=1)
        return jnp.mean(miss) - jnp.mean(score)

    def draw(self, state: GanState, key: jax.Array, n: int, decisions: jax.Array | None = None) -> jax.Array:
        """Generated rows [n, columns] in units of the columns; pure.

        Args:
            state: trained.
            key: typed random key.
            n: static.
            decisions: [n] int32 conditions of the decision; by default every row has a condition on some discrete
                column, drawn by ``sample_frequency``. A generator honours a condition mostly, not always.
        """
        batches = -(-n // self.batch_size)

        def batch(inputs: tuple[jax.Array, jax.Array | None]) -> jax.Array:
            key, given = inputs
            fake_key, condition_key = jax.random.split(key)
            if given is None:
                law = self.sample_frequency
                column, given = draw_conditions(state.conditions, condition_key, self.batch_size, law)
            else:
                column = jnp.zeros_like(given)
            logits = self._logits(state.generator, fake_key, vector_of(self.columns, column, given))
            return self._decoded(state, logits, fake_key)

        if decisions is not None:  # the last batch is filled with the first decisions again
            decisions = jnp.resize(decisions, (batches, self.batch_size))
        rows = jax.lax.map(batch, (jax.random.split(key, batches), decisions))
        return rows.reshape(batches * self.batch_size, -1)[:n]

    @property
    def _categories(self) -> int:
        return sum(self.columns.categories)

    @property
    def _outputs(self) -> int:
        return len(self.columns.continuous) * (1 + self.modes + self.atoms) + self._categories

    @property
    def _generator(self) -> Generator:
        return Generator(self.width, self.blocks, self._outputs)

    @property
    def _critic(self) -> Critic:
        return Critic(self.width, self.blocks)

    def _logits(self, generator: Any, key: jax.Array, condition: jax.Array) -> jax.Array:
        """[B, outputs] from noise and a condition."""
        noise = jax.random.normal(jax.random.fold_in(key, 0), (condition.shape[0], self.latent))
        return cast(jax.Array, self._generator.apply(generator, jnp.concatenate([noise, condition], axis=1)))

    def _score(self, critic: Any, packs: jax.Array, keep: jax.Array) -> jax.Array:
        return cast(jax.Array, self._critic.apply(critic, packs, keep))

    def _parts(self, logits: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
        """Continuous [B, C, 1 + slots], then each discrete column [B, categories]."""
        columns = len(self.columns.continuous)
        continuous = logits[:, : -self._categories].reshape(-1, columns, 1 + self.modes + self.atoms)
        return continuous, jnp.split(logits[:, -self._categories :], ends_of(self.columns), axis=1)

    def _log_chances(self, logits: jax.Array) -> jax.Array:
        """[B, sum of all categories] of the discrete columns."""
        return jnp.concatenate([jax.nn.log_softmax(part) for part in self._parts(logits)[1]], axis=1)

    def _activated(self, state: GanState, logits: jax.Array, key: jax.Array) -> jax.Array:
        """[B, outputs] as the critic sees it: tanh of the scalars, Gumbel softmax of the slots and categories."""
        continuous, discrete = self._parts(logits)
        gumbel = jax.random.gumbel(jax.random.fold_in(key, 1), logits.shape)
        noise, discrete_noise = self._parts(gumbel)
        used = jnp.where(state.mixtures.used, 0.0, NEVER)[None]
        slots = jax.nn.softmax((continuous[..., 1:] + used + noise[..., 1:]) / self.temperature)
        shown = jnp.concatenate([jnp.tanh(continuous[..., :1]), slots], axis=-1)
        pairs = zip(discrete, discrete_noise, strict=True)
        soft = [jax.nn.softmax((part + own) / self.temperature) for part, own in pairs]
        return jnp.concatenate([shown.reshape(shown.shape[0], -1), *soft], axis=1)

    def _decoded(self, state: GanState, logits: jax.Array, key: jax.Array) -> jax.Array:
        """Rows [B, columns]: the most likely slot and category under the noise."""
        continuous, discrete = self._parts(self._activated(state, logits, key))
        values = mixture.decode(state.mixtures, continuous[..., 0], jnp.argmax(continuous[..., 1:], axis=-1))
        return merge(self.columns, values, jnp.stack([jnp.argmax(part, axis=1) for part in discrete], axis=1))

    def _shown(self, encoded: Encoded, rows: jax.Array) -> jax.Array:
        """[B, outputs] of real rows, as :meth:`_activated` is of generated ones."""
        slots = jax.nn.one_hot(encoded.slots[rows], self.modes + self.atoms)
        shown = jnp.concatenate([encoded.scalars[rows][..., None], slots], axis=-1)
        discrete = one_hot(self.columns.categories, encoded.discrete[rows])
        return jnp.concatenate([shown.reshape(shown.shape[0], -1), discrete], axis=1)

    def _pack(self, rows: jax.Array) -> jax.Array:
        return rows.reshape(rows.shape[0] // self.pac, -1)

    def _inputs(self, mixtures: Mixtures) -> jax.Array:
        """[pac row] 1, but 0 for slots that are not in use: those are 0 in every pack."""
        scalars = jnp.ones((len(self.columns.continuous), 1))
        continuous = jnp.concatenate([scalars, mixtures.used], axis=1).reshape(-1)
        return jnp.tile(jnp.concatenate([continuous, jnp.ones(2 * self._categories)]), self.pac)

    def _spread(self, mixtures: Mixtures) -> jax.Array:
        """How much wider torch would start the critic's first layer, which then has only the inputs in use."""
        inputs = self._inputs(mixtures)
        return jnp.sqrt(inputs.size / jnp.sum(inputs))

    def _keep(self, key: jax.Array) -> jax.Array:
        """Dropout factors [blocks, packs, width]."""
        shape = (self.blocks, self.batch_size // self.pac, self.width)
        return jax.random.bernoulli(key, 1.0 - self.dropout, shape) / (1.0 - self.dropout)

    def _adam(self, params: Any, gradients: Any, moments: optax.OptState, decay: Any) -> tuple[Any, optax.OptState]:
        gradients = jax.tree.map(lambda gradient, value: gradient + decay * value, gradients, params)
        direction, moments = _ADAM.update(gradients, moments)
        move = jax.tree.map(lambda value, step: value - self.learning_rate * step, params, direction)
        return move, moments


def _scaled(critic: Any, scale: jax.Array) -> Any:
    """The critic with its first layer times ``scale``."""
    layers = critic["params"]
    return {**critic, "params": {**layers, "Dense_0": jax.tree.map(lambda leaf: scale * leaf, layers["Dense_0"])}}


_ADAM = optax.scale_by_adam(b1=0.5, b2=0.9)
