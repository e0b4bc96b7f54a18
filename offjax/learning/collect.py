"""Real experiences under decisions that nobody has learnt: fixed sets to learn from or to judge by."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from offjax import world
from offjax.errors import ConfigError
from offjax.learning.train import look, move
from offjax.learning.transitions import no_transitions
from offjax.problems.spec import Problem
from offjax.replay.experience import Experience, merge_slots
from offjax.replay.ring import pack


def collect(problem: Problem, key: jax.Array, slots: int, chances: Sequence[float] | None = None) -> Experience:
    """Real experiences [slots D] of decisions drawn by ``chances`` of the places, all alike if not given; to be traced.

    Those of a device's last task may be missing: they are invalid.
    """
    devices, places = problem.params.devices, len(problem.decisions)
    world_key, slot_key = jax.random.split(key)
    logits = jnp.log(jnp.full(places, 1.0 / places) if chances is None else jnp.asarray(chances))
    state = world.init(world_key, problem.params)

    def step(carry: Any, key: jax.Array) -> tuple[Any, Experience]:
        state, transitions, seen = carry
        decision_key, draw_key = jax.random.split(key)
        decision = jax.random.categorical(decision_key, logits, shape=(devices,)).astype(jnp.int32)
        state, transitions, experience, seen, _ = move(problem, state, transitions, seen, decision, draw_key)
        return (state, transitions, seen), experience

    start = (state, no_transitions(devices, len(problem.features)), look(problem, state))
    return merge_slots(jax.lax.scan(step, start, jax.random.split(slot_key, slots))[1])


def slots_for(rows: int, devices: int) -> int:
    """Slots in which that many experiences come about: some tasks outlast theirs."""
    return 2 * -(-rows // devices) + 3


def real_rows(problem: Problem, key: jax.Array, rows: int, chances: Sequence[float] | None = None) -> np.ndarray:
    """[rows, 2 F + 3] real experiences in random order, on the host.

    Args:
        problem: of D devices.
        key: typed random key.
        rows: how many.
        chances: as of :func:`collect`.

    Raises:
        ConfigError: tasks take so long that fewer of them end.
    """
    collect_key, order_key = jax.random.split(key)
    slots = slots_for(rows, problem.params.devices)
    found = jax.jit(partial(collect, problem, slots=slots, chances=chances))(collect_key)
    table = np.asarray(pack(found))[np.asarray(found.valid)]
    if len(table) < rows:
        raise ConfigError("real_rows", rows, f"at most {len(table)}: so many tasks ended in {slots} slots")
    return np.asarray(jax.random.permutation(order_key, table))[:rows]
