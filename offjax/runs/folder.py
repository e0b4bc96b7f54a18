"""The run folder: where everything of a run lies, and files that are whole or absent, never half written."""

import errno
import json
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from offjax.errors import ConfigError, MachineError

try:
    import fcntl
except ImportError:  # Windows has none: there two processes in one folder are not kept apart
    fcntl = None  # type: ignore[assignment]


@dataclass(frozen=True)
class RunFolder:
    """The places in a run folder; a place is a name, and its file may not exist yet."""

    path: Path

    @property
    def config(self) -> Path:
        """The whole configuration; its presence makes a folder a run folder."""
        return self.path / "config.yaml"

    @property
    def provenance(self) -> Path:
        """Versions, commit, machine and start time, as JSON."""
        return self.path / "provenance.json"

    @property
    def metrics(self) -> Path:
        """The metrics of all rounds, in long form."""
        return self.path / "metrics.parquet"

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def policy(self) -> Path:
        """The bundle for the boards."""
        return self.path / "policy"

    @property
    def report(self) -> Path:
        """The page that shows the results."""
        return self.path / "report.html"

    @property
    def summary(self) -> Path:
        """The results in short, as JSON."""
        return self.path / "summary.json"


def create_run(folder: str | os.PathLike[str], config_yaml: str, provenance: Mapping[str, Any]) -> RunFolder:
    """Make a new run folder, with its missing parents, and write its configuration and provenance.

    Raises:
      ConfigError: ``folder`` exists and is no empty folder; nothing in it is touched.
      MachineError: the folder cannot be made or written.
    """
    run = RunFolder(Path(folder))
    try:
        run.path.mkdir(parents=True, exist_ok=True)
        # A hidden .tmp is what a creation that was killed left behind.
        taken = [entry.name for entry in run.path.iterdir() if not entry.name.endswith(".tmp")]
    except FileExistsError:
        raise ConfigError("--out", str(folder), "a file has this name; choose a new folder") from None
    except OSError as error:
        raise cannot_write(run.path, error) from error
    except ValueError as error:  # a NUL in the path
        raise ConfigError("--out", str(folder), f"{error}; it must be the path of a new folder") from None
    if taken:
        allowed = "this folder is not empty; choose a new one (or continue a run with: offjax resume RUN)"
        raise ConfigError("--out", str(folder), allowed)
    write_text(run.config, config_yaml)
    write_json(run.provenance, provenance)
    return run


def open_run(folder: str | os.PathLike[str]) -> RunFolder:
    """The run folder that :func:`create_run` made; :class:`ConfigError` if ``folder`` is none."""
    run = RunFolder(Path(folder))
    try:
        found = run.config.is_file()
    except OSError as error:
        raise MachineError(f"cannot read {run.path}: {error.strerror or error}") from error
    if not found:
        raise ConfigError("RUN", str(folder), "it must be a run folder (one with a config.yaml)")
    return run


@contextmanager
def alone(run: RunFolder) -> Iterator[None]:
    """Keep other processes from training in this folder; the lock ends with the process, however that ends.

    Raises:
      MachineError: another process trains in it.
    """
    with open(run.path / ".lock", "w", encoding="utf-8") as file:
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise MachineError(f"{run.path}: another process is training in this folder") from None
            # a file system without locks keeps nobody apart
        yield


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file at once: after a crash at any moment it holds the old or the new content, whole.

    Raises:
      MachineError: the disk is full, read-only or forbidden; the old content stays.
    """
    # One fixed name, so that crashes do not pile up temporary files.
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise cannot_write(path, error) from error


def write_text(path: Path, text: str) -> None:
    """Write a text file at once, in UTF-8; see :func:`write_bytes`."""
    write_bytes(path, text.encode())


def json_text(data: Any) -> str:
    """Data as JSON; NaN and infinities become null, because JSON has none."""
    return json.dumps(_plain(data), indent=2, ensure_ascii=False, allow_nan=False)


def write_json(path: Path, data: Any) -> None:
    """Write a JSON file at once, see :func:`json_text`."""
    write_text(path, json_text(data) + "\n")


def cannot_write(path: Path, error: OSError) -> MachineError:
    """The one line for a file that this machine does not let us write."""
    return MachineError(f"cannot write {path}: {error.strerror or error}")


def _plain(data: Any) -> Any:
    if isinstance(data, Mapping):
        return {str(key): _plain(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [_plain(value) for value in data]
    if hasattr(data, "tolist"):  # arrays and scalars of NumPy and jax
        return _plain(data.tolist())
    if isinstance(data, float) and not math.isfinite(data):
        return None
    return str(data) if isinstance(data, Path) else data


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut; some file systems cannot, which is no error."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
