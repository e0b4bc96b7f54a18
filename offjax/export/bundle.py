"""Write trained parameters as a folder that a board can run, and read such a folder back.

The folder appears whole or not at all, and only after its own reader has passed its own self-test.
"""

import ctypes
import hashlib
import io
import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from offjax.device import policy as board
from offjax.device.policy import Policy
from offjax.errors import ConfigError, MachineError
from offjax.schema.manifest import Layer, Manifest, Normaliser, ObservedQuantity, Output, manifest_text

SCRIPT, REQUIREMENTS, README = "policy.py", "requirements-board.txt", "README.txt"
BUNDLE_FILES = (board.MANIFEST, board.WEIGHTS, board.VECTORS, SCRIPT, REQUIREMENTS, README)


@dataclass(frozen=True)
class PolicySource:
    """Everything that a bundle is written from; arrays may be NumPy's or jax's.

    F entries in an observation, K decisions. Layer i computes ``activation(inputs @ kernel + bias)``;
    the first one takes (physical observation - shift) / scale.
    """

    layers: Sequence[tuple[ArrayLike, ArrayLike, str]]  # (kernel [in, out], bias [out], activation)
    normaliser_shift: ArrayLike  # [F] physical units
    normaliser_scale: ArrayLike  # [F] physical units, never 0
    observation: Sequence[ObservedQuantity]  # [F] name, unit, low, high
    decisions: Sequence[str]  # [K] e.g. ('local', 'mec', 'cloud')
    algorithm: str
    output: Output
    provenance: dict[str, Any]  # what JSON can hold
    selftest_observations: ArrayLike  # [n, F] physical units, n >= 1


def write_bundle(folder: Path | str, source: PolicySource, overwrite: bool = False) -> Path:
    """Write ``source`` as a bundle and return its folder.

    It is written to a temporary folder beside ``folder``, flushed to disk and renamed. With
    ``overwrite`` an older bundle is exchanged for the new one; a folder that holds anything else stays.
    Errors: ConfigError for a wrong value of ``source`` or an existing folder; MachineError where the
    disk refuses.
    """
    folder = Path(folder).resolve()
    _check_target(folder, overwrite)
    files = _bundle_files(source)
    temporary = folder.parent / f".{folder.name}.{secrets.token_hex(4)}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _write_folder(temporary, files)
        _accept(temporary)
        _put_in_place(temporary, folder)
    except OSError as error:
        raise MachineError(f"{folder}: the bundle cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def load_policy(folder: Path | str) -> Policy:
    """Read a bundle with the reader that boards use.

    Errors: ConfigError naming the file or field, its value and what is allowed.
    """
    try:
        return Policy.load(str(folder))
    except board.PolicyError as error:
        raise _config_error(error) from None


def read_manifest(folder: Path | str) -> dict[str, Any]:
    """The checked content of a bundle's manifest.json; ConfigError as in :func:`load_policy`."""
    try:
        return board.read_manifest(str(folder))
    except board.PolicyError as error:
        raise _config_error(error) from None


def record_parity(folder: Path | str, parity: dict[str, Any]) -> None:
    """Add the result of ``measure_parity`` to the manifest of a bundle, in one atomic step.

    Errors: ConfigError for a folder that is no bundle or a result that JSON cannot hold; MachineError
    where the disk refuses.
    """
    folder = Path(folder).resolve()
    manifest = read_manifest(folder)
    try:
        text = manifest_text({**manifest, "parity": parity})
    except (TypeError, ValueError) as error:
        raise ConfigError("parity", parity, f"JSON must be able to hold it: {error}") from None
    temporary = folder / f".manifest.{secrets.token_hex(4)}"
    try:
        _write_file(temporary, text.encode())
        os.replace(temporary, folder / board.MANIFEST)
        _flush_folder(folder)
    except OSError as error:
        raise MachineError(f"{folder}: the manifest cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)


def _config_error(error: board.PolicyError) -> ConfigError:
    return ConfigError(error.field, error.value, error.allowed)


def _bundle_files(source: PolicySource) -> dict[str, bytes]:
    """The content of every file of the bundle by name; ConfigError for a wrong value."""
    arrays = _weight_arrays(source)
    manifest = _manifest(source, arrays)
    try:
        policy = Policy(manifest.to_dict(), arrays)
        vectors = _test_vectors(policy, source.selftest_observations)
    except board.PolicyError as error:
        raise _config_error(error) from None
    files = {
        board.WEIGHTS: _npz(arrays),
        board.VECTORS: _npz(vectors),
        SCRIPT: Path(board.__file__).read_bytes(),
        REQUIREMENTS: b"numpy>=1.13\n",
        README: _readme(manifest).encode(),
    }
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    try:
        text = replace(manifest, files=hashes).to_json()
    except (TypeError, ValueError) as error:
        raise ConfigError("provenance", source.provenance, f"JSON must be able to hold it: {error}") from None
    return {**files, board.MANIFEST: text.encode()}


def _weight_arrays(source: PolicySource) -> dict[str, np.ndarray]:
    arrays = {}
    for i, (kernel, bias, _) in enumerate(source.layers):
        arrays[f"layer_{i}_kernel"] = _float32(f"layer_{i}_kernel", kernel, rank=2)
        arrays[f"layer_{i}_bias"] = _float32(f"layer_{i}_bias", bias, rank=1)
    return arrays


def _float32(name: str, values: ArrayLike, rank: int) -> np.ndarray:
    try:
        with np.errstate(all="ignore"):  # too large becomes inf, which the reader refuses by name
            array = np.ascontiguousarray(values, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ConfigError(name, values, f"it must be an array of numbers: {error}") from None
    if array.ndim != rank or np.ndim(values) != rank:
        raise ConfigError(name, f"shape {np.shape(values)}", f"it must have {rank} axes")
    return array


def _real(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ConfigError(f"observation {name}", value, "its range must be two numbers") from None


def _manifest(source: PolicySource, arrays: dict[str, np.ndarray]) -> Manifest:
    kernels = [arrays[f"layer_{i}_kernel"].shape for i in range(len(source.layers))]
    return Manifest(
        algorithm=source.algorithm,
        layers=tuple(
            Layer(inputs, outputs, activation)
            for (inputs, outputs), (_, _, activation) in zip(kernels, source.layers, strict=True)
        ),
        observation=tuple(
            replace(entry, low=_real(entry.name, entry.low), high=_real(entry.name, entry.high))
            for entry in source.observation
        ),
        normaliser=Normaliser(
            shift=tuple(_float32("normaliser.shift", source.normaliser_shift, rank=1).tolist()),
            scale=tuple(_float32("normaliser.scale", source.normaliser_scale, rank=1).tolist()),
        ),
        decisions=tuple(source.decisions),
        output=source.output,
        provenance=dict(source.provenance),
    )


def _test_vectors(policy: Policy, observations: ArrayLike) -> dict[str, np.ndarray]:
    rows = _float32("selftest_observations", observations, rank=2)
    if not len(rows):
        raise ConfigError("selftest_observations", "no rows", "it must hold at least one observation")
    outputs = policy.outputs(rows)
    return {"observations": rows, "outputs": outputs, "decisions": outputs.argmax(axis=1).astype(np.int32)}


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]  # mypy reads ** as allow_pickle too
    return stream.getvalue()


def _readme(manifest: Manifest) -> str:
    middle = " ".join(f"{(entry.low + entry.high) / 2:.6g}" for entry in manifest.observation)
    names = " ".join(entry.name for entry in manifest.observation)
    return f"""A {manifest.algorithm} offloading policy. Copy this folder to a board with Python 3.6 or newer.

1. NumPy (on 32-bit Raspberry Pi OS: sudo apt install python3-numpy):
   python3 -m pip install -r {REQUIREMENTS}

2. Is everything as it was written?
   python3 {SCRIPT} --self-test

3. One decision ({names}):
   python3 {SCRIPT} --observation {middle}

python3 {SCRIPT} --info prints units, ranges, decisions and where the policy comes from.
"""


def _check_target(folder: Path, overwrite: bool) -> None:
    if not os.path.lexists(folder):
        return
    if not overwrite:
        raise ConfigError("folder", str(folder), "it exists already: choose another one or overwrite it")
    if not folder.is_dir() or not (folder / board.MANIFEST).is_file():
        raise ConfigError("folder", str(folder), "only a bundle can be overwritten")
    foreign = sorted(entry.name for entry in folder.iterdir() if entry.name not in (*BUNDLE_FILES, "__pycache__"))
    if foreign:
        raise ConfigError("folder", str(folder), f"it also holds {', '.join(foreign)}: move that away first")


def _write_folder(folder: Path, files: dict[str, bytes]) -> None:
    folder.mkdir()
    for name, content in files.items():
        _write_file(folder / name, content)
    _flush_folder(folder)


def _write_file(path: Path, content: bytes) -> None:
    with open(path, "xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _accept(folder: Path) -> None:
    """The last check before a bundle is shown: what was written is read back and passes its self-test."""
    differences = board.self_test(str(folder))
    if differences:
        raise MachineError(f"{folder}: what was written reads back differently: {differences[0]}")


def _put_in_place(temporary: Path, folder: Path) -> None:
    """Rename ``temporary`` to ``folder``; an older bundle there moves to ``temporary``, to be removed."""
    if not os.path.lexists(folder):
        os.rename(temporary, folder)
    elif not _exchange(temporary, folder):
        older = temporary.with_name(temporary.name + ".older")
        os.rename(folder, older)
        try:
            os.rename(temporary, folder)
        except OSError:
            os.rename(older, folder)
            raise
        shutil.rmtree(older, ignore_errors=True)
    _flush_folder(folder.parent)


def _exchange(first: Path, second: Path) -> bool:
    """Swap two folders in one step where the system can (Linux renameat2); False where it cannot."""
    current_folder, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    try:
        renameat2 = ctypes.CDLL(None).renameat2
    except (AttributeError, OSError, TypeError):  # other systems, old C libraries
        return False
    return renameat2(current_folder, os.fsencode(first), current_folder, os.fsencode(second), exchange) == 0
