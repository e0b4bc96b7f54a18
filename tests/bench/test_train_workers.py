"""Whole processes behind the race: ours comes to the threshold, rejax makes its steps."""

import pytest

from offjax.bench.train import REJAX, own_trainer, same_work
from offjax.bench.trainers import ROOT, own_run, own_work, rejax_run
from offjax.config.peers import Sb3DqnConfig

pytestmark = pytest.mark.slow
JUDGE = {"worlds": 1, "devices": 40}


@pytest.mark.parametrize("agent", ["ddqn", "ac"])
def test_ours_comes_to_the_threshold_cold_and_warm(agent):
    cold, warm = own_run(own_trainer(agent), [0, 1], 60.0, judge=JUDGE)
    assert (cold["cold"], warm["cold"]) == (True, False)
    assert (cold["reached"], warm["reached"]) == (True, True)
    assert warm["seconds"] < cold["seconds"]
    assert warm["updates"] > 0


def test_ours_does_the_work_that_was_asked_for():
    config = Sb3DqnConfig(n_envs=8, batch_size=32, gradient_steps=2, hidden=(8,))
    own = same_work(config)
    (run,) = own_work(own, [0], 2)
    slots = 2 * 2000 // own.worlds
    assert run["steps"] == 8 * slots
    assert slots * 2 - 32 <= run["updates"] <= slots * 2, "but for those before the first batch is full"


@pytest.mark.skipif(not (ROOT / ".venv-clients/.ready").exists(), reason="no .venv-clients: make .venv-clients/.ready")
@pytest.mark.parametrize("algorithm", REJAX)
def test_rejax_makes_its_steps(algorithm):
    cold, warm = rejax_run(algorithm, 4800, REJAX[algorithm], [0, 1])
    assert (cold["cold"], warm["cold"]) == (True, False)
    assert cold["steps"] == warm["steps"] == 4800
    assert warm["seconds"] < cold["seconds"]
