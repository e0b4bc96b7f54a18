"""The short problem on which other people's trainers are tried, and the line that they print."""

import json
import time
from collections.abc import Callable

import offjax.envs
from offjax.problems.nieto2024 import Scenario

HORIZON = 200
# With 90 % of class 1 and the edge server away for 75 of 200 slots no single place is good all the time.
ARGUMENTS = {
    "horizon": HORIZON,
    "mix": "class1",
    "scenario": Scenario(mec=((50, 100), (150, 175))),
}
NATIVE, LEGACY = offjax.envs.ids()


def report(name: str, train: Callable[[], tuple[float, float]]) -> None:
    """Train, and print the mean return of the policy before and after as one JSON line."""
    start = time.monotonic()
    before, after = train()
    line = {"client": name, "before": before, "after": after, "seconds": time.monotonic() - start}
    print(json.dumps(line))
