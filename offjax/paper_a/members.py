"""The members of a job: seeds and numeric settings of one program, side by side or in turn."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from offjax.typed_jit import typed_jit

TOGETHER = {"cpu": 400, "gpu": 2_000_000, "tpu": 2_000_000}
"""Devices that are stepped side by side: on a CPU what stays in its cache, elsewhere what fits the memory."""


def keys(seed: int, seeds: int, purpose: int) -> jax.Array:
    """[S] typed random keys, one for each seed from ``seed`` on, apart for every ``purpose``."""
    own = [jax.random.fold_in(jax.random.key(seed + index, impl="philox4x32"), purpose) for index in range(seeds)]
    return jnp.stack(own)


def together(devices: int) -> int:
    """Members of ``devices`` each that run side by side on this machine."""
    return max(TOGETHER.get(jax.default_backend(), TOGETHER["gpu"]) // devices, 1)


def each(function: Callable[[Any, Any], Any], devices: int, settings: Sequence[Any], seeds: Any) -> Any:
    """``function(setting, seed)`` of every setting with every seed, in one compiled program.

    Args:
        function: of a setting and of a seed's tree; traced once.
        devices: that it steps.
        settings: M trees of one structure, whose leaves are the numbers that differ.
        seeds: a tree with leaves [S, ...], like keys or trained learners.

    Returns:
        its results with leaves [M, S, ...], on the host.
    """
    rows, columns = len(settings), len(jax.tree.leaves(seeds)[0])
    size = min(together(devices), rows * columns)

    @typed_jit()
    def program(settings: Any, seeds: Any, places: jax.Array) -> Any:
        def one(place: jax.Array) -> Any:
            return function(_row(settings, place // columns), _row(seeds, place % columns))

        return jax.lax.map(one, places) if size == 1 else jax.lax.map(one, places, batch_size=size)

    found = jax.device_get(program(stack(settings), seeds, jnp.arange(rows * columns)))
    return jax.tree.map(lambda leaf: np.asarray(leaf).reshape(rows, columns, *leaf.shape[1:]), found)


def _row(tree: Any, place: jax.Array) -> Any:
    return jax.tree.map(lambda leaf: leaf[place], tree)


def stack(trees: Sequence[Any]) -> Any:
    """Trees of one structure as one with leaves [M, ...]."""
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *trees)
