"""What a user can rely on: optima by assignment and by enumeration are those of brute force, and nothing beats them."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from offjax.baselines.games import BestResponse, slot_game
from offjax.baselines.lookahead import Oracle
from offjax.baselines.optimum import clairvoyant, count_vectors, exact_slot_game
from offjax.baselines.rules import always
from offjax.errors import ConfigError
from offjax.evaluation.rollout import episodes
from offjax.problems import laas2022
from offjax.problems.laas2022 import Server
from offjax.problems.parts import Sharing
from offjax.world import init

THREE = (Server("edge", f=1e9), Server("near", f=5e8), Server("cloud", f=1e10, link_delay=0.02, cloud=True))


def _brute_force(problem, state):
    """Best reward over all placements [(1 + Z)^N, N], each from the table of its own counts."""
    servers, devices = len(problem.decisions) - 1, problem.params.devices
    placements = np.asarray(list(product(range(servers + 1), repeat=devices)), np.int8)
    game = slot_game(problem, state)

    def total(places):
        counts = jnp.sum(
            places[None, :] == jnp.arange(1, servers + 1, dtype=jnp.int8)[:, None], axis=1, dtype=jnp.int32
        )
        return jnp.sum(jnp.take_along_axis(game.table(counts), places[None, :].astype(jnp.int32), axis=0))

    totals = np.asarray(jax.jit(jax.vmap(total))(jnp.asarray(placements)), np.float64)
    return totals.max(), placements[totals.argmax()]


@pytest.mark.parametrize(
    ("devices", "servers", "queue"),
    [(4, None, "ps"), (10, None, "ps"), (6, None, "fifo"), (5, THREE, "ps")],
)
def test_exact_equals_brute_force(devices, servers, queue, key):
    """Up to (1 + Z)^N = 59,049 placements, with different tasks and channels in each of three states."""
    sharing = Sharing(coupling="exact", uplink="active", queue=queue)
    problem = laas2022.make(devices=devices, devices_per_cell=devices, servers=servers, sharing=sharing, bandwidth=8e6)
    for seed in range(3):
        state = init(jax.random.fold_in(key, seed), problem.params)
        best, _ = _brute_force(problem, state)
        (found,) = exact_slot_game(problem, state)
        assert found.reward == pytest.approx(best, rel=1e-5)


def test_slots_whose_tasks_end_in_them_are_games_of_their_own(key):
    """N = 3, M = 2: slots share nothing in the slot game, so the best of all plans is the sum of the best of each."""
    problem = laas2022.make(devices=3, devices_per_cell=3, bandwidth=8e6)
    states = [init(jax.random.fold_in(key, seed), problem.params) for seed in (10, 11)]
    plans = [_brute_force(problem, state)[0] for state in states]
    exact = sum(exact_slot_game(problem, state)[0].reward for state in states)
    assert exact == pytest.approx(sum(plans), rel=1e-5)


def test_cells_are_solved_one_by_one(key):
    problem = laas2022.make(devices=8, devices_per_cell=4, bandwidth=8e6)
    found = exact_slot_game(problem, init(key, problem.params))
    assert len(found) == 2
    assert all(solution.places.shape == (4,) for solution in found)


def test_vectors_of_counts():
    assert list(count_vectors(2, 1)) == [(0,), (1,), (2,)]
    assert len(list(count_vectors(20, 2))) == 231


def test_a_cell_too_large_is_refused(key):
    problem = laas2022.make(devices=500, devices_per_cell=500, sharing=Sharing("slot", "active", queue="ps"))
    with pytest.raises(ConfigError, match=r"devices_per_cell: 500 .*100,000 vectors"):
        exact_slot_game(problem, init(key, problem.params))


@pytest.fixture(scope="module")
def queued():
    """Two devices, four tasks each, one slow FIFO server, busy from slot to slot: decisions touch later tasks."""
    servers = (Server("edge", f=4e6), Server("cloud", f=1e10, link_delay=0.1, cloud=True))
    sharing = Sharing(coupling="exact", uplink="active", queue="fifo")
    return laas2022.make(
        devices=2, devices_per_cell=2, servers=servers, sharing=sharing, tasks=4, bandwidth=2e6, time_weight=1.0
    )


SLOTS = 9


@pytest.mark.parametrize("seed", [0, 1])
def test_nothing_beats_the_clairvoyant(queued, key, seed):
    own = jax.random.fold_in(key, seed)
    best = clairvoyant(queued, own, SLOTS)
    policies = [Oracle(jnp.zeros(())), BestResponse(), *(always(place, 3) for place in range(3))]
    rewards = [float(episodes(policy, queued, own[None], SLOTS).reward.sum()) for policy in policies]
    assert max(rewards) <= best.reward + 1e-4 * abs(best.reward), rewards
    assert best.places.shape == (SLOTS, 2)
    with_a_hint = clairvoyant(queued, own, SLOTS, known=max(rewards))
    assert with_a_hint.reward == pytest.approx(best.reward, rel=1e-6)
    assert with_a_hint.plans <= best.plans


def test_an_instance_too_large_is_refused(key):
    problem = laas2022.make(devices=12, devices_per_cell=12)
    with pytest.raises(ConfigError, match=r"slots: 3 .*200,000 plans"):
        clairvoyant(problem, key, 3)
