"""Worlds of two cells of five devices that share links and servers: one program for each of four structures.

Tasks come at given instants, at most ``COLUMNS`` per device; everything else is a number.
"""

import jax
import numpy as np
from world_cases import EDGE, NUMBERS, History, begin, go_on, make_decisions, make_params, uplink_rate

from offjax import world as w
from offjax.workload import arrivals

DEVICES, CELLS, CELL = 10, 2, 5
COLUMNS = 12
PARTS = ("wait", "decide", "uplink", "backhaul", "queue", "service", "downlink")
FIFO = {"queue": ("fifo", "none"), "uplink": "cell", "downlink": "cell"}
PS = {"queue": ("ps", "none"), "uplink": "active", "downlink": "active"}
STRUCTURES = {
    "slot fifo": {"coupling": "slot", **FIFO, "buffer": 1, "outage": "stall"},
    "exact fifo": {"coupling": "exact", **FIFO, "buffer": 3, "outage": "drop"},
    "slot ps": {"coupling": "slot", **PS, "buffer": 0, "outage": "drop"},
    "exact ps": {"coupling": "exact", **PS, "buffer": 1, "outage": "stall"},
}


def make_coupled(structure: str, times, slot_duration: float, classes=None, **numbers) -> w.Params:
    """A world of ``STRUCTURES`` in which the tasks of device d come at ``times[d]`` s, of ``classes[d]`` (or 0)."""
    table, kinds = np.full((DEVICES, COLUMNS), np.inf), np.zeros((DEVICES, COLUMNS), int)
    for device, row in enumerate(times):
        table[device, : len(row)] = row
        if classes is not None:
            kinds[device, : len(row)] = classes[device]
    numbers = {"slot_duration": slot_duration, "deadline_fixed": 1e4, **numbers}
    come = arrivals.given(table, slot_duration, kinds)
    return make_params(DEVICES, CELLS, come=come, updates=False, **STRUCTURES[structure], **numbers)


def play_coupled(key, params: w.Params, place=EDGE, chunks: int = 1) -> History:
    """``chunks`` times ``SLOTS`` slots in which every task is sent to ``place``."""
    return play_long(key, params, make_decisions(place, devices=DEVICES), chunks)


def play_long(key, params: w.Params, decisions: w.Decision, chunks: int = 1) -> History:
    """``chunks`` times ``SLOTS`` slots, with the same decisions in each."""
    decisions = decisions if params.updates else decisions.replace(update=None)
    state, draws = begin(key, params)
    histories = []
    for chunk in range(chunks):
        if chunk:
            _, draws = begin(jax.random.fold_in(key, chunk), params)
        histories.append(go_on(state, draws, params, decisions))
        state = histories[-1].last
    parts = [(part.outcome, part.before) for part in histories]
    outcome, before = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
    return History(outcome, before, histories[-1].last)


def ended(history: History, device: int) -> dict[str, np.ndarray]:
    """The tasks of ``device`` in the order in which they ended: result, slot, latency, energy and parts."""
    slots = history.ended(device)
    outcome = history.outcome
    fields = {name: getattr(outcome, name)[slots, device] for name in ("result", "latency", "energy")}
    return {**fields, "slot": np.array(slots), **{part: getattr(outcome.passed, part)[slots, device] for part in PARTS}}


def bandwidth_for(rate):
    """Hz of a device that transmits at ``rate`` bit/s when it is alone."""
    return np.asarray(rate) * (NUMBERS["bandwidth"] / uplink_rate())


# ---------------------------------------------------------------------------------------- the table of three devices

COME, NEED = (0.25, 0.5, 3.0), np.array([2.0, 3.0, 1.0])
# In both cells, for devices in another order; the last two of a cell have nothing to do.
ROWS = (0, 1, 2), (9, 5, 7)


def table(structure: str, slot_duration: float, come=COME, **numbers) -> w.Params:
    """The three devices of ``ROWS`` come at ``come`` s, device n of them with a task of class n."""
    times, classes = [[] for _ in range(DEVICES)], [[] for _ in range(DEVICES)]
    for rows in ROWS:
        for number, device in enumerate(rows):
            times[device], classes[device] = np.atleast_1d(come[number]), number
    return make_coupled(structure, times, slot_duration, classes, **numbers)


def spread(values) -> np.ndarray:
    """[D]: ``values`` of the three devices in both cells, 1 elsewhere."""
    each = np.ones(DEVICES)
    for rows in ROWS:
        each[list(rows)] = values
    return each


def at_the_server() -> dict:
    """The three need ``NEED`` s of the edge server; nothing else takes time."""
    return {
        "bits_low": tuple(NEED * 1e3),
        "bits_high": tuple(NEED * 1e3),
        "cycles_per_bit": (1e6,) * 3,
        "server_speed": (1e9, 1e10),
        "result_per_bit": (0.0,) * 3,
        "cell_rate": 1e12,
        "bandwidth": bandwidth_for(1e12),
    }


def in_the_uplink(alone=1.0) -> dict:
    """They need ``NEED`` s of the uplink; alone, device n transmits at ``alone[n]`` kbit/s in a shared band."""
    bits = NEED * 1e3 * alone
    return {
        "bits_low": tuple(bits),
        "bits_high": tuple(bits),
        "cycles_per_bit": (0.0,) * 3,
        "result_per_bit": (0.0,) * 3,
        "cell_rate": 1e3,
        "bandwidth": bandwidth_for(1e3 * spread(alone)),
    }


def in_the_downlink() -> dict:
    """They need ``NEED`` s of the downlink: a result has a million bits for each bit of its task."""
    return {
        "bits_low": tuple(NEED),
        "bits_high": tuple(NEED),
        "cycles_per_bit": (0.0,) * 3,
        "result_per_bit": (1e6,) * 3,
        "cell_rate": 1e6,
        "bandwidth": bandwidth_for(1e12),
        "downlink_rate": 1e6,
    }


# -------------------------------------------------------------------------------------------- everything switched on

# On the six devices of world_cases.py: four structures in which every switch and most pairs of switches occur.
EVERYTHING = {
    "slot fifo drop": {
        "coupling": "slot",
        "queue": ("fifo", "none"),
        "uplink": "active",
        "downlink": "fixed",
        "outage": "drop",
        "redundant": True,
        "impaired": True,
        "come": arrivals.poisson,
        "deadline": "uniform",
        "buffer": 1,
        "updates": True,
    },
    "exact fifo stall": {
        "coupling": "exact",
        "queue": ("fifo", "none"),
        "uplink": "cell",
        "downlink": "active",
        "outage": "stall",
        "redundant": False,
        "impaired": True,
        "come": arrivals.closed,
        "deadline": "uniform",
        "buffer": 1,
        "updates": True,
    },
    "slot ps stall": {
        "coupling": "slot",
        "queue": ("ps", "none"),
        "uplink": "cell",
        "downlink": "cell",
        "outage": "stall",
        "redundant": True,
        "impaired": False,
        "come": arrivals.bernoulli,
        "deadline": "none",
        "buffer": 3,
        "updates": False,
    },
    "exact ps drop": {
        "coupling": "exact",
        "queue": ("ps", "none"),
        "uplink": "active",
        "downlink": "none",
        "outage": "drop",
        "redundant": True,
        "impaired": True,
        "come": arrivals.poisson,
        "deadline": "uniform",
        "buffer": 0,
        "updates": False,
    },
}


def make_everything(structure: str, mean=1.0, chance=0.5, **numbers) -> w.Params:
    """A world of ``EVERYTHING``; tasks at intervals of ``mean`` s, or in a slot with probability ``chance``."""
    switches = dict(EVERYTHING[structure])
    come = switches.pop("come")
    often = np.broadcast_to(np.asarray(chance if come is arrivals.bernoulli else mean, np.float32), (6,))
    return make_params(come=come(often), **switches, **numbers)
