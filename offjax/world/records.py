"""The records of the world: what a device, a cell, a server and a slot are made of.

Axes: ``D`` devices, ``A`` access points (cells), ``N`` devices per cell (``D = A N``, device ``d`` in cell
``d // N``), ``Z`` servers (edge servers are one per cell and server index, a cloud server is shared by all),
``B`` places in a device's buffer, ``C`` task classes. A *place* is where a task runs: 0 = on the device,
``z`` = server ``z`` counted from 1, -1 = not decided.
"""

from enum import IntEnum

import jax
from flax import struct

from offjax.workload.tasks import Workload


class Kind(IntEnum):
    """What a device's lane is busy with."""

    NONE = 0
    TASK = 1
    UPDATE = 2  # training: held on the device, or sent to a server like a task


class End(IntEnum):
    """How a task or an update ended; from NO_DECISION on it was dropped, and this is the cause."""

    NONE = 0
    IN_TIME = 1
    LATE = 2
    NO_DECISION = 3  # came while the task before it had no decision yet, and found no place to wait
    BUFFER_FULL = 4  # came while the lane was busy, and found no place to wait
    LINK_LOST = 5  # the uplink or the backhaul was down
    SERVER_LOST = 6  # the server was down
    RESULT_LOST = 7  # the downlink was down
    BATTERY_EMPTY = 8


DROPS = tuple(end for end in End if end >= End.NO_DECISION)


# ------------------------------------------------------------------------------------------- parameters


class Fleet(struct.PyTreeNode):
    """The devices; each number is one for all, or one per device."""

    speed: jax.Array  # [] or [D] cycles/s, R^n
    energy_coefficient: jax.Array  # [] or [D] J s^2/cycle^3, kappa
    battery: jax.Array  # [] or [D] J, capacity
    idle_power: jax.Array  # [] or [D] W, drawn always
    transmit_power: jax.Array  # [] or [D] W, while it uploads
    receive_power: jax.Array  # [] or [D] W, while it downloads
    update_power: jax.Array  # [] or [D] W, while it trains on itself


class Radio(struct.PyTreeNode):
    """The cell's air interface: every device has a sub-band of its own."""

    bandwidth: jax.Array  # [] or [D] Hz, of one device's sub-band
    noise: jax.Array  # [] W, in the sub-band
    carrier: jax.Array  # [] Hz
    shadowing: jax.Array  # [] dB, standard deviation, drawn anew each slot
    downlink_rate: jax.Array  # [] or [D] bit/s
    area: jax.Array  # [] m, devices stand uniformly in -area..area in x and in y (placement "uniform")
    nearest: jax.Array  # [] m, no device stands nearer to the base station
    distance: jax.Array  # [] or [D] m (placement "given")


class Servers(struct.PyTreeNode):
    """The servers that a device can choose."""

    speed: jax.Array  # [Z] cycles/s
    share_low: jax.Array  # [Z] least share of the speed that is free, drawn anew each slot
    share_high: jax.Array  # [Z] largest share
    backhaul_rate: jax.Array  # [Z] bit/s, infinite without a backhaul
    backhaul_delay: jax.Array  # [Z] s, both ways together


class Windows(struct.PyTreeNode):
    """Spans of slots [start, stop) in which something is down; an unused row has start = stop."""

    start: jax.Array  # [n, K] int32 slots
    stop: jax.Array  # [n, K] int32 slots


class Schedule(struct.PyTreeNode):
    """Outages, as data."""

    link: Windows  # n = 1 or A: between the devices of a cell and their access point
    backhaul: Windows  # n = 1 or A: between an access point and the cloud
    server: Windows  # n = Z


class Params(struct.PyTreeNode):
    """One world: every number is a leaf, everything that fixes a shape is static."""

    slot_duration: jax.Array  # [] s
    workload: Workload
    fleet: Fleet
    radio: Radio
    servers: Servers
    schedule: Schedule
    devices: int = struct.field(pytree_node=False)  # D
    access_points: int = struct.field(pytree_node=False)  # A
    cloud: tuple[bool, ...] = struct.field(pytree_node=False)  # [Z] is this server behind the backhaul?
    buffer: int = struct.field(pytree_node=False, default=1)  # B
    placement: str = struct.field(pytree_node=False, default="uniform")  # or "given"
    updates: bool = struct.field(pytree_node=False, default=False)  # do decisions carry training jobs?
    coupling: str = struct.field(pytree_node=False, default="none")  # the only mode so far

    @property
    def server_count(self) -> int:
        """Z."""
        return len(self.cloud)


# ------------------------------------------------------------------------------------------------ state


class Left(struct.PyTreeNode):
    """What is left of each phase of a job, in the order in which it passes them."""

    decide: jax.Array  # [D] s
    uplink: jax.Array  # [D] bit
    backhaul: jax.Array  # [D] s
    ahead: jax.Array  # [D] cycles of others in front of it at the server
    service: jax.Array  # [D] cycles
    downlink: jax.Array  # [D] bit
    hold: jax.Array  # [D] s of training on the device, after the task


class Passed(struct.PyTreeNode):
    """Time that a task has spent in each part of its latency, in the order in which they are summed."""

    wait: jax.Array  # [D] s in the buffer
    decide: jax.Array  # [D] s
    uplink: jax.Array  # [D] s
    backhaul: jax.Array  # [D] s
    queue: jax.Array  # [D] s
    service: jax.Array  # [D] s
    downlink: jax.Array  # [D] s

    def latency(self) -> jax.Array:
        """[D] s: the sum of the parts, always in this order."""
        before = self.wait + self.decide + self.uplink + self.backhaul
        return before + self.queue + self.service + self.downlink


class Job(struct.PyTreeNode):
    """What the one lane of each device is busy with."""

    kind: jax.Array  # [D] int8 Kind
    place: jax.Array  # [D] int8, -1 not decided
    asks: jax.Array  # [D] bool, a decision is wanted in this slot
    task_class: jax.Array  # [D] int8
    left: Left
    passed: Passed
    deadline: jax.Array  # [D] s
    energy: jax.Array  # [D] J drawn for it so far
    credit: jax.Array  # [D] s, shift of its start in its first slot: > 0 earlier, < 0 later


class Pending(struct.PyTreeNode):
    """Tasks that wait for the lane, oldest first."""

    task_class: jax.Array  # [B, D] int8, -1 empty
    bits: jax.Array  # [B, D] bit
    cycles: jax.Array  # [B, D] cycles
    result_bits: jax.Array  # [B, D] bit
    deadline: jax.Array  # [B, D] s
    offset: jax.Array  # [B, D] s after the start of the slot in which it came
    waited: jax.Array  # [B, D] int32 slots since that slot


class Update(struct.PyTreeNode):
    """A training job that follows a task."""

    place: jax.Array  # [D] int8: -1 none, 0 on the device, z on server z
    hold: jax.Array  # [D] s on the device (place 0)
    bits: jax.Array  # [D] bit to upload (place z)
    cycles: jax.Array  # [D] cycles (place z)
    result_bits: jax.Array  # [D] bit to download (place z)


class Decision(struct.PyTreeNode):
    """An answer per device, read only where the device asks."""

    place: jax.Array  # [D] int8, -1 leaves it undecided
    delay: jax.Array  # [D] s until the answer is there
    update: Update | None = None


class DeviceState(struct.PyTreeNode):
    """What a device carries from slot to slot."""

    spent: jax.Array  # [D] J drawn from the battery
    spent_low: jax.Array  # [D] J, what ``spent`` is too coarse to hold
    gain: jax.Array  # [D] linear channel gain in this slot
    path_loss: jax.Array  # [D] dB


class CellState(struct.PyTreeNode):
    """What an access point knows."""

    active: jax.Array  # [A] devices that uploaded in the last slot, each by the share of the slot it used
    up: jax.Array  # [A] bool, the radio link works
    backhaul_up: jax.Array  # [A] bool
    told: jax.Array  # [A, Z] cycles/s free at each server, as last told to the devices
    told_slot: jax.Array  # [A] int32 slot in which it was told


class ServerState(struct.PyTreeNode):
    """The servers as they are in this slot."""

    backlog: jax.Array  # [A, Z] cycles queued (zero while nothing couples)
    share: jax.Array  # [A, Z] free share of the speed
    up: jax.Array  # [A, Z] bool


class Draws(struct.PyTreeNode):
    """Raw random bits of one slot; ``world.draw`` alone makes them."""

    device: jax.Array  # [kind, D] uint32: class, size, shadowing
    server: jax.Array  # [Z, A] uint32: free share


class State(struct.PyTreeNode):
    """A whole world at the start of a slot, the tasks of that slot included."""

    clock: jax.Array  # [] int32 slot
    job: Job
    pending: Pending
    update: Update | None  # promised to follow the running task
    device: DeviceState
    cell: CellState
    server: ServerState
    draws: Draws  # of the slot after this one


class Outcome(struct.PyTreeNode):
    """What happened to each device in one slot."""

    result: jax.Array  # [D] int8 End of the task that ended, NONE if none did
    place: jax.Array  # [D] int8 where it ran
    task_class: jax.Array  # [D] int8
    passed: Passed  # its latency by parts
    latency: jax.Array  # [D] s, the sum of the parts
    deadline: jax.Array  # [D] s
    energy: jax.Array  # [D] J drawn for it, over all its slots
    update: jax.Array  # [D] int8 End of an update that ended by itself, NONE if none did
    arrived: jax.Array  # [D] bool, a task came for the next slot
    refused: jax.Array  # [D] int8 End of that task if it was dropped on arrival
    drawn_task: jax.Array  # [D] J drawn in this slot for a task
    drawn_update: jax.Array  # [D] J drawn in this slot for an update
    drawn_idle: jax.Array  # [D] J drawn in this slot for nothing
