"""Actions that come from Python, looked at before they enter a compiled program."""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from offjax.errors import ConfigError


def check_action(field: str, value: Any, decisions: Sequence[str]) -> int:
    """The number of a place.

    Raises:
      ConfigError: no whole number, or not one of a place.
    """
    try:
        place = operator.index(value)
    except TypeError:
        raise ConfigError(field, value, _allowed(decisions)) from None
    if not 0 <= place < len(decisions):
        raise ConfigError(field, value, _allowed(decisions))
    return place


def check_actions(values: Any, count: int, decisions: Sequence[str]) -> np.ndarray:
    """The numbers of ``count`` places, as int32 [count].

    Raises:
      ConfigError: another shape, no whole numbers, or one that is not of a place.
    """
    check_shape(values, count)
    places = np.asarray(values)
    if not np.issubdtype(places.dtype, np.integer):
        raise ConfigError("action", places.dtype.name, f"whole numbers: {_allowed(decisions)}")
    wrong = (places < 0) | (places >= len(decisions))
    if wrong.any():
        first = int(np.argmax(wrong))
        raise ConfigError(f"action[{first}]", int(places[first]), _allowed(decisions))
    return places.astype(np.int32, copy=False)


def check_shape(values: Any, count: int) -> None:
    """Raise unless the shape is [count], whatever the values.

    Raises:
      ConfigError: another shape.
    """
    if np.shape(values) != (count,):
        raise ConfigError("action", list(np.shape(values)), f"an array of shape [{count}]")


def check_seed(seed: Any) -> np.uint32:
    """The lower 32 bits of a seed as Gymnasium and PettingZoo take it.

    Raises:
      ConfigError: no whole number from 0.
    """
    try:
        number = operator.index(seed)
    except TypeError:
        raise ConfigError("seed", seed, "a whole number from 0") from None
    if number < 0:
        raise ConfigError("seed", seed, "a whole number from 0")
    return np.uint32(number % 2**32)


def any_seeds(generator: np.random.Generator, rows: int) -> np.ndarray:
    """Seeds uint32 [rows] for an interface that was given none."""
    return generator.integers(2**32, size=rows, dtype=np.uint32)


def after_the_end() -> ConfigError:
    """What a step says where no episode runs."""
    return ConfigError("step", "a step outside an episode", "call reset first, and after each end of an episode")


def _allowed(decisions: Sequence[str]) -> str:
    return "one of " + ", ".join(f"{number} ({name})" for number, name in enumerate(decisions))
