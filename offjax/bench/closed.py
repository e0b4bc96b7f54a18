"""Cells whose devices think, send one task to the edge server, and think again: the world that theory knows exactly.

Everything that is not the server takes no time, so the sojourn there is the latency of a task. Service takes 1 s in
the mean: exponential before a FIFO server, where mean value analysis wants it so, and constant under processor sharing,
where the law does not matter.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from offjax.bench.kernels import Comparison
from offjax.bench.theory import machine_repairman
from offjax.evaluation.statistics import estimate
from offjax.problems import nieto2024
from offjax.problems.nieto2024 import Scenario
from offjax.workload.arrivals import closed
from offjax.world import Decision, End, Params, State, advance, draw, init

CELL = nieto2024.CELL
GROUPS = 20  # of cells, each one sample of the interval
WARM_UP = 0.2  # of the time, from idle devices on, that is not counted
CYCLES = 1e9  # of the mean task, at a server of as many per second


def closed_cells(queue: str, coupling: str, slot: float, load: float, cells: int) -> Params:
    """The world: ``cells`` of 20 devices that think so long that they offer ``load`` if nothing made them wait.

    Args:
        queue: of the edge server, "fifo" or "ps".
        coupling: "slot" or "exact".
        slot: s, the mean service being 1 s.
        load: CELL / mean thinking time in s.
        cells: A.
    """
    params = nieto2024.make(devices=cells * CELL, scenario=Scenario()).params
    bits = jnp.full(3, 1e6, jnp.float32)
    exponential = queue == "fifo"
    workload = params.workload.replace(
        bits_low=0.0 * bits if exponential else bits,
        bits_high=bits,
        cycles_per_bit=CYCLES / bits,
        size="exponential" if exponential else "uniform",
        deadline="none",
        arrivals=closed(CELL / load),
    )
    return params.replace(
        slot_duration=jnp.float32(slot),
        workload=workload,
        fleet=params.fleet.replace(battery=jnp.float32(jnp.inf)),
        radio=params.radio.replace(bandwidth=jnp.float32(1e15)),
        servers=params.servers.replace(
            speed=jnp.asarray([CYCLES, CYCLES], jnp.float32), share_low=jnp.ones(2), share_high=jnp.ones(2)
        ),
        coupling=coupling,
        queue=(queue, "none"),
        buffer=0,
    )


@partial(jax.jit, static_argnames="slots")
def run_cells(key: jax.Array, params: Params, warm_up: jax.Array, slots: int) -> tuple[jax.Array, jax.Array]:
    """Sum of the latencies [A] s and number of tasks [A] that ended after slot ``warm_up``."""
    start_key, draw_key = jax.random.split(key)
    place = jnp.ones(params.devices, jnp.int8)

    def step(number: jax.Array, carry: tuple[State, jax.Array, jax.Array]) -> tuple[State, jax.Array, jax.Array]:
        state, time, tasks = carry
        draws = draw(jax.random.fold_in(draw_key, number), params)
        state, outcome = advance(state, Decision(place), draws, params)
        done = (outcome.result == End.IN_TIME) & (number >= warm_up)
        return state, time + jnp.where(done, outcome.latency, 0.0), tasks + done.astype(jnp.int32)

    zero = jnp.zeros(params.devices, jnp.float32)
    start = (init(start_key, params), zero, zero.astype(jnp.int32))
    _, time, tasks = jax.lax.fori_loop(0, slots, step, start)
    by_cell = (params.access_points, CELL)
    return jnp.sum(time.reshape(by_cell), axis=1), jnp.sum(tasks.reshape(by_cell), axis=1)


def mean_sojourn(
    key: jax.Array, queue: str, coupling: str, slot: float, load: float, tasks: int, cells: int = 400
) -> Comparison:
    """Mean sojourn s of about ``tasks`` tasks at the edge server, against exact mean value analysis.

    Args:
        key: random key.
        queue: see :func:`closed_cells`, as are ``coupling``, ``slot`` and ``load``.
        coupling: as above.
        slot: as above.
        load: as above.
        tasks: about how many are counted.
        cells: A, a multiple of ``GROUPS``.
    """
    known = machine_repairman([1.0], CELL, CELL / load)
    slots = int(np.ceil(tasks / (cells * known.throughput * (1.0 - WARM_UP) * slot)))
    params = closed_cells(queue, coupling, slot, load, cells)
    time, count = jax.device_get(run_cells(key, params, jnp.int32(WARM_UP * slots), slots))
    time, count = (values.reshape(GROUPS, -1).sum(axis=1, dtype=np.float64) for values in (time, count))
    return Comparison(estimate(time / count), float(known.sojourn[0]), int(count.sum()))
