"""The radio link of a device: Nieto et al. 2024, equations (3)-(6) and (9), and path losses of 3GPP TR 38.901."""

import math

import jax
import jax.numpy as jnp

LN10_OVER_10 = math.log(10.0) / 10.0


def from_db(decibel: jax.Array) -> jax.Array:
    """Linear ratio of a level in dB; watts from dBW."""
    return jnp.exp(decibel * LN10_OVER_10)


def to_db(ratio: jax.Array) -> jax.Array:
    """Level in dB of a linear ratio; minus infinity at zero."""
    return jnp.log(ratio) / LN10_OVER_10


def watt_from_dbm(level: float) -> float:
    """Power in watts of a level in dBm (for parameter tables; plain Python)."""
    return 10.0 ** (level / 10.0 - 3.0)


def path_loss_inf_sh(distance: jax.Array, carrier: jax.Array) -> jax.Array:
    """Path loss of an indoor factory with sparse clutter and a high base station, equation (3).

    Args:
        distance: device to base station, m.
        carrier: carrier frequency, Hz (the equation's f_c is in GHz).

    Returns:
        dB. Source: [29] eq (3), after 3GPP TR 38.901 (InF-SH).
    """
    return 32.4 + (23.0 / math.log(10.0)) * jnp.log(distance) + (20.0 / math.log(10.0)) * jnp.log(carrier * 1e-9)


def path_loss_umi_los(
    distance: jax.Array, carrier: jax.Array, base_height: float = 10.0, device_height: float = 1.5
) -> jax.Array:
    """Path loss in a street canyon with line of sight.

    Args:
        distance: device to base station on the ground, m; the model holds from 10 m to 5 km.
        carrier: carrier frequency, Hz.
        base_height: of its antenna, m.
        device_height: of its antenna, m.

    Returns:
        dB. Source: 3GPP TR 38.901, table 7.4.1-1, UMi - Street Canyon LOS, both sides of the breakpoint.
    """
    fall = base_height - device_height
    squared = distance * distance + fall * fall
    breakpoint_distance = 4.0 * (base_height - 1.0) * (device_height - 1.0) * carrier / 3.0e8
    corner = breakpoint_distance * breakpoint_distance + fall * fall
    near = 10.5 / math.log(10.0) * jnp.log(squared)
    far = (20.0 * jnp.log(squared) - 9.5 * jnp.log(corner)) / math.log(10.0)
    slope = jnp.where(distance <= breakpoint_distance, near, far)
    return 32.4 + slope + (20.0 / math.log(10.0)) * jnp.log(carrier * 1e-9)


def path_loss_umi_nlos(
    distance: jax.Array, carrier: jax.Array, base_height: float = 10.0, device_height: float = 1.5
) -> jax.Array:
    """Path loss in a street canyon without line of sight.

    Arguments and result as of :func:`path_loss_umi_los`, below which it never falls.

    Source: 3GPP TR 38.901, table 7.4.1-1, UMi - Street Canyon NLOS.
    """
    fall = base_height - device_height
    slope = 17.65 / math.log(10.0) * jnp.log(distance * distance + fall * fall)
    frequency = (21.3 / math.log(10.0)) * jnp.log(carrier * 1e-9)
    blocked = 22.4 + slope + frequency - 0.3 * (device_height - 1.5)
    return jnp.maximum(path_loss_umi_los(distance, carrier, base_height, device_height), blocked)


PATH_LOSSES = {"inf_sh": path_loss_inf_sh, "umi_los": path_loss_umi_los, "umi_nlos": path_loss_umi_nlos}
"""Models by the name that ``world.Params.path_loss`` knows them by: (distance m, carrier Hz) -> dB."""


def channel_gain(path_loss: jax.Array, shadowing: jax.Array) -> jax.Array:
    """Channel gain in dB, equation (4): h = -PL - SF.

    Args:
        path_loss: dB.
        shadowing: dB, normal with mean zero.
    """
    return -(path_loss + shadowing)


def shannon_rate(bandwidth: jax.Array, power: jax.Array, gain: jax.Array, noise: jax.Array) -> jax.Array:
    """Uplink rate of a sub-band, equation (5): W_n log2(1 + p h / N0).

    Args:
        bandwidth: of the sub-band, Hz.
        power: transmit power, W.
        gain: linear channel gain.
        noise: noise power in the sub-band, W (the equation has no bandwidth factor).

    Returns:
        bit/s.
    """
    return bandwidth * (jnp.log1p(power * gain / noise) / math.log(2.0))


def transmission_time(bits: jax.Array, rate: jax.Array) -> jax.Array:
    """Time of an upload in seconds, equation (6)."""
    return bits / rate


def transmission_energy(power: jax.Array, time: jax.Array) -> jax.Array:
    """Energy of an upload in joules, equations (9) and (16): the device pays for the radio only."""
    return power * time
