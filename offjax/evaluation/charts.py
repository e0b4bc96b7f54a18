"""Charts as inline SVG, no library: every function takes numbers and returns text.

Places across are per cent of the plot and places down are pixels, so that a chart fills any width while its
text keeps its size. Labels hang outside the plot, in margins that the style sheet gives. Colours are classes.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any, NamedTuple

from offjax.evaluation.notation import Interval, finite, fixed, superscript

HEIGHT = 190  # px of a line chart
ROW = 26  # px of a row of a dot plot or bar chart
POINTS = 240  # of a curve; more are averaged
HOVERS = 40  # strips that answer to the pointer
LETTER = 6.4  # px, a letter of 12 px, rather wide
DASHES = 5  # dash patterns in the style sheet
NARROW, WIDE = 140, 270  # px of a plot beside row labels, on a phone and on a desk
PHONE = 250  # px of the plot of a line chart on a phone


class Point(NamedTuple):
    """A point of a curve with the ends of its interval."""

    x: float
    y: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """A curve; ``style`` is a class of the style sheet, as of every mark below."""

    label: str
    style: str
    points: list[Point]


@dataclass(frozen=True)
class Dot:
    """A row of a dot plot; ``kind`` (learned, rule, reference) chooses the marker."""

    label: str
    style: str
    kind: str
    value: Interval
    text: str  # what is written beside it: the mean, and in brackets on a desk the interval
    text_interval: str = ""


@dataclass(frozen=True)
class Bar:
    """A row of stacked shares."""

    label: str
    parts: Sequence[float]
    total: str = ""


class Chart(NamedTuple):
    """A drawn chart; ``note`` says what was clamped or averaged."""

    svg: str
    note: str = ""


@dataclass(frozen=True)
class Scale:
    """From numbers to 0..1; what lies outside is drawn on the edge."""

    low: float
    high: float
    log: bool = False

    def place(self, value: float) -> float:
        """Where the value stands, 0 to 1."""
        if not self.log:
            share = (value - self.low) / (self.high - self.low)
        elif value <= self.low:
            share = 0.0
        else:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        return min(max(share, 0.0), 1.0)

    def ticks(self) -> list[tuple[float, str]]:
        """Round values with their labels."""
        return _log_ticks(self.low, self.high) if self.log else _linear_ticks(self.low, self.high)


def linear_scale(values: Iterable[float], zero: bool = False, snug: bool = False) -> Scale:
    """Spans the values with a little room, from zero if asked; ``snug`` leaves no room."""
    values = [*values, *([0.0] if zero else [])] or [0.0, 1.0]
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high)) or high - low < 1e-140:
        room = 0.5 * max(abs(low), abs(high)) or 0.5
        low, high = low - room, high + room
    room = 0.0 if snug else 0.04 * (high - low)
    return Scale(low if zero and low == 0 else low - room, high if zero and high == 0 else high + room)


def log_scale(values: Iterable[float], ends: Iterable[float] = ()) -> Scale:
    """Spans the positive values and the interval ends up to a decade below them; half a decade at least."""
    values = [value for value in values if value > 0]
    if not values:
        return Scale(0.1, 1.0, log=True)
    inside = [end for end in ends if end > min(values) / 10]
    low, high = min(*values, *inside, values[0]) / 1.4, max(*values, *inside, values[0]) * 1.25
    if high < 3 * low:
        middle = math.sqrt(low) * math.sqrt(high)
        low, high = middle / 2, middle * 2
    return Scale(low, high, log=True)


def _linear_ticks(low: float, high: float) -> list[tuple[float, str]]:
    rough = (high - low) / 4
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(step * power for step in (1, 2, 2.5, 5, 10) if step * power >= rough * 0.999)
    first, last = math.ceil(low / step), math.floor(high / step)
    digits = math.floor(math.log10(step))
    decimals = -digits + (1 if math.isclose(step / 10.0**digits, 2.5) else 0)
    if digits > 6 or decimals > 6:
        return [(index * step, f"{index * step:.3g}".replace("-", "−")) for index in range(first, last + 1)]
    return [(index * step, fixed(index * step, max(decimals, 0))) for index in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
    if last - first >= 2:
        stride = max(1, (last - first) // 5)
        return [(10.0**power, f"10{superscript(power)}") for power in range(first, last + 1, stride)]
    powers = range(first - 1, last + 1)
    steps = (1, 2, 5) if high / low < 30 else (1, 3)
    ticks = [(step * 10.0**power, step, power) for power in powers for step in steps]
    return [(value, _log_label(step, power)) for value, step, power in ticks if low <= value <= high]


def _log_label(step: int, power: int) -> str:
    if -4 <= power <= 4:
        return fixed(step * 10.0**power, max(-power, 0))
    return f"{step}·10{superscript(power)}" if step > 1 else f"10{superscript(power)}"


def curve(label: str, style: str, xs: Any, ys: Any, lows: Any = None, highs: Any = None) -> Line:
    """A line from plain lists; what is not a number is left out, many points become means of neighbours."""
    xs, ys = list(xs or []), list(ys or [])
    lows, highs = list(lows or [None] * len(ys)), list(highs or [None] * len(ys))
    points = []
    for row in zip(xs, ys, lows, highs, strict=False):
        x, y, low, high = (finite(value) for value in row)
        if x is not None and y is not None:
            points.append(Point(x, y, y if low is None else low, y if high is None else high))
    return Line(label, style, _thinned(sorted(points)))


def _thinned(points: list[Point]) -> list[Point]:
    size = math.ceil(len(points) / POINTS)
    if size < 2:
        return points
    bins = [points[start : start + size] for start in range(0, len(points), size)]
    return [Point(*(math.fsum(column) / len(bin_) for column in zip(*bin_, strict=True))) for bin_ in bins]


@dataclass(frozen=True)
class Axes:
    """What a line chart shows and in which units."""

    x_label: str
    y_label: str
    log: bool = False
    windows: Sequence[tuple[str, float, float]] = ()
    show: Callable[[float], str] = field(default=lambda value: f"{value:.4g}".replace("-", "−"))


def line_chart(ident: str, title: str, description: str, lines: Sequence[Line], axes: Axes) -> Chart | None:
    """Curves with interval bands, shaded windows, labels at their ends; None without a single point."""
    lines = [line for line in lines if line.points]
    points = [point for line in lines for point in line.points]
    if not points:
        return None
    across = linear_scale([point.x for point in points], snug=True)
    down = _value_scale(points, axes.log)
    bands = "".join(_band(line, across, down) for line in lines)
    curves = "".join(_polyline(line, across, down) for line in lines)
    inner = (
        f'<svg viewBox="0 0 1000 {HEIGHT}" preserveAspectRatio="none" width="100%" height="{HEIGHT}" '
        f'aria-hidden="true" focusable="false">{bands}{curves}</svg>'
    )
    body = _windows(axes.windows, across) + _y_axis(down, axes.y_label) + _x_axis(across, axes.x_label, HEIGHT, PHONE)
    body += inner + _end_labels(lines, down) + _hovers(lines, across, axes)
    return Chart(svg(ident, title, description, body, HEIGHT), _clamp_note(points, down))


def _value_scale(points: Sequence[Point], log: bool) -> Scale:
    if log:
        return log_scale([point.y for point in points], [end for point in points for end in point[2:]])
    return linear_scale([value for point in points for value in point[1:]])


def _clamp_note(points: Sequence[Point], scale: Scale) -> str:
    if not scale.log or all(min(point.y, point.low) > scale.low for point in points):
        return ""
    return "Values and interval ends at or below zero, or too small for the axis, are drawn on its lower edge."


def _band(line: Line, across: Scale, down: Scale) -> str:
    if all(point.low == point.high for point in line.points):
        return ""
    upper = [_xy(point.x, point.high, across, down) for point in line.points]
    lower = [_xy(point.x, point.low, across, down) for point in reversed(line.points)]
    return f'<polygon class="band {line.style}" points="{" ".join(upper + lower)}"/>'


def _polyline(line: Line, across: Scale, down: Scale) -> str:
    places = [_xy(point.x, point.y, across, down) for point in line.points]
    if len(places) == 1:
        places *= 2  # a round cap makes it a dot
    return f'<polyline class="line {line.style}" points="{" ".join(places)}"/>'


def _xy(x: float, y: float, across: Scale, down: Scale) -> str:
    return f"{1000 * across.place(x):.1f},{HEIGHT * (1 - down.place(y)):.1f}"


def _windows(windows: Sequence[tuple[str, float, float]], across: Scale) -> str:
    spans = [(label, across.place(start), across.place(stop)) for label, start, stop in windows]
    spans = sorted((span for span in spans if span[2] > span[1]), key=lambda span: span[1])
    shown = _roomy([((left + right) / 2, len(label)) for label, left, right in spans], PHONE)
    parts = []
    for (label, left, right), always in zip(spans, shown, strict=True):
        box = f'<rect class="window" x="{100 * left:.2f}%" y="0" width="{100 * (right - left):.2f}%"'
        parts.append(f'{box} height="{HEIGHT}"><title>{escape(label)}</title></rect>')
        style, middle = "window-label" if always else "window-label wide", 50 * (left + right)
        parts.append(f'<text class="{style}" x="{middle:.2f}%" y="-6">{escape(label)}</text>')
    return "".join(parts)


def _y_axis(scale: Scale, label: str) -> str:
    parts = [f'<text class="axis-label" x="-50" y="-22">{escape(label)}</text>']
    for value, text in scale.ticks():
        y = HEIGHT * (1 - scale.place(value))
        parts.append(f'<line class="grid" x1="0" x2="100%" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text class="tick end" x="-7" y="{y + 4:.1f}">{escape(text)}</text>')
    return "".join(parts)


def _x_axis(scale: Scale, label: str, height: float, phone: float) -> str:
    ticks = [(scale.place(value), text) for value, text in scale.ticks()]
    shown = _roomy([(place, len(text)) for place, text in ticks], phone)
    parts = [f'<line class="base" x1="0" x2="100%" y1="{height}" y2="{height}"/>']
    for (place, text), always in zip(ticks, shown, strict=True):
        x, style = 100 * place, "tick mid" if always else "tick mid wide"
        parts.append(f'<line class="base" x1="{x:.2f}%" x2="{x:.2f}%" y1="{height}" y2="{height + 4}"/>')
        parts.append(f'<text class="{style}" x="{x:.2f}%" y="{height + 17}">{escape(text)}</text>')
    parts.append(f'<text class="axis-label end" x="100%" y="{height + 33}">{escape(label)}</text>')
    return "".join(parts)


def _roomy(labels: Sequence[tuple[float, int]], width: float) -> list[bool]:
    """Which of the centred labels (place 0..1, letters) do not touch, from the left, on so many px."""
    free, shown = -math.inf, []
    for place, letters in labels:
        half = LETTER * letters / 2
        shown.append(place * width - half >= free)
        if shown[-1]:
            free = place * width + half + 6
    return shown


def _end_labels(lines: Sequence[Line], scale: Scale) -> str:
    """Names at the right ends, pushed apart where curves end together."""
    ends = sorted(((HEIGHT * (1 - scale.place(line.points[-1].y)), line) for line in lines), key=_first)
    places = spread([y for y, _ in ends], gap=14.0, low=4.0, high=HEIGHT - 2.0)
    parts = []
    for (_, line), y in zip(ends, places, strict=True):
        label = escape(short(line.label))
        parts.append(f'<text class="end-label wide {line.style}" x="100%" dx="8" y="{y + 4:.1f}">{label}</text>')
    return "".join(parts)


def _first(pair: tuple[float, Line]) -> float:
    return pair[0]


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Sorted places moved as little as a sweep down and a sweep up need to keep ``gap`` between them."""
    gap = min(gap, (high - low) / max(len(places) - 1, 1))
    moved: list[float] = []
    for place in places:
        moved.append(max(place, moved[-1] + gap if moved else low))
    limit = high
    for index in reversed(range(len(moved))):
        moved[index] = min(moved[index], limit)
        limit = moved[index] - gap
    return moved


def _hovers(lines: Sequence[Line], across: Scale, axes: Axes) -> str:
    """Strips whose tooltips name every curve's value there."""
    longest = max((line.points for line in lines), key=len)
    stride = math.ceil(len(longest) / HOVERS)
    chosen = longest[:: stride or 1]
    parts = []
    for index, point in enumerate(chosen):
        left = across.place(point.x)
        right = across.place(chosen[index + 1].x) if index + 1 < len(chosen) else 1.0
        rows = [f"{axes.x_label} {point.x:.6g}", *(_value_at(line, point.x, axes) for line in lines)]
        box = f'<rect class="hover" x="{100 * left:.2f}%" y="0" width="{100 * (right - left):.2f}%"'
        parts.append(f'{box} height="{HEIGHT}"><title>{escape(chr(10).join(rows))}</title></rect>')
    return "".join(parts)


def _value_at(line: Line, x: float, axes: Axes) -> str:
    nearest = min(line.points, key=lambda point: abs(point.x - x))
    ends = "" if nearest.low == nearest.high else f" ({axes.show(nearest.low)} to {axes.show(nearest.high)})"
    return f"{line.label}: {axes.show(nearest.y)}{ends}"


def dot_plot(
    ident: str, title: str, description: str, dots: Sequence[Dot], x_label: str, log: bool = False
) -> Chart | None:
    """A row per policy: marker, 95 % whisker, value; None without a single value."""
    dots = [dot for dot in dots if dot.value.mean is not None]
    if not dots:
        return None
    ends = [_ends(dot.value) for dot in dots]
    means = [dot.value.mean or 0.0 for dot in dots]
    if log:
        scale = log_scale(means, [end for pair in ends for end in pair])
    else:
        scale = linear_scale([value for pair in ends for value in pair], zero=True)
    height = ROW * len(dots)
    body = _verticals(scale, height) + _x_axis(scale, x_label, height, NARROW)
    body += "".join(_dot_row(dot, index, scale) for index, dot in enumerate(dots))
    points = [Point(0.0, mean, low, high) for mean, (low, high) in zip(means, ends, strict=True)]
    note = _clamp_note(points, scale).replace("lower edge", "left edge (◂)")
    return Chart(svg(ident, title, description, body, height), note)


def _ends(value: Interval) -> tuple[float, float]:
    mean, half = value.mean or 0.0, value.ci95 or 0.0
    return mean - half, mean + half


def _verticals(scale: Scale, height: float) -> str:
    places = [100 * scale.place(value) for value, _ in scale.ticks()]
    return "".join(f'<line class="grid" x1="{x:.2f}%" x2="{x:.2f}%" y1="0" y2="{height}"/>' for x in places)


def _dot_row(dot: Dot, index: int, scale: Scale) -> str:
    y = ROW * index + ROW // 2
    low, high = (100 * scale.place(end) for end in _ends(dot.value))
    mean = dot.value.mean or 0.0
    x = 100 * scale.place(mean)
    tip = f"<title>{escape(f'{dot.label}: {dot.text}{dot.text_interval}')}</title>"
    clamped = scale.log and mean <= scale.low
    parts = [
        _row_label(dot.label, y, dot.style),
        f'<line class="whisker {dot.style}" x1="{low:.2f}%" x2="{high:.2f}%" y1="{y}" y2="{y}"/>',
        f'<svg x="{x:.2f}%" y="{y}" class="marker {dot.style}" aria-hidden="true">',
        marker("clamped" if clamped else dot.kind) + "</svg>",
        f'<text class="value" x="100%" dx="8" y="{y + 4}">{escape(dot.text)}'
        f'<tspan class="wide muted">{escape(dot.text_interval)}</tspan></text>',
        f'<rect class="hover" x="0" y="{y - ROW // 2}" width="100%" height="{ROW}">{tip}</rect>',
    ]
    return "".join(parts)


def marker(kind: str) -> str:
    """A mark around (0, 0): disc for learned, ring for a rule, diamond for the reference."""
    if kind == "clamped":
        return '<path d="M1,0 L9,-5 L9,5 Z"/>'
    if kind == "reference":
        return '<path d="M-5.5,0 L0,-5.5 L5.5,0 L0,5.5 Z"/>'
    return '<circle r="5"/>' if kind == "learned" else '<circle class="ring" r="4"/>'


def _row_label(label: str, y: float, style: str = "") -> str:
    return f'<text class="row-label end {style}" x="-9" y="{y + 4}">{escape(short(label))}</text>'


def short(label: str, most: int = 20) -> str:
    """A label for a margin: without what stands in brackets, cut where it is still too long."""
    label = label.split(" (")[0]
    return label if len(label) <= most else f"{label[: most - 1]}…"


@dataclass(frozen=True)
class Parts:
    """What the segments of stacked bars mean: names, colours of the palette, and how a value is written."""

    names: Sequence[str]
    colours: Sequence[int]
    show: Callable[[float], str]
    x_label: str
    whole: float | None = None  # the right edge; by default the longest bar
    room: tuple[float, float] = (NARROW, WIDE)  # px of the plot, on a phone and on a desk


def bar_chart(ident: str, title: str, description: str, bars: Sequence[Bar], parts: Parts) -> Chart | None:
    """Stacked bars with the names written into the segments that hold them; None without a bar."""
    if not bars:
        return None
    sums = [math.fsum(max(part, 0.0) for part in bar.parts) for bar in bars]
    scale = Scale(0.0, parts.whole or max(sums) or 1.0)
    height = ROW * len(bars)
    body = _verticals(scale, height) + _x_axis(scale, parts.x_label, height, NARROW)
    body += "".join(_bar_row(bar, index, scale, parts) for index, bar in enumerate(bars))
    return Chart(svg(ident, title, description, body, height))


def _bar_row(bar: Bar, index: int, scale: Scale, parts: Parts) -> str:
    y = ROW * index
    drawn = [_row_label(bar.label, y + ROW // 2)]
    left = 0.0
    for name, colour, value in zip(parts.names, parts.colours, bar.parts, strict=False):
        right = left + max(value, 0.0)
        drawn.append(
            _segment((scale.place(left), scale.place(right)), y, colour, (name, parts.show(value)), parts.room)
        )
        left = right
    drawn.append(f'<text class="value" x="100%" dx="8" y="{y + ROW // 2 + 4}">{escape(bar.total)}</text>')
    return "".join(drawn)


def _segment(
    span: tuple[float, float], y: float, colour: int, texts: tuple[str, str], widths: tuple[float, float]
) -> str:
    left, right = span
    share = right - left
    if share <= 0:
        return ""
    name, value = texts
    box = f'<rect class="segment k{colour}" x="{100 * left:.2f}%" y="{y + 3}" width="{100 * share:.2f}%"'
    parts = [f'{box} height="{ROW - 6}"><title>{escape(f"{name}: {value}")}</title></rect>']
    room = LETTER * len(name) + 6
    if share * max(widths) >= room:
        style = "inside" if share * widths[0] >= room else "inside wide"
        middle = 50 * (left + right)
        parts.append(f'<text class="{style}" x="{middle:.2f}%" y="{y + ROW // 2 + 4}">{escape(name)}</text>')
    return "".join(parts)


def svg(ident: str, title: str, description: str, body: str, height: float) -> str:
    """The frame of a chart, with what a screen reader says of it."""
    return (
        f'<svg role="img" aria-labelledby="{ident}-t {ident}-d" width="100%" height="{height}">'
        f'<title id="{ident}-t">{escape(title)}</title><desc id="{ident}-d">{escape(description)}</desc>'
        f"{body}</svg>"
    )


def line_sample(style: str, kind: str = "") -> str:
    """A piece of a curve for a legend, or a marker for a table."""
    mark = f'<svg x="12" y="6" class="marker {style}">{marker(kind)}</svg>' if kind else ""
    line = "" if kind else f'<polyline class="line {style}" points="0,6 24,6"/>'
    return f'<svg class="sample" width="24" height="12" aria-hidden="true" focusable="false">{line}{mark}</svg>'
