"""Optional loggers of a training beside the Parquet log that is always there: TensorBoard, Weights & Biases, MLflow.

Each is an extra of its own and imported where it is used. A metric of a training seed is called ``NAME/seed-SEED``; its
step is the round. A resumed run goes on in the same run of each logger, without writing a round twice.
"""

import os
import shutil
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, Protocol, Self

import yaml

from offjax.errors import MachineError, OffjaxError
from offjax.runs.folder import cannot_write, write_text
from offjax.runs.log import MetricRow, MetricsLog

NEEDS = {
    "tensorboard": ("tensorboard",),
    "wandb": ("wandb",),
    "mlflow": ("mlflow", "sqlalchemy", "alembic"),
}
MLFLOW_BATCH = 1000  # metrics: what MLflow takes at once


class Logger(Protocol):
    """What every logger does; :class:`Loggers` turns its errors into one line."""

    def write_round(self, round_: int, rows: Sequence[MetricRow]) -> None:
        """Write the rows of one round."""

    def close(self) -> None:
        """Write what is left, and let go."""


class Start(NamedTuple):
    """Where a logger takes up a unit of a run."""

    folder: Path  # of the run
    unit: str
    round: int  # the first one to be written; 0 for a new run


def check_loggers(names: Sequence[str]) -> None:
    """Is everything installed? Ask before a training begins.

    Raises:
        MachineError: a package is missing or does not import.
    """
    for name in names:
        for package in NEEDS[name]:
            try:
                import_module(package)
            except ImportError as error:
                raise MachineError(
                    f"training.loggers: {name} needs {package}: pip install 'offjax[{name}]' ({error})"
                ) from error


class Loggers:
    """The chosen loggers of one unit as one; none of them is opened before :meth:`start`."""

    def __init__(self, names: Sequence[str], folder: Path, unit: str) -> None:
        """Log ``unit`` of the run in ``folder`` to the loggers called ``names``."""
        self._names, self._folder, self._unit = names, folder, unit
        self._open: dict[str, Logger] = {}
        self._closing = ExitStack()

    def start(self, round_: int) -> None:
        """Open them at ``round_``: those before are in the Parquet log, later ones of an earlier process come again."""
        start = Start(self._folder, self._unit, round_)
        for name in self._names:
            logger = _guarded(name, LOGGERS[name], start)
            self._open[name] = logger
            self._closing.callback(_guarded, name, logger.close)

    def write_round(self, round_: int, rows: Sequence[MetricRow]) -> None:
        """Write the rows of one round to all of them."""
        for name, logger in self._open.items():
            _guarded(name, logger.write_round, round_, rows)

    def __enter__(self) -> Self:
        """Nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close them all, also where one of them fails."""
        self._closing.close()


def _guarded(name: str, step: Callable[..., Any], *arguments: Any) -> Any:
    """What a logger raises, whatever it is, as one line; the run can be resumed."""
    try:
        return step(*arguments)
    except OffjaxError:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [""])[0]
        raise MachineError(f"training.loggers: {name} failed: {type(error).__name__}: {reason}") from error


def _key(row: MetricRow) -> str:
    return f"{row.name}/seed-{row.seed}"


class TensorBoard:
    """Event files in ``tensorboard/UNIT``; a resumed run tells the reader which rounds it writes again."""

    def __init__(self, start: Start) -> None:
        """Open a new event file."""
        folder = start.folder / "tensorboard" / start.unit
        resumed = folder.is_dir()
        writer = import_module("tensorboard.summary.writer.event_file_writer").EventFileWriter
        self._event = import_module("tensorboard.compat.proto.event_pb2")
        self._summary = import_module("tensorboard.compat.proto.summary_pb2").Summary
        self._writer = writer(str(folder))
        if resumed:  # the reader forgets what it has from this step on
            begins = self._event.SessionLog(status=self._event.SessionLog.START)
            self._writer.add_event(self._event.Event(wall_time=time.time(), step=start.round, session_log=begins))

    def write_round(self, round_: int, rows: Sequence[MetricRow]) -> None:
        """To the disk at once: a kill loses no round."""
        values = [self._summary.Value(tag=_key(row), simple_value=row.value) for row in rows]
        event = self._event.Event(wall_time=time.time(), step=round_, summary=self._summary(value=values))
        self._writer.add_event(event)
        self._writer.flush()

    def close(self) -> None:
        """Close the event file."""
        self._writer.close()


class WeightsAndBiases:
    """One run per unit in ``wandb``, offline unless ``WANDB_MODE`` says otherwise; project ``WANDB_PROJECT`` or offjax.

    An offline run that is killed loses what wandb had in memory, so a resumed one writes all its rounds again, from the
    Parquet log, in place of the old folder. Online a resumed run goes on after the last round that the server has.
    """

    def __init__(self, start: Start) -> None:
        """Start or continue the run."""
        wandb, mode = import_module("wandb"), os.environ.get("WANDB_MODE", "offline")
        id_ = _run_id(start, "wandb", lambda: uuid.uuid4().hex[:16])
        for old in (start.folder / "wandb").glob(f"offline-run-*-{id_}"):
            shutil.rmtree(old)
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "offjax"),
            name=f"{start.folder.resolve().name}-{start.unit}",
            id=id_,
            config=_config(start.folder),
            dir=str(start.folder),
            mode=mode,
            resume="allow" if mode == "online" else None,
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off"),
        )
        self._first = self._run.starting_step
        for round_, rows in MetricsLog(start.folder, start.unit).rounds():
            self.write_round(round_, rows)

    def write_round(self, round_: int, rows: Sequence[MetricRow]) -> None:
        """Send a round, unless the server has it; at once, or wandb would keep it back until the next step."""
        if round_ >= self._first:
            self._run.log({_key(row): row.value for row in rows}, step=round_, commit=True)

    def close(self) -> None:
        """Wait until everything is on the disk or sent."""
        self._run.finish()


class Mlflow:
    """One run per unit in ``mlflow.db`` of the run folder, or where ``MLFLOW_TRACKING_URI`` points; experiment offjax.

    A resumed run continues the same run, and asks the store what it holds.
    """

    def __init__(self, start: Start) -> None:
        """Start or continue the run."""
        store = f"sqlite:///{start.folder.resolve() / 'mlflow.db'}"
        uri = os.environ.get("MLFLOW_TRACKING_URI", store)
        self._entities = import_module("mlflow.entities")
        self._client = import_module("mlflow.tracking").MlflowClient(tracking_uri=uri)
        self._run = _run_id(start, "mlflow", lambda: self._new_run(start))
        self._client.update_run(self._run, status="RUNNING")
        self._last: dict[str, int] = {}  # metric -> its last step in the store

    def _new_run(self, start: Start) -> str:
        found = self._client.get_experiment_by_name("offjax")
        place = (start.folder.resolve() / "mlflow").as_uri()
        experiment = found.experiment_id if found else self._client.create_experiment("offjax", place)
        name = f"{start.folder.resolve().name}-{start.unit}"
        run = self._client.create_run(experiment, run_name=name).info.run_id
        self._client.set_tag(run, "run_folder", str(start.folder.resolve()))
        return run

    def write_round(self, round_: int, rows: Sequence[MetricRow]) -> None:
        """Write a round in batches, without the metrics that the store holds already."""
        now = int(1000 * time.time())
        new = [self._entities.Metric(_key(row), row.value, now, round_) for row in rows if self._is_new(row, round_)]
        for first in range(0, len(new), MLFLOW_BATCH):
            self._client.log_batch(self._run, new[first : first + MLFLOW_BATCH])

    def _is_new(self, row: MetricRow, round_: int) -> bool:
        key = _key(row)
        if key not in self._last:
            history = self._client.get_metric_history(self._run, key)
            self._last[key] = max((metric.step for metric in history), default=-1)
        return round_ > self._last[key]

    def close(self) -> None:
        """Mark the run as finished."""
        self._client.set_terminated(self._run)


LOGGERS: dict[str, Callable[[Start], Logger]] = {
    "tensorboard": TensorBoard,
    "wandb": WeightsAndBiases,
    "mlflow": Mlflow,
}


def _run_id(start: Start, logger: str, new: Callable[[], str]) -> str:
    """The id of the logger's run, from ``loggers/UNIT.LOGGER``; a new one where there is none."""
    path = start.folder / "loggers" / f"{start.unit}.{logger}"
    if path.is_file():
        return path.read_text(encoding="utf-8").strip()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(path.parent, error) from error
    id_ = new()
    write_text(path, f"{id_}\n")
    return id_


def _config(folder: Path) -> Mapping[str, Any] | None:
    """The configuration of the run, if it has one."""
    path = folder / "config.yaml"
    return yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else None
