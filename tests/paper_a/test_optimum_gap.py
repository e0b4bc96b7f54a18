"""The gap to the optimum: placements are worth what the exact search says, and the bound is above it."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from offjax import world
from offjax.baselines.games import slot_game
from offjax.baselines.optimum import exact_slot_game
from offjax.config.paper_a import load_paper_a
from offjax.paper_a import optimum

CONFIG = load_paper_a(Path(__file__).parents[2] / "configs/paper_a.yaml")


@pytest.mark.slow
def test_a_placement_is_worth_what_the_exact_search_says(key):
    problem = optimum.problem_of(CONFIG, 4)
    state = world.init(key, problem.params)
    exact = exact_slot_game(problem, state)
    game = slot_game(problem, state)
    places = jnp.asarray(np.concatenate([found.places for found in exact]))
    worth = jax.jit(optimum.total)(game, places)
    np.testing.assert_allclose(worth, [found.reward for found in exact], rtol=1e-5)
    ones = jnp.ones((3, 20))
    assert float(jnp.max(game.rewards(ones, ones), axis=0).sum()) >= float(worth.sum())


def test_the_score_and_the_claim():
    base = {"exact": np.full(6, -1.0), "random": np.full(6, -3.0)}
    near = base | {"learned": np.full((4, 6), -1.1)}
    far = base | {"learned": np.full((4, 6), -2.0)}
    assert optimum.score(near) == pytest.approx(0.95)
    assert optimum.claim_51({"cell-4": near}).holds
    told = optimum.claim_51({"cell-4": near, "cell-20": far})
    assert not told.holds
    assert told.measured == pytest.approx(0.5)
    assert "4: 0.950 (1.100), 20: 0.500 (2.000)" in told.reason
