"""The loss of proximal policy optimisation, Schulman et al. 2017, eq 7 and 9."""

import jax
import jax.numpy as jnp
from flax import struct

from offjax.agents.common import Scalar, masked_mean
from offjax.agents.policy_losses import entropy, log_probability, value_loss


class Rows(struct.PyTreeNode):
    """What a rollout taught, one row per decision; constants to every gradient."""

    observation: jax.Array  # [N, F] as the networks see it
    decision: jax.Array  # [N] int32
    log_probability: jax.Array  # [N] of the decision before the update
    advantage: jax.Array  # [N] zero mean and unit variance over the valid rows of the rollout
    target: jax.Array  # [N] what V(s) should be, scaled reward units
    valid: jax.Array  # [N] bool


def standardised(advantage: jax.Array, valid: jax.Array) -> jax.Array:
    """Advantages less their mean, over their deviation, both of the valid rows."""
    centred = advantage - masked_mean(advantage, valid)
    return centred / (jnp.sqrt(masked_mean(jnp.square(centred), valid)) + 1e-8)


def ppo_loss(
    logits: jax.Array,
    value: jax.Array,
    rows: Rows,
    clip_range: Scalar,
    value_coefficient: Scalar,
    entropy_coefficient: Scalar,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Clipped loss + weighted value loss - entropy bonus over the valid rows, and their metrics.

    Args:
        logits: ``[N, A]``.
        value: V(s), ``[N]``.
        rows: what is learnt from.
        clip_range: epsilon of the paper: how far the ratio of probabilities may leave 1 and still gain.
        value_coefficient: weight of the value loss.
        entropy_coefficient: weight of the entropy bonus.
    """
    moved = log_probability(logits, rows.decision) - rows.log_probability
    ratio = jnp.exp(moved)
    clipped = jnp.clip(ratio, 1.0 - clip_range, 1.0 + clip_range)
    actor = masked_mean(-jnp.minimum(ratio * rows.advantage, clipped * rows.advantage), rows.valid)
    critic = value_loss(rows.target, value, rows.valid)
    evenness = entropy(logits, rows.valid)
    metrics = {
        "actor_loss": actor,
        "critic_loss": critic,
        "entropy": evenness,
        "clipped": masked_mean((jnp.abs(ratio - 1.0) > clip_range).astype(jnp.float32), rows.valid),
        "divergence": masked_mean(ratio - 1.0 - moved, rows.valid),
    }
    return actor + value_coefficient * critic - entropy_coefficient * evenness, metrics
