"""The experience: what one decision taught."""

import jax
from flax import struct


class Experience(struct.PyTreeNode):
    """A batch of semi-Markov transitions (s, a, r, s', terminated), one row per device.

    ``next_observation`` is the observation when the device was asked next, taken before any reset
    (gymnax's ``final_observation``); bootstrap from it and mask with ``terminated`` only.
    Rows whose ``valid`` is false carry no meaning and must not reach a loss or a memory.
    """

    observation: jax.Array  # [B, F] normalised
    decision: jax.Array  # [B] int32, 0 = local, z = server z
    reward: jax.Array  # [B]
    next_observation: jax.Array  # [B, F] normalised
    terminated: jax.Array  # [B] bool
    valid: jax.Array  # [B] bool
