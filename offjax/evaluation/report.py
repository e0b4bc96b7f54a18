"""The report of a run: one HTML file that needs nothing but a browser, offline, on a phone or on paper."""

from collections.abc import Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from offjax.evaluation import charts
from offjax.evaluation.charts import Axes, Line
from offjax.evaluation.notation import (
    DASH,
    decimals_for,
    finite,
    fixed,
    percent,
    scientific,
    with_interval,
)
from offjax.evaluation.page import (
    Texts,
    as_dict,
    as_list,
    definitions,
    figure,
    folded,
    line_legend,
    section,
    table,
    text_of,
    words,
)
from offjax.evaluation.report_aggregate import aggregate_section
from offjax.evaluation.report_setting import (
    BEST_RULE,
    Row,
    SettingView,
    line_margins,
    setting_section,
    view_setting,
)
from offjax.runs.folder import write_text

FILE = "report.html"
LEARNED_STYLES = 5  # colours for learned policies in the style sheet
BOARD = (
    ("Copy the bundle to the board", "scp -r policy pi@raspberrypi.local:"),
    (
        "Check it there (Python 3.6 or newer with NumPy)",
        "ssh pi@raspberrypi.local 'cd policy && python3 policy.py --self-test'",
    ),
    (
        "See what it observes and decides",
        "ssh pi@raspberrypi.local 'cd policy && python3 policy.py --info'",
    ),
)


def write_report(folder: Path, report: Mapping[str, Any]) -> Path:
    """Write ``report.html`` into a folder, whole or not at all, and return its path.

    Args:
        folder: an existing folder, as a rule a run folder.
        report: plain data: ``title``, ``subtitle``, ``settings``, ``aggregate``, ``training``, ``export``,
            ``provenance``, ``config_yaml``, ``decision_names``. What is missing or None is left out or shown as a dash.

    Raises:
        MachineError: the file cannot be written.
    """
    path = Path(folder) / FILE
    write_text(path, report_html(report))
    return path


def report_html(report: Mapping[str, Any]) -> str:
    """The page as text."""
    views = _views(report)
    title = text_of(report.get("title"), "offjax report")
    sections = [
        *((view.ident, view.title, setting_section(view)) for view in views),
        ("aggregate", "Over all settings", aggregate_section(as_dict(report.get("aggregate")), _styles(report, views))),
        ("learning", "Learning", learning_section(report, views)),
        ("export", "Export", export_section(report)),
        ("board", "On a board", board_section()),
        ("provenance", "Provenance", provenance_section(report)),
        ("config", "Configuration", config_section(report)),
    ]
    return html_page(title, _header(title, report, views), sections)


def html_page(title: str, header: str, sections: Sequence[tuple[str, str, str]]) -> str:
    """A page as text: ready HTML of its header, then every section (id, title, ready HTML) that is not empty."""
    present = [entry for entry in sections if entry[2]]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{title}</title>'
        f"<style>{_asset('report.css')}</style></head><body>"
        f"{header}{_contents(present)}"
        f"<main>{''.join(body for _, _, body in present)}</main>"
        f"<script>{_asset('report.js')}</script></body></html>\n"
    )


@cache
def _asset(name: str) -> str:
    return files("offjax.evaluation").joinpath(name).read_text(encoding="utf-8")


def _views(report: Mapping[str, Any]) -> list[SettingView]:
    settings = [as_dict(setting) for setting in as_list(report.get("settings"))]
    styles = _learned_styles(report, settings)
    decisions = as_list(report.get("decision_names"))
    return [view_setting(index, setting, decisions, styles) for index, setting in enumerate(settings)]


def _styles(report: Mapping[str, Any], views: Sequence[SettingView]) -> dict[str, str]:
    return _learned_styles(report, [view.data for view in views])


def _learned_styles(report: Mapping[str, Any], settings: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """One style per learned policy, the same in every chart of the page."""
    names = [words(as_dict(entry).get("algorithm")) for entry in as_list(report.get("training"))]
    for setting in settings:
        policies = as_dict(setting.get("policies"))
        names += [name for name, row in policies.items() if as_dict(row).get("kind") == "learned"]
    return {name: f"l{index % LEARNED_STYLES}" for index, name in enumerate(dict.fromkeys(names))}


# ----------------------------------------------------------------------------------------------- top


def _header(title: str, report: Mapping[str, Any], views: Sequence[SettingView]) -> str:
    subtitle = text_of(report.get("subtitle"))
    overview = _overview(views) if len(views) > 1 else ""
    return (
        f"<header><h1>{title}</h1>"
        + (f'<p class="subtitle">{subtitle}</p>' if subtitle else "")
        + f'<p id="headline">{headline(views)}</p>{overview}</header>'
    )


def headline(views: Sequence[SettingView]) -> str:
    """One or two sentences with the facts, as HTML: which policy, regret, score, against what."""
    view = next((view for view in views if view.rows), None)
    if view is None:
        return "This run holds no evaluated policy."
    best, rule = view.best_learned, view.best_rule
    first = best or rule or view.rows[0]
    sentence = f"{_facts(first, view)} in {escape(view.title)}."
    if best is None:
        return sentence
    if rule is not None and rule.value("regret").mean is not None:
        sentence += f" {escape(_rule_name(rule))} has {_regret(rule)}."
    return sentence


def _facts(row: Row, view: SettingView) -> str:
    name = f"<strong>{escape(row.label)}</strong>"
    regret, score = row.value("regret"), row.value("score")
    facts = []
    if regret.mean is not None:
        facts.append(f"a regret of <strong>{_regret(row)}</strong> per task against {escape(view.reference)}")
    if score.mean is not None:
        text = with_interval(score, decimals_for([score]))
        facts.append(f"a score of <strong>{text}</strong> (random play is 0, the reference 1)")
    if not facts:
        reward = row.value("reward")
        facts.append(f"a reward of <strong>{with_interval(reward, decimals_for([reward]))}</strong> per task")
    return f"{name} has {' and '.join(facts)}"


def _regret(row: Row) -> str:
    regret = row.value("regret")
    return with_interval(regret, decimals_for([regret]))


def _rule_name(rule: Row) -> str:
    """The subject of a sentence about the best rule."""
    if rule.name != BEST_RULE:
        return f"The best rule, {rule.label},"
    start, _, places = rule.label.partition(" (")
    return f"The best fixed rule ({places if places and start.lower() == 'best fixed rule' else rule.label + ')'}"


def _overview(views: Sequence[SettingView]) -> str:
    """The best learned policy of every setting in one table."""
    rows = []
    for view in views:
        best, rule = view.best_learned, view.best_rule
        link = f'<a href="#{view.ident}">{escape(view.title)}</a>'
        score = best.value("score") if best else None
        rows.append(
            [
                link,
                escape(best.label) if best else DASH,
                _regret(best) if best else DASH,
                with_interval(score, decimals_for([score])) if score else DASH,
                _regret(rule) if rule else DASH,
                escape(view.reference),
            ]
        )
    head = [
        "Setting",
        "Best learned",
        "Regret<small>per task</small>",
        "Score<small>random 0, reference 1</small>",
    ]
    head += ["Best fixed rule<small>regret per task</small>", "Reference"]
    return table("The best learned policy of each setting", head, rows)


def _contents(sections: Sequence[tuple[str, str, str]]) -> str:
    links = "".join(f'<li><a href="#{ident}">{escape(title)}</a></li>' for ident, title, _ in sections)
    return f'<nav aria-label="Contents"><ul>{links}</ul></nav>'


# ------------------------------------------------------------------------------------------ learning


def learning_section(report: Mapping[str, Any], views: Sequence[SettingView]) -> str:
    """Reward and regret over the slots of training, a pair of charts per setting."""
    by_setting: dict[str, list[dict[str, Any]]] = {}
    for entry in map(as_dict, as_list(report.get("training"))):
        by_setting.setdefault(words(entry.get("setting")), []).append(entry)
    named = {words(view.data.get("key")): view for view in views}
    styles = _styles(report, views)
    body = ""
    for index, (key, entries) in enumerate(by_setting.items()):
        title = named[key].title if key in named else key
        reference = named[key].reference if key in named else "the reference"
        charts_html = _learning_charts(f"learning-{index + 1}", entries, (title, reference), styles)
        if charts_html:
            body += (f"<h3>{escape(title)}</h3>" if title else "") + f'<div class="grid">{charts_html}</div>'
    return section("learning", "Learning", body)


def _learning_charts(
    ident: str, entries: Sequence[Mapping[str, Any]], words: tuple[str, str], styles: Mapping[str, str]
) -> str:
    title, reference = words
    seeds = sorted({int(count) for entry in entries if (count := finite(entry.get("seeds")))})
    seed_text = f" of {' or '.join(map(str, seeds))} training seeds" if seeds else ""
    caption = f"Interquartile mean{seed_text} with 95 % bootstrap intervals."
    html = ""
    for quantity, log in (("reward", False), ("regret", True)):
        lines = [_learning_line(entry, quantity, styles) for entry in entries]
        axes = Axes("slot of training", f"{quantity} per task{', log scale' if log else ''}", log=log)
        about = f"{quantity.capitalize()} per task over the slots of training, with 95 % interval bands."
        heading = "Regret while learning" if log else "Reward while learning"
        chart = charts.line_chart(f"{ident}-{quantity}", f"{heading}, {title}", about, lines, axes)
        note = f"{caption} Held against {reference}." if log else caption
        html += figure(
            f"{ident}-{quantity}-figure",
            heading,
            chart,
            line_margins(lines),
            Texts(note, line_legend(lines)),
            4,
        )
    return html


def _learning_line(entry: Mapping[str, Any], quantity: str, styles: Mapping[str, str]) -> Line:
    values = as_dict(entry.get(quantity))
    name = words(entry.get("algorithm"))
    columns = [as_list(values.get(part)) for part in ("value", "low", "high")]
    label = words(entry.get("label"), name)
    return charts.curve(label, styles.get(name, "l0"), as_list(entry.get("slot")), *columns)


# ------------------------------------------------------------------------------------------- the rest


def export_section(report: Mapping[str, Any]) -> str:
    """Does the bundle decide as JAX does?"""
    entries = as_dict(report.get("export"))
    rows = []
    for name, parity in entries.items():
        parity = as_dict(parity)
        cells = [
            fixed(finite(parity.get("observations")), 0),
            scientific(finite(parity.get("max_abs_diff"))),
            percent(finite(parity.get("decision_agreement")), 2),
        ]
        rows.append([escape(str(name)), *cells])
    if not rows:
        return ""
    head = ["Policy", "Observations", "Largest difference<small>of the outputs</small>", "Same decision"]
    caption = "The exported policy in NumPy against the trained one in JAX"
    return section("export", "Export", table(caption, head, rows))


def board_section() -> str:
    """Three commands from this folder to a decision on a board."""
    items = "".join(f"<li>{escape(what)}<pre><code>{escape(command)}</code></pre></li>" for what, command in BOARD)
    intro = "<p>In the run folder, with the name of your board:</p>"
    return section("board", "On a board", f'{intro}<ol class="commands">{items}</ol>')


def provenance_section(report: Mapping[str, Any]) -> str:
    """Where the numbers come from."""
    pairs = [(str(name), text_of(value, DASH)) for name, value in as_dict(report.get("provenance")).items()]
    return section("provenance", "Provenance", definitions(pairs))


def config_section(report: Mapping[str, Any]) -> str:
    """The whole configuration, folded."""
    config = text_of(report.get("config_yaml"))
    if not config:
        return ""
    code = f'<pre tabindex="0"><code>{config}</code></pre>'
    return section("config", "Configuration", folded("config.yaml", code))
