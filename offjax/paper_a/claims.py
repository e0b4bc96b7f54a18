"""What was found of each claim of the paper, in one file."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from offjax.runs.folder import write_json

FILE = "claims.json"

Basis = Literal["emergent", "calibration", "construction"]


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, and what was measured of it."""

    claim: int
    """Row of the acceptance list, the number in the first column of ``docs/paper_a.md``."""
    measured: float
    unit: str
    ci95: tuple[float, float]
    seeds: int
    holds: bool
    basis: Basis
    """``emergent``: it might have come out otherwise; ``calibration``: numbers were chosen so; ``construction``: the
    architecture leaves no other way."""
    reason: str
    artefact: str
    """File of the figure folder that shows it."""


def write_claims(folder: Path, claims: Sequence[Claim], about: dict[str, Any]) -> None:
    """Write ``claims.json``, in the order of the rows; ``about`` says where the numbers came from."""
    ordered = sorted(claims, key=lambda claim: (claim.claim, claim.artefact))
    write_json(folder / FILE, {**about, "claims": [asdict(claim) for claim in ordered]})
