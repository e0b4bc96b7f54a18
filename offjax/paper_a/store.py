"""Results on disk: a job is done once, and found again by everything that its result depends on."""

import hashlib
import io
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from offjax.errors import MachineError
from offjax.runs.folder import cannot_write, write_bytes
from offjax.runs.provenance import collect_provenance, device_name

ABOUT = "about"  # of a file: where the result came from, as JSON

Result = dict[str, np.ndarray]


@dataclass(frozen=True)
class Job:
    """Something to compute; a job batches what one compiled program can do (seeds, numeric settings)."""

    experiment: str
    name: str
    depends: Mapping[str, Any]
    """Everything that the result depends on, as plain JSON values."""
    cost: float
    """Roughly the seconds that it takes on two CPU cores."""
    run: Callable[[], Result] = field(compare=False)
    """Computes the result: arrays by name, without side effects."""

    @property
    def key(self) -> str:
        """The first 12 hex characters of the SHA-256 of ``depends`` as canonical JSON."""
        text = json.dumps(self.depends, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Store:
    """A folder of results, one file for each."""

    folder: Path

    def path(self, job: Job) -> Path:
        """The file of a job's result."""
        return self.folder / job.experiment / f"{job.name}-{job.key}.npz"

    def has(self, job: Job) -> bool:
        """Is the result there?"""
        return self.path(job).is_file()

    def get(self, job: Job) -> Result:
        """The result of a job that was done.

        Raises:
            MachineError: the file cannot be read.
        """
        found = _read(self.path(job))
        return {name: found[name] for name in found if name != ABOUT}

    def about(self, job: Job) -> dict[str, Any]:
        """Where the result came from: ``device``, ``seconds``, ``cost`` and the provenance of the process."""
        return dict(json.loads(str(_read(self.path(job))[ABOUT])))

    def do(self, job: Job) -> Result:
        """Compute a job and keep its result: the file is whole or absent.

        Raises:
            MachineError: the folder cannot be written.
        """
        path, start = self.path(job), time.perf_counter()
        result = {name: np.asarray(value) for name, value in job.run().items()}
        seconds = time.perf_counter() - start
        about = {"device": device_name(), "seconds": seconds, "cost": job.cost, "depends": dict(job.depends)}
        text = io.BytesIO()
        arrays: dict[str, Any] = result | {ABOUT: np.asarray(json.dumps(about | collect_provenance()))}
        np.savez_compressed(text, **arrays)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise cannot_write(path.parent, error) from error
        write_bytes(path, text.getvalue())
        return result

    def forget(self, job: Job) -> None:
        """Remove the result of a job, if there is one."""
        self.path(job).unlink(missing_ok=True)


def _read(path: Path) -> Result:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise MachineError(f"cannot read {path}: {error}; remove it, and it is computed again") from error
