"""Metrics in long form: one part file per round while a run goes on, one Parquet file at its end."""

import io
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from offjax.errors import ConfigError
from offjax.runs.folder import cannot_write, write_bytes

SCHEMA = pa.schema(
    [
        pa.field("run", pa.string(), nullable=False),
        pa.field("seed", pa.int32(), nullable=False),
        pa.field("round", pa.int32(), nullable=False),
        pa.field("slot", pa.int64(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("value", pa.float64(), nullable=False),
    ]
)


class MetricRow(NamedTuple):
    """One number: which seed, when, which metric."""

    seed: int
    slot: int
    name: str
    value: float


class MetricsLog:
    """Writes ``metrics/RUN/round-NNNNNNNN.parquet`` round by round; :func:`combine_metrics` joins them.

    A part is whole or absent after a crash, and a round that is written twice counts once, so a resumed run
    simply writes its rounds again.
    """

    def __init__(self, folder: str | os.PathLike[str], run: str) -> None:
        """Log the metrics of ``run`` (its name in the column of that name) under ``folder``."""
        self.run = run
        self.parts = Path(folder) / "metrics" / run

    def write_round(self, round_: int, rows: Iterable[MetricRow]) -> None:
        """Write the rows of one round, in place of what the round had before."""
        rows = list(rows)
        columns = {
            "run": [self.run] * len(rows),
            "seed": [row.seed for row in rows],
            "round": [round_] * len(rows),
            "slot": [row.slot for row in rows],
            "name": [row.name for row in rows],
            "value": [row.value for row in rows],
        }
        try:
            self.parts.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(self.parts, error) from error
        write_table(self.parts / f"round-{round_:08d}.parquet", pa.table(columns, schema=SCHEMA))

    def drop_from(self, round_: int) -> None:
        """Forget ``round_`` and all later rounds: a resumed run that starts there writes its own."""
        for part in self._rounds():
            if int(part.stem.removeprefix("round-")) >= round_:
                try:
                    part.unlink(missing_ok=True)
                except OSError as error:
                    raise cannot_write(part, error) from error

    def read(self) -> pa.Table:
        """The rows of all rounds so far, in the order of rounds."""
        return _join(self._rounds())

    def rounds(self) -> Iterator[tuple[int, list[MetricRow]]]:
        """Every round so far with its rows, in order."""
        for part in self._rounds():
            rows = _read_table(part).select(MetricRow._fields).to_pylist()
            yield int(part.stem.removeprefix("round-")), [MetricRow(**row) for row in rows]

    def _rounds(self) -> list[Path]:
        return sorted(self.parts.glob("round-*.parquet"))


def read_metrics(folder: str | os.PathLike[str]) -> pa.Table:
    """The metrics of a run folder: its ``metrics.parquet``, or the rounds so far of a run that goes on."""
    path = Path(folder) / "metrics.parquet"
    return _read_table(path) if path.is_file() else _join(_parts(folder))


def combine_metrics(folder: str | os.PathLike[str]) -> Path:
    """Write ``metrics.parquet`` from the parts of all runs, which stay; doing it again changes nothing."""
    path = Path(folder) / "metrics.parquet"
    write_table(path, _join(_parts(folder)))
    return path


def _parts(folder: str | os.PathLike[str]) -> list[Path]:
    return sorted((Path(folder) / "metrics").glob("*/round-*.parquet"))


def _join(parts: Sequence[Path]) -> pa.Table:
    tables = [_read_table(part) for part in parts]
    return pa.concat_tables(tables) if tables else SCHEMA.empty_table()


def write_table(path: Path, table: pa.Table) -> None:
    """Write a Parquet file at once."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_bytes(path, buffer.getvalue())


def _read_table(path: Path) -> pa.Table:
    try:
        return pq.read_table(io.BytesIO(path.read_bytes()), schema=SCHEMA)
    except (pa.ArrowInvalid, pa.ArrowTypeError, ValueError) as error:
        allowed = f"{path.name} is damaged; remove it and run again"
        raise ConfigError("metrics", str(path.parent), allowed) from error
