"""Task classes and the draw of one task per device: Nieto et al. 2024, Table 3."""

import jax
import jax.numpy as jnp
from flax import struct


class Workload(struct.PyTreeNode):
    """What devices are asked to compute; every number is a leaf."""

    probability: jax.Array  # [classes] share of each class, sums to 1
    bits_low: jax.Array  # [classes] bit
    bits_high: jax.Array  # [classes] bit
    cycles_per_bit: jax.Array  # [classes] cycles/bit
    deadline_per_bit: jax.Array  # [classes] s/bit
    result_per_bit: jax.Array  # [classes] bits of the result per bit of the task
    period: jax.Array  # [] or [D] int32 slots between two tasks of a device
    phase: jax.Array  # [] or [D] int32 slots, the first task comes in this slot


class Tasks(struct.PyTreeNode):
    """One task per device."""

    task_class: jax.Array  # [D] int8, 0-based
    bits: jax.Array  # [D] bit, to upload
    cycles: jax.Array  # [D] cycles
    result_bits: jax.Array  # [D] bit, to download
    deadline: jax.Array  # [D] s, latency allowed


def draw_tasks(class_share: jax.Array, size_share: jax.Array, workload: Workload) -> Tasks:
    """One task per device from two uniform numbers.

    Args:
        class_share: [D] in [0, 1), which class.
        size_share: [D] in [0, 1), where in the class's range of sizes.
        workload: the classes.
    """
    edges = jnp.cumsum(workload.probability)[:-1]
    task_class = jnp.sum(class_share[None, :] >= edges[:, None], axis=0, dtype=jnp.int32)
    low, high = workload.bits_low[task_class], workload.bits_high[task_class]
    bits = low + (high - low) * size_share
    return Tasks(
        task_class=task_class.astype(jnp.int8),
        bits=bits,
        cycles=bits * workload.cycles_per_bit[task_class],
        result_bits=bits * workload.result_per_bit[task_class],
        deadline=bits * workload.deadline_per_bit[task_class],
    )


def arrives(slot: jax.Array, workload: Workload) -> jax.Array:
    """Whether a task comes at the start of ``slot``: one every ``period`` slots from ``phase`` on.

    Args:
        slot: [] int32.
        workload: its ``period`` and ``phase``, [] or [D].

    Returns:
        bool, of the shape of ``period`` and ``phase``.
    """
    since = slot - workload.phase
    return (since >= 0) & (since % workload.period == 0)
