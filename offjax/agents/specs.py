"""What an algorithm is told about its problem: two sizes, never the world."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Specs:
    """The sizes that fix the shapes of a network; static and hashable."""

    observation_size: int
    """F, the length of a normalised observation."""
    decisions: int
    """A, the number of decisions: 0 = local, z = server z."""
