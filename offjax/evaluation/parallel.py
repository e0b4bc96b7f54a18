"""Parallel coordinates as inline SVG: a vertical axis for each column, a line across them for each row."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from offjax.evaluation.charts import HEIGHT, Chart, Scale, linear_scale, svg
from offjax.evaluation.notation import finite

LOG_FROM = 20.0  # times: a column of positive numbers that spans more is drawn on a log scale
FRONT = 0.1  # share of the rows that is drawn in colour, the first ones
MOST_ROWS = 2000  # that are drawn


@dataclass(frozen=True)
class Column:
    """One axis: the values of all rows, the first row being the best."""

    label: str
    values: Sequence[Any]

    def places(self) -> list[float | None]:
        """Where each value stands, 0 to 1; none where there is none."""
        numbers = [None if isinstance(value, bool) else finite(value) for value in self.values]
        if any(number is None and value is not None for number, value in zip(numbers, self.values, strict=True)):
            names = self._names()
            step = max(len(names) - 1, 1)
            return [None if value is None else names.index(str(value)) / step for value in self.values]
        scale = self._scale([number for number in numbers if number is not None])
        return [None if number is None else scale.place(number) for number in numbers]

    def ends(self) -> tuple[str, str]:
        """What stands at the lower and the upper end."""
        known = [value for value in self.values if value is not None]
        if not known:
            return "", ""
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in known):
            return f"{min(known):.3g}", f"{max(known):.3g}"
        names = self._names()
        return names[0], names[-1] if len(names) > 1 else ""

    def _names(self) -> list[str]:
        return list(dict.fromkeys(sorted(str(value) for value in self.values if value is not None)))

    @staticmethod
    def _scale(numbers: Sequence[float]) -> Scale:
        if numbers and min(numbers) > 0 and max(numbers) > LOG_FROM * min(numbers):
            return Scale(min(numbers), max(numbers), log=True)
        return linear_scale(numbers, snug=True)


def parallel_chart(ident: str, title: str, description: str, columns: Sequence[Column]) -> Chart | None:
    """A line for each row, the best tenth in colour and on top; None with fewer than two columns or no row."""
    rows = min(len(columns[0].values), MOST_ROWS) if columns else 0
    if len(columns) < 2 or not rows:
        return None
    places = [column.places() for column in columns]
    front = max(1, math.ceil(FRONT * rows))
    across = [1000 * index / (len(columns) - 1) for index in range(len(columns))]
    lines = "".join(_row([own[row] for own in places], across, row < front) for row in reversed(range(rows)))
    inner = (
        f'<svg viewBox="0 0 1000 {HEIGHT}" preserveAspectRatio="none" width="100%" height="{HEIGHT}" '
        f'aria-hidden="true" focusable="false">{lines}</svg>'
    )
    body = inner + "".join(_axis(column, x / 10) for column, x in zip(columns, across, strict=True))
    left_out = len(columns[0].values) - rows
    return Chart(svg(ident, title, description, body, HEIGHT), f"{left_out:,} more are not drawn." if left_out else "")


def _row(places: Sequence[float | None], across: Sequence[float], front: bool) -> str:
    points = [f"{x:.1f},{HEIGHT * (1 - y):.1f}" for x, y in zip(across, places, strict=True) if y is not None]
    look = 'class="line l0"' if front else 'class="line r0" style="opacity:0.35"'
    return f'<polyline {look} points="{" ".join(points)}"/>' if len(points) > 1 else ""


def _axis(column: Column, x: float) -> str:
    low, high = column.ends()
    anchor = "" if x < 1 else " end" if x > 99 else " mid"
    return (
        f'<line class="base" x1="{x:.2f}%" x2="{x:.2f}%" y1="0" y2="{HEIGHT}"/>'
        f'<text class="axis-label{anchor}" x="{x:.2f}%" y="-22">{escape(column.label)}</text>'
        f'<text class="tick{anchor}" x="{x:.2f}%" y="-6">{escape(high)}</text>'
        f'<text class="tick{anchor}" x="{x:.2f}%" y="{HEIGHT + 15}">{escape(low)}</text>'
    )
