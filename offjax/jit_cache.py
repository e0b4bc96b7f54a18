"""Compiled programs are kept between runs of the command line, in the user's cache folder.

A library must not decide that for its user: nothing here is done by ``import offjax``. jax reads and writes the folder
and holds every entry against a checksum: one that is broken costs a warning and a compilation. But jax 0.10.2 writes
entries in place and never replaces one, so what a killed process or a full disk left half written would be warned of
for ever: such entries are dropped here, and so are those that were not used for longest.

On some Intel processors XLA is reported to find none of a CPU's programs again and to say so on standard error
(https://github.com/jax-ml/jax/issues/38445); an empty ``OFFJAX_CACHE_DIR`` keeps nothing.
"""

import os
import platform
import time
import warnings
import zlib
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from pathlib import Path

FOLDER = "JAX_COMPILATION_CACHE_DIR"
LEAST_SECONDS = "0.3"  # of compilation: reading an entry takes some hundredths
LIMIT = 1 << 30  # bytes of all entries; a run of a configuration that is new leaves about 5 MB
WRITING = 60.0  # s after which nobody is still writing an entry
ZLIB = b"\x78"  # an entry starts so unless zstandard is installed


def keep_programs(environment: MutableMapping[str, str]) -> None:
    """Tell jax, which must not have been imported, where to keep programs; a folder chosen for jax stays.

    A folder that cannot be written is worth a warning, and nothing is kept.

    Args:
        environment: of this process; children inherit it.
    """
    folder = cache_folder(environment)
    if FOLDER in environment or folder is None:
        return
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # what lies here is run
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(f"no permission to write to {folder}")
        tidy(folder)
    except OSError as error:
        warnings.warn(f"compiled programs are not kept: {error}; OFFJAX_CACHE_DIR names another folder", stacklevel=2)
        return
    environment[FOLDER] = str(folder)
    environment.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", LEAST_SECONDS)


def cache_folder(environment: Mapping[str, str]) -> Path | None:
    """``jit/PROCESSOR`` in ``OFFJAX_CACHE_DIR`` (none if that is empty), else in ``offjax`` where XDG has caches.

    Each kind of processor has a folder of its own, because a home may be shared by many and the programs cannot.
    """
    own = environment.get("OFFJAX_CACHE_DIR")
    if own == "":
        return None
    shared = Path(environment.get("XDG_CACHE_HOME", ""))
    if own is None and not shared.is_absolute():  # the standard: a relative one is ignored
        shared = Path(os.path.expanduser("~")) / ".cache"
        if not shared.is_absolute():  # nobody's home
            return None
    base = shared / "offjax" if own is None else Path(own).expanduser().absolute()
    return base / "jit" / _processor_kind()


def tidy(folder: Path, limit: int = LIMIT) -> None:
    """Drop entries that are broken, of those that came since the last time, and the least used of too many.

    Other processes may read, write and tidy at the same time: who has an entry open keeps it.
    """
    now, stamp = time.time(), folder / "checked"
    checked = stamp.stat().st_mtime if stamp.exists() else 0.0
    room = limit
    for path, about in sorted(_entries(folder).items(), key=lambda entry: -max(entry[1].st_atime, entry[1].st_mtime)):
        room -= about.st_size
        is_new = checked <= about.st_mtime < now - WRITING
        if room < 0 or (is_new and not _is_whole(path)):
            path.unlink(missing_ok=True)
    stamp.touch()
    os.utime(stamp, (now - WRITING, now - WRITING))


def _entries(folder: Path) -> dict[Path, os.stat_result]:
    entries = {}
    for path in folder.glob("*-cache"):
        with suppress(FileNotFoundError):
            entries[path] = path.stat()
    return entries


def _is_whole(path: Path) -> bool:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return True
    if not content.startswith(ZLIB):
        return bool(content)  # of another compressor: not ours to judge
    stream = zlib.decompressobj()
    with suppress(zlib.error):
        stream.decompress(content)
    return stream.eof


def _processor_kind() -> str:
    """The machine's name and a number for what its processor can do."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = [platform.processor()]
    able = next((line for line in lines if line.startswith(("flags", "Features"))), lines[0] if lines else "")
    return f"{platform.machine()}-{zlib.crc32(able.encode()):08x}"
