"""What a user can rely on: a world of twenty devices per cell is the queue that theory knows.

Devices think for an exponential time, bring a task of 1 s in the mean to their server (or to the air), and think again:
mean value analysis of a finite source is exact for FIFO with exponential tasks, and for sharing with any (here: equal).
A load of rho is offered when each thinks for 20 / rho s.
"""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from world_cases import make_params

from offjax import world as w
from offjax.bench.theory import machine_repairman
from offjax.workload import arrivals
from offjax.world import End

CELL, GROUPS = 20, 20  # devices per cell; groups of cells, each a sample of its own
WARM_UP = 150.0  # s
STRUCTURES = {
    "fifo": {"queue": ("fifo", "none")},
    "ps": {"queue": ("ps", "none")},
    "air": {"uplink": "cell"},
}


class Estimate(NamedTuple):
    """A mean sojourn s, and half of its 95 % interval."""

    mean: float
    half: float
    tasks: int


def _cells(what, coupling, rho, slot, cells):
    """A world in which only ``what`` takes time: 1 s in the mean."""
    work = {"cycles_per_bit": (1e3,) * 3, "bandwidth": 1e15, "cell_rate": 1e15}
    if what == "air":
        work = {"cycles_per_bit": (0.0,) * 3, "cell_rate": 1e6}
    params = make_params(
        devices=CELL * cells,
        cells=cells,
        slot_duration=slot,
        battery=np.inf,
        bits_low=(0.0 if what == "fifo" else 1e6,) * 3,
        bits_high=(1e6,) * 3,
        result_per_bit=(0.0,) * 3,
        server_speed=(1e9, 1e9),
        come=arrivals.closed(CELL / rho),
        deadline="none",
        coupling=coupling,
        updates=False,
        delays=False,
        buffer=0,
        downlink="none",
        **STRUCTURES[what],
        **work,
    )
    size = "exponential" if what == "fifo" else "uniform"
    return params.replace(workload=params.workload.replace(size=size))


@jax.jit
def _run(key, params, warm_up, slots):
    """Per device: seconds that its tasks took, their number, and the number of tasks that were dropped."""
    start, draws = jax.random.split(key)
    decision = w.Decision(jnp.ones(params.devices, jnp.int8))

    def slot(number, carry):
        state, time, tasks, drops = carry
        state, outcome = w.advance(state, decision, w.draw(jax.random.fold_in(draws, number), params), params)
        done = (outcome.result == End.IN_TIME) & (number >= warm_up)
        drops = drops + (outcome.result > End.LATE) + (outcome.refused > 0)
        return state, time + jnp.where(done, outcome.latency, 0.0), tasks + done, drops

    count = jnp.zeros(params.devices, jnp.int32)
    return jax.lax.fori_loop(0, slots, slot, (w.init(start, params), jnp.zeros(params.devices), count, count))[1:]


@cache
def _sojourn(what, coupling, rho, slot, seconds, cells=200):
    key = jax.random.key(3, impl="philox4x32")
    params = _cells(what, coupling, rho, slot, cells)
    time, tasks, drops = jax.device_get(_run(key, params, round(WARM_UP / slot), round((WARM_UP + seconds) / slot)))
    assert not drops.any()
    samples = time.reshape(GROUPS, -1).sum(1, dtype=np.float64) / tasks.reshape(GROUPS, -1).sum(1)
    mean = time.sum(dtype=np.float64) / tasks.sum()
    return Estimate(mean, 2.09 * samples.std(ddof=1) / np.sqrt(GROUPS), int(tasks.sum()))  # Student's t, 19 degrees


def _theory(rho):
    return machine_repairman([1.0], CELL, CELL / rho).sojourn[0]


def _check(found, rho, most=0.03, width=0.02):
    """Within 3 %, by a sample that could tell."""
    theory = _theory(rho)
    assert found.half < width * theory
    assert abs(found.mean / theory - 1) < most, f"{found} against {theory:.4f} s"


def test_a_queue_of_a_finite_source(key):
    """Exact, with slots as long as a mean task."""
    _check(_sojourn("fifo", "exact", 0.8, 1.0, seconds=600.0, cells=400), 0.8)


def test_sharing_of_a_finite_source_by_slot(key):
    """Slots of a tenth of a task."""
    _check(_sojourn("ps", "slot", 0.8, 0.1, seconds=300.0), 0.8)


# ------------------------------------------------------------------------------------------------- all of it, slow


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.5, 0.8])
@pytest.mark.parametrize(("coupling", "slot"), [("exact", 1.0), ("slot", 0.1)])
@pytest.mark.parametrize("what", STRUCTURES)
def test_every_finite_source(what, coupling, slot, rho):
    _check(_sojourn(what, coupling, rho, slot, seconds=1500.0, cells=400), rho, width=0.015)


@pytest.mark.slow
@pytest.mark.parametrize("rho", [0.5, 0.8])
@pytest.mark.parametrize("what", STRUCTURES)
def test_half_the_slot_halves_the_error_of_the_mean(what, rho):
    """Slots of 1.6, .8 and .4 of a task; as far as their intervals can tell."""
    found = [_sojourn(what, "slot", rho, slot, seconds=3000.0, cells=400) for slot in (1.6, 0.8, 0.4)]
    errors = [abs(each.mean - _theory(rho)) for each in found]
    assert errors[0] > 0.03 * _theory(rho), "long slots have an error"
    for longer, shorter in ((0, 1), (1, 2)):
        noise = found[shorter].half + 0.5 * found[longer].half
        assert errors[shorter] < 0.5 * errors[longer] + noise
