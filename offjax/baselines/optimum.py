"""Optima by search, for instances small enough: of a slot game by assignment, of a whole episode by enumeration."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.optimize import linear_sum_assignment

from offjax.baselines.games import SlotGame, slot_game
from offjax.errors import ConfigError
from offjax.problems.spec import Problem
from offjax.typed_jit import typed_jit
from offjax.world import Decision, State, advance, draw, init

MOST_VECTORS = 100_000  # of counts that an exact solution of a slot game goes through
MOST_PLANS = 200_000  # that an enumeration holds at a time
BATCHES = (64, 4096)  # plans that the simulator moves at once: two programs


@dataclass(frozen=True)
class Solution:
    """An optimal placement of one cell in one slot."""

    places: np.ndarray  # [N] int8
    reward: float  # of all devices together


def count_vectors(devices: int, servers: int) -> Iterator[tuple[int, ...]]:
    """How many devices are at each server: every vector with a sum of at most ``devices``."""
    if servers == 0:
        yield ()
        return
    for here in range(devices + 1):
        for rest in count_vectors(devices - here, servers - 1):
            yield (here, *rest)


def exact_slot_game(problem: Problem, state: State) -> list[Solution]:
    """The best placement of every cell in the slot game of ``state``, all devices asking.

    For given numbers of devices at each server a device's reward depends on its own place alone: what is left is an
    assignment of devices to places, solved for every vector of numbers (SciPy's ``linear_sum_assignment``).

    Raises:
        ConfigError: too many vectors.
    """
    params, servers = problem.params, len(problem.decisions) - 1
    size = params.cell_size
    vectors = np.asarray(list(count_vectors(size, servers)), np.int32)
    if len(vectors) > MOST_VECTORS:
        raise ConfigError("devices_per_cell", size, f"a cell with at most {MOST_VECTORS:,} vectors of counts")
    rewards = np.asarray(_tables(slot_game(problem, state), jnp.asarray(vectors)), np.float64)
    cells = rewards.reshape(len(vectors), servers + 1, params.access_points, size)
    return [best_assignment(cells[:, :, cell], vectors) for cell in range(params.access_points)]


@typed_jit()
def _tables(game: SlotGame, vectors: jax.Array) -> jax.Array:
    """[K, P, D] rewards under every vector of counts [K, Z]."""
    return jax.vmap(game.table)(vectors)


def best_assignment(rewards: np.ndarray, vectors: np.ndarray) -> Solution:
    """The best over all vectors of counts.

    Args:
        rewards: [K, P, N] of each device at each place under each vector.
        vectors: [K, Z] devices at each server.
    """
    best = Solution(np.zeros(rewards.shape[2], np.int8), -np.inf)
    for table, vector in zip(rewards, vectors, strict=True):
        home = table.shape[1] - int(vector.sum())
        seats = np.repeat(np.arange(table.shape[0]), [home, *vector])  # one per device
        device, seat = linear_sum_assignment(table[seats].T, maximize=True)
        reward = float(table[seats[seat], device].sum())
        if reward > best.reward:
            best = Solution(seats[seat].astype(np.int8), reward)
    return best


# ------------------------------------------------------------------------------------------------- clairvoyant


@dataclass(frozen=True)
class Plan:
    """The best decisions of a whole episode, everything random known beforehand."""

    reward: float  # of all devices and slots together
    places: np.ndarray  # [T, D] int8, -1 where a device was not asked
    plans: int  # that were followed to their end or cut off


def clairvoyant(problem: Problem, key: jax.Array, slots: int, known: float = -np.inf) -> Plan:
    """The best of all sequences of decisions, each tried in the simulator: queues, waiting and batteries included.

    Plans that are already worse than what is known are cut off: rewards are never positive, so a plan only gets worse.

    Args:
        problem: of few devices.
        key: of the episode, used as ``evaluation.rollout`` does: the same tasks, channels and servers.
        slots: of the episode.
        known: a reward that some policy has got, to cut off earlier; the result is never worse.

    Raises:
        ConfigError: more plans at a time than can be held, or a reward above zero.
    """
    start_key, slot_key = jax.random.split(key)
    states = jax.tree.map(lambda leaf: leaf[None], init(start_key, problem.params))
    rewards, history, tried = np.zeros(1), np.zeros((1, 0, problem.params.devices), np.int8), 0
    bound = known - 1e-5 * abs(known) if np.isfinite(known) else -np.inf
    for slot in jax.random.split(slot_key, slots):
        draws = draw(jax.random.split(slot)[1], problem.params)
        parent, places = branch(np.asarray(states.job.asks), len(problem.decisions))
        if len(parent) > MOST_PLANS:
            raise ConfigError("slots", slots, f"an instance with at most {MOST_PLANS:,} plans at a time")
        states, gained = follow(problem, states, parent, places, draws)
        if (gained > 0).any():
            raise ConfigError(
                "reward", float(gained.max()), "rewards of at most 0: plans are cut off by what they lost"
            )
        rewards, tried = rewards[parent] + gained, tried + len(parent)
        history = np.concatenate([history[parent], places[:, None]], axis=1)
        keep = np.flatnonzero(rewards >= bound)
        keep = keep if len(keep) else np.array([int(np.argmax(rewards))])
        states, rewards, history = jax.tree.map(lambda leaf, k=keep: leaf[k], states), rewards[keep], history[keep]
    best = int(np.argmax(rewards))
    return Plan(float(rewards[best]), history[best], tried)


def branch(asks: np.ndarray, places: int) -> tuple[np.ndarray, np.ndarray]:
    """Every answer to every state.

    Args:
        asks: [F, D] bool.
        places: P.

    Returns:
        the state [G] that each answer belongs to, and the answers [G, D] int8, -1 where nobody asks.
    """
    parents, answers = [], []
    for index, row in enumerate(asks):
        who = np.flatnonzero(row)
        own = np.full((places ** len(who), len(row)), -1, np.int8)
        own[:, who] = np.asarray(list(product(range(places), repeat=len(who))), np.int8).reshape(len(own), len(who))
        parents.append(np.full(len(own), index))
        answers.append(own)
    return np.concatenate(parents), np.concatenate(answers)


def follow(
    problem: Problem, states: State, parent: np.ndarray, places: np.ndarray, draws: Any
) -> tuple[State, np.ndarray]:
    """One slot of every plan: states [G, ...] and rewards [G], in batches of one shape."""
    rows, count = [], len(parent)
    size = BATCHES[count > BATCHES[0]]
    for first in range(0, count, size):
        chosen = np.minimum(np.arange(first, first + size), count - 1)  # the last one fills up
        batch = jax.tree.map(lambda leaf, k=parent[chosen]: leaf[k], states)
        rows.append(_advance_plans(problem, batch, jnp.asarray(places[chosen]), draws))
    whole, rewards = jax.tree.map(lambda *parts: np.concatenate([np.asarray(part) for part in parts])[:count], *rows)
    return whole, np.asarray(rewards, np.float64)


@typed_jit()
def _advance_plans(problem: Problem, states: State, places: jax.Array, draws: Any) -> tuple[State, jax.Array]:
    """[G] states and the rewards [G] of all their devices together."""

    def move(state: State, place: jax.Array) -> tuple[State, jax.Array]:
        after, outcome = advance(state, Decision(place), draws, problem.params)
        return after, jnp.sum(problem.reward(outcome, state))

    return jax.vmap(move)(states, places)
