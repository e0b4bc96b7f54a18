"""Mixed fleets: named profiles, dealt over the devices of every cell."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

from offjax.errors import ConfigError
from offjax.world import Fleet


@dataclass(frozen=True)
class Profile:
    """One kind of device; the defaults are the UE of Table 2 of Nieto et al. 2024."""

    name: str = "ue"
    share: float = 1.0  # of the devices of every cell
    speed: float = 40e6  # cycles/s
    energy_coefficient: float = 1e-21  # J s^2/cycle^3
    battery: float = 4000.0  # J
    idle_power: float = 0.1  # W
    transmit_power: float = 1.0  # W, 30 dBm
    receive_power: float = 0.0  # W


def make_fleet(profiles: Sequence[Profile], devices: int, cell_size: int) -> Fleet:
    """The devices; one profile gives numbers for all, several give numbers per device.

    Raises:
        ConfigError: shares that do not sum to 1, or a profile without a device in a cell.
    """
    index = np.zeros((), np.int8) if len(profiles) == 1 else np.tile(deal(profiles, cell_size), devices // cell_size)

    def each(field: str) -> jnp.ndarray:
        return jnp.asarray(np.asarray([getattr(profile, field) for profile in profiles], np.float32)[index])

    return Fleet(
        speed=each("speed"),
        energy_coefficient=each("energy_coefficient"),
        battery=each("battery"),
        idle_power=each("idle_power"),
        transmit_power=each("transmit_power"),
        receive_power=each("receive_power"),
        update_power=jnp.zeros((), jnp.float32),
        profile=jnp.asarray(index, jnp.int8),
    )


def deal(profiles: Sequence[Profile], cell_size: int) -> np.ndarray:
    """[N] int8 profile of each device of a cell: whole numbers nearest to the shares, spread evenly over the cell.

    Raises:
        ConfigError: shares that do not sum to 1, or a profile without a device.
    """
    shares = np.asarray([profile.share for profile in profiles], np.float64)
    if not (shares > 0).all() or abs(shares.sum() - 1.0) > 1e-6:
        raise ConfigError("fleet", shares.tolist(), "shares above 0 that sum to 1")
    counts = np.floor(shares * cell_size + 1e-9).astype(int)
    rest = np.argsort(counts - shares * cell_size, kind="stable")[: cell_size - counts.sum()]
    counts[rest] += 1
    for profile, count in zip(profiles, counts, strict=True):
        if count == 0:
            text = f"a share that gives it at least one of the {cell_size} devices of a cell"
            raise ConfigError(f"fleet.{profile.name}.share", profile.share, text)
    places = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
    return np.repeat(np.arange(len(profiles)), counts)[np.argsort(places, kind="stable")].astype(np.int8)
