"""What a program needs of memory and what a device has: refuse beforehand, and size batches by what is there."""

import os
from pathlib import Path
from typing import Any

import jax
import numpy as np

from offjax.errors import MachineError

USABLE = 0.95  # of the available memory: the rest of the process needs some, too


def bytes_of(tree: Any) -> int:
    """Bytes of all leaves: arrays, typed random keys, numbers, or what ``jax.eval_shape`` says of them."""
    leaves = [leaf if hasattr(leaf, "dtype") else np.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def require_fits(what: str, needed: float, available: int | None = None) -> None:
    """Refuse what needs more memory than there is, before it starts.

    Args:
        what: names it to the user, like "10,000,000 devices".
        needed: bytes.
        available: bytes; :func:`available_bytes` if not given.

    Raises:
        MachineError: with the numbers.
    """
    usable = _usable(available)
    if needed > usable:
        needs, has = _in_words(needed), _in_words(usable)
        raise MachineError(f"not enough memory for {what}: {needs} are needed and {has} can be had")


def most_at_once(what: str, each: float, available: int | None = None) -> int:
    """How many of the same fit side by side; the rest has to wait for its turn.

    Args:
        what: names one of them to the user, like "an agent".
        each: bytes of one, with what it works with.
        available: bytes; :func:`available_bytes` if not given.

    Raises:
        MachineError: not even one fits.
    """
    require_fits(what, each, available)
    return max(int(_usable(available) // max(each, 1)), 1)


def available_bytes(device: jax.Device | None = None) -> int:
    """Bytes that a program can still have on ``device``: of an accelerator, or of the host if that is where it is."""
    stats = (device or jax.devices()[0]).memory_stats()
    if stats and "bytes_limit" in stats:
        return int(stats["bytes_limit"] - stats.get("bytes_in_use", 0))
    return host_bytes()


def host_bytes() -> int:
    """Bytes that are available on the host, and in the container where that has less."""
    found = _numbers(Path("/proc/meminfo")).get("MemAvailable")
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # no /proc, no better answer
    return min(whole if found is None else found * 1024, *_left_in_containers(Path("/sys/fs/cgroup")))


def _usable(available: int | None) -> float:
    return USABLE * (available_bytes() if available is None else available)


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


def _in_words(count: float) -> str:
    return f"{count / 1e9:,.2f} GB"
