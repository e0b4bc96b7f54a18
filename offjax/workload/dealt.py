"""A task set as a workload: its tasks are the classes, its releases are dealt over the devices of every cell."""

from dataclasses import dataclass, field

import jax.numpy as jnp
import numpy as np

from offjax.errors import ConfigError
from offjax.workload.arrivals import Arrivals, given
from offjax.workload.task_set import MAX_RELEASES, TaskSet, TaskSetParameters, generate, releases
from offjax.workload.tasks import Workload

GROUPS = ("small", "medium", "large")  # equally many tasks each: what fixed rules and tables tell apart


@dataclass(frozen=True)
class DealtTasks:
    """A task set, and what the generator leaves open."""

    parameters: TaskSetParameters = field(default_factory=TaskSetParameters)
    releases_seed: int = 0
    """Seed of the first releases and of the data sizes."""
    bits_per_cycle: tuple[float, float] = (1.75e-4, 3.5e-2)
    """Upload of a task over its cycles, bit/cycle, log-uniform over the tasks of the set (a guess: the generator has
    no data sizes; the upload of a mean task of Table II is then 10 kB to 2 MB)."""
    result_share: float = 0.1
    """Size of a result over that of the upload (a guess)."""


@dataclass(frozen=True)
class DeadlineModel:
    """A task's deadline: ``factor * what its size allows + fixed``."""

    kind: str = "size"  # "none", "size" (the factor is 1) or "uniform"
    factor: tuple[float, float] = (1.2, 3.0)  # of "uniform" (a guess for paper B, whose interval is lost)
    fixed: float = 0.0  # s

    @property
    def factors(self) -> tuple[float, float]:
        """The interval of the factor: one for all kinds but "uniform"."""
        return self.factor if self.kind == "uniform" else (1.0, 1.0)


def make_workload(
    tasks: DealtTasks, deadline: DeadlineModel, server_speed: float, fleet: tuple[int, int], time: tuple[int, float]
) -> Workload:
    """The set as a workload; a task's size allows the time that the edge server needs for it alone.

    Args:
        tasks: the set.
        deadline: the deadline model of paper B: ``kappa C / F_MEC + RTT`` with kind "uniform" and ``fixed`` = RTT.
        server_speed: F_MEC, cycles/s.
        fleet: devices, and how many of them share a cell.
        time: horizon in slots, and the length of a slot in s.

    Raises:
        ConfigError: parameters that give no set, or more releases than one table holds.
    """
    chosen = generate(tasks.parameters)[0]
    low, high = np.log(tasks.bits_per_cycle)
    theta = np.exp(np.random.default_rng([tasks.releases_seed, 0]).uniform(low, high, chosen.cycles.size))
    bits = jnp.asarray(chosen.cycles * theta, jnp.float32)
    rate = 1.0 / chosen.period_seconds
    zeros = jnp.zeros(bits.shape, jnp.float32)
    return Workload(
        probability=jnp.asarray(rate / rate.sum(), jnp.float32),
        bits_low=bits,
        bits_high=bits,
        cycles_per_bit=jnp.asarray(1.0 / theta, jnp.float32),
        result_per_bit=zeros + tasks.result_share,
        deadline_per_bit=zeros,
        deadline_per_cycle=zeros + 1.0 / server_speed,
        deadline_fixed=jnp.asarray(deadline.fixed, jnp.float32),
        factor_low=jnp.asarray(deadline.factors[0], jnp.float32),
        factor_high=jnp.asarray(deadline.factors[1], jnp.float32),
        arrivals=deal_releases(chosen, tasks.releases_seed, *fleet, *time),
        deadline=deadline.kind,
    )


def deal_releases(
    task_set: TaskSet, seed: int, devices: int, cell_size: int, slots: int, slot_duration: float
) -> Arrivals:
    """Every cell runs the set, each with first releases of its own; task i belongs to device i mod ``cell_size``."""
    dealt = [
        releases(task_set, cell_size, slots * slot_duration, np.random.default_rng([seed, 1 + cell]))
        for cell in range(devices // cell_size)
    ]
    longest = max(cell.times.shape[1] for cell in dealt)
    if devices * longest > MAX_RELEASES:
        text = f"a horizon and a fleet with at most {MAX_RELEASES:.3g} releases; these need {devices * longest:.3g}"
        raise ConfigError("devices", devices, text)
    times, classes = np.full((devices, max(longest, 1)), np.inf), np.zeros((devices, max(longest, 1)), np.int32)
    for cell, own in enumerate(dealt):
        rows = slice(cell * cell_size, (cell + 1) * cell_size)
        times[rows, : own.times.shape[1]], classes[rows, : own.task.shape[1]] = own.times, own.task
    return given(times, slot_duration, classes)


def size_groups(workload: Workload) -> np.ndarray:
    """[C] int8: the third of the tasks, by mean cycles, to which each class belongs; the smallest are 0."""
    cycles = np.asarray((workload.bits_low + workload.bits_high) * workload.cycles_per_bit)
    rank = np.argsort(np.argsort(cycles, kind="stable"), kind="stable")
    return (rank * len(GROUPS) // cycles.size).astype(np.int8)
