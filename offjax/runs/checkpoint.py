"""Whole training states on disk: saved at once, checked when read, the newest intact one wins."""

import logging
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from offjax.errors import ConfigError, MachineError

State = TypeVar("State")

DISK_SIGNS = (
    "No space left",
    "Disk quota",
    "File too large",
    "Permission denied",
    "Read-only file system",
    "Not a directory",
)


class Checkpoints:
    """Checkpoints of a pytree (arrays and typed PRNG keys) with a JSON record beside it.

    A checkpoint appears under its final name only when it is whole. orbax does not notice a flipped bit in
    the values, so a checksum travels with them.
    """

    def __init__(self, folder: str | os.PathLike[str], max_to_keep: int = 2, read_only: bool = False) -> None:
        """Use ``folder`` (made if missing) and keep the newest ``max_to_keep`` checkpoints in it.

        ``read_only`` changes nothing in the folder: for a reader beside a training that goes on.
        """
        logging.getLogger("absl").setLevel(logging.CRITICAL)  # orbax logs every step and every fallback
        self.folder = Path(folder).absolute()  # orbax refuses relative paths
        # Not asynchronous: an error surfaces at its own save, and a donated buffer is never read late.
        options = ocp.CheckpointManagerOptions(
            max_to_keep=max_to_keep,
            enable_async_checkpointing=False,
            cleanup_tmp_directories=not read_only,
            create=not read_only,
            read_only=read_only,
        )
        with _disk_errors(self.folder):
            self._manager = ocp.CheckpointManager(self.folder, options=options)

    def save(self, step: int, state: Any, meta: dict[str, Any]) -> None:
        """Save ``state`` and ``meta`` as ``step``; steps from it on belong to a past that was given up."""
        leaves = _named_leaves(state)
        args = ocp.args.Composite(
            state=ocp.args.StandardSave(leaves),
            meta=ocp.args.JsonSave({"checksum": _checksum(leaves), "meta": meta}),
        )
        with _disk_errors(self.folder):
            for later in [known for known in self._manager.all_steps() if known >= step]:
                self._manager.delete(later)
            self._manager.save(step, args=args, force=True)
            self._manager.wait_until_finished()

    def restore(self, abstract_state: State) -> tuple[State, dict[str, Any]] | None:
        """The newest intact state and its meta, or ``None`` where nothing was saved.

        Args:
          abstract_state: a state, or its shapes from ``jax.eval_shape``, of the same structure.

        Raises:
          ConfigError: there are checkpoints, and none is intact and of this structure.
        """
        problem = ""
        for step in sorted(self._manager.all_steps(), reverse=True):
            try:
                return self._restore_step(step, abstract_state)
            except Exception as error:  # damage shows as almost any exception of orbax and its parsers
                problem = (str(error).splitlines() or [type(error).__name__])[0][:120]
                print(f"offjax: warning: checkpoint {step} is unreadable ({problem})", file=sys.stderr)
        if problem:
            allowed = f"every checkpoint in it is damaged or of another configuration ({problem})"
            raise ConfigError("RUN", str(self.folder), allowed)
        return None

    def close(self) -> None:
        """Wait for what is being written, and let go of the folder."""
        with _disk_errors(self.folder):
            self._manager.wait_until_finished()
            self._manager.close()

    def __enter__(self) -> Self:
        """Use as a context: it closes at the end."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def _restore_step(self, step: int, abstract_state: State) -> tuple[State, dict[str, Any]]:
        wanted = jax.tree.map(ocp.utils.to_shape_dtype_struct, _named_leaves(abstract_state))
        args = ocp.args.Composite(state=ocp.args.StandardRestore(wanted), meta=ocp.args.JsonRestore())
        found = self._manager.restore(step, args=args)
        if _checksum(found.state) != found.meta["checksum"]:
            raise ValueError("its values do not match their checksum")
        paths, treedef = jax.tree.flatten_with_path(abstract_state)
        # An array of size 0 is not in the file; its shape says all.
        leaves = [
            found.state[jax.tree_util.keystr(path)] if np.size(leaf) else jnp.zeros(leaf.shape, leaf.dtype)
            for path, leaf in paths
        ]
        return jax.tree.unflatten(treedef, leaves), found.meta["meta"]


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Turn what orbax raises on a full or forbidden disk (often a bare ValueError) into a MachineError."""
    try:
        yield
    except Exception as error:
        sign = next((sign for sign in DISK_SIGNS if sign in str(error)), None)
        if sign is None:
            raise
        raise MachineError(f"cannot write a checkpoint in {folder}: {sign}") from error


def _named_leaves(state: Any) -> dict[str, Any]:
    """Leaves by their path in the state, without those of size 0, which orbax cannot save."""
    paths, _ = jax.tree.flatten_with_path(state)
    return {jax.tree_util.keystr(path): leaf for path, leaf in paths if np.size(leaf)}


def _checksum(leaves: dict[str, Any]) -> str:
    value = 0
    for name in sorted(leaves):
        leaf = leaves[name]
        if jax.dtypes.issubdtype(getattr(leaf, "dtype", None), jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        array = np.ascontiguousarray(leaf)
        value = zlib.crc32(f"{name} {array.dtype} {np.shape(leaf)}".encode(), value)
        value = zlib.crc32(array.reshape(-1).view(np.uint8).data, value)
    return f"{value:08x}"
