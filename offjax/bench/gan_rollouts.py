"""A table of experiences from the simulator: random decisions in paper A's problem, whose edge server fails often.

What never changes there (speeds, energies, the cloud's link) is left out: of the ten features three are in the table.
"""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp

from offjax.learning.collect import collect, slots_for
from offjax.problems import laas2022
from offjax.problems.laas2022 import Device
from offjax.problems.parts import Sharing
from offjax.problems.scenario import Scenario
from offjax.replay.codec import Column, Columns

THRESHOLD = -9.0  # rewards below are those of lost tasks: the others are above, but for the worst links
FEATURES = ("task_demand", "link_rate", "edge_capacity")
FRESH = ("task_demand", "edge_capacity")  # drawn anew in every slot
REWARD = len(FEATURES) + 1  # place of the column
MARKED = ("reward", "edge_capacity")  # columns with a value that is common: a lost task, a server that is down
DEVICES, DOWN, PERIOD = 100, 7, 23  # slots that the edge server is down of so many
SPREAD = 10  # times as many slots as needed: devices see the same server, so that rows of one slot are alike


@cache
def problem(slots: int = 1_000) -> Any:
    """The problem, for so many slots."""
    outages = [(slot, slot + DOWN) for slot in range(PERIOD // 2, slots, PERIOD)]
    scenario = Scenario(redundant=True, mec=outages)
    fleet, alone = [Device(battery=1e6)], Sharing()
    with jax.ensure_compile_time_eval():  # it may be asked for inside a program first
        return laas2022.make(scenario, devices=DEVICES, devices_per_cell=DEVICES, fleet=fleet, sharing=alone)


def columns(difference: bool = True) -> Columns:
    """Of the table; the next features that follow from those before as differences, or all as they are."""
    minus = {name: name for name in FEATURES if difference and name not in FRESH}
    now = [Column(name, low=0.0, high=1.0) for name in FEATURES]
    following = [Column(f"next_{name}", minus=minus.get(name), low=0.0, high=1.0) for name in FEATURES]
    return Columns((*now, Column("decision", len(problem().decisions)), Column("reward"), *following))


def draw_table(key: jax.Array, rows: int) -> jax.Array:
    """[rows, 8] float32.

    Args:
        key: typed random key.
        rows: static.
    """
    slots = SPREAD * slots_for(rows, DEVICES)
    collect_key, order_key = jax.random.split(key)
    found = collect(problem(slots), collect_key, slots)
    shown = jnp.array(_places())
    decision, reward = found.decision.astype(jnp.float32)[:, None], found.reward[:, None]
    table = jnp.concatenate([found.observation[:, shown], decision, reward, found.next_observation[:, shown]], axis=1)
    mixed = jax.random.permutation(order_key, slots * DEVICES)
    first = jnp.argsort(~found.valid[mixed], stable=True)[:rows]  # valid rows first
    return table[mixed[first]]


def exact_reward(table: jax.Array) -> jax.Array:
    """[rows] the reward that rows should have, whatever theirs is; exact where a task ends within its slot."""
    own = problem()
    high = jnp.array([feature.high for feature in own.features])
    # What is not in the table is always at the top of its range, or has none.
    scaled = jnp.broadcast_to((_constant() > 0).astype(jnp.float32), (table.shape[0], len(high)))
    scaled = scaled.at[:, jnp.array(_places())].set(table[:, : len(FEATURES)])
    rewards = own.rewards(own.denormalise(scaled))
    return jnp.take_along_axis(rewards, table[:, len(FEATURES), None].astype(jnp.int32), axis=1)[:, 0]


def _places() -> list[int]:
    names = [feature.name for feature in problem().features]
    return [names.index(name) for name in FEATURES]


def _constant() -> jax.Array:
    """[F] an observation of a device, normalised."""
    from offjax import world
    from offjax.learning.train import look

    own = problem()
    with jax.ensure_compile_time_eval():
        return look(own, world.init(jax.random.key(0), own.params))[0]
