"""Stable-Baselines3 in a race: its policies reach our simulator unchanged, and it comes near the oracle."""

import pytest
from test_sb3 import PEERS, peers

from offjax.bench.trainers import Sb3
from offjax.config.peers import load_peer
from offjax.errors import MachineError

PYTHON = PEERS / "bin" / "python"


@pytest.mark.parametrize(("peer", "limit"), [pytest.param(name, 30.0, marks=peers) for name in ("sb3_dqn", "sb3_a2c")])
def test_a_race(peer, limit):
    """The untrained policy fails often; 30 s of the processor bring the tuned trainer within a hundredth of that."""
    with Sb3(judge={"worlds": 1, "devices": 40}, clock="cpu", look_growth=1.2, python=PYTHON) as process:
        line = process.race(peer, load_peer(peer), 0, limit)
    first, *_, last = line["curve"]
    assert first[1:3] == [0, 0]
    assert line["best_regret"] < 0.01 * first[3]
    assert last[1] == line["steps"] > 0
    assert line["updates"] > 0
    assert line["failure"] is None


@pytest.mark.parametrize("unknown", [pytest.param("sb3_ppo", marks=peers)])
def test_a_process_that_fails_says_why(unknown):
    with Sb3(python=PYTHON) as process, pytest.raises(MachineError, match="sb3_worker ended with code 1: KeyError"):
        process.race(unknown, load_peer("sb3_dqn"), 0, 1.0)
