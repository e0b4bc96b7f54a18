"""Worlds of two shapes for the tests: every number is a leaf of one fixed shape, so one program serves many worlds."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec

from offjax import world as w
from offjax.workload import arrivals
from offjax.workload.tasks import Workload

SLOTS = 120
STRUCTURE = (
    *(
        "buffer",
        "delays",
        "updates",
        "placement",
        "coupling",
        "uplink",
        "downlink",
        "queue",
        "outage",
        "redundant",
        "impaired",
    ),
)
DEVICES, CELLS = 6, 2  # devices 0..2 in cell 0, 3..5 in cell 1
LOCAL, EDGE, CLOUD = 0, 1, 2

# One task of class 0, alone in the world: what the closed forms say (float64).
BITS, CYCLES, RESULT = 1e6, 2e9, 4e5
NUMBERS = {
    "slot_duration": 1.0,
    "probability": (1.0, 0.0, 0.0),
    "bits_low": (BITS, 2e5, 3e6),
    "bits_high": (BITS, 2e5, 3e6),
    "cycles_per_bit": (CYCLES / BITS, 1e4, 5e2),
    "result_per_bit": (RESULT / BITS, 0.0, 0.1),
    "deadline_per_bit": (2e-6, 2e-6, 2e-6),
    "deadline_per_cycle": (0.0, 0.0, 0.0),
    "deadline_fixed": 0.0,
    "factor_low": 1.0,
    "factor_high": 1.0,
    "period": 1,
    "phase": 0,
    "speed": 1e9,
    "energy_coefficient": 1e-27,
    "battery": 4000.0,
    "idle_power": 0.1,
    "transmit_power": 1.5,
    "receive_power": 0.4,
    "update_power": 2.5,
    "profile": 0,
    "bandwidth": 5e6,
    "cell_rate": 2e7,
    "noise": 1e-13,
    "carrier": 3.5e9,
    "shadowing": 0.0,
    "downlink_rate": 2e7,
    "area": 100.0,
    "nearest": 1.0,
    "distance": 70.0,
    "server_speed": (4e9, 1e10),
    "share_low": (1.0, 1.0),
    "share_high": (1.0, 1.0),
    "backhaul_rate": (np.inf, 1e8),
    "backhaul_delay": (0.0, 15e-3),
    "backup_rate": (np.inf, 5e7),
    "backup_delay": (0.0, 60e-3),
    "traffic_rate": 1e6,
    "correlation": 0.0,
    "failover": 3,
    "timeout": 1.0,
}


def _windows(spans, count: int) -> w.Windows:
    """Two rows for each of ``count`` things: the same spans for all, or (a dict) those of each."""
    rows = [list(spans.get(n, ()) if isinstance(spans, dict) else spans) for n in range(count)]
    return w.windows([row + [(0, 0)] * (2 - len(row)) for row in rows])


def _steps(changes, count: int) -> w.Steps:
    """Three rows for each of ``count`` things: the same changes for all, or (a dict) those of each."""
    rows = [list(changes.get(n, ()) if isinstance(changes, dict) else changes) for n in range(count)]
    return w.steps(rows, least=3)


def make_params(
    devices=DEVICES,
    cells=CELLS,
    link=(),
    backhaul=(),
    backup=(),
    server=(),
    load=(),
    traffic=(),
    delay=(),
    jitter=(),
    come=None,
    deadline="size",
    **numbers,
) -> w.Params:
    """A world of two servers, one behind the backhaul, with ``numbers`` in place of ``NUMBERS``.

    ``come`` is the arrival process in place of a periodic one; fields of :class:`w.Params` that fix its structure
    (``buffer``, ``coupling``, ``queue`` ...) may be among the numbers.
    """
    structure = {"buffer": 1, "delays": True, "updates": True, "placement": "given"}
    structure |= {name: numbers.pop(name) for name in STRUCTURE if name in numbers}
    unknown = set(numbers) - set(NUMBERS)
    assert not unknown, unknown
    n = {**NUMBERS, **numbers}

    def scalar(name, shape=(), dtype=jnp.float32):
        return jnp.broadcast_to(jnp.asarray(n[name], dtype), shape)

    def each(*names, dtype=jnp.float32):
        return [jnp.broadcast_to(jnp.asarray(n[name], dtype), (devices,)) for name in names]

    if come is None:
        come = arrivals.periodic(*each("period", "phase", dtype=jnp.int32))
    per_bit = ("cycles_per_bit", "result_per_bit", "deadline_per_bit", "deadline_per_cycle")
    return w.Params(
        slot_duration=scalar("slot_duration"),
        workload=Workload(
            *[scalar(name, (3,)) for name in ("probability", "bits_low", "bits_high", *per_bit)],
            *[scalar(name) for name in ("deadline_fixed", "factor_low", "factor_high")],
            arrivals=come,
            deadline=deadline,
        ),
        fleet=w.Fleet(
            *each("speed", "energy_coefficient", "battery", "idle_power"),
            *each("transmit_power", "receive_power", "update_power"),
            *each("profile", dtype=jnp.int8),
        ),
        radio=w.Radio(
            *each("bandwidth"),
            *[scalar(name) for name in ("cell_rate", "noise", "carrier", "shadowing")],
            *each("downlink_rate"),
            *[scalar(name) for name in ("area", "nearest")],
            *each("distance"),
        ),
        servers=w.Servers(
            scalar("server_speed", (2,)),
            *[scalar(name, (2,)) for name in ("share_low", "share_high", "backhaul_rate", "backhaul_delay")],
            *[scalar(name, (2,)) for name in ("backup_rate", "backup_delay")],
        ),
        schedule=w.Schedule(
            link=_windows(link, cells),
            backhaul=_windows(backhaul, cells),
            backup=_windows(backup, cells),
            server=_windows(server, 2),
            load=_steps(load, 2),
            traffic=_steps(traffic, cells),
            traffic_rate=scalar("traffic_rate"),
            delay=_steps(delay, cells),
            jitter=_steps(jitter, cells),
            correlation=scalar("correlation"),
            failover=scalar("failover", dtype=jnp.int32),
            timeout=scalar("timeout"),
        ),
        devices=devices,
        access_points=cells,
        cloud=(False, True),
        **structure,
    )


def make_decisions(place, delay=0.0, update=None, devices=DEVICES, slots=SLOTS) -> w.Decision:
    """Decisions of all slots [slots, D]; ``update`` holds fields of an Update that differ from none at all."""
    fields = {"place": -1, "hold": 0.0, "bits": 0.0, "cycles": 0.0, "result_bits": 0.0, **(update or {})}

    def spread(value, dtype=np.float32):
        return np.broadcast_to(np.asarray(value, dtype), (slots, devices))

    update = w.Update(
        place=spread(fields.pop("place"), np.int8), **{name: spread(value) for name, value in fields.items()}
    )
    return w.Decision(place=spread(place, np.int8), delay=spread(delay), update=update)


def cut_in(leaf, devices: int) -> PartitionSpec:
    """How an array is cut into shards: along its devices, else along its cells; what has neither is on all."""
    shape = np.shape(leaf)
    axis = shape.index(devices) if devices in shape else shape.index(CELLS) if CELLS in shape else None
    return PartitionSpec(*[None if number != axis else "shard" for number in range(len(shape))])


@dataclass
class History:
    """Every slot of a run in NumPy: ``outcome`` and ``before`` (the state at its start) are [slots, ...]."""

    outcome: w.Outcome
    before: w.State
    last: w.State

    def ended(self, device: int) -> list[int]:
        """Slots in which a task of ``device`` ended."""
        return np.flatnonzero(self.outcome.result[:, device]).tolist()


@jax.jit
def _begin(key, start, params):
    keys = jax.random.split(key, SLOTS + 1)
    return w.init(keys[0], params, start), jax.vmap(lambda key: w.draw(key, params))(keys[1:])


@jax.jit
def _scan(state, draws, decisions, params):
    def body(state, x):
        after, outcome = w.advance(state, *x, params)
        return after, (outcome, state)

    return jax.lax.scan(body, state, (decisions, draws))


def begin(key, params: w.Params, start: int = 0):
    """A fresh world, and the draws of its slots."""
    return _begin(key, jnp.int32(start), params)


def go_on(state: w.State, draws: w.Draws, params: w.Params, decisions: w.Decision) -> History:
    """``SLOTS`` slots from ``state`` on."""
    last, (outcome, before) = jax.device_get(_scan(state, draws, decisions, params))
    return History(outcome, before, last)


def play(key, params: w.Params, decisions: w.Decision, start: int = 0) -> History:
    """A fresh world for ``SLOTS`` slots."""
    return go_on(*begin(key, params, start), params, decisions)


def uplink_rate(distance=NUMBERS["distance"], power=NUMBERS["transmit_power"]):
    """Equations (3)-(5) in float64, without shadowing."""
    loss = 32.4 + 23 * np.log10(distance) + 20 * np.log10(NUMBERS["carrier"] / 1e9)
    return NUMBERS["bandwidth"] * np.log2(1 + power * 10 ** (-loss / 10) / NUMBERS["noise"])


def closed_form(place: int, bits=BITS, cycles=CYCLES, result=RESULT) -> tuple[dict, float]:
    """Latency by parts and device energy of a job with nobody else around, in float64."""
    n = NUMBERS
    if place == LOCAL:
        service = cycles / n["speed"]
        return {"service": service}, n["energy_coefficient"] * n["speed"] ** 3 * service
    z = place - 1
    parts = {
        "uplink": bits / uplink_rate(),
        "backhaul": bits / n["backhaul_rate"][z] + n["backhaul_delay"][z],
        "service": cycles / n["server_speed"][z],
        "downlink": result / n["downlink_rate"],
    }
    energy = n["transmit_power"] * parts["uplink"] + n["receive_power"] * parts["downlink"]
    return parts, energy
