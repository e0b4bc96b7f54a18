"""The manifest of a policy bundle: what a board must know about the weights beside it.

This is the writer. The reader, which also checks every field, is ``offjax/device/policy.py``: boards
run Pythons that offjax does not, so the two share no code and one test compares them.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Layer:
    """One dense layer: ``activation(inputs @ kernel + bias)``."""

    inputs: int
    outputs: int
    activation: str  # tanh | relu | linear | softmax (softmax only last)


@dataclass(frozen=True)
class ObservedQuantity:
    """One entry of the observation, in physical units, with the range that training saw."""

    name: str
    unit: str
    low: float  # unit
    high: float  # unit


@dataclass(frozen=True)
class Normaliser:
    """normalised = (physical - shift) / scale, entry by entry."""

    shift: tuple[float, ...]  # [F] in the units of the observation
    scale: tuple[float, ...]  # [F] in the units of the observation, never 0


@dataclass(frozen=True)
class Output:
    """What the last layer says about each decision."""

    kind: str  # probabilities | q_values
    unit: str  # '1' for probabilities, the unit of the reward for q_values


@dataclass(frozen=True)
class Manifest:
    """Everything in ``manifest.json``; ``files`` holds the SHA-256 of every other file of the folder."""

    algorithm: str
    layers: tuple[Layer, ...]
    observation: tuple[ObservedQuantity, ...]  # [F]
    normaliser: Normaliser
    decisions: tuple[str, ...]  # name of each output, in their order
    output: Output
    files: dict[str, str] = field(default_factory=dict)  # name -> sha256 in hexadecimal
    provenance: dict[str, Any] = field(default_factory=dict)  # versions, commit, config hash, seed ...
    parity: dict[str, Any] | None = None  # added once the bundle was compared with JAX
    kind: str = "mlp"
    schema_version: int = SCHEMA_VERSION

    def to_dict(self) -> dict[str, Any]:
        """The record as nested dictionaries, the version first; ``parity`` is left out while it is None."""
        record = asdict(self)
        head = {name: record.pop(name) for name in ("schema_version", "kind")}
        if self.parity is None:
            del record["parity"]
        return {**head, **record}

    def to_json(self) -> str:
        """The text of ``manifest.json``; errors as in :func:`manifest_text`."""
        return manifest_text(self.to_dict())


def manifest_text(record: dict[str, Any]) -> str:
    """Write a manifest's dictionary as JSON.

    Errors: TypeError for a value that JSON has no type for, ValueError for NaN or infinity (other
    languages' parsers refuse them).
    """
    return json.dumps(record, indent=2, allow_nan=False) + "\n"
