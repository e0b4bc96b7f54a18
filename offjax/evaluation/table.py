"""The table of a setting, and that of all settings together, for a terminal."""

import math
from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from offjax.evaluation.notation import DASH


def pair(value: Mapping[str, float], scale: float = 1.0, digits: int = 3) -> str:
    """Mean and interval of a quantity, in fixed digits; a dash where there is none."""
    if math.isnan(value["mean"]):
        return DASH
    return f"{value['mean'] * scale:.{digits}f} ±{value['ci95'] * scale:.{digits}f}"


def scientific(value: Mapping[str, float]) -> str:
    """Mean and interval of a quantity that spans decades; a dash where there is none."""
    if math.isnan(value["mean"]):
        return DASH
    return f"{value['mean']:.2e} ±{value['ci95']:.0e}"


def render(title: str, summary: Mapping[str, Any]) -> Group:
    """Tables: what every policy earns, where its time and its tasks go, and both by profile of a mixed fleet.

    Args:
        title: names the setting.
        summary: from :func:`offjax.evaluation.summary.summarise`.
    """
    policies = sorted(summary["policies"].values(), key=lambda row: -row["reward"]["mean"])
    note = Text(f"score and regret against: {summary['reference']} ({summary['reference_note']})", style="dim")
    tables = [_earnings(policies), _whereabouts(policies)]
    tables += [_by_profile(policies)] if "profiles" in policies[0] else []
    return Group(Text(f"\n{title}", style="bold"), note, *tables)


def bounded(value: Mapping[str, float], shape: str = ".4f", scale: float = 1.0) -> str:
    """A statistic and the ends of its interval as ``shape`` formats them; no interval where there is none."""
    middle, low, high = (f"{value[name] * scale:{shape}}" for name in ("value", "low", "high"))
    return middle if math.isnan(value["low"]) else f"{middle} [{low}, {high}]"


def render_aggregate(found: Mapping[str, Any]) -> Group:
    """Table of the trained algorithms over all settings, highest interquartile mean first.

    Args:
        found: from :func:`offjax.evaluation.aggregate.aggregate`, not empty.
    """
    rows = sorted(found["algorithms"].items(), key=lambda item: -item[1]["iqm"]["value"])
    held = ", ".join(sorted(set(found["references"].values())))
    note = f"scores against: {held}; {found['runs']} runs in each of {len(found['references'])} settings; "
    note += "95 % stratified bootstrap intervals"
    table = Table(box=None, pad_edge=False, header_style="dim")
    heads = ["interquartile mean", "optimality gap"]
    heads += [f"P(better than {row['label']}) %" for _, row in rows] if len(rows) > 1 else []
    table.add_column("algorithm", no_wrap=True)
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for name, row in rows:
        chances = found["improvement"][name]
        others = [bounded(chances[other], ".0f", 100) if other in chances else DASH for other, _ in rows]
        cells = (bounded(row["iqm"]), bounded(row["optimality_gap"], ".1e"), *(others if len(rows) > 1 else ()))
        table.add_row(row["label"], *cells, style=_style({"kind": "learned"}))
    left_out = f"; left out: {', '.join(found['left_out'])}" if found["left_out"] else ""
    return Group(Text("\nover all settings", style="bold"), Text(note + left_out, style="dim"), table)


def _style(row: Mapping[str, Any]) -> str:
    return {"learned": "bold green", "reference": "cyan"}.get(row["kind"], "")


def _earnings(policies: list[Mapping[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("policy", no_wrap=True)
    heads = ("reward/task", "regret/task", "score", "success %", "energy mJ", "latency ms", "battery J")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for row in policies:
        table.add_row(
            row["label"],
            scientific(row["reward"]),
            scientific(row["regret"]),
            pair(row["score"], digits=4),
            pair(row["success"], 100, 3),
            pair(row["energy_j"], 1e3, 1),
            pair(row["latency_s"], 1e3, 2),
            pair(row["battery_j"], digits=0),
            style=_style(row),
        )
    return table


def _whereabouts(policies: list[Mapping[str, Any]]) -> Table:
    """Latency parts in ms and ends in %, without the columns that are zero for everybody."""
    parts = [name for name in policies[0]["latency_parts_s"] if _any(policies, "latency_parts_s", name)]
    causes = [name for name in policies[0]["drops"] if _any(policies, "drops", name)]
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("policy", no_wrap=True)
    for head in [f"{part} ms" for part in parts] + ["late %"] + [f"{c.replace('_', ' ')} %" for c in causes]:
        table.add_column(head, justify="right", no_wrap=True)
    for row in policies:
        times = [pair(row["latency_parts_s"][part], 1e3, 2) for part in parts]
        ends = [pair(row["late"], 100), *(pair(row["drops"][cause], 100) for cause in causes)]
        table.add_row(row["label"], *times, *ends, style=_style(row))
    return table


def _by_profile(policies: list[Mapping[str, Any]]) -> Table:
    """A row for every policy and kind of device."""
    rows = [(policy, name, own) for policy in policies for name, own in policy["profiles"].items()]
    numbers = [own for _, _, own in rows]
    causes = [name for name in numbers[0]["drops"] if _any(numbers, "drops", name)]
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("policy", no_wrap=True)
    table.add_column("profile", no_wrap=True)
    heads = ["reward/task", "success %", "energy mJ", "latency ms", "battery J", "late %"]
    for head in heads + [f"{cause.replace('_', ' ')} %" for cause in causes]:
        table.add_column(head, justify="right", no_wrap=True)
    for policy, name, own in rows:
        table.add_row(
            policy["label"],
            name,
            scientific(own["reward"]),
            pair(own["success"], 100, 1),
            pair(own["energy_j"], 1e3, 1),
            pair(own["latency_s"], 1e3, 2),
            pair(own["battery_j"], digits=0),
            *(pair(share, 100, 1) for share in (own["late"], *(own["drops"][cause] for cause in causes))),
            style=_style(policy),
        )
    return table


def _any(policies: list[Mapping[str, Any]], group: str, name: str) -> bool:
    return any(row[group][name]["mean"] > 0 for row in policies)
