"""What the groups of a configuration are made of: kinds of fields, types of their values, and the record."""

from itertools import pairwise
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag


def whole(default: int, low: int, high: int, what: str) -> Any:
    """A whole number in ``[low, high]``; ``what`` starts with the unit and ends with the meaning."""
    text = f"a whole number from {low:,} to {high:,} {what}"
    return Field(default=default, strict=True, ge=low, le=high, description=text)


def real(default: float, low: float, high: float, what: str) -> Any:
    """A finite number in ``[low, high]``."""
    text = f"a number from {low:g} to {high:g} {what}"
    return Field(default=default, strict=True, ge=low, le=high, description=text)


def positive(default: float, high: float, what: str) -> Any:
    """A finite number in ``(0, high]``."""
    text = f"a number above 0 and up to {high:g} {what}"
    return Field(default=default, strict=True, gt=0.0, le=high, description=text)


def optional(high: float, what: str) -> Any:
    """A finite number in ``(0, high]``, or none."""
    text = f"a number above 0 and up to {high:g} {what}"
    return Field(default=None, strict=True, gt=0.0, le=high, description=text)


def distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    """The values, each of which must appear once."""
    if len(set(values)) < len(values):
        raise ValueError("each entry may appear once")
    return values


def in_order(outages: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """The outages, which must be in order and apart."""
    for start, stop in outages:
        if start >= stop:
            raise ValueError(f"an outage [start, stop] must start before it stops, unlike [{start}, {stop}]")
    for (_, stop), (start, _) in pairwise(outages):
        if start < stop:
            raise ValueError(f"outages must be in order and apart, but one starts at {start} before {stop}")
    return outages


def increasing(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values, each of which must be above the one before."""
    if any(late <= early for early, late in pairwise(values)):
        raise ValueError("the values must rise")
    return values


def rising(changes: tuple[tuple[int, float], ...]) -> tuple[tuple[int, float], ...]:
    """The changes, which must be in order of their slots."""
    for (before, _), (after, _) in pairwise(changes):
        if after <= before:
            raise ValueError(f"changes [slot, value] must be in order of their slots, unlike {before} before {after}")
    return changes


Slot = Annotated[int, Field(strict=True, ge=0, le=10_000_000)]
Cell = Annotated[int, Field(ge=0, le=10_000_000)]
Width = Annotated[int, Field(strict=True, ge=1, le=16_384)]
Outages = Annotated[tuple[tuple[Slot, Slot], ...], AfterValidator(in_order)]
CellOutages = Annotated[
    Annotated[Outages, Tag("all")] | Annotated[dict[Cell, Outages], Tag("cells")],
    Discriminator(lambda value: "cells" if isinstance(value, dict) else "all"),
]
Share = Annotated[float, Field(strict=True, ge=0.0, le=1.0)]
Amount = Annotated[float, Field(strict=True, ge=0.0, le=1e6)]
Shares = Annotated[tuple[tuple[Slot, Share], ...], AfterValidator(rising)]
Amounts = Annotated[tuple[tuple[Slot, Amount], ...], AfterValidator(rising)]
Name = Annotated[str, Field(min_length=1)]

SCENARIOS = (
    "a list of scenario1, scenario2, names of shipped scenarios (like alternating) and paths of scenario "
    "files (YAML), each once"
)
OUTAGES = "a list of [start, stop] pairs of whole slots from 0, in order and apart: {} (start in, stop out)"
CELL_OUTAGES = f"{OUTAGES}, or a group of such lists by cell, counted from 0"
CHANGES = "a list of [slot, value] pairs in order of their slots, values from 0 to {:g}: {} from that slot on"


class Record(BaseModel):
    """A group of keys: frozen, no unknown key, only finite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, validate_default=True)


def switch(value: Any) -> Any:
    """True stands for a group with all defaults, false for none."""
    return {True: {}, False: None}[value] if isinstance(value, bool) else value
