"""Probe problems: each isolates one thing that a learner must get right, and its answer is known on paper.

A probe is a table of two states and two decisions, so all of them train in one vmapped program. The idea of
probe environments is rejax's.
"""

from functools import partial

import jax
import jax.numpy as jnp
from flax import struct

from offjax.agents.specs import Specs
from offjax.learning import train
from offjax.replay.experience import Experience

GAMMA = 0.5
OBSERVERS = 64


@struct.dataclass
class Probe:
    """A problem of two states and two decisions."""

    observation: jax.Array  # [state, F]
    reward: jax.Array  # [state, decision]
    next_state: jax.Array  # [state] int32
    terminated: jax.Array  # [state] bool
    best_value: jax.Array  # [state] discounted return of the best decisions


def _probe(observation, reward, best_value, next_state=(0, 1), terminated=(True, True)) -> Probe:
    return Probe(
        observation=jnp.array(observation, jnp.float32)[:, None],
        reward=jnp.array(reward, jnp.float32),
        next_state=jnp.array(next_state, jnp.int32),
        terminated=jnp.array(terminated),
        best_value=jnp.array(best_value, jnp.float32),
    )


PROBES = {
    "constant reward": _probe([1, 1], [[1, 1], [1, 1]], [1, 1]),
    "value depends on observation": _probe([-1, 1], [[-1, -1], [1, 1]], [-1, 1]),
    "discount over two steps": _probe(
        [-1, 1], [[0, 0], [1, 1]], [GAMMA, 1], next_state=(1, 1), terminated=(False, True)
    ),
    "decision earns reward": _probe([1, 1], [[-1, 1], [-1, 1]], [1, 1]),
    "observation and decision earn reward": _probe([-1, 1], [[1, -1], [-1, 1]], [1, 1]),
    # The same two loops, cut by a time limit or ended: only `terminated` tells them apart.
    "truncated": _probe([-1, 1], [[1, 1], [1, 1]], [1 / (1 - GAMMA), 1 / (1 - GAMMA)], terminated=(False, False)),
    "terminated": _probe([-1, 1], [[1, 1], [1, 1]], [1, 1]),
}
BEST_DECISION = {
    "decision earns reward": [1, 1],
    "observation and decision earn reward": [0, 1],
}
STACKED = jax.tree.map(lambda *tables: jnp.stack(tables), *PROBES.values())


def rollout(agent, state, probe: Probe, key: jax.Array) -> Experience:
    """Some slots of the observers, [agent.rollout_slots, OBSERVERS, ...]; a fifth of the rows is trash, not valid.

    A row follows the valid one before it, from a random state after a termination.
    """

    def slot(place, slot_key):
        place_key, act_key, gap_key = jax.random.split(slot_key, 3)
        valid = jax.random.uniform(gap_key, (OBSERVERS,)) > 0.2
        observation = probe.observation[place]
        decision = agent.act(state, observation, act_key, explore=True)
        row = Experience(
            observation=observation,
            decision=decision,
            reward=jnp.where(valid, probe.reward[place, decision], jnp.nan),
            next_observation=probe.observation[probe.next_state[place]],
            terminated=probe.terminated[place],
            valid=valid,
        )
        fresh = jax.random.randint(place_key, (OBSERVERS,), 0, 2)
        after = jnp.where(probe.terminated[place], fresh, probe.next_state[place])
        return jnp.where(valid, after, place), row

    start_key, slots_key = jax.random.split(key)
    start = jax.random.randint(start_key, (OBSERVERS,), 0, 2)
    return jax.lax.scan(slot, start, jax.random.split(slots_key, agent.rollout_slots))[1]


@partial(jax.jit, static_argnames=("rollouts",))
def train_on_probes(agent, key: jax.Array, rollouts: int):
    """States of ``agent`` after some rollouts on each probe of STACKED, learnt from as in the learning room."""
    plan = train.Plan(horizon=1, worlds=1)
    specs = Specs(1, 2)

    def train_on(probe):
        def step(carry, step_key):
            act_key, learn_key = jax.random.split(step_key)
            rows = jax.tree.map(lambda leaf: leaf[:, None], rollout(agent, carry[0], probe, act_key))
            return train.learn(agent, plan, *carry, rows, learn_key)[:2], None

        start = (agent.init(key, specs), agent.memory(specs) if agent.replays else None)
        return jax.lax.scan(step, start, jax.random.split(key, rollouts))[0][0]

    return jax.vmap(train_on)(STACKED)
