"""Task classes and the draw of one task per device: Nieto et al. 2024, Table 3, and any other set of classes."""

import jax
import jax.numpy as jnp
from flax import struct

from offjax.workload.arrivals import Arrivals, exponential

FEW = 8  # classes up to here are told apart by comparisons, which a CPU does faster than gathers
NARROW = 127  # classes up to here fit an int8


class Workload(struct.PyTreeNode):
    """What devices are asked to compute, and when; every number is a leaf.

    The deadline of a task is ``factor * (bits * deadline_per_bit + cycles * deadline_per_cycle) + deadline_fixed``;
    the factor is 1, or uniform in ``factor_low .. factor_high`` where ``deadline`` is "uniform".
    """

    probability: jax.Array  # [classes] share of each class, sums to 1
    bits_low: jax.Array  # [classes] bit
    bits_high: jax.Array  # [classes] bit
    cycles_per_bit: jax.Array  # [classes] cycles/bit
    result_per_bit: jax.Array  # [classes] bits of the result per bit of the task
    deadline_per_bit: jax.Array  # [classes] s/bit
    deadline_per_cycle: jax.Array  # [classes] s/cycle
    deadline_fixed: jax.Array  # [] s
    factor_low: jax.Array  # []
    factor_high: jax.Array  # []
    arrivals: Arrivals
    size: str = struct.field(pytree_node=False, default="uniform")  # or "exponential": see spread_size
    deadline: str = struct.field(pytree_node=False, default="size")  # "none", "size" or "uniform"

    @property
    def classes(self) -> int:
        """C, the number of task classes."""
        return self.probability.shape[0]


class Tasks(struct.PyTreeNode):
    """One task per device."""

    task_class: jax.Array  # [D] int8, 0-based (int16 with more than 127 classes)
    bits: jax.Array  # [D] bit, to upload
    cycles: jax.Array  # [D] cycles
    result_bits: jax.Array  # [D] bit, to download
    deadline: jax.Array  # [D] s, latency allowed; infinite without a deadline


def class_type(workload: Workload) -> jnp.dtype:
    """The narrowest integer type that holds a class."""
    return jnp.dtype(jnp.int8 if workload.classes <= NARROW else jnp.int16)


def draw_class(share: jax.Array, workload: Workload) -> jax.Array:
    """[D] int32 task class from ``share`` [D] in [0, 1)."""
    edges = jnp.cumsum(workload.probability)[:-1]
    if workload.classes > FEW:
        return jnp.searchsorted(edges, share, side="right", method="scan_unrolled").astype(jnp.int32)
    above = [share >= edges[index] for index in range(workload.classes - 1)]
    return sum((step.astype(jnp.int32) for step in above), start=jnp.zeros(share.shape, jnp.int32))


def pick(table: jax.Array, index: jax.Array) -> jax.Array:
    """``table[index]``: [D] numbers of each device's class."""
    if table.shape[0] > FEW:
        return table[index]
    value = jnp.broadcast_to(table[0], index.shape)
    for row in range(1, table.shape[0]):
        value = jnp.where(index == row, table[row], value)
    return value


def make_tasks(task_class: jax.Array, size_share: jax.Array, factor_share: jax.Array, workload: Workload) -> Tasks:
    """One task per device from its class and uniform numbers.

    Args:
        task_class: [D] int32.
        size_share: [D] in [0, 1), where in the class's range of sizes.
        factor_share: [D] in [0, 1), where in the range of the deadline's factor.
        workload: the classes.
    """
    low, high = pick(workload.bits_low, task_class), pick(workload.bits_high, task_class)
    bits = low + (high - low) * spread_size(size_share, workload)
    cycles = bits * pick(workload.cycles_per_bit, task_class)
    return Tasks(
        task_class=task_class.astype(class_type(workload)),
        bits=bits,
        cycles=cycles,
        result_bits=bits * pick(workload.result_per_bit, task_class),
        deadline=allowed_latency(bits, cycles, task_class, factor_share, workload),
    )


def spread_size(share: jax.Array, workload: Workload) -> jax.Array:
    """[D] where between low (0) and high (1) a size lies: uniform, or exponential with mean 1 and no end."""
    return share if workload.size == "uniform" else exponential(share, jnp.float32(1))


def allowed_latency(
    bits: jax.Array, cycles: jax.Array, task_class: jax.Array, factor_share: jax.Array, workload: Workload
) -> jax.Array:
    """[D] s: the deadline of each task, counted from its arrival."""
    if workload.deadline == "none":
        return jnp.full(bits.shape, jnp.inf, jnp.float32)
    size = bits * pick(workload.deadline_per_bit, task_class) + cycles * pick(workload.deadline_per_cycle, task_class)
    if workload.deadline == "uniform":
        size = size * (workload.factor_low + (workload.factor_high - workload.factor_low) * factor_share)
    return size + workload.deadline_fixed
