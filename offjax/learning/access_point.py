"""The smart access point (SAP) as messages see it: the way to the cloud, and which weights the devices hold.

What it tells devices of the resources, what it carries of tasks and results and when it changes over to its redundant
link is the world's own affair (``CellState``); here is only what learning sends through it.
"""

from enum import IntEnum
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from offjax import world
from offjax.errors import ConfigError
from offjax.learning.messages import Mail
from offjax.world import State, per_device
from offjax.world.links import by_cell

ORDERS = ("newest", "as_they_come")


@struct.dataclass
class Links:
    """How the links treat messages; every number is a guess, for which the paper has no symbol."""

    air_loss: float | jax.Array = 0.0
    """Chance that a message is lost on the radio link."""
    wire_loss: float | jax.Array = 0.0
    """Chance that it is lost between access point and cloud."""
    loop_latency: float | jax.Array = 0.0
    """s, [] or [D], on top of what the links take, half of it each way: the "duration of communication failure" of
    Fig. 4. A device that decides by itself has its messages late, one that asks the cloud its decisions."""
    jitter: float | jax.Array = 0.0
    """s, mean of an exponential extra delay of every message: messages may overtake each other."""
    duplicates: float | jax.Array = 0.0
    """Chance that weights reach a device twice, the second time with a delay of its own."""
    waits: bool = struct.field(pytree_node=False, default=True)
    """At a link that is down a message waits in the device or the access point; else it is lost."""
    places: int = struct.field(pytree_node=False, default=4)
    """K, messages of a device that may be under way in each direction."""

    def __post_init__(self) -> None:
        """Refuse an impossible structure with a ConfigError."""
        if self.places < 1:
            raise ConfigError("links.places", self.places, "a whole number of at least 1")


class Chance(IntEnum):
    """What the messages of a device draw in each slot, uniform in [0, 1)."""

    UP_AIR = 0
    UP_WIRE = 1
    UP_LATE = 2
    DOWN_AIR = 3
    DOWN_WIRE = 4  # one for all devices of a cell
    DOWN_LATE = 5  # the same
    TWICE = 6
    AGAIN_AIR = 7
    AGAIN_LATE = 8


def together(chance: jax.Array, params: world.Params) -> jax.Array:
    """[D] what the first device of each cell drew, for all of its devices: they share one transfer."""
    return per_device(by_cell(chance, params)[:, 0], params)


def cloud_server(params: world.Params) -> int:
    """Index of the server on which the learner runs: the first one in the cloud.

    Raises:
        ConfigError: there is none.
    """
    if not any(params.cloud):
        raise ConfigError("servers", params.server_count, "a learner in the cloud needs a server with cloud = true")
    return params.cloud.index(True)


def cloud_up(state: State, params: world.Params) -> jax.Array:
    """[D] bool: the access point reaches the cloud over one of its links, and the learner there runs."""
    works = state.cell.backhaul_up & state.server.up[:, cloud_server(params)]
    return per_device(works, params)


def learner_up(state: State, params: world.Params) -> jax.Array:
    """[] bool: the server on which the learner runs is up; it goes on learning while only the links are down."""
    return state.server.up[0, cloud_server(params)]


def wire_time(bits: float | jax.Array, state: State, params: world.Params) -> jax.Array:
    """[D] s one way between access point and cloud, over the link that carries the traffic now."""
    index, servers = cloud_server(params), params.servers
    time = bits / servers.backhaul_rate[index] + 0.5 * servers.backhaul_delay[index]
    if not params.redundant:
        return jnp.full(params.devices, time)
    backup = bits / servers.backup_rate[index] + 0.5 * servers.backup_delay[index]
    return per_device(jnp.where(state.cell.on_backup, backup, time), params)


# -------------------------------------------------------------------------------------------- versions


class Versions(struct.PyTreeNode):
    """The last V broadcast networks, and which of them each device holds: a number per device, not a network."""

    policies: Any  # leaves [V, ...], what acting needs
    number: jax.Array  # [V] int32 broadcast that put it there, -1 = none
    slot: jax.Array  # [V] int32 slot of that broadcast
    held: jax.Array  # [D] int32 row


def first_versions(policy: Any, versions: int, devices: int) -> Versions:
    """Every device starts with one network, version 0 (guess: algorithm 2 says "initialise local network")."""
    return Versions(
        policies=jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (versions, *leaf.shape)), policy),
        number=jnp.full(versions, -1, jnp.int32).at[0].set(0),
        slot=jnp.zeros(versions, jnp.int32),
        held=jnp.zeros(devices, jnp.int32),
    )


def free_row(versions: Versions, mail: Mail, alive: jax.Array) -> tuple[jax.Array, jax.Array]:
    """A row [] int32 that no living device holds and no message brings, and whether there is one [] bool."""
    rows = jnp.arange(versions.number.shape[0])
    held = jnp.any((versions.held[None, :] == rows[:, None]) & alive[None, :], axis=1)
    brought = jnp.any((mail.load[None] == rows[:, None, None]) & mail.there[None], axis=(1, 2))
    used = held | brought
    return jnp.argmin(used).astype(jnp.int32), ~jnp.all(used)


def publish(
    versions: Versions, row: jax.Array, policy: Any, number: jax.Array, slot: jax.Array, where: jax.Array
) -> Versions:
    """Keep ``policy`` as version ``number`` in ``row``, if ``where`` [] bool."""
    # No scatter: under ``vmap`` those of all leaves share their indices, on which XLA fails (:mod:`offjax.xla_flags`).
    here = (jnp.arange(versions.number.shape[0]) == row) & where

    def put(leaf: jax.Array, new: jax.Array) -> jax.Array:
        return jnp.where(here.reshape(-1, *(1,) * (leaf.ndim - 1)), jnp.asarray(new)[None], leaf)

    return versions.replace(
        policies=jax.tree.map(put, versions.policies, policy),
        number=put(versions.number, number),
        slot=put(versions.slot, slot),
    )


def receive(
    versions: Versions, rows: jax.Array, arrived: jax.Array, rest: jax.Array, order: str
) -> tuple[Versions, jax.Array]:
    """Lines 7 and 8 of algorithm 2: devices take the weights that have come, before their next decision.

    Args:
        versions: what is held.
        rows: [K, D] int32 that the messages bring.
        arrived: [K, D] bool.
        rest: [K, D] s of the slot that were left when they came.
        order: ``newest``: older weights than those held are ignored; ``as_they_come``: the last to come stays.

    Returns:
        the versions, and how many devices [] int32 have taken other weights.
    """
    number = jnp.where(arrived, versions.number[rows], -1)
    last = jnp.where(arrived, -rest, -jnp.inf)
    if order == "newest":
        chosen = jnp.argmax(number, axis=0)
    else:
        chosen = jnp.argmax(jnp.where(last >= jnp.max(last, axis=0, keepdims=True), number, -2), axis=0)
    taken = jnp.take_along_axis(rows, chosen[None, :], axis=0)[0]
    takes = jnp.any(arrived, axis=0) & (taken != versions.held)
    if order == "newest":
        takes = takes & (jnp.max(number, axis=0) > versions.number[versions.held])
    return versions.replace(held=jnp.where(takes, taken, versions.held)), jnp.sum(takes, dtype=jnp.int32)


def act(agent: Any, versions: Versions, observation: jax.Array, key: jax.Array) -> jax.Array:
    """[D] int32 exploring decisions, each under the network that its device holds; one pass per version in use."""

    def one(decision: jax.Array, version: tuple[jax.Array, Any]) -> tuple[jax.Array, None]:
        row, policy = version
        mine = versions.held == row
        own = jax.lax.cond(jnp.any(mine), lambda: agent.act(policy, observation, key, True), lambda: decision)
        return jnp.where(mine, own, decision), None

    rows = jnp.arange(versions.number.shape[0], dtype=jnp.int32)
    none = jnp.zeros(observation.shape[0], jnp.int32)
    return jax.lax.scan(one, none, (rows, versions.policies))[0]
