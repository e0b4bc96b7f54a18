"""Random keys by seed and purpose, so that no two uses of a seed meet."""

from enum import IntEnum

import jax
import jax.numpy as jnp

from offjax.learning.train import GENERATOR


class Purpose(IntEnum):
    """What a key is for; every purpose folds its own number into a seed's key."""

    TRAIN = 1
    VALIDATE = 2
    EVALUATE = 3
    SELFTEST = 4


def key_of(seed: int, purpose: Purpose) -> jax.Array:
    """The typed key of a seed for a purpose."""
    return jax.random.fold_in(jax.random.key(seed, impl=GENERATOR), int(purpose))


def keys_of(first: int, count: int, purpose: Purpose) -> jax.Array:
    """[count] keys of the seeds from ``first`` on."""
    return jnp.stack([key_of(seed, purpose) for seed in range(first, first + count)])
