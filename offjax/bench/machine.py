"""The limits of the machine, measured in the run whose results are held against them; and a refusal beforehand."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from offjax.errors import MachineError
from offjax.runs.provenance import collect_provenance, describe_backend

BUDGET = 1.5  # s for each measurement, the first call aside
PATIENCE, GAIN = 20, 0.01  # so many calls in a row that are not faster by this share: it will not get any faster
COPIED = {"cpu": 1 << 28, "gpu": 1 << 30, "tpu": 1 << 30}  # bytes of an array, far more than any cache holds
WIDTH = {"cpu": 2048, "gpu": 8192, "tpu": 8192}  # of the square matrices
USABLE = 0.95  # of the available memory: the rest of the process needs some, too


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
        memory=available_memory(),
    )


def describe() -> dict[str, Any]:
    """Names and numbers of processors and devices, and the versions that a result depends on."""
    where = collect_provenance()
    return {**where["backend"], "platform": where["platform"], **where["versions"]}


def device_name() -> str:
    """The accelerator that computes, or the processor where it is that."""
    about = describe_backend()
    return str(about["processor"] if about["name"] == "cpu" else about["device"])


# ----------------------------------------------------------------------------------------------------- speed


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


# ---------------------------------------------------------------------------------------------------- memory


def available_memory(device: jax.Device | None = None) -> int:
    """Bytes that a program can still have on ``device``: of an accelerator, or of the host if that is where it is."""
    stats = (device or jax.devices()[0]).memory_stats()
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return host_memory()


def host_memory() -> int:
    """Bytes that are available on the host, and in the container where that has less."""
    found = _numbers(Path("/proc/meminfo")).get("MemAvailable")
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # no /proc, no better answer
    return min(whole if found is None else found * 1024, *_left_in_containers(Path("/sys/fs/cgroup")))


def _left_in_containers(root: Path) -> list[int]:
    """Bytes left below the limit of the container, in either version of control groups; files it has cached aside."""
    names = (("memory.max", "memory.current"), ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"))
    left = [1 << 62]
    for limit_name, used_name in names:
        limit, used = (_first_number(root / name) for name in (limit_name, used_name))
        if limit is not None and used is not None:
            cached = _numbers((root / used_name).with_name("memory.stat")).get("inactive_file", 0)
            left.append(max(limit - max(used - cached, 0), 0))
    return left


def _first_number(path: Path) -> int | None:
    try:
        return int(path.read_text().split()[0])
    except (OSError, ValueError, IndexError):  # "max" is no limit
        return None


def _numbers(path: Path) -> dict[str, int]:
    """Lines of a name and a number, as the kernel writes them."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return {}
    fields = [line.replace(":", " ").split() for line in lines]
    return {row[0]: int(row[1]) for row in fields if len(row) > 1 and row[1].isdigit()}


def check_fits(needed: float, lower: str, available: int | None = None) -> None:
    """Refuse what needs more memory than there is, before it starts.

    Args:
        needed: bytes.
        lower: what to lower, and to what, as it is said to the user.
        available: bytes; :func:`available_memory` if not given.

    Raises:
        MachineError: with the numbers.
    """
    there = available_memory() if available is None else available
    if needed > USABLE * there:
        needs, has = _in_words(needed), _in_words(USABLE * there)
        raise MachineError(f"not enough memory: {needs} are needed and {has} can be had; lower {lower}")


def _in_words(count: float) -> str:
    return f"{count / 1e9:,.2f} GB"
