"""Links: how long bits take, and what they cost.

The air of a cell is shared in one of three ways, for each direction:

* ``fixed``: every device has a sub-band of its own.
* ``active``: the active devices have equal shares of the band, so that n of them run at 1/n of what each would have
  alone; a device pays for all the time that it sends.
* ``cell``: the cell carries ``Radio.cell_rate`` in all and the active devices take turns, which describes a Wi-Fi
  cell; a device pays for its own turns.
"""

import jax
import jax.numpy as jnp
from flax import struct

from offjax.physics.radio import from_db, shannon_rate, transmission_energy
from offjax.world.records import Params, State


class Link(struct.PyTreeNode):
    """A link as one device sees it in this slot."""

    rate: jax.Array  # [D] bit/s, while nobody else is active
    up: jax.Array  # [D] bool
    power: jax.Array  # [] or [D] W that the device spends while it is in use


def serve(left: jax.Array, rate: jax.Array, budget: jax.Array, slack: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Seconds that work takes at ``rate`` within ``budget``, and what is left of it.

    Work that misses the end of its budget by less than ``slack`` seconds is finished all the same, and its true
    time returned: 0.3 s in slots of 0.1 s ends with the third slot, not 3e-8 s into the fourth.

    Args:
        left: [D] units of work.
        rate: [D] units/s; infinite takes no time, zero never ends.
        budget: [D] s.
        slack: [] s.
    """
    need = jnp.where(left > 0, left / rate, 0.0)
    finished = (need <= budget + slack) & (budget > 0)
    time = jnp.where(finished, need, jnp.minimum(need, budget))
    done = jnp.where(time > 0, rate * time, 0.0)  # an infinite rate moves nothing in no time
    return time, jnp.where(finished | (left <= 0), 0.0, left - done)


def transmit(
    bits: jax.Array,
    link: Link,
    within: jax.Array | float = jnp.inf,
    slack: jax.Array | float = 0.0,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Send ``bits`` over ``link`` for at most ``within`` seconds: the uplink phase, and every message.

    Args:
        bits: [D] bit.
        link: the link; nothing moves and nothing is paid while it is down.
        within: [D] or [] s.
        slack: [] s, see :func:`serve`.

    Returns:
        ``(delay [D] s, delivered [D] bit, joules [D] J)``; the message has arrived where ``delivered == bits``.
    """
    budget = jnp.where(link.up, within, 0.0)
    time, left = serve(bits, jnp.where(link.up, link.rate, 1.0), budget, jnp.asarray(slack))
    return time, bits - left, transmission_energy(link.power, time)


def per_device(values: jax.Array, params: Params) -> jax.Array:
    """Values of cells [A] as seen by their devices [D]."""
    return jnp.broadcast_to(values[:, None], (params.access_points, params.cell_size)).reshape(params.devices)


def by_cell(values: jax.Array, params: Params) -> jax.Array:
    """Values of devices [D] as [A, N]."""
    return values.reshape(params.access_points, params.cell_size)


def air_rate(own: jax.Array, sharing: str, state: State, params: Params) -> jax.Array:
    """[D] bit/s while nobody else is active: ``own``, or that of the cell, less the background traffic."""
    rate = params.radio.cell_rate if sharing == "cell" else own
    return jnp.broadcast_to(rate, (params.devices,)) * per_device(state.cell.air, params)


def uplink(state: State, params: Params) -> Link:
    """The uplink of every device in this slot; rates of a band are equation (5) of [29]."""
    fleet, radio = params.fleet, params.radio
    own = shannon_rate(radio.bandwidth, fleet.transmit_power, from_db(state.device.gain), radio.noise)
    rate = air_rate(own, params.uplink, state, params)
    return Link(rate=rate, up=per_device(state.cell.up, params), power=fleet.transmit_power)


def downlink(state: State, params: Params) -> Link:
    """The downlink of every device in this slot."""
    rate = air_rate(params.radio.downlink_rate, params.downlink, state, params)
    return Link(rate=rate, up=per_device(state.cell.up, params), power=params.fleet.receive_power)
