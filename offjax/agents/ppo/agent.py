"""Proximal policy optimisation, Schulman et al. 2017: some epochs of minibatches on every rollout."""

from typing import ClassVar

import jax
import jax.numpy as jnp
from flax import struct

from offjax.agents import common
from offjax.agents.common import Scalar
from offjax.agents.networks import Params
from offjax.agents.policy_learner import Metrics, PolicyState, RolloutLearner
from offjax.agents.policy_losses import log_probability
from offjax.agents.ppo.losses import Rows, ppo_loss, standardised
from offjax.replay.experience import Experience, merge_slots


@struct.dataclass
class PPO(RolloutLearner):
    """PPO with the clipped objective and GAE; the value loss is not clipped.

    Numbers are leaves (sweep them with ``vmap``), structure is static. A ratio compares with the policy at the
    start of the update, not with the one that decided: where a task outlasts a rollout, its decision was made under
    an older policy and starts with a ratio of 1 all the same.
    """

    name: ClassVar[str] = "ppo"

    learning_rate: Scalar = 3e-4
    """Adam's step of every network (the source, table 3)."""
    gae_lambda: Scalar = 0.95
    """Decay of the advantage's sum over later decisions (the source, table 3)."""
    clip_range: Scalar = 0.2
    """How far a ratio of probabilities may leave 1 and still gain (the source, table 1)."""
    rollout_slots: int = struct.field(pytree_node=False, default=25)
    """Slots between two updates (guess)."""
    epochs: int = struct.field(pytree_node=False, default=4)
    """How many times an update goes through its rollout (guess; public configurations)."""
    minibatches: int = struct.field(pytree_node=False, default=4)
    """Parts of a rollout, one step of Adam each (guess; public configurations)."""

    def __post_init__(self) -> None:
        """Refuse an impossible structure with a ConfigError."""
        super().__post_init__()
        for field in ("epochs", "minibatches"):
            common.require_positive(field, getattr(self, field))

    def rows(self, params: dict[str, Params], rollout: Experience) -> Rows:
        """What a rollout ``[T, B, ...]``, as the networks see it, teaches under ``params``: rows ``[T B]``."""
        logits, _, advantage, target = self.judge(params, rollout)
        rows = Rows(
            observation=rollout.observation,
            decision=rollout.decision,
            log_probability=log_probability(logits, rollout.decision),
            advantage=standardised(advantage, rollout.valid),
            target=target,
            valid=rollout.valid,
        )
        return merge_slots(rows)

    def objective(self, params: dict[str, Params], rows: Rows) -> tuple[jax.Array, Metrics]:
        """The loss of some ``rows``, and its metrics."""
        logits, value = self.heads(params, rows.observation)
        loss, metrics = ppo_loss(logits, value, rows, self.clip_range, self.value_coefficient, self.entropy_coefficient)
        return loss, metrics | self.report(value, rows.target, rows.valid)

    def update(self, state: PolicyState, batch: Experience, key: jax.Array) -> tuple[PolicyState, Metrics]:
        """``epochs`` times all ``minibatches`` of a rollout ``batch [T, B, ...]``, dealt anew by ``key`` each time.

        Returns:
            The next state (unchanged if no row is valid) and f32 scalars, means over the steps of Adam: those of
            :meth:`offjax.agents.ac.agent.ActorCritic.update`, where ``td_error`` is the mean size of target - V(s),
            ``clipped`` (share of ratios out of range), ``divergence`` (nats from the policy at the start);
            ``experiences`` counts the valid rows of the rollout.
        """
        state, rollout = self.prepare(state, batch)
        rows = self.rows(state.params, rollout)

        def epoch(state: PolicyState, key: jax.Array) -> tuple[PolicyState, Metrics]:
            return jax.lax.scan(self._minibatch, state, dealt(key, rows, self.minibatches))

        state, metrics = jax.lax.scan(epoch, state, jax.random.split(key, self.epochs))
        experiences = jnp.sum(rows.valid).astype(jnp.float32)
        return state, jax.tree.map(jnp.mean, metrics) | {"experiences": experiences}

    def _minibatch(self, state: PolicyState, rows: Rows) -> tuple[PolicyState, Metrics]:
        return self.descend(state, lambda params: self.objective(params, rows), rows.valid)


def dealt(key: jax.Array, rows: Rows, parts: int) -> Rows:
    """The rows ``[N]`` in a random order as ``[parts, N / parts]``; invalid rows fill up what does not divide."""
    count = rows.valid.shape[0]
    filled = count + -count % parts
    order = jax.random.permutation(key, filled)

    def deal(leaf: jax.Array) -> jax.Array:
        padded = jnp.pad(leaf, [(0, filled - count)] + [(0, 0)] * (leaf.ndim - 1))
        return padded[order].reshape(parts, filled // parts, *leaf.shape[1:])

    return jax.tree.map(deal, rows)
