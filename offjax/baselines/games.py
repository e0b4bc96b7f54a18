"""The game that devices of a cell play in a slot: what one gains depends on where the others go.

Two games, and best response in either. In the *slot game* everybody who uses something in a slot shares it with all
others who do, from its start to its end: what a device gets depends on the numbers of the others alone, so that small
games can be solved exactly (``optimum.py``). In the *world's game* the simulator itself says what every device would
get. Where nobody stays from an earlier slot the two differ by what sharers that leave early give back.
"""

from typing import Any, Protocol

import jax
import jax.numpy as jnp
from flax import struct

from offjax.baselines.lookahead import LONG, couples, try_places
from offjax.problems.spec import Problem
from offjax.world import Decision, End, Outcome, Params, State, advance
from offjax.world.links import by_cell

TOLERANCE = 1e-5  # relative: a move must gain more than float32 rounds off


class Game(Protocol):
    """What a member of each cell would get at every place, all others staying where they are."""

    def payoffs(self, places: jax.Array, member: jax.Array) -> jax.Array:
        """[P, A] reward of device ``member`` [] int32 of every cell at every place, the others at ``places`` [D]."""


class SlotGame(struct.PyTreeNode):
    """Everybody who uses something shares it with all others who do, for as long as it takes.

    An equal share of the air makes an upload ``k`` times as long; a server that shares its time makes a service ``k``
    times as long; before a FIFO server a job waits for one half of the others, taken as long as itself.
    """

    problem: Any  # a Problem
    state: State
    alone: Outcome  # [P, D] of every device at every place, with nobody else there

    def rewards(self, senders: jax.Array, jobs: jax.Array) -> jax.Array:
        """[P, D] rewards at every place.

        Args:
            senders: [P, D] that upload in the device's cell, itself included where it does.
            jobs: [P, D] at the server of that place, the same way.
        """

        def reward(outcome: Outcome, sending: jax.Array, working: jax.Array) -> jax.Array:
            crowded = crowd(outcome, sending, working, self.problem.params)
            return self.problem.reward(crowded, self.state)

        return jax.vmap(reward)(self.alone, senders, jobs)

    def payoffs(self, places: jax.Array, member: jax.Array) -> jax.Array:
        """See :class:`Game`."""
        params, count = self.problem.params, len(self.problem.decisions)
        others = count_places(places, count, params) - one_hot(places, count).T.reshape(count, *cells_of(params))
        jobs = (others + 1).reshape(count, -1)
        senders = jnp.broadcast_to(jnp.sum(others[1:], axis=0) + 1, others.shape).reshape(count, -1)
        rewards = self.rewards(senders, jobs).reshape(count, *cells_of(params))
        return jnp.take(rewards, member, axis=2)

    def table(self, counts: jax.Array) -> jax.Array:
        """[P, D] rewards where ``counts`` [Z] int32 devices of every cell are at each server, the device included."""
        numbers = jnp.concatenate([jnp.ones(1, counts.dtype), counts])
        shape = (len(self.problem.decisions), self.problem.params.devices)
        senders = jnp.broadcast_to(jnp.sum(counts), shape)
        return self.rewards(senders, jnp.broadcast_to(numbers[:, None], shape))


class WorldGame(struct.PyTreeNode):
    """The simulator tells what everybody gets, in a slot that goes on until all tasks of this one have ended."""

    problem: Any  # a Problem
    state: State

    def rewards(self, places: jax.Array) -> jax.Array:
        """[D] rewards if every device goes to its place of ``places`` [D] int8."""
        params = self.problem.params
        params = params.replace(slot_duration=jnp.maximum(params.slot_duration, LONG))
        _, outcome = advance(self.state, Decision(places), self.state.draws, params)
        return self.problem.reward(outcome, self.state)

    def payoffs(self, places: jax.Array, member: jax.Array) -> jax.Array:
        """See :class:`Game`."""
        params = self.problem.params
        moves = jnp.arange(params.cell_size, dtype=jnp.int32)[None, :] == member

        def payoff(place: jax.Array) -> jax.Array:
            tried = jnp.where(moves, place, by_cell(places, params)).reshape(-1)
            return jnp.take(by_cell(self.rewards(tried), params), member, axis=1)

        return jax.vmap(payoff)(jnp.arange(len(self.problem.decisions), dtype=jnp.int8))


class Equilibrium(struct.PyTreeNode):
    """Where best response ended."""

    places: jax.Array  # [D] int8
    rounds: jax.Array  # [A] int32 rounds in which somebody of the cell moved
    stable: jax.Array  # [A] bool: nobody of the cell can gain alone; false where the rounds were up


def cells_of(params: Params) -> tuple[int, int]:
    """(A, N)."""
    return params.access_points, params.cell_size


def one_hot(places: jax.Array, count: int) -> jax.Array:
    """[D, P] int32."""
    return (places[:, None] == jnp.arange(count, dtype=places.dtype)[None, :]).astype(jnp.int32)


def count_places(places: jax.Array, count: int, params: Params) -> jax.Array:
    """[P, A, 1] int32 devices of every cell at each place."""
    marks = one_hot(places, count).T.reshape(count, *cells_of(params))
    return jnp.sum(marks, axis=2, keepdims=True)


def crowd(outcome: Outcome, senders: jax.Array, jobs: jax.Array, params: Params) -> Outcome:
    """The outcome [D] of lone devices, as it would be where ``senders`` [D] send and ``jobs`` [D] are served."""
    away, passed = outcome.place > 0, outcome.passed
    sending = senders.astype(jnp.float32) if params.uplink in ("active", "cell") else jnp.float32(1)
    upload = jnp.where(away, passed.uplink * sending, passed.uplink)
    queue, service = passed.queue, passed.service
    for index, discipline in enumerate(params.queues):
        here = outcome.place == index + 1
        if discipline == "ps":
            service = jnp.where(here, passed.service * jobs.astype(jnp.float32), service)
        elif discipline == "fifo":
            queue = queue + jnp.where(here, 0.5 * (jobs - 1).astype(jnp.float32) * passed.service, 0.0)
    paid = params.fleet.transmit_power * (upload - passed.uplink) if params.uplink == "active" else 0.0
    passed = passed.replace(uplink=upload, queue=queue, service=service)
    latency, ended = passed.latency(), outcome.result <= End.LATE
    verdict = jnp.where(latency <= outcome.deadline, jnp.int8(End.IN_TIME), jnp.int8(End.LATE))
    result = jnp.where(ended & (outcome.result != End.NONE), verdict, outcome.result)
    return outcome.replace(passed=passed, latency=latency, energy=outcome.energy + paid, result=result)


def slot_game(problem: Problem, state: State) -> SlotGame:
    """The slot game of the tasks that ask in ``state``."""
    outcome, _ = try_places(problem, state)
    return SlotGame(problem=problem, state=state, alone=outcome)


def best_response(game: Game, asks: jax.Array, start: jax.Array, params: Params, most: int) -> Equilibrium:
    """Let the devices of every cell answer each other in turn until nobody gains by moving.

    Args:
        game: the payoffs.
        asks: [D] bool, who may move.
        start: [D] int8 places to begin with.
        params: of the world.
        most: rounds.
    """
    may_move = by_cell(asks, params)

    def turn(member: jax.Array, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        places, moved = carry
        payoffs = game.payoffs(places.reshape(-1), member)
        here = jnp.take(places, member, axis=1)
        now = jnp.take_along_axis(payoffs, here[None, :].astype(jnp.int32), axis=0)[0]
        gains = jnp.max(payoffs, axis=0) - now > TOLERANCE * (1.0 + jnp.abs(now))
        moves = gains & jnp.take(may_move, member, axis=1)
        there = jnp.where(moves, jnp.argmax(payoffs, axis=0).astype(jnp.int8), here)
        return jax.lax.dynamic_update_index_in_dim(places, there, member, axis=1), moved | moves

    def go_round(carry: Any) -> Any:
        places, rounds, _, number = carry
        still = jnp.zeros(params.access_points, bool)
        places, moved = jax.lax.fori_loop(0, params.cell_size, turn, (places, still))
        return places, rounds + moved.astype(jnp.int32), moved, number + 1

    none = jnp.zeros(params.access_points, jnp.int32)
    begin = (by_cell(start, params), none, jnp.ones(params.access_points, bool), jnp.int32(0))
    places, rounds, moved, _ = jax.lax.while_loop(lambda carry: jnp.any(carry[2]) & (carry[3] < most), go_round, begin)
    return Equilibrium(places=places.reshape(-1), rounds=rounds, stable=~moved)


class BestResponse(struct.PyTreeNode):
    """An equilibrium of the tasks of each slot: nobody of a cell would do better elsewhere, all others staying.

    It knows the whole cell and forgets the future, as the myopic oracle does. Devices begin at home.
    """

    rounds: int = struct.field(pytree_node=False, default=20)
    game: str = struct.field(pytree_node=False, default="world")  # or "slot"

    def solve(self, problem: Problem, state: State) -> Equilibrium:
        """Where the devices that ask end up, in how many rounds, and whether it is an equilibrium."""
        game: Game = WorldGame(problem, state) if self.game == "world" else slot_game(problem, state)
        home = jnp.zeros(problem.params.devices, jnp.int8)
        return best_response(game, state.job.asks, home, problem.params, self.rounds)

    def decide(self, problem: Problem, state: State, observation: jax.Array, key: jax.Array) -> jax.Array:
        """[D] int8."""
        return self.solve(problem, state).places


def uncoupled(problem: Any) -> Any:
    """The same problem where every device has everything that it could share to itself."""
    return problem.replace(params=problem.params.replace(coupling="none")) if couples(problem.params) else problem
