"""Where a result came from: versions, commit, machine and start time."""

import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("offjax", "jax", "jaxlib", "flax", "optax", "numpy")


def collect_provenance() -> dict[str, Any]:
    """What a run folder and every result must name, as plain JSON values.

    Returns:
      ``started`` (UTC, ISO 8601), ``versions``, ``git`` (``commit`` and ``dirty``, or ``None`` outside a
      checkout), ``platform``, ``backend`` (:func:`describe_backend`), ``precision``
      (:func:`describe_precision`) and ``xla_flags``.
    """
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES},
        "git": git_state(Path(__file__).resolve().parents[1]),
        "platform": platform.platform(),
        "backend": describe_backend(),
        "precision": describe_precision(),
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
    }


def describe_backend() -> dict[str, Any]:
    """The jax backend of this program: kind and number of its devices, its processes, and the host's processor."""
    import jax  # late: naming versions must not start a backend in a process that needs none

    devices = jax.devices()
    return {
        "name": jax.default_backend(),
        "device": devices[0].device_kind,
        "devices": len(devices),
        "processes": jax.process_count(),
        "processor": _processor(),
        "processors": os.cpu_count(),
    }


def describe_precision() -> dict[str, Any]:
    """Type of parameters, precision of matrix products (accelerators round by "default"), and 64 bits or not."""
    import jax

    return {
        "parameters": jax.dtypes.canonicalize_dtype(float).name,
        "matmul": jax.config.jax_default_matmul_precision or "default",  # type: ignore[attr-defined]
        "x64": bool(jax.config.jax_enable_x64),  # type: ignore[attr-defined]
    }


def device_name(backend: Mapping[str, Any] | None = None) -> str:
    """The accelerator that computes, or the processor where it is that; of this process if not given."""
    about = describe_backend() if backend is None else backend
    return str(about["processor"] if about["name"] == "cpu" else about["device"])


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of the checkout that tracks ``folder`` and whether it has changes; ``None`` if there is none."""
    # A package in a virtual environment may lie inside the checkout of something else: ask for our own file.
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """The processor's name; Python's own ``platform.processor`` is empty on most Linux systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model"))]
    return names[0] if names else platform.processor() or platform.machine()
