"""The tables of a sweep: a row for every agent, and all learning curves in long form."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from offjax.evaluation.statistics import estimate
from offjax.runs.log import MetricsLog, write_table
from offjax.sweeps.trials import Trial

MEASURES = ("reward", "success", "validation_reward", "validation_regret")
LESS_IS_BETTER = {"validation_regret"}
CURVES = pa.schema(
    [
        pa.field("trial", pa.int32(), nullable=False),
        pa.field("slot", pa.int64(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
    ]
)


def read_curves(folder: Path, units: Sequence[str]) -> pa.Table:
    """Every metric of every trial so far: trial, slot, name, value; sorted, so that no order of work shows."""
    tables = [MetricsLog(folder, unit).read().select(["seed", "slot", "name", "value"]) for unit in units]
    if not tables:
        return CURVES.empty_table()
    table = pa.concat_tables(tables).rename_columns(CURVES.names).cast(CURVES)
    return table.sort_by([("trial", "ascending"), ("slot", "ascending"), ("name", "ascending")])


def make_results(
    trials: Sequence[Trial], curves: pa.Table, units: Mapping[int, str], seconds: Mapping[str, float]
) -> pa.Table:
    """A row for each trial.

    Args:
        trials: all that were trained.
        curves: of :func:`read_curves`.
        units: number of a trial -> unit that trained it.
        seconds: unit -> seconds that it took, shared evenly by its members.
    """
    last = _last_values(curves)
    members = {name: list(units.values()).count(name) for name in set(units.values())}
    rows = {
        "trial": [trial.number for trial in trials],
        "setting": [trial.setting for trial in trials],
        **{path: _column([trial.point[path] for trial in trials]) for path in (trials[0].point if trials else ())},
        "agent": [trial.agent for trial in trials],
        "scenario": [trial.scenario for trial in trials],
        "seed": [trial.seed for trial in trials],
        "unit": [units[trial.number] for trial in trials],
        **{name: pa.array([last.get((t.number, name)) for t in trials], pa.float64()) for name in MEASURES},
        "seconds": [seconds[units[trial.number]] / members[units[trial.number]] for trial in trials],
    }
    return pa.table(rows)


def _column(values: Sequence[Any]) -> pa.Array:
    """Numbers as numbers, texts as texts, mixtures and lists as JSON."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float}:
        return pa.array(values, pa.int64() if kinds == {int} else pa.float64())
    if len(kinds) == 1 and kinds <= {bool, str}:
        return pa.array(values)
    return pa.array([None if value is None else json.dumps(value) for value in values], pa.string())


def _last_values(curves: pa.Table) -> dict[tuple[int, str], float]:
    """Trial and name -> its value at the last slot where it has one; curves are sorted."""
    columns = (curves.column(name).to_pylist() for name in ("trial", "name", "value"))
    return {(trial, name): value for trial, name, value in zip(*columns, strict=True) if name in MEASURES}


def rank(results: pa.Table, measure: str) -> list[dict[str, Any]]:
    """A row for each setting, the best first: its axes, agent and scenario, mean of the measure and 95 % interval."""
    groups: dict[int, list[dict[str, Any]]] = {}
    for row in results.to_pylist():
        groups.setdefault(row["setting"], []).append(row)
    ranked = []
    for setting, rows in groups.items():
        found = estimate(np.asarray([np.nan if row[measure] is None else row[measure] for row in rows]))
        axes = {name: value for name, value in rows[0].items() if "." in name}
        same = {"agent": rows[0]["agent"], "scenario": rows[0]["scenario"], "axes": axes, "seeds": len(rows)}
        ranked.append({"setting": setting, **same, "mean": found.mean, "ci95": found.ci95})
    sign = 1.0 if measure in LESS_IS_BETTER else -1.0
    return sorted(ranked, key=lambda row: (not np.isfinite(row["mean"]), sign * row["mean"], row["setting"]))


def write_tables(folder: Path, results: pa.Table, curves: pa.Table) -> None:
    """``results.parquet`` and ``curves.parquet``, each whole or not at all."""
    write_table(folder / "curves.parquet", curves)
    write_table(folder / "results.parquet", results)
