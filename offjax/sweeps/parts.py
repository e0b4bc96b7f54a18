"""Parts of a sweep: what one program trains, whether in this process or in another one."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from offjax.learning.sweep import make_unit
from offjax.learning.unit import Unit, train_unit
from offjax.runs.folder import write_json
from offjax.sweeps.trials import Trial, make_validator

Done = Callable[[int, str], None]  # device-steps of a round that has ended, and what to show beside


@dataclass(frozen=True)
class Part:
    """Some trials of one structure."""

    name: str
    trials: tuple[int, ...]
    chunk: int
    own_problems: bool

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, row: Mapping[str, Any]) -> "Part":
        """The way back."""
        return cls(row["name"], tuple(row["trials"]), row["chunk"], row["own_problems"])


@dataclass(frozen=True)
class Batch:
    """Settings that are known at the same time, and their trials: all of a grid, or a batch of a search."""

    points: Sequence[Mapping[str, Any]]
    trials: Sequence[Trial]

    @property
    def start(self) -> int:
        """Number of the first trial."""
        return self.trials[0].number

    def members(self, part: Part) -> list[Trial]:
        """The trials of a part."""
        return [self.trials[number - self.start] for number in part.trials]


def train_part(run: Path, batch: Batch, part: Part, done: Done = lambda steps, text: None) -> None:
    """Train a part to its end, from its newest checkpoint if it has one, and mark it as finished.

    Args:
        run: folder of the sweep.
        batch: that the part belongs to.
        part: some of its trials.
        done: called after every round.
    """
    start = time.perf_counter()
    unit = unit_of(batch, part)

    def report(round_: int, metrics: Mapping[str, float]) -> None:
        shown = (f"{name} {metrics[name]:.4g}" for name in ("reward", "validation_regret") if name in metrics)
        done(unit.round_steps, "  ".join(shown))

    train_unit(unit, run, make_validator(batch.members(part), unit), report)
    file = finished_file(run, part.name)
    file.parent.mkdir(exist_ok=True)
    write_json(file, {"seconds": time.perf_counter() - start})


def finished_file(run: Path, name: str) -> Path:
    """Is there when a part has come to its end; says how long the process took that brought it there."""
    return run / "finished" / f"{name}.json"


def unit_of(batch: Batch, part: Part) -> Unit:
    """The unit that trains a part."""
    return make_unit(part.name, [trial.member for trial in batch.members(part)], part.chunk, part.own_problems)
