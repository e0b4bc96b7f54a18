"""One setting of the report: its table, then what the policies did and what came of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from html import escape
from typing import Any

from offjax.evaluation import charts
from offjax.evaluation.charts import DASHES, Axes, Bar, Dot, Line, Parts
from offjax.evaluation.notation import (
    DASH,
    Interval,
    cell,
    decimals_for,
    error_width,
    finite,
    fixed,
    half_width,
    interval,
    joule_unit,
    percent,
    scaled,
)
from offjax.evaluation.page import (
    Margins,
    Texts,
    as_dict,
    as_list,
    block_legend,
    figure,
    folded,
    label_room,
    line_legend,
    section,
    table,
    text_of,
    words,
)

REFERENCES = {
    "exact": "the exact optimum",
    "myopic": "the myopic reference",
    "clairvoyant": "the clairvoyant reference",
}
BEST_RULE = "best_fixed_rule"  # the row of that name, if there is one
PLACE_COLOURS = (0, 1, 2, 5, 7, 3, 6, 4)  # of the palette, by decision
PART_COLOURS = {"wait": 3, "decide": 4, "uplink": 5, "backhaul": 2, "queue": 0, "service": 6, "downlink": 1}
LOSS_COLOURS = {
    "late": 0,
    "no_decision": 3,
    "buffer_full": 4,
    "link_lost": 5,
    "server_lost": 6,
    "result_lost": 1,
    "battery_empty": 7,
}


@dataclass(frozen=True)
class Row:
    """One policy of a setting."""

    name: str
    label: str
    kind: str  # learned | rule | reference
    style: str  # class of the style sheet for its marks
    data: Mapping[str, Any]

    def value(self, field_name: str) -> Interval:
        """Mean and interval of a metric, unknown where it is missing."""
        return interval(self.data.get(field_name))


@dataclass(frozen=True)
class SettingView:
    """One setting, its rows from the highest reward to the lowest."""

    ident: str
    title: str
    data: Mapping[str, Any]
    rows: list[Row]
    decisions: list[str] = field(default_factory=list)

    @property
    def reference(self) -> str:
        """What regret and score are held against, in words."""
        name = words(self.data.get("reference"))
        return REFERENCES.get(name, name or "the reference")

    @property
    def best_learned(self) -> Row | None:
        """The learned policy with the highest reward."""
        return next((row for row in self.rows if row.kind == "learned"), None)

    @property
    def best_rule(self) -> Row | None:
        """The best fixed rule, or the best of all rules where none has that name."""
        rules = [row for row in self.rows if row.kind == "rule"]
        named = [row for row in rules if row.name == BEST_RULE]
        return next(iter(named or rules), None)

    @property
    def main_rows(self) -> list[Row]:
        """The rows that a chart over time has room for: learned, best fixed rule, reference."""
        return [row for row in self.rows if row.kind != "rule" or row is self.best_rule]


def view_setting(
    index: int, data: Mapping[str, Any], decisions: Sequence[str], styles: Mapping[str, str]
) -> SettingView:
    """Sort the rows of a setting and give each its marks; ``styles`` are those of the learned policies."""
    rows, rules = [], 0
    for name, policy in as_dict(data.get("policies")).items():
        policy = as_dict(policy)
        kind = words(policy.get("kind"), "rule")
        style = styles.get(name, "l0") if kind == "learned" else "ref"
        if kind not in ("learned", "reference"):
            style, rules = f"r{rules % DASHES}", rules + 1
        rows.append(Row(str(name), words(policy.get("label"), str(name)), kind, style, policy))
    rows.sort(key=_by_reward)
    title = words(data.get("title"), words(data.get("key"), f"Setting {index + 1}"))
    return SettingView(f"setting-{index + 1}", title, data, rows, [str(name) for name in decisions])


def _by_reward(row: Row) -> tuple[bool, float]:
    reward = row.value("reward").mean
    return reward is None, -(reward or 0.0)


def setting_section(view: SettingView) -> str:
    """The whole section; parts without data are left out."""
    notes = [text_of(view.data.get("description")), text_of(view.data.get("reference_note"))]
    intro = "".join(f"<p>{note}</p>" for note in notes if note)
    grid = "".join(
        part(view)
        for part in (
            regret_figure,
            energy_figure,
            decision_figure,
            latency_figure,
            drop_figure,
            battery_figure,
            reward_figure,
        )
    )
    body = intro + results_table(view) + (f'<div class="grid">{grid}</div>' if grid else "")
    return section(view.ident, view.title, body or "<p>No policy was evaluated in this setting.</p>")


# ------------------------------------------------------------------------------------------------ table


@dataclass(frozen=True)
class Column:
    """A column of the table of results."""

    field: str
    head: str
    unit: str
    factor: float = 1.0


def _columns(rows: Sequence[Row]) -> list[Column]:
    factor, unit = joule_unit([row.value("energy_j") for row in rows])
    columns = [
        Column("reward", "Reward", "per task"),
        Column("regret", "Regret", "per task"),
        Column("score", "Score", "random 0, reference 1"),
        Column("success", "In time", "% of tasks", 100.0),
        Column("energy_j", "Energy", f"{unit} per task", factor),
        Column("latency_s", "Latency", "ms per task", 1e3),
        Column("battery_j", "Battery left", "J per device"),
    ]
    return [column for column in columns if any(row.value(column.field).mean is not None for row in rows)]


def results_table(view: SettingView) -> str:
    """All policies with all metrics, best reward first."""
    if not view.rows:
        return ""
    columns = _columns(view.rows)
    cells = [_column_cells(column, view.rows) for column in columns]
    head = ["Policy"]
    head += [f"{column.head}<small>{escape(column.unit)}</small>" for column in columns]
    rows = [[_row_head(view, row), *(column[index] for column in cells)] for index, row in enumerate(view.rows)]
    caption = f"{view.title}: means ± half widths of 95 % intervals, highest reward first"
    return table(caption, head, rows, [row.kind for row in view.rows])


def _column_cells(column: Column, rows: Sequence[Row]) -> list[str]:
    values = [scaled(row.value(column.field), column.factor) for row in rows]
    decimals = decimals_for(values)
    width = error_width(values, decimals)
    return [cell(value, decimals, width) for value in values]


def _row_head(view: SettingView, row: Row) -> str:
    tag = {"learned": "learned", "reference": "reference"}.get(row.kind, "")
    if row is view.best_rule:
        tag = "best fixed rule" if row.name == BEST_RULE else "best rule"
    badge = f" <em>{tag}</em>" if tag and tag != row.label.lower().split(" (")[0] else ""
    return f"{charts.line_sample(row.style, row.kind)}{escape(row.label)}{badge}"


# -------------------------------------------------------------------------------------------- dot plots


def regret_figure(view: SettingView) -> str:
    """Regret per task on a logarithmic axis."""
    dots = _dots(view, "regret", 1.0)
    ident = f"{view.ident}-regret"
    about = f"Regret per task of each policy against {view.reference} with 95 % intervals, log axis."
    chart = charts.dot_plot(ident, f"Regret, {view.title}", about, dots, "regret per task, log scale", log=True)
    caption = f"Reward missing per task to {view.reference}; further left is better."
    return figure(f"{ident}-figure", "Regret", chart, _dot_margins(dots), Texts(caption))


def energy_figure(view: SettingView) -> str:
    """Energy per task of the devices."""
    factor, unit = joule_unit([row.value("energy_j") for row in view.rows])
    dots = _dots(view, "energy_j", factor)
    ident = f"{view.ident}-energy"
    about = f"Energy that a device draws per task in {unit}, by policy, with 95 % intervals."
    chart = charts.dot_plot(ident, f"Energy per task, {view.title}", about, dots, f"energy per task, {unit}")
    caption = "Mean over all tasks, also those that failed."
    return figure(f"{ident}-figure", "Energy per task", chart, _dot_margins(dots), Texts(caption))


def _dots(view: SettingView, metric: str, factor: float) -> list[Dot]:
    values = [scaled(row.value(metric), factor) for row in view.rows]
    decimals = decimals_for(values)
    dots = []
    for row, value in zip(view.rows, values, strict=True):
        error = "" if value.ci95 is None else f" ± {half_width(value.ci95, decimals)}"
        dots.append(Dot(row.label, row.style, row.kind, value, fixed(value.mean, decimals), error))
    return [dot for dot in dots if dot.value.mean is not None]


def _dot_margins(dots: Sequence[Dot]) -> Margins:
    narrow = label_room((dot.text for dot in dots), least=20)
    wide = round(charts.LETTER * max((len(dot.text + dot.text_interval) for dot in dots), default=0)) + 18
    return Margins(label_room(dot.label for dot in dots), narrow, wide)


# ----------------------------------------------------------------------------------------- stacked bars


def decision_figure(view: SettingView) -> str:
    """Where tasks of each class ran, a panel per class."""
    tasks = list(dict.fromkeys(name for row in view.rows for name in as_dict(row.data.get("decisions"))))
    shares = [_places(row) for row in view.rows]
    count = max((len(places) for row in shares for places in row.values()), default=0)
    names = [*view.decisions[:count], *(f"place {index}" for index in range(len(view.decisions), count))]
    colours = [PLACE_COLOURS[index % len(PLACE_COLOURS)] for index in range(count)]
    parts = Parts(names, colours, _percentage, "% of tasks", 100.0, room=(130, 150))
    panels = "".join(_decision_panel(view, task, index, parts) for index, task in enumerate(tasks))
    if not panels:
        return ""
    caption = "Share of decisions for local, edge and cloud, by task class." if count == 3 else "Share of decisions."
    return (
        f'<div class="wide-figure" id="{view.ident}-decisions-figure" role="group" '
        f'aria-labelledby="{view.ident}-where"><h3 id="{view.ident}-where">Decisions by class</h3>'
        f'{block_legend(names, colours)}<div class="panels">{panels}</div><p class="caption">{caption}</p>'
        f"{_decision_numbers(view, tasks, names)}</div>"
    )


def _places(row: Row) -> dict[str, list[float]]:
    decisions = as_dict(row.data.get("decisions"))
    return {task: [finite(share) or 0.0 for share in as_list(places)] for task, places in decisions.items()}


def _class_name(task: str) -> str:
    return f"Class {task[5:]}" if task.startswith("class") and task[5:].isdigit() else task


def _decision_panel(view: SettingView, task: str, index: int, parts: Parts) -> str:
    bars = [
        Bar(row.label, [100 * share for share in shares]) for row in view.rows if (shares := _places(row).get(task))
    ]
    ident = f"{view.ident}-decisions-{index + 1}"
    title = f"Decisions for {_class_name(task)}, {view.title}"
    about = "Stacked bars: the share of tasks that each policy sends to each place, in per cent."
    chart = charts.bar_chart(ident, title, about, bars, parts)
    margins = Margins(label_room(bar.label for bar in bars))
    return figure(f"{ident}-figure", _class_name(task), chart, margins, Texts(), level=4)


def _decision_numbers(view: SettingView, tasks: Sequence[str], names: Sequence[str]) -> str:
    head = [
        "Policy",
        *(f"{escape(_class_name(task))}<small>{escape(name)}</small>" for task in tasks for name in names),
    ]
    rows = []
    for row in view.rows:
        shares = _places(row)
        cells = [percent(_at(shares.get(task, []), index)) for task in tasks for index in range(len(names))]
        rows.append([escape(row.label), *cells])
    return folded("As numbers", table(f"{view.title}: decisions by class", head, rows))


def _at(values: Sequence[float], index: int) -> float | None:
    return values[index] if index < len(values) else None


def latency_figure(view: SettingView) -> str:
    """Where the time of a task goes."""
    parts = Parts(tuple(PART_COLOURS), tuple(PART_COLOURS.values()), _milliseconds, "latency per task, ms")
    known = {row.name: _amounts(row.data.get("latency_parts_s"), PART_COLOURS, 1e3) for row in view.rows}
    about = "Stacked bars: mean latency of a task by parts in milliseconds, in the order in which they happen."
    caption = "Mean over tasks that ended with a result, in time or late."
    return _stacked(view, ("latency", "Latency by parts"), known, parts, (about, caption))


def drop_figure(view: SettingView) -> str:
    """Why tasks failed."""
    names = [name.replace("_", " ") for name in LOSS_COLOURS]
    parts = Parts(names, tuple(LOSS_COLOURS.values()), _percentage, "% of all tasks")
    known = {}
    for row in view.rows:
        losses = dict(as_dict(row.data.get("drops")))
        if interval(row.data.get("late")).mean is not None:
            losses["late"] = row.data["late"]
        known[row.name] = _amounts(losses, LOSS_COLOURS, 100.0)
    about = "Stacked bars: tasks that ended late or were dropped, by cause, in per cent of all tasks."
    caption = "Tasks that missed their deadline or were dropped; the rest ended in time."
    return _stacked(view, ("drops", "Failed tasks by cause"), known, parts, (about, caption))


def _milliseconds(value: float) -> str:
    return f"{fixed(value, 1 if value >= 10 else 3)} ms"


def _percentage(value: float) -> str:
    return percent(value / 100)


def _amounts(data: Any, names: Mapping[str, int], factor: float) -> list[float]:
    """The parts in the order of ``names``; empty where nothing at all is known."""
    data = as_dict(data)
    values = [interval(data.get(name)).mean for name in names]
    return [] if all(value is None for value in values) else [(value or 0.0) * factor for value in values]


def _stacked(
    view: SettingView,
    heading: tuple[str, str],
    known: Mapping[str, list[float]],
    parts: Parts,
    texts: tuple[str, str],
) -> str:
    """A bar chart of the rows with data, a legend of the parts that occur, and the numbers behind it."""
    name, title = heading
    bars = [
        Bar(row.label, known[row.name], _short_total(parts, known[row.name])) for row in view.rows if known[row.name]
    ]
    occurs = [index for index in range(len(parts.names)) if any(bar.parts[index] > 0 for bar in bars)]
    ident = f"{view.ident}-{name}"
    chart = charts.bar_chart(ident, f"{title}, {view.title}", texts[0], bars, parts)
    legend = block_legend([parts.names[i] for i in occurs], [parts.colours[i] for i in occurs])
    margins = Margins(label_room(bar.label for bar in bars), *[label_room((bar.total for bar in bars), least=20)] * 2)
    numbers = _part_numbers(f"{view.title}: {title.lower()}", bars, occurs, parts)
    return figure(f"{ident}-figure", title, chart, margins, Texts(texts[1], legend, numbers))


def _short_total(parts: Parts, values: Sequence[float]) -> str:
    return parts.show(sum(values)) if values else ""


def _part_numbers(caption: str, bars: Sequence[Bar], occurs: Sequence[int], parts: Parts) -> str:
    head = ["Policy", *(escape(parts.names[index]) for index in occurs), "total"]
    rows = [
        [
            escape(bar.label),
            *(escape(parts.show(bar.parts[index])) for index in occurs),
            escape(bar.total or DASH),
        ]
        for bar in bars
    ]
    return folded("As numbers", table(caption, head, rows))


# -------------------------------------------------------------------------------------------- over time


def battery_figure(view: SettingView) -> str:
    """Charge left over the slots, all policies."""
    lines = [_slot_line(row, "battery_curve", "joules") for row in view.rows]
    about = "Mean battery charge left per device in joules over the slots of an episode, one curve per policy."
    caption = "Mean over devices and seeds."
    axes = Axes("slot", "J per device", windows=outages(view.data))
    return _over_time(view, ("battery", "Battery left"), lines, axes, (about, caption))


def reward_figure(view: SettingView) -> str:
    """Reward over the slots; only the main rows, because curves of all would hide each other."""
    lines = [_slot_line(row, "reward_curve", "reward") for row in view.main_rows]
    about = "Mean reward per device over the slots: learned policies, best fixed rule and reference."
    caption = "Learned policies, best fixed rule and reference; bands are 95 % intervals over seeds."
    axes = Axes("slot", "reward per device", windows=outages(view.data))
    return _over_time(view, ("reward", "Reward over time"), lines, axes, (about, caption))


def outages(data: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """The windows of a setting that have a beginning and an end."""
    windows = []
    for window in map(as_dict, as_list(data.get("windows"))):
        start, stop = finite(window.get("start")), finite(window.get("stop"))
        if start is not None and stop is not None:
            windows.append((words(window.get("label"), "outage"), start, stop))
    return windows


def _slot_line(row: Row, curve: str, values: str) -> Line:
    data = as_dict(row.data.get(curve))
    read: Callable[[str], list[Any]] = partial(_column, data)
    return charts.curve(row.label, row.style, read("slot"), read(values), read("low"), read("high"))


def _column(data: Mapping[str, Any], name: str) -> list[Any]:
    return as_list(data.get(name))


def _over_time(
    view: SettingView, heading: tuple[str, str], lines: Sequence[Line], axes: Axes, texts: tuple[str, str]
) -> str:
    name, title = heading
    ident = f"{view.ident}-{name}"
    chart = charts.line_chart(ident, f"{title}, {view.title}", texts[0], lines, axes)
    return figure(f"{ident}-figure", title, chart, line_margins(lines), Texts(texts[1], line_legend(lines)))


def line_margins(lines: Sequence[Line]) -> Margins:
    """Room for the labels at the ends of curves, on a desk only."""
    return Margins(right_wide=label_room((line.label for line in lines), gap=14))
