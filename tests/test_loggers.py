"""What a user can rely on: every logger holds what the Parquet log holds, each round once, also after a kill."""

import json
import math
import os
import signal
import struct
import sys
from multiprocessing import get_context

import numpy as np
import pytest

from offjax import pipeline
from offjax.config import parse_config
from offjax.errors import MachineError
from offjax.runs.log import MetricRow, MetricsLog
from offjax.runs.loggers import NEEDS, Loggers, check_loggers

SEEDS, UNIT, KILLED, CHECKPOINT, ROUNDS = (0, 1), "ac-scenario1", 5, 2, 7
REASON = "an extra of its own: make test-all, or pip install 'offjax[{}]'"


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)


def _rows(round_):
    metrics = {"reward": [-0.5 / (round_ + 1), -0.25 / (round_ + 1)]}
    if round_ % 2:
        metrics["validation_reward"] = [math.exp(-round_), 1 / 3]
    slot = 10 * (round_ + 1)
    return [MetricRow(seed, slot, name, row[seed]) for name, row in metrics.items() for seed in SEEDS]


def _write(folder, name, first, last, killed=False):
    log, loggers = MetricsLog(folder, UNIT), Loggers([name], folder, UNIT)
    log.drop_from(first)
    loggers.start(first)
    for round_ in range(first, last):
        log.write_round(round_, _rows(round_))
        loggers.write_round(round_, _rows(round_))
    if killed:
        os.kill(os.getpid(), signal.SIGKILL)
    loggers.__exit__()


def _resumed(folder, name):
    """Rounds 0 .. 4 of a process that is killed, then 2 .. 6 of a resumed one; what Parquet holds of both."""
    process = get_context("spawn").Process(target=_write, args=(folder, name, 0, KILLED, True))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    _write(folder, name, CHECKPOINT, ROUNDS)
    rows = MetricsLog(folder, UNIT).read().to_pylist()
    assert len(rows) == 2 * ROUNDS + 2 * (ROUNDS // 2)
    return sorted((f"{row['name']}/seed-{row['seed']}", row["round"], row["value"]) for row in rows)


def test_tensorboard_reads_back_the_rows(tmp_path):
    pytest.importorskip("tensorboard", reason=REASON.format("tensorboard"))
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    wanted = _resumed(tmp_path, "tensorboard")
    found = EventAccumulator(str(tmp_path / "tensorboard" / UNIT)).Reload()
    rows = [(tag, event.step, event.value) for tag in found.Tags()["scalars"] for event in found.Scalars(tag)]
    assert sorted(rows) == [(key, round_, float(np.float32(value))) for key, round_, value in wanted]


def test_mlflow_reads_back_the_rows(tmp_path):
    pytest.importorskip("mlflow", reason=REASON.format("mlflow"))
    from mlflow.tracking import MlflowClient

    wanted = _resumed(tmp_path, "mlflow")
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name("offjax").experiment_id])
    assert run.info.status == "FINISHED"
    history = [metric for key in run.data.metrics for metric in client.get_metric_history(run.info.run_id, key)]
    assert sorted((metric.key, metric.step, metric.value) for metric in history) == wanted


def test_wandb_reads_back_the_rows(tmp_path):
    wandb = pytest.importorskip("wandb", reason=REASON.format("wandb"))
    wanted = _resumed(tmp_path, "wandb")
    wandb.teardown()  # its own process writes the file, and may be late
    (path,) = (tmp_path / "wandb").glob("offline-run-*/*.wandb")
    assert path.stem == f"run-{(tmp_path / f'loggers/{UNIT}.wandb').read_text().strip()}"
    assert sorted(_history(path)) == wanted


def _history(path):
    """Key, step and value of everything that an offline run of wandb holds."""
    from wandb.proto.wandb_internal_pb2 import Record

    for data in _records(path.read_bytes()):
        items = {
            item.key or "/".join(item.nested_key): item.value_json for item in Record.FromString(data).history.item
        }
        yield from ((key, int(items["_step"]), json.loads(text)) for key, text in items.items() if key[0] != "_")


def _records(data, block=32768, opening=7, header=7):
    """Records of LevelDB's log format, in which wandb writes: parts (CRC, length, type) that never cross a block."""
    at, record = opening, b""
    while at + header <= len(data):
        if block - at % block < header:
            at += block - at % block
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + header])
        record += data[at + header : at + header + length]
        at += header + length
        if kind in (1, 4):  # whole, or the last part
            yield record
            record = b""


@pytest.mark.parametrize("name", NEEDS)
def test_a_missing_package_is_one_line_before_anything_is_written(name, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, NEEDS[name][0], None)  # what Python itself does for a package that is not there
    with pytest.raises(MachineError, match=rf"training\.loggers: {name} needs .*pip install 'offjax\[{name}\]'"):
        pipeline.train_run(parse_config({"training": {"loggers": [name]}}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    check_loggers(())


def test_what_a_logger_raises_is_one_line(tmp_path):
    pytest.importorskip("tensorboard", reason=REASON.format("tensorboard"))
    (tmp_path / "tensorboard").write_text("in the way")
    with pytest.raises(MachineError, match=r"training\.loggers: tensorboard failed: "):
        _write(tmp_path, "tensorboard", 0, 1)
