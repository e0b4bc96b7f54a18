"""The exact coupling kernels alone, on Poisson arrivals: many queues side by side, against the closed forms.

Service times have mean 1 s. A slot brings ``JOINERS_MEAN`` jobs to a queue in the mean, so that most of what happens
happens within slots; at most ``JOINERS`` are drawn, and a run that would lose one ends with an error.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from offjax.bench import theory
from offjax.evaluation.statistics import Estimate, estimate
from offjax.world.sharing import ahead_exact, share_exact

JOINERS_MEAN = 4.0
JOINERS = 24  # a Poisson variable of mean 4 reaches it once in 1e11
GROUPS = 20  # of queues, each one sample of the interval
WARM_UP = 6.0  # relaxation times, from empty queues on, that are not counted

# Second moment of each law of the service, s^2; the mean is 1 s.
SECOND_MOMENT = {"deterministic": 1.0, "exponential": 2.0, "hyperexponential": 5.0}


class Comparison(NamedTuple):
    """A measured mean beside the closed form."""

    measured: Estimate  # s
    theory: float  # s
    arrivals: int  # that were counted

    @property
    def error(self) -> float:
        """Relative to the closed form."""
        return self.measured.mean / self.theory - 1.0


def draw_service(key: jax.Array, law: str, shape: tuple[int, ...]) -> jax.Array:
    """Service times s of mean 1; the hyperexponential law has balanced means and a squared variation of 4."""
    if law == "deterministic":
        return jnp.ones(shape)
    if law == "exponential":
        return jax.random.exponential(key, shape)
    branch_key, time_key = jax.random.split(key)
    often = 0.5 + math.sqrt(0.15)
    mean = jnp.where(jax.random.bernoulli(branch_key, often, shape), 0.5 / often, 0.5 / (1.0 - often))
    return mean * jax.random.exponential(time_key, shape)


def draw_joiners(key: jax.Array, rho: jax.Array, law: str, queues: int) -> tuple[jax.Array, jax.Array]:
    """The jobs of one slot, ``(join, service)`` [queues, JOINERS] s, the last first; those that come later count not.

    The gaps between them are exponential: what comes before the end of the slot is a Poisson stream.
    """
    gap_key, service_key = jax.random.split(key)
    gaps = jax.random.exponential(gap_key, (queues, JOINERS)) / rho
    return jnp.cumsum(gaps, axis=1)[:, ::-1], draw_service(service_key, law, gaps.shape)


class Slot(NamedTuple):
    """What one slot did to each queue."""

    state: tuple[jax.Array, ...]  # of the queues after it
    time: jax.Array  # [queues] s, of the jobs counted in it
    jobs: jax.Array  # [queues] int32
    lost: jax.Array  # [queues] bool


def fifo_slot(backlog: jax.Array, key: jax.Array, rho: jax.Array, law: str) -> Slot:
    """One slot of every FIFO queue, ``backlog`` [queues] s; a job counts when it joins, with its wait."""
    slot = JOINERS_MEAN / rho
    join, service = draw_joiners(key, rho, law, len(backlog))
    joins = join < slot
    ahead, backlog = ahead_exact(jnp.where(joins, service, 0.0), join, backlog, slot)
    return Slot((backlog,), jnp.sum(ahead, axis=1), jnp.sum(joins, axis=1, dtype=jnp.int32), joins[:, 0])


def ps_slot(left: jax.Array, spent: jax.Array, key: jax.Array, rho: jax.Array, law: str) -> Slot:
    """One slot of every shared queue, ``left`` and ``spent`` [queues, lanes] s; a job counts when it ends.

    The jobs of the slot take the free lanes in order; a lane is free again after the slot in which its job ended.
    """
    slot = JOINERS_MEAN / rho
    join, service = draw_joiners(key, rho, law, len(left))
    come = jnp.sum(join < slot, axis=1, dtype=jnp.int32)
    free = left <= 0
    rank = jnp.cumsum(free, axis=1, dtype=jnp.int32)
    starts = free & (rank <= come[:, None])
    which = jnp.where(starts, JOINERS - rank, 0)
    left = jnp.where(starts, jnp.take_along_axis(service, which, axis=1), left)
    time, rest = share_exact(left, jnp.where(starts, jnp.take_along_axis(join, which, axis=1), 0.0), slot)
    spent, ends = spent + time, (left > 0) & (rest <= 0)
    return Slot(
        (rest, jnp.where(ends, 0.0, spent)),
        jnp.sum(jnp.where(ends, spent, 0.0), axis=1),
        jnp.sum(ends, axis=1, dtype=jnp.int32),
        (come >= JOINERS) | (come > rank[:, -1]),
    )


@partial(jax.jit, static_argnames=("law", "queues", "lanes"))
def run_queues(
    key: jax.Array, rho: jax.Array, warm_up: jax.Array, slots: jax.Array, law: str, queues: int, lanes: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """``(time s, jobs int32, lost bool)`` [queues] of ``slots`` slots after the ``warm_up``; ``lanes = 0`` is FIFO."""
    state = (jnp.zeros((queues, lanes)), jnp.zeros((queues, lanes))) if lanes else (jnp.zeros(queues),)
    one_slot: Callable[..., Slot] = ps_slot if lanes else fifo_slot

    def step(number: jax.Array, sums: Slot) -> Slot:
        done = one_slot(*sums.state, jax.random.fold_in(key, number), rho, law)
        time = sums.time + jnp.where(number >= warm_up, done.time, 0.0)
        jobs = sums.jobs + jnp.where(number >= warm_up, done.jobs, 0)
        return Slot(done.state, time, jobs, sums.lost | done.lost)

    nothing = Slot(state, jnp.zeros(queues), jnp.zeros(queues, jnp.int32), jnp.zeros(queues, bool))
    return jax.lax.fori_loop(0, warm_up + slots, step, nothing)[1:]


def measure(key: jax.Array, rho: float, law: str, arrivals: int, queues: int, lanes: int) -> tuple[Estimate, int]:
    """Mean time s of a job, each group of queues being one sample, and how many jobs (about ``arrivals``) it is of."""
    relaxation = 0.5 * SECOND_MOMENT[law] / (1.0 - math.sqrt(rho)) ** 2  # s, of an M/M/1 queue times (1 + c^2) / 2
    warm_up = math.ceil(WARM_UP * relaxation * rho / JOINERS_MEAN)
    slots = math.ceil(arrivals / (queues * JOINERS_MEAN))
    done = run_queues(key, jnp.float32(rho), jnp.int32(warm_up), jnp.int32(slots), law, queues, lanes)
    total, jobs, lost = map(np.asarray, done)
    if lost.any():
        raise RuntimeError(f"jobs were lost in {lost.sum()} of {queues} queues: {JOINERS} joiners, {lanes} lanes")
    time, count = (part.reshape(GROUPS, -1).sum(axis=1, dtype=np.float64) for part in (total, jobs))
    return estimate(time / count), int(jobs.sum())


def fifo_mean_wait(key: jax.Array, rho: float, service: str, arrivals: int, queues: int = 2000) -> Comparison:
    """Mean wait s at an M/G/1 FIFO server by ``ahead_exact``, against Pollaczek-Khinchine.

    Args:
        key: a key of the generator ``philox4x32``.
        rho: load, above 0 and below 1.
        service: law of the service, one of ``SECOND_MOMENT``.
        arrivals: about how many jobs are counted.
        queues: how many queues run side by side, a multiple of ``GROUPS``; each pays for a warm-up of its own.
    """
    measured, jobs = measure(key, rho, service, arrivals, queues, lanes=0)
    return Comparison(measured, theory.mg1_wait(rho, 1.0, SECOND_MOMENT[service]), jobs)


def ps_mean_sojourn(key: jax.Array, rho: float, service: str, arrivals: int, queues: int = 2000) -> Comparison:
    """Mean time s at an M/G/1 processor-sharing server by ``share_exact``; arguments as of :func:`fifo_mean_wait`."""
    measured, jobs = measure(key, rho, service, arrivals, queues, lanes_for(rho, arrivals))
    return Comparison(measured, theory.ps_sojourn(rho, 1.0), jobs)


def lanes_for(rho: float, arrivals: int) -> int:
    """So many lanes that of ``arrivals`` jobs one is lost in one run of 1e4: the number present is geometric."""
    return JOINERS + math.ceil(math.log(1e-4 / arrivals) / math.log(rho))
