"""A sweep from its configuration to its tables, in one process or on many; resumable at any moment."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from offjax.config import SweepConfig, config_hash, load_sweep, to_yaml
from offjax.learning.sweep import choose_chunk, differ, group, make_unit, slices
from offjax.learning.unit import train_unit
from offjax.runs.folder import RunFolder, create_run, open_run, write_json
from offjax.runs.progress import ProgressReport
from offjax.runs.provenance import collect_provenance
from offjax.sweeps.page import setting_name, write_page
from offjax.sweeps.results import make_results, rank, read_curves, write_tables
from offjax.sweeps.trials import Trial, make_trials, make_validator

PRINTED = 10  # settings
Done = Callable[[int, str], None]  # device-steps of a round that has ended, and what to show beside


@dataclass(frozen=True)
class Part:
    """Some trials that one program trains: what a worker is given."""

    name: str
    trials: tuple[int, ...]
    chunk: int
    own_problems: bool

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "trials": list(self.trials),
            "chunk": self.chunk,
            "own_problems": self.own_problems,
        }


class Engine(Protocol):
    """Where parts are trained."""

    workers: int

    def train(self, sweep: SweepConfig, run: Path, trials: Sequence[Trial], parts: Sequence[Part], done: Done) -> None:
        """Train all parts to their ends; each is marked by :func:`mark_finished`."""


class Local:
    """This process, one part after the other."""

    workers = 1

    def train(self, sweep: SweepConfig, run: Path, trials: Sequence[Trial], parts: Sequence[Part], done: Done) -> None:
        """See :class:`Engine`."""
        for part in parts:
            train_part(run, trials, part, done)


def train_part(run: Path, trials: Sequence[Trial], part: Part, done: Done) -> None:
    """Train a part to its end, from its newest checkpoint if it has one."""
    start = time.perf_counter()
    own = [trials[number - trials[0].number] for number in part.trials]
    unit = make_unit(part.name, [trial.member for trial in own], part.chunk, part.own_problems)

    def report(round_: int, metrics: Mapping[str, float]) -> None:
        shown = (f"{name} {metrics[name]:.4g}" for name in ("reward", "validation_regret") if name in metrics)
        done(unit.round_steps, "  ".join(shown))

    train_unit(unit, run, make_validator(own, unit), report)
    mark_finished(run, part, time.perf_counter() - start)


def mark_finished(run: Path, part: Part, seconds: float) -> None:
    """Say that a part has come to its end, and how long the process took that brought it there."""
    (run / "finished").mkdir(exist_ok=True)
    write_json(run / "finished" / f"{part.name}.json", {"seconds": seconds})


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
    if config.search is None:
        make_trials(config, config.grid())  # before anything is written: what cannot be built leaves no folder
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
    trials, parts = list[Trial](), list[Part]()
    for batch, points in enumerate(_batches(config, run.path, trials)):
        own = make_trials(config, points, len(trials))
        laid_out = _parts(config, run.path, batch, own, engine.workers)
        trials, parts = trials + own, parts + laid_out
        _train(config, run.path, own, laid_out, engine)
        results, curves = _tables(run.path, trials, parts)
    summary = _summary(config, results, parts)
    write_page(run, summary, results, curves)
    write_json(run.summary, summary)  # last: its presence says that the sweep is finished
    _print(run, summary)
    return run


def _batches(config: SweepConfig, run: Path, trials: Sequence[Trial]) -> Iterator[list[dict[str, Any]]]:
    """Settings, all at once."""
    yield list(config.grid())


def _parts(config: SweepConfig, run: Path, batch: int, trials: Sequence[Trial], workers: int) -> list[Part]:
    """Who is trained with whom: as it was laid out before, so that a resumed sweep computes the same bits."""
    path = run / "parts" / f"{batch:03d}.json"
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        write_json(path, [part.to_dict() for part in _lay_out(config, batch, trials, workers)])
    rows = json.loads(path.read_text(encoding="utf-8"))
    return [Part(row["name"], tuple(row["trials"]), row["chunk"], row["own_problems"]) for row in rows]


def _lay_out(config: SweepConfig, batch: int, trials: Sequence[Trial], workers: int) -> list[Part]:
    groups = group([trial.member for trial in trials])
    parts = []
    for index, members in enumerate(groups):
        own, name = differ(members), f"{batch:03d}-{index:03d}"
        chunk = min(config.chunk, len(members)) or choose_chunk(make_unit(name, members, 1, own))
        for place, run_of in enumerate(slices(members, chunk, -(-workers // len(groups)))):
            numbers = tuple(member.number for member in run_of)
            parts.append(Part(f"{name}-{place:02d}", numbers, chunk, own))
    return parts


def _train(config: SweepConfig, run: Path, trials: Sequence[Trial], parts: Sequence[Part], engine: Engine) -> None:
    todo = [part for part in parts if not (run / "finished" / f"{part.name}.json").is_file()]
    members = {trial.number: trial.member for trial in trials}
    rounds = {part.name: members[part.trials[0]].rounds for part in parts}
    done = sum(rounds[part.name] for part in parts if part not in todo)
    with ProgressReport(f"sweep {len(trials)} agents", sum(rounds.values()), done) as progress:
        engine.train(config, run, trials, todo, progress.advance)


def _tables(run: Path, trials: Sequence[Trial], parts: Sequence[Part]) -> tuple[pa.Table, pa.Table]:
    """Results and curves of the trials so far, written."""
    curves = read_curves(run, [part.name for part in parts])
    units = {number: part.name for part in parts for number in part.trials}
    files = {part.name: run / "finished" / f"{part.name}.json" for part in parts}
    seconds = {name: json.loads(file.read_text(encoding="utf-8"))["seconds"] for name, file in files.items()}
    results = make_results(trials, curves, units, seconds)
    write_tables(run, results, curves)
    return results, curves


def _summary(config: SweepConfig, results: pa.Table, parts: Sequence[Part]) -> dict[str, Any]:
    """What is best, and every setting behind it."""
    ranking = rank(results, config.ranked_by)
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
