"""Parts of a sweep on the processes of a Ray cluster: one program each, started again where one dies."""

import logging
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from offjax.config import SweepConfig, parse_sweep
from offjax.errors import MachineError, OffjaxError
from offjax.runs.folder import write_bytes
from offjax.sweeps.parts import Batch, Done, Part, train_part, unit_of
from offjax.sweeps.trials import make_trials

RETRIES = 5  # times that a part is started again after its process has died
KNOCK_SECONDS = 10.0  # for an address to answer at all
CONNECT_SECONDS = 60.0  # for it to answer as Ray
POLL_SECONDS = 1.0
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0", "RAY_BACKEND_LOG_LEVEL": "error"}
Files = dict[str, bytes]


class Ray:
    """A cluster: one on this machine, or the one at an address."""

    def __init__(self, address: str | None = None) -> None:
        """Start a local cluster, or connect to that at ``address`` (host:port or auto).

        Raises:
            MachineError: Ray is not installed, or nothing answers there.
        """
        os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})
        self._ray = _require_ray()
        options = {"log_to_driver": False, "logging_level": logging.ERROR}
        if address is None:
            self._connect("local", {**options, "address": "local", "include_dashboard": False})
        else:
            _knock(address)
            _within(CONNECT_SECONDS, address, lambda: self._connect(address, {**options, "address": address}))
        there = self._ray.cluster_resources()
        self._gpus = os.environ.get("JAX_PLATFORMS") != "cpu" and there.get("GPU", 0) >= 1
        self.workers = max(1, int(there.get("GPU" if self._gpus else "CPU", 1)))

    def _connect(self, address: str, options: Mapping[str, Any]) -> None:
        try:
            self._ray.init(**options)
        except (OSError, RuntimeError, ValueError, TimeoutError, ImportError) as error:
            raise _nobody(address, error) from None

    def train(self, sweep: SweepConfig, run: Path, batch: Batch, parts: Sequence[Part], done: Done) -> None:
        """Train all parts to their ends, each in a process of its own.

        Raises:
            MachineError: a process died again and again.
        """
        remote = self._ray.remote(max_retries=RETRIES, num_cpus=1, num_gpus=int(self._gpus))(work)
        given = (sweep.model_dump(mode="json"), batch.points, batch.start, str(run.absolute()))
        waiting = {remote.remote(*given, part.to_dict()): part for part in parts}
        seen = dict.fromkeys((part.name for part in parts), 0)
        while waiting:
            ready, _ = self._ray.wait(list(waiting), timeout=POLL_SECONDS)
            for task in ready:
                self._take(task, waiting.pop(task), run)
            for part in parts:
                _show(run, batch, part, seen, done)

    def _take(self, task: Any, part: Part, run: Path) -> None:
        """What a process has brought back."""
        try:
            files = self._ray.get(task)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, OffjaxError):
                raise error.cause from None
            raise
        except self._ray.exceptions.RayError as error:
            text = f"the process that trained {part.name} died {RETRIES + 1} times ({_first_line(error)})"
            raise MachineError(text) from None
        for name, data in sorted(files.items(), key=_finished_last):
            (run / name).parent.mkdir(parents=True, exist_ok=True)
            write_bytes(run / name, data)

    def close(self) -> None:
        """Let go of the cluster, and end it if it is ours."""
        self._ray.shutdown()


def work(tree: Mapping[str, Any], points: Sequence[Mapping[str, Any]], start: int, folder: str, row: Any) -> Files:
    """Train one part, in a process of Ray.

    Args:
        tree: the configuration of the sweep.
        points: the settings of its batch.
        start: number of the batch's first trial.
        folder: of the run, as the driver sees it; where it is not there, the files of the part are brought back.
        row: the part.
    """
    part, sweep = Part.from_dict(row), parse_sweep(tree)
    batch = Batch(points, make_trials(sweep, points, start))
    if (Path(folder) / "config.yaml").is_file():
        train_part(Path(folder), batch, part)
        return {}
    with tempfile.TemporaryDirectory() as own:
        train_part(Path(own), batch, part)
        return {str(file.relative_to(own)): file.read_bytes() for file in Path(own).rglob("*") if file.is_file()}


def _finished_last(item: tuple[str, bytes]) -> bool:
    return item[0].startswith("finished")


def _show(run: Path, batch: Batch, part: Part, seen: dict[str, int], done: Done) -> None:
    """Rounds of a part that have ended since the last look."""
    rounds = len(list((run / "metrics" / part.name).glob("round-*.parquet")))
    steps = unit_of(batch, part).round_steps
    for _ in range(seen[part.name], rounds):
        done(steps, part.name)
    seen[part.name] = max(seen[part.name], rounds)


def _require_ray() -> Any:
    try:
        return import_module("ray")
    except ImportError:
        raise MachineError("--engine ray needs Ray, which is not installed: pip install offjax[ray]") from None


def _knock(address: str) -> None:
    """Ray itself waits long for a host that is not there."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return  # auto, or a name that Ray resolves
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=KNOCK_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise _nobody(address, error) from None


def _within(seconds: float, address: str, connect: Callable[[], None]) -> None:
    """Connect, or give up: what listens there may be anything but Ray."""
    failed: list[BaseException] = []

    def run() -> None:
        try:
            connect()
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise _nobody(address, TimeoutError(f"no answer within {seconds:.0f} s"))
    if failed:
        raise failed[0]


def _nobody(address: str, error: BaseException) -> MachineError:
    return MachineError(f"--address {address}: no Ray cluster there ({_first_line(error)})")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]
