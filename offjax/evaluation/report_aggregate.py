"""The report's section over all settings: a small table of the trained algorithms, and their performance profile."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from offjax.evaluation import charts
from offjax.evaluation.charts import Axes, Line
from offjax.evaluation.notation import DASH, Interval, decimals_for, finite, fixed, percent
from offjax.evaluation.page import Texts, as_dict, as_list, figure, line_legend, section, table, words
from offjax.evaluation.report_setting import REFERENCES, line_margins

IDENT = "aggregate"


def aggregate_section(found: Mapping[str, Any], styles: Mapping[str, str]) -> str:
    """The whole section; nothing where there is one algorithm in one setting.

    Args:
        found: from :func:`offjax.evaluation.aggregate.aggregate`.
        styles: of the learned policies, by name.
    """
    algorithms = {str(name): as_dict(row) for name, row in as_dict(found.get("algorithms")).items()}
    if not algorithms or max(len(algorithms), len(as_dict(found.get("references")))) < 2:
        return ""
    body = f"<p>{escape(_intro(found))}</p>{_table(algorithms, as_dict(found.get('improvement')))}"
    return section(IDENT, "Over all settings", body + _profile(found, algorithms, styles))


def _intro(found: Mapping[str, Any]) -> str:
    """What is pooled, and against which references."""
    settings: dict[str, list[str]] = {}
    for setting, reference in as_dict(found.get("references")).items():
        settings.setdefault(words(reference, "an unnamed reference"), []).append(str(setting))
    held = [f"{REFERENCES.get(name, name)} ({', '.join(own)})" for name, own in settings.items()]
    runs = finite(found.get("runs"))
    text = f"Each run is a training seed ({fixed(runs, 0)} of them) with its mean score over the held-out worlds. "
    text += f"Scores are 0 for random decisions and 1 for the reference, which is {'; '.join(held)}."
    if len(held) > 1:
        text += " Scores against different references are pooled here."
    left_out = [str(name) for name in as_list(found.get("left_out"))]
    if left_out:
        text += f" Left out, because random decisions are no worse than the reference: {', '.join(left_out)}."
    return text


def _table(algorithms: Mapping[str, Mapping[str, Any]], improvement: Mapping[str, Any]) -> str:
    names = sorted(algorithms, key=lambda name: -(_parts(algorithms[name].get("iqm"))[0] or 0.0))
    labels = {name: words(algorithms[name].get("label"), name) for name in names}
    head = ["Algorithm", "Interquartile mean<small>of the score</small>", "Optimality gap<small>below 1</small>"]
    columns = [_cells([algorithms[name].get(what) for name in names]) for what in ("iqm", "optimality_gap")]
    if len(names) > 1:
        head += [f"Better than {escape(labels[other])}<small>probability</small>" for other in names]
        columns += [[_chance(as_dict(improvement.get(name)).get(other)) for name in names] for other in names]
    rows = [[escape(labels[name]), *(column[index] for column in columns)] for index, name in enumerate(names)]
    caption = "Trained algorithms over all settings, with 95 % stratified bootstrap intervals over training seeds"
    return table(caption, head, rows)


def _parts(value: Any) -> tuple[float | None, float | None, float | None]:
    value, low, high = (finite(as_dict(value).get(name)) for name in ("value", "low", "high"))
    return value, low, high


def _cells(values: Sequence[Any]) -> list[str]:
    """A column in the decimals that its intervals support."""
    parts = [_parts(value) for value in values]
    halves = [None if low is None or high is None else (high - low) / 2 for _, low, high in parts]
    decimals = decimals_for(Interval(part[0], half) for part, half in zip(parts, halves, strict=True))
    return [_with_ends(*(fixed(number, decimals) for number in part)) for part in parts]


def _chance(value: Any) -> str:
    return _with_ends(*(percent(part, 0) for part in _parts(value)))


def _with_ends(value: str, low: str, high: str) -> str:
    ends = "" if DASH in (low, high) else f'<span class="ci">{escape(low)} to {escape(high)}</span>'
    return f"{escape(value)}{ends}"


def _profile(found: Mapping[str, Any], algorithms: Mapping[str, Mapping[str, Any]], styles: Mapping[str, str]) -> str:
    thresholds = as_list(found.get("thresholds"))
    lines = [_line(name, row, thresholds, styles) for name, row in algorithms.items()]
    title = "Performance profile"
    about = "The share of runs in all settings that score above each threshold, one curve per trained algorithm."
    axes = Axes("score τ", "% of runs above τ")
    chart = charts.line_chart(f"{IDENT}-profile", title, about, lines, axes)
    caption = "Share of runs, in all settings, with a score above τ; bands are 95 % intervals. Higher is better."
    texts = Texts(caption, line_legend(lines))
    drawn = figure(f"{IDENT}-profile-figure", title, chart, line_margins(lines), texts)
    return f'<div class="grid">{drawn}</div>' if drawn else ""


def _line(name: str, row: Mapping[str, Any], thresholds: Sequence[Any], styles: Mapping[str, str]) -> Line:
    profile = as_dict(row.get("profile"))
    shares = [[_percent(part) for part in as_list(profile.get(end))] for end in ("value", "low", "high")]
    return charts.curve(words(row.get("label"), name), styles.get(name, "l0"), thresholds, *shares)


def _percent(share: Any) -> float | None:
    number = finite(share)
    return None if number is None else 100 * number
