"""Values of command-line options, each checked with one line of error."""

from collections.abc import Sequence

from offjax.errors import ConfigError


def whole(field: str, text: str) -> int:
    """A whole number, also written like 1e6.

    Raises:
        ConfigError: it is none.
    """
    try:
        value = float(text)
        if value < 1 or value != int(value):
            raise ValueError
    except (ValueError, OverflowError):
        raise ConfigError(field, text, "whole numbers from 1, like 1000 or 1e6") from None
    return int(value)


def choose(field: str, text: str | None, allowed: Sequence[str]) -> Sequence[str]:
    """Names out of a comma-separated list, all of them without one.

    Raises:
        ConfigError: a name that is not allowed.
    """
    names = allowed if text is None else text.split(",")
    for name in names:
        if name not in allowed:
            raise ConfigError(field, name, f"of {', '.join(allowed)}")
    return names
