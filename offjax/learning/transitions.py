"""From slots to experiences: semi-Markov transitions per device.

A decision opens a transition; what its task earns until the device is asked again belongs to it, however many slots
that takes; being asked again closes it. The discount is per decision. An empty battery (``terminated``) closes it
for good: one terminated experience, then none.
"""

import jax
import jax.numpy as jnp
from flax import struct

from offjax.replay.experience import Experience


class Transitions(struct.PyTreeNode):
    """What each device has under way."""

    observation: jax.Array  # [D, F] when it was asked
    decision: jax.Array  # [D] int32
    reward: jax.Array  # [D] earned since
    under_way: jax.Array  # [D] bool


def no_transitions(devices: int, features: int) -> Transitions:
    """Nothing under way."""
    return Transitions(
        observation=jnp.zeros((devices, features), jnp.float32),
        decision=jnp.zeros(devices, jnp.int32),
        reward=jnp.zeros(devices, jnp.float32),
        under_way=jnp.zeros(devices, bool),
    )


def decided(transitions: Transitions, observation: jax.Array, decision: jax.Array, asked: jax.Array) -> Transitions:
    """Open a transition where a device was asked and has answered.

    Args:
        transitions: what is under way.
        observation: [D, F] that the decision was made on.
        decision: [D] int32.
        asked: [D] bool.
    """
    return Transitions(
        observation=jnp.where(asked[:, None], observation, transitions.observation),
        decision=jnp.where(asked, decision, transitions.decision),
        reward=jnp.where(asked, 0.0, transitions.reward),
        under_way=transitions.under_way | asked,
    )


def observed(
    transitions: Transitions,
    reward: jax.Array,
    observation: jax.Array,
    asks: jax.Array,
    terminated: jax.Array,
) -> tuple[Transitions, Experience]:
    """Take the reward of a slot, and close what has come to its next question or its end.

    Args:
        transitions: what is under way.
        reward: [D] of this slot.
        observation: [D, F] after the slot, before any reset.
        asks: [D] bool, the device is asked next.
        terminated: [D] bool, the device will not be asked again.

    Returns:
        what goes on, and the experiences [D], valid where one closed.
    """
    earned = transitions.reward + reward
    closes = transitions.under_way & (asks | terminated)
    experience = Experience(
        observation=transitions.observation,
        decision=transitions.decision,
        reward=earned,
        next_observation=observation,
        terminated=terminated,
        valid=closes,
    )
    return transitions.replace(reward=earned, under_way=transitions.under_way & ~closes), experience
