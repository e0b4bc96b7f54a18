"""Closed forms of a whole task with nobody else around: Nieto et al. 2024, equations (8), (14)-(16).

The simulator never calls these: it moves a task through its phases, and the tests hold it against them.
"""

import jax

from offjax.physics.compute import execution_time
from offjax.physics.radio import transmission_time


def edge_latency(bits: jax.Array, cycles: jax.Array, rate: jax.Array, speed: jax.Array) -> jax.Array:
    """Latency through the edge server in seconds, equation (8); the download is neglected."""
    return transmission_time(bits, rate) + execution_time(cycles, speed)


def cloud_latency(
    bits: jax.Array,
    cycles: jax.Array,
    rate: jax.Array,
    speed: jax.Array,
    fibre: jax.Array,
    propagation: jax.Array,
) -> jax.Array:
    """Latency through the cloud in seconds, equations (14) and (15).

    Args:
        bits: size of the task, bit.
        cycles: work of the task, cycles.
        rate: uplink, bit/s.
        speed: of the cloud server, cycles/s.
        fibre: rate of the fibre, bit/s.
        propagation: one-way delay of the fibre, s.
    """
    return execution_time(cycles, speed) + transmission_time(bits, rate) + bits / fibre + 2.0 * propagation
