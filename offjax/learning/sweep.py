"""Many agents at once: those of one structure form a unit, and a short probe says how many go into one program."""

import os
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from offjax.learning import train
from offjax.learning.train import Plan, TrainState
from offjax.learning.unit import Unit
from offjax.memory import available_bytes, bytes_of
from offjax.problems.spec import Problem

HOPE = 0.1  # of the time that is left: what another size may save
SHARE = 0.5  # of the memory that is there: states, and what a program works with
WORKING = 3  # times a state: the program's own arrays beside it


@dataclass(frozen=True)
class Member:
    """One agent to train."""

    number: int
    agent: Any  # the record of what is trained: an algorithm or an architecture
    problem: Problem
    key: jax.Array
    plan: Plan
    rounds: int
    checkpoint_rounds: int
    validation_devices: int  # 0 = none
    trainer: Any = train  # see ``Unit``


def structure(member: Member) -> Any:
    """What members must share to be trained by one program; numbers do not count, shapes do."""
    leaves, treedef = jax.tree.flatten((member.agent, member.problem))
    shapes = tuple((np.shape(leaf), str(np.asarray(leaf).dtype)) for leaf in leaves)
    return (
        treedef,
        shapes,
        member.plan,
        member.rounds,
        member.checkpoint_rounds,
        member.validation_devices,
        member.trainer,
    )


def group(members: Sequence[Member]) -> list[list[Member]]:
    """Members by structure, in the order of their first ones."""
    groups: dict[Any, list[Member]] = {}
    for member in members:
        groups.setdefault(structure(member), []).append(member)
    return list(groups.values())


def make_unit(name: str, members: Sequence[Member], chunk: int, own_problems: bool) -> Unit:
    """The unit of members of one structure; several local devices share its chunks."""
    first, devices = members[0], tuple(jax.local_devices())
    return Unit(
        name=name,
        agents=tuple(member.agent for member in members),
        problems=tuple(member.problem for member in members),
        seeds=tuple(member.number for member in members),
        keys=tuple(member.key for member in members),
        plan=first.plan,
        rounds=first.rounds,
        checkpoint_rounds=first.checkpoint_rounds,
        chunk=chunk,
        own_problems=own_problems,
        devices=devices if len(devices) > 1 else (),
        trainer=first.trainer,
    )


def differ(members: Sequence[Member]) -> bool:
    """Whether members have different problems."""
    return any(member.problem is not members[0].problem for member in members)


def slices(members: Sequence[Member], chunk: int, parts: int) -> list[Sequence[Member]]:
    """Members in about ``parts`` runs of whole chunks, so that a slice computes what the whole would."""
    chunks = -(-len(members) // chunk)
    size = chunk * -(-chunks // max(parts, 1))
    return [members[start : start + size] for start in range(0, len(members), size)]


# ------------------------------------------------------------------------------------------- chunk


def choose_chunk(unit: Unit) -> int:
    """How many members one program should train at once here: the fastest of a few sizes.

    Each size compiles a program and trains a few chunks twice for a round, side by side as they will be. The likeliest
    size comes first, and another one is tried only where it could save more time than it takes to compile.
    """
    best, least = 1, float("inf")
    for chunk in candidates(unit):
        if least < float("inf") and not fits(unit, chunk):
            continue
        compiling, seconds = measure(replace(unit, chunk=chunk))
        if seconds < least:
            best, least = chunk, seconds
        if HOPE * least * unit.members * unit.rounds < compiling:
            break
    return best


def candidates(unit: Unit) -> list[int]:
    """Sizes that are worth a try, the likeliest first: on a CPU wide networks lose by vmap, narrow ones gain."""
    width = max(getattr(unit.algorithms[0], "hidden", (64,)))
    sizes: tuple[int, ...]
    if jax.default_backend() != "cpu":
        sizes = (128, 1024, 16)
    else:
        sizes = (32, 128, 8) if width <= 32 else (16, 4, 1) if width <= 128 else (1, 4)
    largest = -(-unit.members // _workers(unit))
    return list(dict.fromkeys(_even(unit.members, min(size, largest)) for size in sizes))


def _even(members: int, chunk: int) -> int:
    """The size at which as many chunks have the fewest copies to fill the last one up."""
    return -(-members // -(-members // chunk))


def _workers(unit: Unit) -> int:
    workers = os.cpu_count() or 1 if jax.default_backend() == "cpu" else len(jax.local_devices())
    return min(unit.members, workers)


def fits(unit: Unit, chunk: int) -> bool:
    """Whether the states of all members and the work on some chunks fit into memory."""
    assert unit.records
    state = jax.eval_shape(lambda: replace(unit, chunk=1).start_chunk(0))
    return bytes_of(state) * (unit.members + WORKING * chunk * _workers(unit)) <= SHARE * available_bytes()


def measure(unit: Unit) -> tuple[float, float]:
    """Seconds that compilation takes, and seconds of a round for each member, some chunks side by side."""
    places = range(min(_workers(unit), len(unit.groups)))
    with ThreadPoolExecutor(max_workers=len(places)) as pool:

        def round_of_all(states: Sequence[TrainState]) -> list[TrainState]:
            return jax.block_until_ready([state for state, _ in pool.map(unit.step, places, states)])

        assert unit.records  # made here: threads share them
        start = time.perf_counter()
        program = pool.submit(unit.compile)
        first = unit.start_chunk(0)
        program.result()
        compiling = time.perf_counter() - start
        states = round_of_all([first, *(unit.start_chunk(place) for place in places[1:])])
        start = time.perf_counter()
        round_of_all(states)
        return compiling, (time.perf_counter() - start) / (len(places) * unit.chunk)
