"""Executing a task on a processor: Nieto et al. 2024, equations (1), (2), (7), (10)."""

import jax


def execution_time(cycles: jax.Array, speed: jax.Array) -> jax.Array:
    """Time of a computation, equations (1) local, (7) edge server, (10) cloud.

    Args:
        cycles: work of the task, cycles.
        speed: resources given to it, cycles/s.

    Returns:
        seconds, of the broadcast shape.
    """
    return cycles / speed


def execution_power(speed: jax.Array, energy_coefficient: jax.Array) -> jax.Array:
    """Power of a device's processor while it computes: equation (2) per second, kappa f^3.

    Args:
        speed: cycles/s.
        energy_coefficient: kappa, J s^2 / cycle^3.

    Returns:
        watts.
    """
    return energy_coefficient * speed * speed * speed


def execution_energy(cycles: jax.Array, speed: jax.Array, energy_coefficient: jax.Array) -> jax.Array:
    """Energy of a local execution, equation (2): kappa f^2 phi, in joules."""
    return energy_coefficient * speed * speed * cycles
