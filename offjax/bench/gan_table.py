"""A table of experiences whose law is known: what generators of rows are held against.

Seven features in 0 ... 1: size of the task, deadline (one of three), channel gain, local queue and the load of three
servers; one of four decisions, by a policy; the reward of its latency and cost, or a penalty when it is late; the
features after it: new size and deadline, gain and loads that follow the old ones, and a queue that is known exactly.
"""

import jax
import jax.numpy as jnp

from offjax.replay.codec import Column, Columns

PENALTY = -5.0
THRESHOLD = -4.0  # rewards below are penalties: the others are above -2.5
FEATURES = ("size", "deadline", "gain", "queue", "load_1", "load_2", "load_3")
FRESH = ("size", "deadline")  # features of a task, which is another one each time
DECISIONS = 4
DEADLINES = (0.4, 0.7, 1.0)
COST = (0.05, 0.2, 0.25, 0.3)  # of a decision
DRAIN = 0.3  # of the queue in a slot
REWARD = len(FEATURES) + 1  # place of the column
MARKED = ("reward", "deadline")  # columns with a value that is common


def columns(difference: bool = True) -> Columns:
    """Of the table; the next features that follow from those before as differences, or all as they are."""
    minus = {name: name for name in FEATURES if difference and name not in FRESH}
    now = [Column(name, low=0.0, high=1.0) for name in FEATURES]
    following = [Column(f"next_{name}", minus=minus.get(name), low=0.0, high=1.0) for name in FEATURES]
    return Columns((*now, Column("decision", DECISIONS), Column("reward"), *following))


def draw_table(key: jax.Array, rows: int) -> jax.Array:
    """[rows, 16] float32.

    Args:
        key: typed random key.
        rows: static.
    """
    state_key, decision_key, next_key = jax.random.split(key, 3)
    state = _draw_state(state_key, rows)
    # The policy likes what is quick, and is not sure.
    decision = jax.random.categorical(decision_key, -4.0 * _latencies(state) - 2.0 * jnp.array(COST)[None])
    following = _draw_next(next_key, state, decision)
    parts = (state, decision[:, None].astype(jnp.float32), _reward(state, decision)[:, None], following)
    return jnp.concatenate(parts, axis=1)


def exact_reward(table: jax.Array) -> jax.Array:
    """[rows] the reward that rows should have, whatever theirs is."""
    return _reward(table[:, : len(FEATURES)], table[:, len(FEATURES)].astype(jnp.int32))


def _draw_state(key: jax.Array, rows: int) -> jax.Array:
    task_key, gain_key, queue_key, load_key = jax.random.split(key, 4)
    gain = jnp.clip(0.55 + 0.3 * jax.random.normal(gain_key, (rows, 1)), 0.0, 1.0)
    queue = jnp.clip(0.4 * jax.random.exponential(queue_key, (rows, 1)) - 0.1, 0.0, 1.0)
    load = jax.random.beta(load_key, 2.0, 3.0, (rows, 3))
    return jnp.concatenate([_draw_task(task_key, rows), gain, queue, load], axis=1)


def _draw_task(key: jax.Array, rows: int) -> jax.Array:
    size_key, deadline_key = jax.random.split(key)
    size = jax.random.uniform(size_key, (rows, 1))
    kind = jax.random.categorical(deadline_key, jnp.log(jnp.array([0.3, 0.5, 0.2])), shape=(rows, 1))
    return jnp.concatenate([size, jnp.array(DEADLINES)[kind]], axis=1)


def _latencies(state: jax.Array) -> jax.Array:
    """[rows, decisions] of each decision."""
    size, gain, queue = state[:, :1], state[:, 2:3], state[:, 3:4]
    remote = 0.05 + 0.5 * size * (1.3 - gain) + 0.7 * state[:, 4:]
    return jnp.concatenate([queue + 0.8 * size, remote], axis=1)


def _reward(state: jax.Array, decision: jax.Array) -> jax.Array:
    latency = jnp.take_along_axis(_latencies(state), decision[:, None], axis=1)[:, 0]
    return jnp.where(latency <= state[:, 1], -latency - jnp.array(COST)[decision], PENALTY)


def _draw_next(key: jax.Array, state: jax.Array, decision: jax.Array) -> jax.Array:
    task_key, gain_key, load_key = jax.random.split(key, 3)
    rows = state.shape[0]
    gain = 0.9 * state[:, 2:3] + 0.055 + 0.1 * jax.random.normal(gain_key, (rows, 1))
    queue = state[:, 3:4] - DRAIN + 0.8 * state[:, :1] * (decision == 0)[:, None]
    sent = jax.nn.one_hot(decision - 1, 3)
    load = 0.8 * state[:, 4:] + 0.06 + 0.1 * sent + 0.05 * jax.random.normal(load_key, (rows, 3))
    parts = [_draw_task(task_key, rows), jnp.clip(gain, 0.0, 1.0), jnp.clip(queue, 0.0, 1.0), jnp.clip(load, 0.0, 1.0)]
    return jnp.concatenate(parts, axis=1)
