"""The short problems on which other people's trainers are tried, and the line that they print."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import offjax.envs
from offjax.problems.laas2022 import Device
from offjax.problems.nieto2024 import Scenario

TURNS = Scenario(mec=((40, 120),), cloud=((120, 180),))


@dataclass(frozen=True)
class Task:
    """A problem made so that it can be learnt in seconds and no single place is good all the time."""

    native: str  # id
    horizon: int  # slots
    others: Mapping[str, Any] = field(default_factory=dict)  # arguments of the problem
    bound: float = 0.0  # return that no policy exceeds

    @property
    def legacy(self) -> str:
        """Id of the 5-tuple."""
        return f"{self.native}-legacy"

    @property
    def arguments(self) -> dict[str, Any]:
        """Arguments of ``offjax.make``."""
        return {"horizon": self.horizon, **self.others}

    @property
    def actions(self) -> int:
        """Places to choose from."""
        return offjax.make(self.native, **self.arguments)[0].num_actions


_TASKS = (
    # With 90 % of class 1 and the edge server away for 75 of 200 slots no single place is good all the time.
    Task("nieto2024-v0", 200, {"mix": "class1", "scenario": Scenario(mec=((50, 100), (150, 175)))}),
    # A slow device with a good link had better offload, but edge and cloud fail in turns.
    Task("laas2022-v0", 200, {"fleet": (Device(f=1e7),), "scenario": TURNS, "path_loss": "umi_los"}),
)
TASKS = {task.native: task for task in _TASKS}


def report(name: str, train: Callable[[], tuple[float, float]]) -> None:
    """Train, and print the mean return of the policy before and after as one JSON line."""
    start = time.monotonic()
    before, after = train()
    line = {"client": name, "before": before, "after": after, "seconds": time.monotonic() - start}
    print(json.dumps(line))
