"""Periodic task sets: the generator of De Bock et al. 2018, [31] of Nieto et al. 2026, and the releases of its tasks.

Utilisations come from UUniFast with rejection, periods are uniform. The paper gives no unit of time; microseconds are
inferred: the generator divides cycles by MHz, and its tasks then last from 1 ms to 4 s, so that offloading matters.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from offjax.errors import ConfigError

MICROSECONDS = 1e6  # in a second
MIN_EXECUTION = 1000  # µs; no task is shorter
MAX_UTILISATION = 0.95  # of one task; the last one of a set may have 1
MAX_DRAWS = 1_000_000  # random numbers spent on one set, or on the period of one task, before giving up
MAX_COUNT = 1_000_000  # of tasks, sets, cores and devices
MAX_PERIOD = 10**12  # µs
MAX_HORIZON = 1e9  # s; in microseconds it is exact in float64
MAX_RELEASES = 100_000_000  # places in a table of releases, 12 bytes each


@dataclass(frozen=True)
class TaskSetParameters:
    """What the generator is asked for; the defaults are Table II of Nieto et al. 2026.

    Raises:
        ConfigError: a value that is out of its range, or loads that no set of tasks can have.
    """

    utilisation_min: float = 3.9
    """Smallest load, the utilisation of all tasks of a set in cores (Table II)."""
    utilisation_max: float = 3.9
    """Largest load in cores (Table II)."""
    utilisation_step: float = 0.1
    """From one load to the next, in cores (Table II)."""
    number_of_tasks: int = 500
    """Tasks of one set (Table II)."""
    number_of_task_sets: int = 1
    """Sets of each load (Table II)."""
    period_min: int = 100_000
    """Shortest period, µs (Table II; the unit is inferred), a multiple of ``period_step``."""
    period_max: int = 100_000_000
    """Longest period, µs (Table II; the unit is inferred), a multiple of ``period_step``."""
    period_step: int = 1000
    """Every period is a multiple of it, µs (Table II; the unit is inferred)."""
    seed: int = 50
    """Every set has its own seed, made of this one, its load and its number (Table II)."""
    cpu_speed_mhz: float = 1200.048
    """Clock of the CPU that the execution times hold for, MHz (Table II)."""
    cores: int = 4
    """Cores of that CPU; no load may exceed them (Table II)."""

    def __post_init__(self) -> None:
        """Refuse bad values with a ConfigError."""
        for field in ("number_of_tasks", "number_of_task_sets", "cores"):
            _require_whole(field, getattr(self, field), 1, MAX_COUNT)
        _require_whole("seed", self.seed, 0, 2**31 - 1)
        _require_number("utilisation_min", self.utilisation_min, 1e-6, self.cores)
        _require_number("utilisation_max", self.utilisation_max, self.utilisation_min, self.cores)
        _require_number("utilisation_step", self.utilisation_step, 1e-6, MAX_COUNT)
        _require_number("cpu_speed_mhz", self.cpu_speed_mhz, 1e-3, 1e9)
        self._check_periods()
        self._check_loads()

    def _check_periods(self) -> None:
        _require_whole("period_step", self.period_step, 1, MAX_PERIOD)
        _require_whole("period_min", self.period_min, 1, MAX_PERIOD)
        _require_whole("period_max", self.period_max, self.period_min, MAX_PERIOD)
        for field in ("period_min", "period_max"):
            if getattr(self, field) % self.period_step:
                raise ConfigError(field, getattr(self, field), f"use a multiple of period_step = {self.period_step}")

    def _check_loads(self) -> None:
        tasks = self.number_of_tasks
        lightest = tasks * MIN_EXECUTION / self.period_max
        heaviest = MAX_UTILISATION * (tasks - 1) + 1.0
        if self.utilisation_min < lightest:
            least = f"{tasks} tasks of at least {MIN_EXECUTION} µs with period_max = {self.period_max} µs"
            raise ConfigError("utilisation_min", self.utilisation_min, f"{least} need {lightest:g}")
        if self.utilisation_max > heaviest:
            raise ConfigError("utilisation_max", self.utilisation_max, f"{tasks} tasks reach at most {heaviest:g}")

    @property
    def loads(self) -> list[float]:
        """Utilisations asked for, in cores, from the smallest on.

        The largest is among them even where floating point puts it just beyond a whole number of steps.
        """
        steps = math.floor((self.utilisation_max - self.utilisation_min) / self.utilisation_step + 1e-9)
        return [round(float(self.utilisation_min + step * self.utilisation_step), 9) for step in range(steps + 1)]


@dataclass(frozen=True, eq=False)
class TaskSet:
    """n periodic tasks, sorted by period; the generator's own deadline of a task is its period."""

    name: str  # load in per cent of a core, and number, like TaskSet_390.0_v0
    utilisation: float  # cores, asked for
    cpu_speed_mhz: float  # MHz, of the CPU that ``execution`` holds for
    task_names: tuple[str, ...]  # [n]
    period: np.ndarray  # [n] int64 µs
    execution: np.ndarray  # [n] int64 µs, the longest execution time

    @property
    def period_seconds(self) -> np.ndarray:
        """Periods, float64 [n], s."""
        return self.period / MICROSECONDS

    @property
    def execution_seconds(self) -> np.ndarray:
        """Execution times on the generator's CPU, float64 [n], s."""
        return self.execution / MICROSECONDS

    @property
    def cycles(self) -> np.ndarray:
        """Computing sizes, float64 [n], cycles: microseconds times MHz."""
        return self.execution * self.cpu_speed_mhz

    @property
    def total_utilisation(self) -> float:
        """Utilisation that the tasks have, cores; rounding puts it just below ``utilisation``."""
        return float(np.sum(self.execution / self.period))


@dataclass(frozen=True, eq=False)
class Releases:
    """When the tasks of each device come, in the order of time."""

    times: np.ndarray  # [devices, K] float64 s, +inf after the last release of a device
    task: np.ndarray  # [devices, K] int32 index into the task set, 0 after the last release


class JavaRandom:
    """The 48-bit linear congruential generator of ``java.util.Random``.

    Source: its documentation, https://docs.oracle.com/javase/8/docs/api/java/util/Random.html
    """

    MULTIPLIER, INCREMENT, MASK = 0x5DEECE66D, 0xB, 2**48 - 1

    def __init__(self, seed: int) -> None:
        """Scramble the ``seed`` as ``setSeed`` does."""
        self._state = (seed ^ self.MULTIPLIER) & self.MASK

    def next_double(self) -> float:
        """The next number of ``nextDouble``: a multiple of 2^-53 in [0, 1)."""
        return ((self._next(26) << 27) + self._next(27)) * 2.0**-53

    def _next(self, bits: int) -> int:
        self._state = (self._state * self.MULTIPLIER + self.INCREMENT) & self.MASK
        return self._state >> (48 - bits)


def generate(parameters: TaskSetParameters) -> list[TaskSet]:
    """The task sets of every load, ``number_of_task_sets`` of each; the same parameters give the same sets.

    Raises:
        ConfigError: no set was found within a bounded number of tries.

    Source: De Bock et al. 2018, Task-set generator for schedulability analysis, doi 10.1145/3199610.3199613.
    """
    versions = range(parameters.number_of_task_sets)
    return [_generate_one(parameters, load, version) for load in parameters.loads for version in versions]


def releases(task_set: TaskSet, devices: int, horizon: float, rng: np.random.Generator) -> Releases:
    """Every release of the tasks before ``horizon``; task i belongs to device i mod ``devices``.

    The first release of a task is a whole microsecond, uniform in [0, period); the others follow one period apart.
    Releases of one instant keep the order of the set. With more devices than tasks the last devices have none.

    Args:
        task_set: of n tasks.
        devices: over which the tasks are dealt.
        horizon: s.
        rng: n draws are taken.

    Returns:
        Tables as wide as the busiest device needs; times are microseconds counted in integers, then divided once.

    Raises:
        ConfigError: a bad number of devices or horizon, or too many releases for one table.
    """
    _require_whole("devices", devices, 1, MAX_COUNT)
    _require_number("horizon", horizon, 1 / MICROSECONDS, MAX_HORIZON)
    _require_room(task_set, devices, horizon)
    first = rng.integers(0, task_set.period)
    count = np.maximum(-((first - _end(horizon)) // task_set.period), 0)
    task = np.repeat(np.arange(first.size), count)
    instant = first[task] + _rank_in_group(count) * task_set.period[task]
    order = np.lexsort((task, instant, task % devices))
    return _table(task[order], instant[order], devices)


def _generate_one(parameters: TaskSetParameters, load: float, version: int) -> TaskSet:
    """Set number ``version``, from 0, of a ``load``; its seed is seed + (version + 1) round(10 load)."""
    seed = parameters.seed + (version + 1) * _round(10 * load)
    shares = _draw_utilisations(parameters, load, JavaRandom(2 * seed))
    period, execution = np.array(sorted(_draw_times(parameters, load, shares, JavaRandom(seed))), np.int64).T
    return TaskSet(
        name=f"TaskSet_{round(100 * load, 6)}_v{version}",
        utilisation=load,
        cpu_speed_mhz=parameters.cpu_speed_mhz,
        task_names=tuple(f"Task{number:02d}" for number in range(1, len(shares) + 1)),
        period=period,
        execution=execution,
    )


def _draw_utilisations(parameters: TaskSetParameters, load: float, random: JavaRandom) -> list[float]:
    """UUniFast-Discard: whole vectors are drawn until one is allowed."""
    tries = max(MAX_DRAWS // parameters.number_of_tasks, 1)
    for _ in range(tries):
        shares = _uunifast(load, parameters.number_of_tasks, random)
        if _is_allowed(shares, load, parameters.period_max):
            return shares
    allowed = f"{tries} draws gave no set of load {load:g}; use fewer tasks, a longer period_max or another load"
    raise ConfigError("number_of_tasks", parameters.number_of_tasks, allowed)


def _uunifast(load: float, tasks: int, random: JavaRandom) -> list[float]:
    """``tasks`` utilisations, uniform among those whose sum is ``load`` (Bini and Buttazzo 2005)."""
    shares, rest = [], load
    for others in range(tasks - 1, 0, -1):
        smaller = rest * random.next_double() ** (1.0 / others)
        shares.append(rest - smaller)
        rest = smaller
    return [*shares, rest]


def _is_allowed(shares: list[float], load: float, period_max: int) -> bool:
    total = 0.0
    for share in shares:  # one by one: from Python 3.12 on, sum() rounds otherwise than the original does
        total += share
    fits = max(shares[:-1], default=0.0) <= MAX_UTILISATION and shares[-1] <= 1.0 and total <= math.ceil(load)
    return fits and min(shares) * period_max >= MIN_EXECUTION


def _draw_times(
    parameters: TaskSetParameters, load: float, shares: list[float], random: JavaRandom
) -> Iterator[tuple[int, int]]:
    """Period and execution time of every task, µs; the last task takes what rounding has left of the load."""
    total = 0.0
    for share in shares[:-1]:
        period, execution = _draw_task(parameters, random, share, _round)
        total += execution / period
        yield period, execution
    yield _draw_task(parameters, random, load - total, math.floor)


def _draw_task(
    parameters: TaskSetParameters, random: JavaRandom, share: float, whole: Callable[[float], int]
) -> tuple[int, int]:
    """Period and execution time in µs of a task of utilisation ``share``; the period is drawn until both fit."""
    step = parameters.period_step
    lowest, highest = parameters.period_min / step, parameters.period_max / step
    possible = whole(share * parameters.period_max) >= MIN_EXECUTION  # the original would never end
    for _ in range(MAX_DRAWS if possible else 0):
        period = _round(random.next_double() * (highest - lowest) + lowest) * step
        execution = whole(share * period)
        if execution >= MIN_EXECUTION:
            return period, execution
    allowed = f"no period gives a task of utilisation {share:.3g} its {MIN_EXECUTION} µs; use another seed"
    raise ConfigError("seed", parameters.seed, allowed)


def _round(value: float) -> int:
    """Nearest whole number, halves up, as Java's ``Math.round`` does (Python's ``round`` goes to the even one)."""
    return math.floor(value + 0.5)


def _end(horizon: float) -> int:
    """The first whole microsecond that is not before ``horizon`` in seconds."""
    nearest = round(horizon * MICROSECONDS)
    return nearest + (nearest / MICROSECONDS < horizon)


def _rank_in_group(sizes: np.ndarray) -> np.ndarray:
    """0, 1, … in each of consecutive groups of these ``sizes``: [2, 3] gives [0, 1, 0, 1, 2]."""
    return np.arange(np.sum(sizes)) - np.repeat(np.cumsum(sizes) - sizes, sizes)


def _table(task: np.ndarray, instant: np.ndarray, devices: int) -> Releases:
    """Releases at ``instant`` µs, sorted by device, one row per device."""
    device = task % devices
    held = np.bincount(device, minlength=devices)
    place = device, _rank_in_group(held)
    times = np.full((devices, held.max()), np.inf)
    tasks = np.zeros(times.shape, np.int32)
    times[place], tasks[place] = instant / MICROSECONDS, task
    return Releases(times=times, task=tasks)


def _require_room(task_set: TaskSet, devices: int, horizon: float) -> None:
    most = horizon / task_set.period_seconds + 1.0
    places = devices * np.bincount(np.arange(most.size) % devices, weights=most).max()
    if places > MAX_RELEASES:
        allowed = f"a table of {places:.3g} releases exceeds {MAX_RELEASES:.3g}; use a shorter one or fewer devices"
        raise ConfigError("horizon", horizon, allowed)


def _require_whole(field: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigError(field, value, f"use a whole number from {low} to {high}")


def _require_number(field: str, value: object, low: float, high: float) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool) or not low <= value <= high:
        raise ConfigError(field, value, f"use a number from {low:g} to {high:g}")
