"""The loss of the one-step actor-critic, [29] 'DRL-based proposed solution'."""

import jax

from offjax.agents.common import Scalar
from offjax.agents.policy_losses import entropy, score_loss, value_loss


def actor_critic_loss(
    logits: jax.Array,
    value: jax.Array,
    target: jax.Array,
    decision: jax.Array,
    valid: jax.Array,
    entropy_coefficient: Scalar,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Actor loss + critic loss, and their metrics; the actor's advantage is the TD error, target - V(s).

    Args:
        logits: ``[B, A]``.
        value: V(s), ``[B]``.
        target: r + gamma V(s') (1 - terminated), ``[B]``, without gradient.
        decision: ``[B]``.
        valid: ``[B]``, the rows that count.
        entropy_coefficient: weight of the entropy bonus.
    """
    actor = score_loss(logits, decision, target - value, valid)
    critic = value_loss(target, value, valid)
    evenness = entropy(logits, valid)
    metrics = {"actor_loss": actor, "critic_loss": critic, "entropy": evenness}
    return actor - entropy_coefficient * evenness + critic, metrics
