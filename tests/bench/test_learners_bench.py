"""The bench of learners: its operations are those of the networks, and it says which limit a row is held against."""

import numpy as np

from offjax.agents import make_agent
from offjax.bench import learners
from offjax.bench.machine import Limits

LIMITS = Limits(copy=1e9, update=2e9, numpy_copy=1e9, matmul=1e9, memory=1 << 30)


def test_operations_are_counted_layer_by_layer():
    """[29]'s networks, 5 to 256 to 256: forward s and s' and back for the critic, forward and back for the actor."""
    first, middle = 5 * 256, 256 * 256
    critic = 2 * (4 * (first + middle + 256) - first)
    actor = 2 * (3 * (first + middle + 3 * 256) - first)
    assert learners.update_flops("ac", (256, 256), 7) == 7 * (critic + actor)
    assert learners.parameters(make_agent("ac", hidden=(256, 256))) == 135_684  # as counted by hand for paper B


def test_a_row_names_its_limit(monkeypatch):
    monkeypatch.setattr(learners, "SECONDS", 0.0)
    shared = learners.shared("dqn", {"hidden": (8, 8)}, LIMITS, batch=16)
    flops = learners.update_flops("dqn", (8, 8), 16)
    np.testing.assert_allclose(shared.share, flops / shared.seconds / 1e9)
    alone = learners.independent(3, 4, LIMITS)
    moved = 24 * 3 * alone.parameters
    np.testing.assert_allclose(
        [alone.share, alone.copy_share], [moved / alone.seconds / 2e9, moved / alone.seconds / 1e9]
    )
    assert (shared.limit, alone.limit, shared.learners, alone.learners) == ("matmul", "bandwidth", 1, 3)
