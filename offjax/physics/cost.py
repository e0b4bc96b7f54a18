"""Equations (1)-(5) of paper A (Distributed deep reinforcement learning architecture for task offloading in autonomous
IoT systems, LAAS-CNRS, IoT 2022) as pure functions; SI units.

A task demands ``D`` units of computing and carries ``S = theta D`` bits. The paper calls ``f`` "the number of CPU
cycles required to process one bit" and divides by it, so that a larger ``f`` is faster; both readings are here:

* ``rate``: ``f`` is a capacity in units/s, and equation (1) is taken as it is printed;
* ``cycles_per_unit``: ``f`` is what a unit costs in cycles, and a processor has a clock: ``T = D f / F``.
"""

import jax
import jax.numpy as jnp

READINGS = ("rate", "cycles_per_unit")


def processing_speed(f: float | jax.Array, clock: float | jax.Array, reading: str) -> float | jax.Array:
    """Units per second of a processor.

    Args:
        f: units/s (reading ``rate``), or cycles/unit (``cycles_per_unit``).
        clock: F, cycles/s; used by ``cycles_per_unit`` alone.
        reading: of ``f``.
    """
    return f if reading == "rate" else clock / f


def processing_time(
    demand: jax.Array, f: jax.Array, clock: float | jax.Array = 1.0, reading: str = "rate"
) -> jax.Array:
    """Time in s of a task of ``demand`` D units, equation (1): D / f, or D f / F in the other reading."""
    return demand / processing_speed(f, clock, reading)


def processing_energy(demand: jax.Array, energy_per_unit: jax.Array) -> jax.Array:
    """Energy in J of a task of ``demand`` D units, equation (2): D e."""
    return demand * energy_per_unit


def data_size(demand: jax.Array, theta: jax.Array) -> jax.Array:
    """Bits that travel with a task, S = theta D; theta in bit/unit (its value is not given in the paper)."""
    return theta * demand


def offloading_time(transmission: jax.Array, processing: jax.Array) -> jax.Array:
    """Time in s of an offloaded task, equation (3)."""
    return transmission + processing


def one_choice_cost(energy: jax.Array, time: jax.Array, energy_weight: jax.Array, time_weight: jax.Array) -> jax.Array:
    """Cost of a task where it runs: alpha E + beta T.

    Args:
        energy: J, of the chosen place.
        time: s, of the chosen place.
        energy_weight: alpha, 1/J.
        time_weight: beta, 1/s.
    """
    return energy_weight * energy + time_weight * time


def literal_cost(
    sent: jax.Array,
    energy: tuple[jax.Array, jax.Array],
    time: tuple[jax.Array, jax.Array],
    energy_weight: jax.Array,
    time_weight: jax.Array,
) -> jax.Array:
    """Cost of tasks, the sum over z of equation (4) as it is printed.

    For every server that a task was *not* sent to it adds the cost of running at home, even if another server runs it.
    With weights that do not depend on z and at most one server chosen it is :func:`one_choice_cost` plus the constant
    ``(Z - 1) (alpha E_IoT + beta T_IoT)`` of :func:`literal_excess`; for one server they are equal.

    Args:
        sent: [..., Z] x of the equation, 1 where the task was sent to server z.
        energy: ([..., 1], [..., Z]) J, on the device and at each server.
        time: ([..., 1], [..., Z]) s, on the device and through each server.
        energy_weight: alpha, 1/J, [] or [..., Z].
        time_weight: beta, 1/s, [] or [..., Z].

    Returns:
        [...].
    """
    energies = energy[0] * (1.0 - sent) + energy[1] * sent
    times = sent * time[1] + (1.0 - sent) * time[0]
    return jnp.sum(energy_weight * energies + time_weight * times, axis=-1)


def literal_excess(
    servers: int, energy: jax.Array, time: jax.Array, energy_weight: jax.Array, time_weight: jax.Array
) -> jax.Array:
    """What equation (4) adds to the one-choice cost of a task: (Z - 1) (alpha E_IoT + beta T_IoT)."""
    return (servers - 1) * one_choice_cost(energy, time, energy_weight, time_weight)


def cost_reward(cost: jax.Array) -> jax.Array:
    """Reward, equation (5): R = -C."""
    return -cost
