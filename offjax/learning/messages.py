"""Messages between devices and the cloud, through the smart access point: under way, arrived or lost.

A message crosses two legs: the radio link of its device (``air``, the world's own links, paid from the battery) and the
link between access point and cloud (``wire``). A message moves from the slot after the one in which it was sent, alone
on its leg: messages are small, and the world's jobs do not feel them.
"""

from enum import IntEnum
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from offjax import world
from offjax.world.links import serve
from offjax.world.phases import SLACK

UP, DOWN = ("air", "wire"), ("wire", "air")  # the legs in the order in which a message crosses them


class Loss(IntEnum):
    """Why a message was lost."""

    LINK = 0  # on a leg that works, by chance
    OUTAGE = 1  # on a leg that was down
    NO_PLACE = 2  # more messages of a device under way than it has places for
    BATTERY = 3  # its device has no energy left


class Mail(struct.PyTreeNode):
    """The messages of one direction; K of each device may be under way at once."""

    load: Any  # leaves [K, D, ...], what each carries
    there: jax.Array  # [K, D] bool, a message is under way
    leg: jax.Array  # [K, D] int8, legs that it has crossed
    air: jax.Array  # [K, D] bit left to send or receive by radio
    wire: jax.Array  # [K, D] s left between access point and cloud
    fate: jax.Array  # [K, D] int8, the leg (counted from 1) at whose end it will be lost, 0 = none


class Tally(struct.PyTreeNode):
    """What became of messages; sent = arrived + lost + what is under way."""

    sent: jax.Array  # [] int32
    arrived: jax.Array  # [] int32
    lost: jax.Array  # [Loss] int32
    joules: jax.Array  # [] J that devices spent on them


class Moved(struct.PyTreeNode):
    """What a slot did to the messages of one direction."""

    arrived: jax.Array  # [K, D] bool
    rest: jax.Array  # [K, D] s of the slot that were left when it arrived
    joules: jax.Array  # [D] J that each device spent
    lost: jax.Array  # [Loss] int32


def no_mail(load: Any, places: int, devices: int) -> Mail:
    """Nothing under way.

    Args:
        load: one message's content for every device, leaves [D, ...].
        places: K.
        devices: D.
    """
    zero = jnp.zeros((places, devices))
    return Mail(
        load=jax.tree.map(lambda leaf: jnp.zeros((places, *leaf.shape), leaf.dtype), load),
        there=zero > 0,
        leg=zero.astype(jnp.int8),
        air=zero,
        wire=zero,
        fate=zero.astype(jnp.int8),
    )


def draw_fate(first: jax.Array, second: jax.Array) -> jax.Array:
    """[D] int8: a message is lost at the end of its ``first`` leg, or else of its ``second`` [D] bool, or never."""
    return jnp.where(first, jnp.int8(1), jnp.where(second, jnp.int8(2), jnp.int8(0)))


def post(
    mail: Mail, load: Any, air: jax.Array, wire: jax.Array, fate: jax.Array, wanted: jax.Array
) -> tuple[Mail, jax.Array]:
    """Send a message of every device that wants to.

    Args:
        mail: what is under way.
        load: leaves [D, ...], what they carry.
        air: [] or [D] bit.
        wire: [] or [D] s between access point and cloud.
        fate: [D] int8, see :func:`draw_fate`.
        wanted: [D] bool.

    Returns:
        the mail, and the messages [] int32 that found no place: they are lost.
    """
    places = mail.there.shape[0]
    first = jnp.argmin(mail.there, axis=0)
    full = jnp.all(mail.there, axis=0)
    here = (jnp.arange(places)[:, None] == first[None, :]) & (wanted & ~full)[None, :]

    def put(new: jax.Array, old: jax.Array) -> jax.Array:
        new = jnp.broadcast_to(new, old.shape[1:])[None]
        return jnp.where(here.reshape(here.shape + (1,) * (old.ndim - 2)), new, old)

    mail = Mail(
        load=jax.tree.map(put, load, mail.load),
        there=mail.there | here,
        leg=jnp.where(here, jnp.int8(0), mail.leg),
        air=put(jnp.asarray(air), mail.air),
        wire=put(jnp.asarray(wire), mail.wire),
        fate=put(fate, mail.fate),
    )
    return mail, jnp.sum(wanted & full, dtype=jnp.int32)


def move(
    mail: Mail,
    legs: tuple[str, str],
    link: world.Link,
    wire_up: jax.Array,
    alive: jax.Array,
    waits: bool,
    slot_duration: jax.Array,
) -> tuple[Mail, Moved]:
    """Let every message go on for one slot.

    Args:
        mail: one direction.
        legs: ``UP`` or ``DOWN``, static.
        link: of the devices to their access point in this slot.
        wire_up: [D] bool, the access point reaches the cloud.
        alive: [D] bool, the device has energy.
        waits: static; at a leg that is down a message waits, or else it is lost.
        slot_duration: s.
    """
    budget = jnp.full(mail.air.shape, slot_duration)
    joules, lost = jnp.zeros(alive.shape), jnp.zeros(len(Loss), jnp.int32)
    for number, leg in enumerate(legs):
        on = mail.there & (mail.leg == number)
        up = (link.up if leg == "air" else wire_up)[None, :]
        dead = on & ~alive[None, :] if leg == "air" else jnp.zeros_like(on)
        out = on & ~up & ~dead if not waits else jnp.zeros_like(on)
        cross = _cross_air if leg == "air" else _cross_wire
        mail, done, budget, spent = cross(mail, on & up & ~dead, link, budget, slot_duration)
        missed = done & (mail.fate == number + 1)
        joules = joules + spent
        causes = {Loss.LINK: missed, Loss.OUTAGE: out, Loss.BATTERY: dead}
        for cause, where in causes.items():
            lost = lost.at[cause].add(jnp.sum(where, dtype=jnp.int32))
        mail = mail.replace(there=mail.there & ~(dead | out | missed), leg=mail.leg + done.astype(jnp.int8))
    arrived = mail.there & (mail.leg == 2)
    return mail.replace(there=mail.there & ~arrived), Moved(arrived, budget, joules, lost)


def _cross_air(
    mail: Mail, goes: jax.Array, link: world.Link, budget: jax.Array, slot_duration: jax.Array
) -> tuple[Mail, jax.Array, jax.Array, jax.Array]:
    """The radio leg: the mail, who has crossed it [K, D] bool, the budget left [K, D] s, and J [D]."""

    def send(bits: jax.Array, within: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        return world.transmit(bits, link, within, SLACK * slot_duration)

    time, delivered, joules = jax.vmap(send)(jnp.where(goes, mail.air, 0.0), budget)
    left = mail.air - delivered
    done = goes & (left <= 0)
    return mail.replace(air=left), done, jnp.maximum(budget - time, 0.0), jnp.sum(joules, axis=0)


def _cross_wire(
    mail: Mail, goes: jax.Array, link: world.Link, budget: jax.Array, slot_duration: jax.Array
) -> tuple[Mail, jax.Array, jax.Array, jax.Array]:
    """The same for the way between access point and cloud, which costs a device nothing."""
    need = jnp.where(goes, mail.wire, 0.0)
    time, left = serve(need, jnp.float32(1), budget, SLACK * slot_duration)
    done = goes & (left <= 0)
    mail = mail.replace(wire=jnp.where(goes, left, mail.wire))
    return mail, done, jnp.maximum(budget - time, 0.0), jnp.zeros(goes.shape[1:])
