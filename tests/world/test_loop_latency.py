"""What a user can rely on: how often a device without a buffer drops tasks because its answer comes late.

A task comes every tau; the answer takes L, the service S. The lane is taken for L + S, so one task of
ceil((L + S) / tau) is let in; of the others, ceil(L / tau) - 1 find it without a decision.
"""

from fractions import Fraction
from math import ceil

import jax.numpy as jnp
import numpy as np
import pytest
from world_cases import LOCAL, SLOTS, begin, go_on, make_decisions, make_params

from offjax.world import End

# In units of tau; with S = 1.3 some L + S are exact multiples of tau too.
SERVICE = Fraction("1.3")
LATENCIES = [Fraction(text) for text in ("0", ".2", ".5", ".7", "1", "1.5", "1.7", "2", "3.7", "4", "5.7", "7.9")]
ARRIVALS = 840  # a multiple of every cycle of the pattern: the shares are exact, wherever it starts


def _refusals(key, tau: float, slots_per_task: int, latencies) -> np.ndarray:
    """[ARRIVALS * slots_per_task, D] End of the refused tasks."""
    params = make_params(
        buffer=0,
        slot_duration=tau / slots_per_task,
        period=slots_per_task,
        cycles_per_bit=(float(SERVICE) * tau * 1e9 / 1e6,) * 3,
        battery=jnp.inf,
    )
    decisions = make_decisions(LOCAL, delay=[float(latency) * tau for latency in latencies])
    state, draws = begin(key, params)
    refused, total = [], ARRIVALS * slots_per_task
    for _ in range(total // SLOTS):
        history = go_on(state, draws, params, decisions)
        state = history.last
        refused.append(history.outcome.refused)
    # Row s is about the task of slot s + 1; that of slot 0 is let in.
    return np.concatenate(refused)[: total - 1]


@pytest.mark.parametrize("slots_per_task", [1, 4, 10])
@pytest.mark.parametrize("tau", [1.0, 0.1, 0.7])
@pytest.mark.parametrize("latencies", [LATENCIES[:6], LATENCIES[6:]], ids=["short", "long"])
def test_share_of_tasks_dropped_for_want_of_a_decision(key, tau, slots_per_task, latencies):
    refused = _refusals(key, tau, slots_per_task, latencies)
    cycle = np.array([ceil(latency + SERVICE) for latency in latencies])
    undecided = np.array([max(ceil(latency) - 1, 0) for latency in latencies])
    np.testing.assert_allclose((refused == End.NO_DECISION).sum(0) / ARRIVALS, undecided / cycle, atol=1e-3)
    np.testing.assert_allclose((refused != End.NONE).sum(0) / ARRIVALS, 1 - 1 / cycle, atol=1e-3)
