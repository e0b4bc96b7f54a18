"""What a problem is to everybody else: features that are observed, decisions, rewards, and a world."""

from typing import Any, Protocol, Self

import jax
from flax import struct

from offjax.world import Outcome, Params, State


class Feature(struct.PyTreeNode):
    """One number that a device observes, in physical units, and the range that is mapped to 0..1.

    The range is made of numbers like any other: problems that differ in it still share a program.
    """

    name: str = struct.field(pytree_node=False)
    unit: str = struct.field(pytree_node=False)
    low: float
    high: float


class Problem(Protocol):
    """What is observed and rewarded in a world; pytrees whose numbers are leaves."""

    params: Params
    horizon: jax.Array  # [] int32 slots after which an episode is truncated

    @property
    def name(self) -> str:
        """Id without version: 'nieto2024'."""

    @property
    def features(self) -> tuple[Feature, ...]:
        """What is observed, in order."""

    @property
    def decisions(self) -> tuple[str, ...]:
        """Names of the places, in order of their number."""

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups of task classes that fixed rules and tables tell apart."""

    @property
    def profiles(self) -> tuple[str, ...]:
        """Names of the kinds of devices, in the order of ``params.fleet.profile``."""

    def replace(self, **changes: Any) -> Self:
        """The problem with other numbers."""

    def group(self, task_class: jax.Array) -> jax.Array:
        """[D] integer, index into ``groups`` of each task's class."""

    def observe(self, state: State) -> jax.Array:
        """[D, F] in physical units."""

    def normalise(self, observation: jax.Array) -> jax.Array:
        """[..., F] to 0..1 by the features' ranges."""

    def reward(self, outcome: Outcome, before: State) -> jax.Array:
        """[D] reward of a slot, from what happened in it and the state at its start."""

    def terminated(self, state: State) -> jax.Array:
        """[D] bool, the device's episode is over."""
