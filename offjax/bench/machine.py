"""The limits of the machine, measured in the run whose results are held against them."""

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from offjax.memory import available_bytes
from offjax.runs.provenance import collect_provenance

BUDGET = 1.5  # s for each measurement, the first call aside
PATIENCE, GAIN = 20, 0.01  # so many calls in a row that are not faster by this share: it will not get any faster
COPIED = {"cpu": 1 << 28, "gpu": 1 << 30, "tpu": 1 << 30}  # bytes of an array, far more than any cache holds
WIDTH = {"cpu": 2048, "gpu": 8192, "tpu": 8192}  # of the square matrices


class Limits(NamedTuple):
    """What no program on this machine can exceed; bytes are those read and those written."""

    copy: float  # bytes/s, from one array to another
    update: float  # bytes/s, of an array in place: a cache line that is written need not be read first
    numpy_copy: float  # bytes/s, from one array to another by NumPy, on one core
    matmul: float  # FLOP/s, of float32 matrices at jax's default precision
    memory: int  # bytes that are available


def measure_limits(budget: float = BUDGET) -> Limits:
    """All of them, each in about ``budget`` s, on all devices of the default backend together."""
    return Limits(
        copy=copy_rate(budget),
        update=copy_rate(budget, in_place=True),
        numpy_copy=numpy_copy_rate(budget),
        matmul=matmul_rate(budget),
        memory=available_bytes(),
    )


def describe() -> dict[str, Any]:
    """Names and numbers of processors and devices, and the versions that a result depends on."""
    where = collect_provenance()
    return {**where["backend"], "precision": where["precision"], "platform": where["platform"], **where["versions"]}


def best_time(call: Callable[[], object], budget: float = BUDGET) -> float:
    """Least s of a ``call``, repeated until it gets no faster, or for ``budget`` s; the first call is not counted."""
    call()
    best, in_vain, end = np.inf, 0, time.perf_counter() + budget
    while in_vain < PATIENCE and (time.perf_counter() < end or best == np.inf):
        start = time.perf_counter()
        call()
        seconds = time.perf_counter() - start
        in_vain = 0 if seconds < best * (1 - GAIN) else in_vain + 1
        best = min(best, seconds)
    return float(best)


def spread(shape: tuple[int, ...], value: float) -> jax.Array:
    """A float32 array whose first axis is cut over all devices."""
    devices = np.array(jax.devices())
    sharding = NamedSharding(Mesh(devices, ("device",)), PartitionSpec("device"))
    return jax.jit(lambda: jnp.full(shape, value, jnp.float32), out_shardings=sharding)()


def copy_rate(budget: float = BUDGET, in_place: bool = False, size: int | None = None) -> float:
    """Bytes/s read and written by ``x + 1`` over an array of ``size`` bytes, all devices together.

    Both arrays are there before: what a machine takes to find fresh pages is no bandwidth.
    """
    count = len(jax.devices())
    numbers = max((size or COPIED[jax.default_backend()]) // 4, count)
    arrays = [spread((count, numbers // count), 1.0) for _ in range(1 if in_place else 2)]
    add = jax.jit(lambda source, *target: source + 1.0, donate_argnums=len(arrays) - 1, keep_unused=True)

    def copy() -> None:
        arrays.insert(0, add(*arrays).block_until_ready())
        arrays.pop()

    return 2.0 * arrays[0].nbytes / best_time(copy, budget)


def numpy_copy_rate(budget: float = BUDGET, size: int = COPIED["cpu"]) -> float:
    """Bytes/s read and written by NumPy over an array of ``size`` bytes, on one core."""
    source, target = np.ones((2, max(size // 4, 1)), np.float32)
    return 2.0 * source.nbytes / best_time(lambda: np.copyto(target, source), budget)


def matmul_rate(budget: float = BUDGET, width: int | None = None) -> float:
    """FLOP/s of square float32 matrices, one product on each device at a time."""
    count, width = len(jax.devices()), width or WIDTH[jax.default_backend()]
    matrices = spread((count, width, width), 1.0 / width)
    multiply = jax.jit(jnp.matmul)
    seconds = best_time(lambda: multiply(matrices, matrices).block_until_ready(), budget)
    return 2.0 * count * width**3 / seconds
