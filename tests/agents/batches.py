"""One fixed small batch, and the few comparisons that the agents' tests share."""

import jax
import jax.numpy as jnp
import numpy as np

from offjax.agents.specs import Specs
from offjax.replay.experience import Experience

SPECS = Specs(observation_size=2, decisions=3)


def make_batch(valid=(1, 1, 1, 1)) -> Experience:
    """Four experiences with two terminations; ``valid`` chooses rows."""
    return Experience(
        observation=jnp.array([[0.1, -0.4], [0.8, 0.3], [-0.7, 0.9], [0.2, 0.6]]),
        decision=jnp.array([0, 2, 1, 2], jnp.int32),
        reward=jnp.array([0.5, -1.0, 2.5, 0.3]),
        next_observation=jnp.array([[0.9, 0.4], [-0.2, 0.7], [0.3, 0.3], [-0.6, -0.5]]),
        terminated=jnp.array([False, True, False, True]),
        valid=jnp.array(valid, bool),
    )


def forward(agent, params, net, inputs):
    """One linear layer in NumPy: the network of an agent with hidden=()."""
    assert agent.hidden == ()
    dense = (params[net] if net else params)["layer_0"]
    return np.array(inputs) @ np.array(dense["kernel"]) + np.array(dense["bias"])


def moved(before, after) -> float:
    """The largest change of any parameter."""
    changes = jax.tree.map(lambda left, right: jnp.max(jnp.abs(left - right)), before, after)
    return float(max(jax.tree.leaves(changes)))


def norm(tree) -> float:
    """Global Euclidean norm."""
    return float(np.sqrt(sum(np.sum(np.square(leaf)) for leaf in jax.tree.leaves(tree))))


def assert_same(left, right) -> None:
    """Equal trees, bit by bit."""
    jax.tree.map(np.testing.assert_array_equal, left, right)
