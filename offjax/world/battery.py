"""The battery: energy drawn, with nothing lost to rounding."""

import jax
import jax.numpy as jnp

from offjax.world.records import DeviceState, Params


def remaining(device: DeviceState, params: Params) -> jax.Array:
    """[D] J left; zero when empty."""
    return jnp.maximum((params.fleet.battery - device.spent) - device.spent_low, 0.0)


def spend(device: DeviceState, joules: jax.Array) -> DeviceState:
    """Draw ``joules`` [D]: 4000 J minus 0.1 mJ stays 4000 J in float32, so the rest is kept beside it (Kahan)."""
    addend = joules + device.spent_low
    spent = device.spent + addend
    return device.replace(spent=spent, spent_low=addend - (spent - device.spent))


def drain(device: DeviceState, empty: jax.Array, params: Params) -> DeviceState:
    """Leave exactly nothing where the battery is ``empty`` [D] bool: what is left is rounded, so drawing it may not."""
    return device.replace(
        spent=jnp.where(empty, params.fleet.battery, device.spent),
        spent_low=jnp.where(empty, 0.0, device.spent_low),
    )


def draw_up_to(need: jax.Array, left: jax.Array) -> tuple[jax.Array, jax.Array]:
    """What is drawn [D] J of ``need`` when ``left`` is there, and what is left after it [D] J."""
    drawn = jnp.minimum(need, left)
    return drawn, left - drawn


def pay(device: DeviceState, joules: jax.Array, params: Params) -> tuple[DeviceState, jax.Array]:
    """Draw ``joules`` [D] beside the job, a message's: the device, and what of it the battery had [D] J."""
    drawn, left = draw_up_to(joules, remaining(device, params))
    return drain(spend(device, drawn), left <= 0, params), drawn
