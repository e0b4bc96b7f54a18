"""The members of a job: seeds and numeric settings of one program, side by side or in turn."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from offjax.typed_jit import typed_jit

TOGETHER = {"cpu": 4_000, "gpu": 2_000_000, "tpu": 2_000_000}
"""Devices that are stepped side by side: on a CPU what stays in its cache, elsewhere what fits the memory."""


def keys(seed: int, seeds: int, purpose: int) -> jax.Array:
    """[S] typed random keys, one for each seed from ``seed`` on, apart for every ``purpose``."""
    own = [jax.random.fold_in(jax.random.key(seed + index, impl="philox4x32"), purpose) for index in range(seeds)]
    return jnp.stack(own)


def together(devices: int) -> int:
    """Members of ``devices`` each that run side by side on this machine."""
    return max(TOGETHER.get(jax.default_backend(), TOGETHER["gpu"]) // devices, 1)


def each(function: Callable[..., Any], devices: int, *members: Any) -> Any:
    """``function`` of every member, in one compiled program.

    Args:
        function: of trees without the axis of members; traced once.
        devices: that a member steps.
        *members: trees with leaves [M, ...].

    Returns:
        its results with leaves [M, ...], on the host.
    """
    count = len(jax.tree.leaves(members)[0])
    size = min(together(devices), count)

    @typed_jit()
    def program(*rows: Any) -> Any:
        if size == 1:
            return jax.lax.map(lambda own: function(*own), rows)
        return jax.lax.map(lambda own: function(*own), rows, batch_size=size)

    return jax.tree.map(np.asarray, program(*members))


def stack(trees: list[Any]) -> Any:
    """Trees of one structure as one with leaves [M, ...]."""
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *trees)


def pairs(trees: list[Any], seeds: Any, count: int) -> tuple[Any, Any]:
    """Every tree with every seed: leaves [M count, ...] of both, the seeds innermost.

    Args:
        trees: M of one structure.
        seeds: a tree with leaves [count, ...].
        count: of seeds.
    """
    outer = jax.tree.map(lambda leaf: jnp.repeat(leaf, count, axis=0), stack(trees))
    inner = jax.tree.map(lambda leaf: jnp.concatenate([leaf] * len(trees)), seeds)
    return outer, inner
