"""The page of a sweep: who is best, how they learnt, and how it hangs on the settings."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from offjax.evaluation.charts import Axes, Line, curve, line_chart
from offjax.evaluation.notation import DASH, Interval, decimals_for, with_interval
from offjax.evaluation.page import Margins, Texts, definitions, figure, folded, line_legend, section, table
from offjax.evaluation.parallel import Column, parallel_chart
from offjax.evaluation.report import html_page
from offjax.evaluation.statistics import estimate
from offjax.runs.folder import RunFolder, write_text
from offjax.sweeps.results import LESS_IS_BETTER

SHOWN_CURVES = 4  # settings with a learning curve, as many as the style sheet has colours
SHOWN_ROWS = 50  # settings in the table


def write_page(run: RunFolder, summary: Mapping[str, Any], results: pa.Table, curves: pa.Table) -> None:
    """Write ``report.html`` of a sweep.

    Args:
        run: its folder.
        summary: what ``summary.json`` will hold.
        results: a row for each trial.
        curves: all metrics.
    """
    title = f"Sweep {run.path.name}"
    ranking = summary["ranking"]
    sections = [
        ("ranking", "Ranking", section("ranking", "Ranking", _ranking(ranking, summary["measure"]))),
        ("settings", "Settings", section("settings", "Settings", _parallel(ranking, summary["measure"]))),
        ("learning", "Learning", section("learning", "Learning", _learning(ranking, summary, results, curves))),
        ("provenance", "Provenance", section("provenance", "Provenance", _provenance(run, summary))),
        ("config", "Configuration", section("config", "Configuration", _config(run))),
    ]
    write_text(run.report, html_page(escape(title), _header(title, summary), sections))


def setting_name(row: Mapping[str, Any]) -> str:
    """A setting in words: the last part of each axis with its value."""
    axes = [f"{path.split('.')[-1]} {_number(value)}" for path, value in row["axes"].items() if value is not None]
    return ", ".join([row["agent"], *axes, row["scenario"]])


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _header(title: str, summary: Mapping[str, Any]) -> str:
    best = summary["ranking"][0]
    found = _interval(best)
    return (
        f"<header><h1>{escape(title)}</h1>"
        f'<p class="subtitle">{summary["trials"]:,} agents at {len(summary["ranking"]):,} settings</p>'
        f'<p id="headline">Best: <strong>{escape(setting_name(best))}</strong> with a {escape(_words(summary))} of '
        f"<strong>{with_interval(found, decimals_for([found]))}</strong> "
        f"(mean and 95 % interval over {best['seeds']} seeds).</p></header>"
    )


def _words(summary: Mapping[str, Any]) -> str:
    return summary["measure"].replace("_", " ")


def _interval(row: Mapping[str, Any]) -> Interval:
    ci95 = row["ci95"]
    return Interval(row["mean"], None if ci95 is None or not np.isfinite(ci95) else ci95)


def _ranking(ranking: Sequence[Mapping[str, Any]], measure: str) -> str:
    axes = list(ranking[0]["axes"])
    shown = ranking[:SHOWN_ROWS]
    decimals = decimals_for([_interval(row) for row in shown])
    rows = [
        [
            str(place + 1),
            escape(row["agent"]),
            escape(row["scenario"]),
            *(DASH if row["axes"][path] is None else escape(_number(row["axes"][path])) for path in axes),
            str(row["seeds"]),
            with_interval(_interval(row), decimals),
        ]
        for place, row in enumerate(shown)
    ]
    head = ["Rank", "Agent", "Scenario", *(escape(path) for path in axes), "Seeds", escape(measure.replace("_", " "))]
    which = f"The best {len(shown)} of {len(ranking)} settings" if len(shown) < len(ranking) else "All settings"
    less = ", less is better" if measure in LESS_IS_BETTER else ""
    return table(f"{which}: mean and 95 % interval over seeds{less}", head, rows)


def _parallel(ranking: Sequence[Mapping[str, Any]], measure: str) -> str:
    axes = list(ranking[0]["axes"])
    columns = [Column(path, [row["axes"][path] for row in ranking]) for path in axes]
    for name in ("agent", "scenario"):
        if len({row[name] for row in ranking}) > 1:
            columns.insert(0, Column(name, [row[name] for row in ranking]))
    columns.append(Column(measure.replace("_", " "), [row["mean"] for row in ranking]))
    chart = parallel_chart("parallel", "Settings and what they reach", "One line for each setting.", columns)
    texts = Texts(
        "A line for each setting; the best tenth is in colour. Columns that span a factor of 20 are logarithmic."
    )
    return figure("parallel-figure", "Parallel coordinates", chart, Margins(24, 24, 24), texts)


def _learning(
    ranking: Sequence[Mapping[str, Any]], summary: Mapping[str, Any], results: pa.Table, curves: pa.Table
) -> str:
    measure = summary["measure"]
    of_setting: dict[int, list[int]] = {}
    for row in results.select(["setting", "trial"]).to_pylist():
        of_setting.setdefault(row["setting"], []).append(row["trial"])
    own = curves.filter(pc.equal(curves["name"], measure))
    lines = [
        _band(f"{index + 1}: {setting_name(row)}", f"l{index}", own, of_setting[row["setting"]])
        for index, row in enumerate(ranking[:SHOWN_CURVES])
    ]
    axes = Axes("slots", measure.replace("_", " "))
    chart = line_chart("curves", "Learning curves", "Mean over seeds and 95 % interval.", lines, axes)
    texts = Texts("Mean over seeds, 95 % interval shaded.", legend=line_legend(lines))
    return figure("curves-figure", "The best settings", chart, Margins(52, 12, 150), texts)


def _band(label: str, style: str, curves: pa.Table, trials: Sequence[int]) -> Line:
    """Mean and interval of the trials of a setting at every slot."""
    own = curves.filter(pc.is_in(curves["trial"], pa.array(trials, curves["trial"].type)))
    slots, values = np.asarray(own["slot"]), np.asarray(own["value"])
    points = [int(slot) for slot in np.unique(slots)]
    found = [estimate(values[slots == slot]) for slot in points]
    half = [0.0 if np.isnan(entry.ci95) else entry.ci95 for entry in found]
    means = [entry.mean for entry in found]
    lows = [mean - width for mean, width in zip(means, half, strict=True)]
    highs = [mean + width for mean, width in zip(means, half, strict=True)]
    return curve(label, style, points, means, lows, highs)


def _provenance(run: RunFolder, summary: Mapping[str, Any]) -> str:
    known = json.loads(run.provenance.read_text(encoding="utf-8"))
    backend = known.get("backend") or {}
    versions = (f"{name} {version}" for name, version in known.get("versions", {}).items())
    pairs = {
        "started": str(known.get("started")),
        "versions": ", ".join(versions),
        "commit": str((known.get("git") or {}).get("commit", "not in a checkout")),
        "backend": f"{backend.get('name')}, {backend.get('processor') or backend.get('device')}",
        "programs": ", ".join(f"{part['name']}: {part['chunk']} at once" for part in summary["parts"]),
        "config": summary["config"],
    }
    return definitions((name, escape(value)) for name, value in pairs.items())


def _config(run: RunFolder) -> str:
    code = escape(run.config.read_text(encoding="utf-8"))
    return folded("config.yaml", f'<pre tabindex="0"><code>{code}</code></pre>')
