"""Pieces of the report's HTML: figures, tables, legends, folded text."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any, NamedTuple

from offjax.evaluation.charts import LETTER, Chart, line_sample, short


class Margins(NamedTuple):
    """Room beside a plot in px: left, right, and right on a desk, where labels are longer."""

    left: int = 52
    right: int = 12
    right_wide: int = 12


class Texts(NamedTuple):
    """What stands below a plot; legend and numbers are ready HTML."""

    caption: str = ""
    legend: str = ""
    numbers: str = ""


def as_dict(value: Any) -> dict[str, Any]:
    """The mapping, or an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """The list, or an empty one for anything else."""
    return list(value) if isinstance(value, list | tuple) else []


def words(value: Any, default: str = "") -> str:
    """The text of a value; ``default`` for nothing, which NaN is too."""
    missing = value in (None, "") or value != value or value == {} or value == []
    return default if missing else str(value)


def text_of(value: Any, default: str = "") -> str:
    """The same for a page, escaped."""
    return escape(words(value, default))


def label_room(labels: Iterable[str], least: int = 52, gap: int = 18) -> int:
    """Px that the margin of a plot needs for labels as :func:`charts.short` cuts them."""
    longest = max((len(short(label)) for label in labels), default=0)
    return max(least, round(LETTER * longest) + gap)


def figure(ident: str, heading: str, chart: Chart | None, margins: Margins, texts: Texts, level: int = 3) -> str:
    """A chart with its heading and texts; nothing where there is no chart."""
    if chart is None:
        return ""
    room = f"--left:{margins.left}px;--right:{margins.right}px;--right-wide:{margins.right_wide}px"
    caption = " ".join(part for part in (texts.caption, chart.note) if part)
    return (
        f'<figure id="{ident}"><h{level}>{escape(heading)}</h{level}>'
        f'<div class="plot" style="{room}">{chart.svg}</div>{texts.legend}'
        + (f"<figcaption>{escape(caption)}</figcaption>" if caption else "")
        + f"{texts.numbers}</figure>"
    )


def line_legend(lines: Sequence[Any]) -> str:
    """Samples of the curves with their names; hidden where the labels at the ends have room."""
    ordered = sorted((line for line in lines if line.points), key=lambda line: -line.points[-1].y)
    items = "".join(f"<li>{line_sample(line.style)}{escape(line.label)}</li>" for line in ordered)
    return f'<ul class="legend of-lines">{items}</ul>'


def block_legend(names: Sequence[str], colours: Sequence[int]) -> str:
    """Blocks of colour with their names, in the order of the segments."""
    pairs = zip(names, colours, strict=False)
    items = "".join(f'<li><i class="k{colour}"></i>{escape(name)}</li>' for name, colour in pairs)
    return f'<ul class="legend">{items}</ul>'


def table(caption: str, head: Sequence[str], rows: Iterable[Sequence[str]], classes: Sequence[str] = ()) -> str:
    """A table of ready HTML cells in a box of its own that scrolls; the first cell heads its row."""
    columns = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = []
    for index, (first, *rest) in enumerate(rows):
        kind = f' class="{classes[index]}"' if classes else ""
        cells = "".join(f"<td>{cell}</td>" for cell in rest)
        body.append(f'<tr{kind}><th scope="row">{first}</th>{cells}</tr>')
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(caption)}"><table>'
        f"<caption><span>{escape(caption)}</span></caption><thead><tr>{columns}</tr></thead>"
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def folded(summary: str, body: str) -> str:
    """Ready HTML behind a line to click."""
    return f"<details><summary>{escape(summary)}</summary>{body}</details>"


def section(ident: str, heading: str, body: str, level: int = 2) -> str:
    """A section that a link can reach; nothing without a body."""
    if not body:
        return ""
    return f'<section id="{ident}"><h{level}>{escape(heading)}</h{level}>{body}</section>'


def definitions(pairs: Iterable[tuple[str, str]]) -> str:
    """Names with their values."""
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{value}</dd></div>" for name, value in pairs)
    return f"<dl>{rows}</dl>" if rows else ""
