"""The pieces that all algorithms share, one each: schedules, clip, Adam step, target, masks, TD error, checks.

Every number may be a traced leaf of an agent: a choice of behaviour is a ``where``, never an ``if``.
"""

from collections.abc import Iterable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optax

from offjax.agents.normaliser import Normaliser, merge, normalise
from offjax.errors import ConfigError
from offjax.replay.experience import Experience

Scalar = float | jax.Array
Tree = TypeVar("Tree")


def learning_rate_at(
    updates: jax.Array, learning_rate: Scalar, final_fraction: Scalar, decay_updates: Scalar
) -> jax.Array:
    """Learning rate after ``updates``: linear from its start to ``final_fraction`` of it, then flat.

    Args:
        updates: updates done, int32.
        learning_rate: at the start.
        final_fraction: of the start, reached after ``decay_updates``.
        decay_updates: length of the decay in updates; 0 keeps the start for ever.
    """
    progress = jnp.clip(updates / jnp.maximum(decay_updates, 1), 0.0, 1.0)
    decays = jnp.asarray(decay_updates) > 0
    return learning_rate * jnp.where(decays, 1.0 - (1.0 - final_fraction) * progress, 1.0)


def epsilon_at(updates: jax.Array, start: Scalar, final: Scalar, decay_updates: Scalar) -> jax.Array:
    """Exploration rate: linear from ``start`` to ``final`` over ``decay_updates`` updates, then flat."""
    progress = jnp.clip(updates / jnp.maximum(decay_updates, 1), 0.0, 1.0)
    return start + (final - start) * progress


def clip_by_norm(gradients: Tree, max_norm: Scalar) -> tuple[Tree, jax.Array]:
    """Gradients scaled down to a global norm of ``max_norm`` (0 = no clip), and the norm before.

    Without a clip the norm is not looked at, and is 0: it would cost a pass over all gradients.
    """

    def measure(gradients: Tree) -> tuple[jax.Array, jax.Array]:
        norm = jnp.sqrt(sum(jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(gradients)))
        return jnp.minimum(1.0, max_norm / jnp.maximum(norm, jnp.finfo(jnp.float32).tiny)), norm

    def leave(gradients: Tree) -> tuple[jax.Array, jax.Array]:
        return jnp.ones(()), jnp.zeros(())

    scale, norm = jax.lax.cond(jnp.asarray(max_norm) > 0, measure, leave, gradients)
    return jax.tree.map(lambda gradient: gradient * scale, gradients), norm


def init_moments(params: Any) -> optax.OptState:
    """Zero Adam moments for ``params``."""
    return optax.scale_by_adam().init(params)


def adam_step(
    params: Tree, gradients: Tree, moments: optax.OptState, learning_rate: Scalar, eps: Scalar
) -> tuple[Tree, optax.OptState]:
    """One step of Adam (b1 .9, b2 .999) against ``gradients``; rate and ``eps`` may be traced."""
    direction, moments = optax.scale_by_adam(eps=eps).update(gradients, moments)
    params = jax.tree.map(lambda value, move: value - learning_rate * move, params, direction)
    return params, moments


def refresh_target(params: Tree, target_params: Tree, updates: jax.Array, period: Scalar) -> Tree:
    """Target parameters: a hard copy of ``params`` whenever ``updates`` is a multiple of ``period``.

    A ``period`` of 0 is one of 1: with a copy after every update there is no target network to speak of.
    """
    return choose(updates % jnp.maximum(period, 1) == 0, params, target_params)


def choose(condition: jax.Array, chosen: Tree, other: Tree) -> Tree:
    """``chosen`` where the scalar ``condition`` holds, else ``other``, leaf by leaf."""
    return jax.tree.map(lambda left, right: jnp.where(condition, left, right), chosen, other)


def bootstrap_discount(batch: Experience, gamma: Scalar) -> jax.Array:
    """Discount [B] of the value of what follows an experience: 0 where it terminated."""
    discount = jnp.asarray(gamma) if batch.steps is None else gamma ** batch.steps.astype(jnp.float32)
    return jnp.where(batch.terminated, 0.0, discount)


def td_target(batch: Experience, next_value: jax.Array, gamma: Scalar) -> jax.Array:
    """What an experience earned and what follows is worth, r + gamma^n V(s') (1 - terminated), ``[B]``.

    n is the number of decisions that it spans. A constant to the gradient (semi-gradient TD).
    """
    return jax.lax.stop_gradient(batch.reward + bootstrap_discount(batch, gamma) * next_value)


def masked_mean(values: jax.Array, valid: jax.Array) -> jax.Array:
    """Mean of ``values [...]`` over the rows that are ``valid [...]``; 0 if there are none."""
    total = jnp.sum(jnp.where(valid, values, 0.0))
    return total / jnp.maximum(jnp.sum(valid), 1)


def prepare(
    batch: Experience, reward_scale: Scalar, normaliser: Normaliser | None
) -> tuple[Normaliser | None, Experience]:
    """The normaliser with the batch's observations counted, and the batch as the networks see it under that."""
    batch = blank_invalid(batch)
    normaliser = merge(normaliser, batch.observation, batch.valid)
    return normaliser, as_seen(batch, reward_scale, normaliser)


def as_seen(batch: Experience, reward_scale: Scalar, normaliser: Normaliser | None) -> Experience:
    """The batch with zeros in every invalid row, rewards scaled, observations normalised."""
    batch = blank_invalid(batch)
    return batch.replace(
        observation=normalise(normaliser, batch.observation),
        next_observation=normalise(normaliser, batch.next_observation),
        reward=reward_scale * batch.reward,
    )


def blank_invalid(batch: Experience) -> Experience:
    """The batch with zeros in every invalid row.

    A masked mean alone is not enough: the gradient of a masked NaN is 0 * NaN = NaN.
    """

    def blank(rows: jax.Array) -> jax.Array:
        mask = batch.valid.reshape(batch.valid.shape + (1,) * (rows.ndim - batch.valid.ndim))
        return jnp.where(mask, rows, jnp.zeros_like(rows))

    return jax.tree.map(blank, batch)


def take_decision(values: jax.Array, decision: jax.Array) -> jax.Array:
    """``values [..., A]`` at ``decision [...]``: ``[...]``."""
    return jnp.take_along_axis(values, decision[..., None], axis=-1)[..., 0]


def require_positive(field: str, value: object) -> None:
    """Raise ConfigError unless the static ``value`` is a whole number of at least 1."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(field, value, "use a whole number of at least 1")


def require_choice(field: str, value: object, choices: Iterable[str]) -> None:
    """Raise ConfigError unless the static ``value`` is one of ``choices``."""
    allowed = list(choices)
    if value not in allowed:
        raise ConfigError(field, value, f"use one of {', '.join(allowed)}")


def require_widths(field: str, value: object) -> None:
    """Raise ConfigError unless the static ``value`` is a tuple of positive layer widths."""
    if not isinstance(value, tuple):
        raise ConfigError(field, value, "use a tuple of layer widths")
    for width in value:
        require_positive(field, width)
