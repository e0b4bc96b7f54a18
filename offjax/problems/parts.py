"""What the makers of all problems need: sharing, cells, and the scaling of observations."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from offjax.errors import ConfigError
from offjax.problems.scenario import Scenario
from offjax.problems.spec import Feature


@dataclass(frozen=True)
class Sharing:
    """What the devices of a cell share, and how that is resolved; nothing by default."""

    coupling: str = "none"  # or "slot", "exact"
    uplink: str = "fixed"  # a sub-band for each; or "active" (all of the band, shared), "cell" (``cell_rate``)
    downlink: str = "fixed"  # ``downlink_rate`` for each; or "active" (shared), "cell" (``cell_rate``)
    queue: str = "none"  # or "fifo", "ps": of every edge server
    cell_rate: float = math.inf  # bit/s, what the air of a cell carries in all
    downlink_rate: float = math.inf  # bit/s; infinite and "fixed": the download is neglected


def structure(sharing: Sharing, scenario: Scenario, cloud: Sequence[bool]) -> dict[str, Any]:
    """What a world has and what couples in it: the static fields of its numbers; ``cloud`` [Z] as in ``Params``."""
    neglected = sharing.downlink == "fixed" and math.isinf(sharing.downlink_rate)
    queue = tuple("none" if behind else sharing.queue for behind in cloud)
    return {
        "coupling": sharing.coupling,
        "uplink": sharing.uplink,
        "downlink": "none" if neglected else sharing.downlink,
        "queue": () if sharing.queue == "none" else queue,
        "outage": scenario.outage,
        "redundant": scenario.redundant,
        "impaired": scenario.impaired,
    }


def cell_size(devices: int, devices_per_cell: int | None, usual: int) -> int:
    """Devices of a cell: as given, or the ``usual`` number where there are as many.

    Raises:
        ConfigError: devices that do not fill their cells.
    """
    per_cell = min(usual, devices) if devices_per_cell is None else devices_per_cell
    if devices < 1 or per_cell < 1 or devices % per_cell:
        raise ConfigError("devices", devices, f"it must be a positive multiple of devices_per_cell = {per_cell}")
    return per_cell


def check_choice(field: str, value: object, allowed: Iterable[str]) -> None:
    """Raise ConfigError unless the value is one of the ``allowed``."""
    names = list(allowed)
    if value not in names:
        raise ConfigError(field, value, f"one of {', '.join(names)}")


def f32(value: object) -> jax.Array:
    """A float32 array."""
    return jnp.asarray(value, jnp.float32)


def as_leaves(features: Iterable[Feature]) -> tuple[Feature, ...]:
    """Features whose ranges are NumPy scalars: Python's floats, but with the shape and type that leaves have."""
    return tuple(own.replace(low=np.float64(own.low), high=np.float64(own.high)) for own in features)


def min_max(observation: jax.Array, features: Sequence[Feature]) -> jax.Array:
    """[..., F] scaled to 0..1 by the ranges of the features."""
    low, high = _ranges(observation, features)
    return (observation - low) / (high - low)


def undo_min_max(scaled: jax.Array, features: Sequence[Feature]) -> jax.Array:
    """[..., F] in physical units, from what :func:`min_max` made of it."""
    low, high = _ranges(scaled, features)
    return low + (high - low) * scaled


def _ranges(values: jax.Array, features: Sequence[Feature]) -> tuple[jax.Array, jax.Array]:
    ends = (f32([getattr(feature, end) for feature in features]) for end in ("low", "high"))
    low, high = (numbers.reshape((1,) * (values.ndim - 1) + numbers.shape) for numbers in ends)
    return low, high
