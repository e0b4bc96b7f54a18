"""What a user can rely on: best response ends where nobody gains alone, or says so; the slot game is what it says."""

from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import struct

from offjax.baselines.games import BestResponse, WorldGame, best_response, slot_game, uncoupled
from offjax.baselines.lookahead import Oracle
from offjax.evaluation.rollout import episodes, settlement
from offjax.problems import laas2022
from offjax.world import init

CELLS, N, PLACES = 2, 5, 3


@pytest.fixture(scope="module")
def problem():
    return laas2022.make(devices=CELLS * N, devices_per_cell=N, demand=(4e6, 10e6), bandwidth=8e6)


@pytest.fixture(scope="module")
def state(problem, key):
    return init(jax.random.fold_in(key, 3), problem.params)


def _deviations(game, places):
    """Rewards [D, P] of each device at each place, the others staying: one move at a time."""
    found = [game.payoffs(places, jnp.int32(member)) for member in range(N)]  # each [P, A]
    return np.stack(found, axis=-1).transpose(1, 2, 0).reshape(CELLS * N, PLACES)


@pytest.mark.parametrize("name", ["slot", "world"])
def test_nobody_gains_by_leaving_an_equilibrium(problem, state, name):
    found = jax.jit(BestResponse(game=name).solve)(problem, state)
    assert found.stable.all()
    assert (found.rounds > 0).all()
    game = slot_game(problem, state) if name == "slot" else WorldGame(problem, state)
    rewards = _deviations(game, found.places)
    here = np.take_along_axis(rewards, np.asarray(found.places)[:, None].astype(int), axis=1)[:, 0]
    assert (rewards.max(axis=1) - here <= 1e-4 * (1 + np.abs(here))).all()
    assert len(set(np.asarray(found.places).tolist())) > 1, "some at home, some away"


def test_too_few_rounds_are_no_equilibrium(problem, state):
    found = jax.jit(BestResponse(rounds=1).solve)(problem, state)
    assert not found.stable.any()
    assert (found.rounds == 1).all()


class MatchingPennies(struct.PyTreeNode):
    """Two devices of one cell, two places: one gains where they agree, the other where they differ."""

    def payoffs(self, places, member):
        other = places.reshape(1, 2)[:, 1 - member]
        agrees = (jnp.arange(2, dtype=jnp.int8)[:, None] == other[None, :]).astype(jnp.float32)
        return jnp.where(member == 0, agrees, 1.0 - agrees)


def test_a_game_without_an_equilibrium_is_given_up_and_said_so(problem):
    params = laas2022.make(devices=2, devices_per_cell=2).params
    asks, start = jnp.ones(2, bool), jnp.zeros(2, jnp.int8)
    found = jax.jit(lambda: best_response(MatchingPennies(), asks, start, params, 9))()
    assert not found.stable.any()
    assert found.rounds == 9


def test_who_is_not_asked_does_not_move(problem, state):
    asks = jnp.arange(CELLS * N) % 2 == 0
    game, home = slot_game(problem, state), jnp.zeros(CELLS * N, jnp.int8)
    found = jax.jit(lambda: best_response(game, asks, home, problem.params, 20))()
    assert not np.asarray(found.places)[1::2].any()


def test_the_slot_game_by_hand(problem, state):
    """A share of the air for each sender of the cell, a share of the server for each job at it."""
    places = jnp.asarray([1, 1, 2, 0, 0, 1, 0, 0, 0, 0], jnp.int8)
    game = slot_game(problem, state)
    alone = jax.device_get(game.alone)
    found = _deviations(game, places)
    upload, service = alone.passed.uplink, alone.passed.service
    alpha, beta = float(problem.energy_weight), float(problem.time_weight)

    def cost(device, place, senders, jobs):
        time = upload[place, device] * senders + alone.passed.backhaul[place, device] + service[place, device] * jobs
        energy = alone.energy[place, device] if place == 0 else 0.1 * upload[place, device] * senders
        return alpha * energy + beta * time

    assert found[0, 1] == pytest.approx(-cost(0, 1, 3, 2), rel=1e-4)  # stays: three senders, two at the edge
    assert found[0, 2] == pytest.approx(-cost(0, 2, 3, 1), rel=1e-4)  # the cloud shares no time
    assert found[0, 0] == pytest.approx(-cost(0, 0, 1, 1), rel=1e-4)
    assert found[3, 1] == pytest.approx(-cost(3, 1, 4, 3), rel=1e-4)  # joins them
    assert found[6, 1] == pytest.approx(-cost(6, 1, 2, 2), rel=1e-4)  # the other cell has one sender
    assert found[5, 1] == pytest.approx(-cost(5, 1, 1, 1), rel=1e-4)


def test_the_worlds_game_is_what_the_world_does(problem, state):
    """Never worse than the slot game: sharers that leave early give back what they had."""
    world, slot = WorldGame(problem, state), slot_game(problem, state)
    rewards, rows = jax.jit(world.rewards), []
    for places in list(product(range(PLACES), repeat=N))[::17]:
        both = jnp.asarray([*places, *reversed(places)], jnp.int8)
        crowded = _deviations(slot, both)
        rows.append(
            (np.asarray(rewards(both)), np.take_along_axis(crowded, np.asarray(both)[:, None].astype(int), 1)[:, 0])
        )
    exact, slots = map(np.stack, zip(*rows, strict=True))
    assert (exact >= slots - 1e-3 * np.abs(slots)).all()
    assert (exact > slots + 1e-2 * np.abs(slots)).any()


def test_best_response_lies_between_the_myopic_and_the_bound(problem, key):
    keys = jax.random.split(jax.random.fold_in(key, 1), 3)
    policies = {"response": BestResponse(), "myopic": Oracle(jnp.zeros(()))}
    rewards = {name: float(episodes(policy, problem, keys, 20).reward.sum()) for name, policy in policies.items()}
    bound = float(episodes(policies["myopic"], uncoupled(problem), keys, 20).reward.sum())
    assert rewards["myopic"] < rewards["response"] < bound
    stable, rounds = settlement(policies["response"], problem, keys[:1], 20)
    assert stable > 0.9
    assert 1.0 <= rounds < 10.0
