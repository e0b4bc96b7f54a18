"""A sweep from its configuration to its tables, in one process or on many; resumable at any moment."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from offjax.config import SweepConfig, config_hash, load_sweep, to_yaml
from offjax.errors import ConfigError
from offjax.learning.sweep import choose_chunk, differ, group, make_unit, slices
from offjax.runs.folder import RunFolder, alone, create_run, open_run, write_json
from offjax.runs.progress import ProgressReport
from offjax.runs.provenance import collect_provenance
from offjax.sweeps import search
from offjax.sweeps.page import setting_name, write_page
from offjax.sweeps.parts import Batch, Done, Part, finished_file, train_part
from offjax.sweeps.results import make_results, rank, read_curves, write_tables
from offjax.sweeps.search import Point
from offjax.sweeps.trials import Trial, make_trials

PRINTED = 10  # settings


class Engine(Protocol):
    """Where parts are trained."""

    workers: int

    def train(self, sweep: SweepConfig, run: Path, batch: Batch, parts: Sequence[Part], done: Done) -> None:
        """Train all parts to their ends."""


class Local:
    """This process, one part after the other."""

    workers = 1

    def train(self, sweep: SweepConfig, run: Path, batch: Batch, parts: Sequence[Part], done: Done) -> None:
        """See :class:`Engine`."""
        for part in parts:
            train_part(run, batch, part, done)


# ---------------------------------------------------------------------------------------------- run


def sweep_run(config: SweepConfig, out: Path | str, engine: Engine | None = None) -> RunFolder:
    """Train every agent of a sweep, and write its tables and its page.

    Args:
        config: the whole sweep.
        out: a new folder.
        engine: where; this process if not given.

    Raises:
        ConfigError: ``out`` is not empty, or a world makes no sense.
        MachineError: the disk refuses.
    """
    if config.search is None:  # before anything is written: what cannot be built leaves no folder
        make_trials(config, config.grid())
    else:
        search.require_optuna()
    run = create_run(out, to_yaml(config), collect_provenance())
    return _carry_out(config, run, engine or Local())


def resume_sweep(folder: Path | str, engine: Engine | None = None) -> RunFolder:
    """Continue a sweep from its newest checkpoints; a finished one is left as it is."""
    run = open_run(folder)
    if run.summary.is_file():
        Console(stderr=True).print(f"{run.path} is finished; its results are in {run.summary}")
        return run
    return _carry_out(load_sweep(run.config), run, engine or Local())


def _carry_out(config: SweepConfig, run: RunFolder, engine: Engine) -> RunFolder:
    with alone(run):
        return _train_all(config, run, engine)


def _train_all(config: SweepConfig, run: RunFolder, engine: Engine) -> RunFolder:
    trials, parts, tried = list[Trial](), list[Part](), list[tuple[Point, float]]()
    sizes = [0] if config.search is None else search.batch_sizes(config)
    for number, size in enumerate(sizes):
        points = list(config.grid()) if config.search is None else _proposed(config, run.path, number, size, tried)
        batch = Batch(points, make_trials(config, points, len(trials)))
        own = _parts(config, run.path, number, batch, engine.workers)
        _train(config, run.path, batch, own, engine)
        trials, parts = [*trials, *batch.trials], parts + own
        results, curves = _tables(run.path, trials, parts)
        ranking = rank(results, config.ranked_by)
        tried += search.reached([row for row in ranking if row["setting"] >= batch.start], points)
    summary = _summary(config, ranking, results, parts)
    write_page(run, summary, results, curves)
    write_json(run.summary, summary)  # last: its presence says that the sweep is finished
    _print(run, summary)
    return run


def _proposed(
    config: SweepConfig, run: Path, number: int, size: int, tried: Sequence[tuple[Point, float]]
) -> list[Point]:
    """The settings of a batch of a search: those that were trained before it was interrupted, else new ones."""
    known = _read_batch(config, run, number)
    return search.propose(config, tried, number, size) if known is None else known["points"]


def _parts(config: SweepConfig, run: Path, number: int, batch: Batch, workers: int) -> list[Part]:
    """Who is trained with whom: as it was laid out before, so that a resumed sweep computes the same bits."""
    known = _read_batch(config, run, number)
    if known is None:
        parts = _lay_out(config, number, batch, workers)
        path = _batch_file(run, number)
        path.parent.mkdir(exist_ok=True)
        rows = [part.to_dict() for part in parts]
        points = batch.points if config.search else []
        write_json(path, {"config": config_hash(config), "points": points, "parts": rows})
        return parts
    return [Part.from_dict(row) for row in known["parts"]]


def _batch_file(run: Path, number: int) -> Path:
    return run / "parts" / f"{number:03d}.json"


def _read_batch(config: SweepConfig, run: Path, number: int) -> dict[str, Any] | None:
    """What was laid out before, if anything.

    Raises:
        ConfigError: it was laid out for something else; what is on disk stays as it is.
    """
    path = _batch_file(run, number)
    if not path.is_file():
        return None
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        mark = known["config"]
    except (ValueError, TypeError, KeyError):
        raise ConfigError("RUN", str(run), f"{path.name} is damaged, or of another version of offjax") from None
    if mark != config_hash(config):
        raise ConfigError("RUN", str(run), "its config.yaml, or offjax itself, has changed since it was started")
    return known


def _lay_out(config: SweepConfig, number: int, batch: Batch, workers: int) -> list[Part]:
    groups = group([trial.member for trial in batch.trials])
    parts = []
    for index, members in enumerate(groups):
        own, name = differ(members), f"{number:03d}-{index:03d}"
        chunk = min(config.chunk, len(members)) or choose_chunk(make_unit(name, members, 1, own))
        for place, run_of in enumerate(slices(members, chunk, -(-workers // len(groups)))):
            numbers = tuple(member.number for member in run_of)
            parts.append(Part(f"{name}-{place:02d}", numbers, chunk, own))
    return parts


def _train(config: SweepConfig, run: Path, batch: Batch, parts: Sequence[Part], engine: Engine) -> None:
    todo = [part for part in parts if not finished_file(run, part.name).is_file()]
    rounds = {part.name: batch.members(part)[0].member.rounds for part in parts}
    done = sum(rounds[part.name] for part in parts if part not in todo)
    with ProgressReport(f"sweep {len(batch.trials)} agents", sum(rounds.values()), done) as progress:
        engine.train(config, run, batch, todo, progress.advance)


def _tables(run: Path, trials: Sequence[Trial], parts: Sequence[Part]) -> tuple[pa.Table, pa.Table]:
    """Results and curves of the trials so far, written."""
    curves = read_curves(run, [part.name for part in parts])
    units = {number: part.name for part in parts for number in part.trials}
    files = {part.name: finished_file(run, part.name) for part in parts}
    seconds = {name: json.loads(file.read_text(encoding="utf-8"))["seconds"] for name, file in files.items()}
    results = make_results(trials, curves, units, seconds)
    write_tables(run, results, curves)
    return results, curves


def _summary(
    config: SweepConfig, ranking: Sequence[Mapping[str, Any]], results: pa.Table, parts: Sequence[Part]
) -> dict[str, Any]:
    """What is best, and every setting behind it."""
    return {
        "config": config_hash(config),
        "trials": results.num_rows,
        "measure": config.ranked_by,
        "best": ranking[0],
        "ranking": ranking,
        "parts": [{"name": part.name, "trials": len(part.trials), "chunk": part.chunk} for part in parts],
    }


def _print(run: RunFolder, summary: Mapping[str, Any]) -> None:
    console = Console()
    shown = Table("rank", "setting", "seeds", summary["measure"].replace("_", " "), title=f"Best of {run.path.name}")
    for place, row in enumerate(summary["ranking"][:PRINTED]):
        value = f"{row['mean']:.4g} ± {row['ci95']:.2g}" if row["seeds"] > 1 else f"{row['mean']:.4g}"
        shown.add_row(str(place + 1), setting_name(row), str(row["seeds"]), value)
    (console if console.is_terminal else Console(width=200)).print(shown)
    console.print(f"\nreport: {run.report}\ntable of all agents: {run.path / 'results.parquet'}", soft_wrap=True)
