"""The loss of the advantage actor-critic, Mnih et al. 2016, section 4.3."""

import jax

from offjax.agents.common import Scalar
from offjax.agents.policy_losses import entropy, score_loss, value_loss
from offjax.replay.experience import Experience


def a2c_loss(
    logits: jax.Array,
    value: jax.Array,
    rollout: Experience,
    advantage: jax.Array,
    target: jax.Array,
    value_coefficient: Scalar,
    entropy_coefficient: Scalar,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Score loss + weighted value loss - entropy bonus over the valid rows, and their metrics.

    Args:
        logits: ``[T, B, A]``.
        value: V(s), ``[T, B]``.
        rollout: decisions and the rows that count.
        advantage: ``[T, B]``, without gradient.
        target: what V(s) should be, ``[T, B]``, without gradient.
        value_coefficient: weight of the value loss.
        entropy_coefficient: weight of the entropy bonus.
    """
    actor = score_loss(logits, rollout.decision, advantage, rollout.valid)
    critic = value_loss(target, value, rollout.valid)
    evenness = entropy(logits, rollout.valid)
    metrics = {"actor_loss": actor, "critic_loss": critic, "entropy": evenness}
    return actor + value_coefficient * critic - entropy_coefficient * evenness, metrics
