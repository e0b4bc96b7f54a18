"""The records of the world: what a device, a cell, a server and a slot are made of.

Axes: ``D`` devices, ``A`` access points (cells), ``N`` devices per cell (``D = A N``, device ``d`` in cell
``d // N``), ``Z`` servers (edge servers are one per cell and server index, a cloud server is shared by all),
``B`` places in a device's buffer, ``C`` task classes. A *place* is where a task runs: 0 = on the device,
``z`` = server ``z`` counted from 1, -1 = not decided.
"""

from enum import IntEnum

import jax
from flax import struct

from offjax.workload.arrivals import Source
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
    profile: jax.Array  # [] or [D] int8, which kind of device it is: for tables, nothing in the world reads it


class Radio(struct.PyTreeNode):
    """The cell's air interface; ``Params.uplink`` and ``Params.downlink`` say how it is shared."""

    bandwidth: jax.Array  # [] or [D] Hz: of a device's sub-band ("fixed"), of the whole cell ("active")
    cell_rate: jax.Array  # [] bit/s, what the air of a cell carries in all ("cell", and background traffic)
    noise: jax.Array  # [] W, in the sub-band
    carrier: jax.Array  # [] Hz
    shadowing: jax.Array  # [] dB, standard deviation, drawn anew each slot
    downlink_rate: jax.Array  # [] or [D] bit/s of a device: its own ("fixed"), or when it is alone ("active")
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
    backup_rate: jax.Array  # [Z] bit/s of the redundant link (``Params.redundant``)
    backup_delay: jax.Array  # [Z] s, both ways together


class Windows(struct.PyTreeNode):
    """Spans of slots [start, stop) in which something is down; an unused row has start = stop."""

    start: jax.Array  # [n, K] int32 slots
    stop: jax.Array  # [n, K] int32 slots


class Steps(struct.PyTreeNode):
    """A number that changes at given slots and stays in between; zero before the first."""

    start: jax.Array  # [n, K] int32 slots, rising; unused rows repeat the last
    value: jax.Array  # [n, K]


class Schedule(struct.PyTreeNode):
    """What happens when, as data: outages, load, background traffic, delays."""

    link: Windows  # n = 1 or A: between the devices of a cell and their access point
    backhaul: Windows  # n = 1 or A: between an access point and the cloud
    backup: Windows  # n = 1 or A: the redundant link to the cloud (``Params.redundant``)
    server: Windows  # n = Z
    load: Steps  # n = Z, 0..1: share of a server's speed that others take
    traffic: Steps  # n = 1 or A: virtual devices with background traffic in a cell
    traffic_rate: jax.Array  # [] bit/s, of each of them
    delay: Steps  # n = 1 or A: s, mean extra delay of a transfer (``Params.impaired``)
    jitter: Steps  # n = 1 or A: s, standard deviation of that delay
    correlation: jax.Array  # [] AR(1) coefficient between the delays of a device's transfers
    failover: jax.Array  # [] int32 slots until the redundant link takes over
    timeout: jax.Array  # [] s that a job may stand still in outages (``Params.outage`` "stall")


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
    path_loss: str = struct.field(pytree_node=False, default="inf_sh")  # or "umi_los", "umi_nlos": see radio.py
    sizes: bool = struct.field(pytree_node=False, default=False)  # do outcomes tell the cycles of the task?
    delays: bool = struct.field(pytree_node=False, default=False)  # do decisions take time?
    remote: bool = struct.field(pytree_node=False, default=True)  # do they come from the cloud, over the links?
    updates: bool = struct.field(pytree_node=False, default=False)  # do decisions carry training jobs?
    coupling: str = struct.field(pytree_node=False, default="none")  # how sharing is resolved: "slot" or "exact"
    uplink: str = struct.field(pytree_node=False, default="fixed")  # or "active", "cell": see links.py
    downlink: str = struct.field(pytree_node=False, default="fixed")  # or "active", "cell", "none": no results
    queue: tuple[str, ...] = struct.field(pytree_node=False, default=())  # [Z] "none", "fifo", "ps"; () = no queues
    outage: str = struct.field(pytree_node=False, default="drop")  # or "stall": what a running phase does
    redundant: bool = struct.field(pytree_node=False, default=False)  # a second link to the cloud?
    impaired: bool = struct.field(pytree_node=False, default=False)  # extra delay and jitter?

    @property
    def server_count(self) -> int:
        """Z."""
        return len(self.cloud)

    @property
    def cell_size(self) -> int:
        """N."""
        return self.devices // self.access_points

    @property
    def queues(self) -> tuple[str, ...]:
        """[Z] the discipline of each server, none where nothing couples."""
        return self.queue if self.coupling != "none" and self.queue else ("none",) * self.server_count


# ------------------------------------------------------------------------------------------------ state


class Left(struct.PyTreeNode, kw_only=True):
    """What is left of each phase of a job, in their order; none where a world has no such phase."""

    decide: jax.Array = struct.field(default=None)  # [D] s (``Params.delays``)
    uplink: jax.Array  # [D] bit
    backhaul: jax.Array  # [D] s
    ahead: jax.Array = struct.field(
        default=None
    )  # [D] cycles of others in front of it in a FIFO queue; -1 until it has joined
    service: jax.Array  # [D] cycles
    downlink: jax.Array = struct.field(default=None)  # [D] bit (``Params.downlink`` other than "none")
    hold: jax.Array = struct.field(default=None)  # [D] s of training on the device, after the task (``Params.updates``)


class Passed(struct.PyTreeNode, kw_only=True):
    """Time that a task has spent in each part of its latency, in the order in which they are summed."""

    wait: jax.Array  # [D] s in the buffer
    decide: jax.Array  # [D] s
    uplink: jax.Array  # [D] s
    backhaul: jax.Array  # [D] s
    queue: jax.Array = struct.field(default=None)  # [D] s; none in a state where nothing queues or stalls
    service: jax.Array  # [D] s
    downlink: jax.Array = struct.field(default=None)  # [D] s; none in a state where results are not sent back

    def latency(self) -> jax.Array:
        """[D] s: the sum of the parts, always in this order."""
        total = self.wait + self.decide + self.uplink + self.backhaul
        total = total if self.queue is None else total + self.queue
        total = total + self.service
        return total if self.downlink is None else total + self.downlink


class Job(struct.PyTreeNode):
    """What the one lane of each device is busy with."""

    kind: jax.Array  # [D] int8 Kind
    place: jax.Array  # [D] int8, -1 not decided
    asks: jax.Array  # [D] bool, a decision is wanted in this slot
    task_class: jax.Array  # [D] int8 (int16 with more than 127 classes)
    left: Left
    passed: Passed
    deadline: jax.Array  # [D] s
    energy: jax.Array  # [D] J drawn for it so far
    credit: jax.Array  # [D] s, shift of its start in its first slot: > 0 earlier, < 0 later
    stalled: jax.Array = struct.field(
        default=None
    )  # [D] s that it has stood still in outages (``Params.outage`` "stall")
    cycles: jax.Array = struct.field(default=None)  # [D] cycles of the whole task (``Params.sizes``)


class Pending(struct.PyTreeNode):
    """Tasks that wait for the lane, oldest first."""

    task_class: jax.Array  # [B, D] int8 or int16, -1 empty
    bits: jax.Array  # [B, D] bit
    cycles: jax.Array  # [B, D] cycles
    result_bits: jax.Array  # [B, D] bit
    deadline: jax.Array  # [B, D] s
    slot: jax.Array  # [B, D] int32 slot in which it came
    offset: jax.Array  # [B, D] s after the start of that slot


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
    delay: jax.Array | None = None  # [D] s until the answer is there (``Params.delays``)
    update: Update | None = None


class DeviceState(struct.PyTreeNode):
    """What a device carries from slot to slot."""

    spent: jax.Array  # [D] J drawn from the battery
    spent_low: jax.Array  # [D] J, what ``spent`` is too coarse to hold
    gain: jax.Array  # [D] dB, channel gain in this slot
    path_loss: jax.Array  # [D] dB
    jitter: jax.Array | None  # [D] AR(1) normal with variance 1 (``Params.impaired``)


class CellState(struct.PyTreeNode):
    """What an access point knows."""

    active: jax.Array  # [A] devices that uploaded in the last slot, each by the share of the slot it used
    up: jax.Array  # [A] bool, the radio link works
    backhaul_up: jax.Array  # [A] bool, over either link
    on_backup: jax.Array  # [A] bool, the redundant link carries the traffic
    air: jax.Array  # [A] share of the air that background traffic leaves
    delay: jax.Array  # [A] s, mean extra delay of a transfer
    delay_deviation: jax.Array  # [A] s
    told: jax.Array  # [A, Z] cycles/s free at each server, as last told to the devices
    told_slot: jax.Array  # [A] int32 slot in which it was told


class ServerState(struct.PyTreeNode):
    """The servers as they are in this slot."""

    backlog: jax.Array  # [A, Z] cycles that a FIFO server has not finished (zero without one)
    share: jax.Array  # [A, Z] free share of the speed
    up: jax.Array  # [A, Z] bool


class Draws(struct.PyTreeNode):
    """Raw random bits of one slot; ``world.draw`` alone makes them."""

    device: jax.Array  # [kind, D] uint32, a row for each of ``draws.kinds``
    server: jax.Array  # [Z, A] uint32: free share


class State(struct.PyTreeNode):
    """A whole world at the start of a slot, the tasks of that slot included."""

    clock: jax.Array  # [] int32 slot
    job: Job
    pending: Pending
    source: Source | None  # when the next task comes, where that has to be remembered
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
    cycles: jax.Array = struct.field(default=None)  # [D] cycles of the whole task (``Params.sizes``)
