"""How the report writes numbers: typographic minus, thin thousands, decimals that the interval supports."""

import math
from collections.abc import Iterable
from html import escape
from typing import Any, NamedTuple

DASH = "–"
LIMIT = 1e150  # of what is drawn or printed: sums and differences below it stay finite
MOST_DECIMALS = 6
SMALL = 1e-3  # a column with a mean below it is written in scientific notation
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Interval(NamedTuple):
    """A mean and the half width of its 95 % interval; None where it is unknown."""

    mean: float | None = None
    ci95: float | None = None


def finite(value: Any) -> float | None:
    """The number, or None for everything that is none: missing, text, NaN, infinities."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not -LIMIT < value < LIMIT:  # false for NaN too
        return None
    return 0.0 if abs(value) < 1 / LIMIT else float(value)


def interval(value: Any) -> Interval:
    """From ``{"mean", "ci95"}``, a plain number or nothing."""
    if isinstance(value, dict):
        mean, half = finite(value.get("mean")), finite(value.get("ci95"))
        return Interval(mean, None if half is None or half < 0 else half)
    return Interval(finite(value))


def scaled(value: Interval, factor: float) -> Interval:
    """In another unit."""
    return Interval(*(None if part is None else finite(part * factor) for part in value))


def decimals_for(values: Iterable[Interval]) -> int | None:
    """Decimals for a column: the middle interval keeps one or two digits, else the middle mean three.

    None, which is scientific notation, where a mean is so small that fixed decimals would hide its digits.
    """
    values = list(values)
    errors = sorted(value.ci95 for value in values if value.ci95)
    means = sorted(abs(value.mean) for value in values if value.mean)
    if means and means[0] < SMALL:
        return None
    if errors:
        middle = errors[len(errors) // 2]
        exponent = math.floor(math.log10(middle))
        digits = -exponent if middle >= 3 * 10.0**exponent else 1 - exponent
    elif means:
        digits = 2 - math.floor(math.log10(means[len(means) // 2]))
    else:
        digits = 0
    return min(max(digits, 0), MOST_DECIMALS)


def fixed(value: float | None, decimals: int | None) -> str:
    """With fixed decimals; as a power of ten where that would show nothing or too much, or without decimals."""
    if value is None:
        return DASH
    if decimals is None:
        return scientific(value, 2)
    if abs(value) >= 1e9 or 0 < abs(value) < 0.5 * 10.0**-decimals:
        return scientific(value)
    text = f"{value:,.{decimals}f}".replace(",", "\u2009")
    return text.replace("-", "−")


def half_width(value: float, decimals: int | None) -> str:
    """A half width beside a mean of so many decimals: one digit in scientific notation."""
    return scientific(value, 0) if decimals is None else fixed(value, decimals)


def scientific(value: float | None, decimals: int = 1) -> str:
    """As a mantissa and a power of ten, like 1.2 × 10⁻⁷."""
    if value is None:
        return DASH
    if value == 0:
        return "0"
    mantissa, exponent = f"{value:.{decimals}e}".split("e")
    return f"{mantissa.replace('-', '−')}\u2009×\u200910{superscript(int(exponent))}"


def superscript(exponent: int) -> str:
    """The exponent of a power of ten."""
    return str(exponent).translate(SUPERSCRIPT)


def percent(share: float | None, decimals: int = 1) -> str:
    """A share as per cent; 100 and 0 only where nothing is missing."""
    if share is None:
        return DASH
    while (
        decimals < 4
        and 0 < share < 1
        and fixed(100 * share, decimals)
        in (
            fixed(100, decimals),
            scientific(100 * share),
        )
    ):
        decimals += 1
    return f"{fixed(100 * share, decimals)}\u00a0%"


def with_interval(value: Interval, decimals: int | None, unit: str = "") -> str:
    """``mean ± half width unit`` as plain text."""
    text = fixed(value.mean, decimals)
    if value.mean is not None and value.ci95 is not None:
        text += f"\u00a0±\u00a0{half_width(value.ci95, decimals)}"
    return f"{text}\u00a0{unit}" if unit and value.mean is not None else text


def cell(value: Interval, decimals: int | None, width: int) -> str:
    """The same as HTML, the interval in a box ``width`` digits wide so that the means of a column align."""
    error = "" if value.mean is None or value.ci95 is None else f"±\u2009{half_width(value.ci95, decimals)}"
    box = f'<span class="ci" style="min-width:{width}ch">{escape(error)}</span>' if width else ""
    return f"{escape(fixed(value.mean, decimals))}{box}"


def error_width(values: Iterable[Interval], decimals: int | None) -> int:
    """Digits of the widest interval of a column; 0 without intervals."""
    errors = [value.ci95 for value in values if value.ci95 is not None and value.mean is not None]
    return max((len(half_width(error, decimals)) + 2 for error in errors), default=0)


def joule_unit(values: Iterable[Interval]) -> tuple[float, str]:
    """The factor and name of the unit of energy in which the largest value reads well."""
    largest = max((abs(value.mean) for value in values if value.mean), default=1.0)
    if largest >= 1:
        return 1.0, "J"
    return (1e3, "mJ") if largest >= 1e-3 else (1e6, "µJ")
