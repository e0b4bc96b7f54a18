"""Probe problems: each isolates one thing that a learner must get right, and its answer is known on paper.

A probe is a table of two states and two decisions, so all of them train in one vmapped program. The idea of
probe environments is rejax's; see shared/STYLE.md.
"""

from functools import partial

import jax
import jax.numpy as jnp
from flax import struct

from offjax.replay.experience import Experience

GAMMA = 0.5
OBSERVERS = 64


@struct.dataclass
class Probe:
    """A problem of two states and two decisions; every experience starts in a random state."""

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


def experience(agent, state, probe: Probe, key: jax.Array) -> Experience:
    """One exploring experience of each of the observers, [OBSERVERS, ...]."""
    place_key, act_key = jax.random.split(key)
    place = jax.random.randint(place_key, (OBSERVERS,), 0, 2)
    observation = probe.observation[place]
    decision = agent.act(state, observation, act_key, explore=True)
    return Experience(
        observation=observation,
        decision=decision,
        reward=probe.reward[place, decision],
        next_observation=probe.observation[probe.next_state[place]],
        terminated=probe.terminated[place],
        valid=jnp.ones((OBSERVERS,), bool),
    )


@partial(jax.jit, static_argnames=("learn", "start", "steps"))
def train_on_probes(agent, learn, start, key: jax.Array, steps: int):
    """Carries after ``steps`` of ``learn(agent, carry, probe, key) -> carry``, one per probe of STACKED."""

    def train(probe):
        def step(carry, step_key):
            return learn(agent, carry, probe, step_key), None

        return jax.lax.scan(step, start(agent, key), jax.random.split(key, steps))[0]

    return jax.vmap(train)(STACKED)
