"""Algorithm 1 of paper A: the agent in the cloud, which learns from what the access point brings and never decides.

Its numbers in brackets are the lines of the algorithm.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from offjax.agents.common import Scalar, choose, require_positive
from offjax.agents.specs import Specs
from offjax.errors import ConfigError
from offjax.replay.experience import Experience, is_finite
from offjax.replay.memory import Memory, make_memory, recall, recall_mixed, remember, remember_rows
from offjax.replay.ring import pack

FORGETS = ("target_params", "optimiser", "optimisers")  # of an agent's state, what acting does not need


@struct.dataclass
class Learner:
    """The agent of algorithm 1; capacities, T and BS have symbols in the paper and no numbers: all are guesses.

    A learner that does not replay (ac, a2c, ppo) has no memories: it learns from what has just come.
    """

    agent: Any
    """The algorithm record; BS is its ``batch_size``, and how often the target is copied is its own affair."""
    augment: Any = None
    """The generator, see :class:`offjax.replay.memory.Augment`; or none: the ARM has real rows only."""
    weights_period: Scalar = 10
    """T, trainings from one transfer of the weights to the next."""
    generated_share: Scalar = -1.0
    """Of the rows of a batch from the ARM; negative: as they come, which is the algorithm's own way."""
    age_limit: Scalar = jnp.inf
    """Iterations after which a generated row is not learnt from any more."""
    learning_starts: Scalar = 0
    """Iterations before the first training, in which experiences are only stored; algorithm 1 has none."""
    brm_capacity: int = struct.field(pytree_node=False, default=10_000)
    """Experiences that the basic replay memory holds."""
    arm_capacity: int = struct.field(pytree_node=False, default=50_000)
    """Experiences that the augmented replay memory holds."""
    iterations: int = struct.field(pytree_node=False, default=1)
    """Passes through lines 9 to 25 in one slot ("continuously")."""
    fit_period: int = struct.field(pytree_node=False, default=100)
    """Slots from one fit of the generator to the next, where it has anything to fit (guess: algorithm 1 calls it in
    every iteration and does not say when it learns)."""

    def __post_init__(self) -> None:
        """Refuse numbers that contradict each other with a ConfigError."""
        for field in ("brm_capacity", "arm_capacity", "iterations", "fit_period"):
            require_positive(field, getattr(self, field))
        require_count("weights_period", self.weights_period)
        if not self.agent.replays:
            if self.augment is not None:
                raise ConfigError("augment", self.agent.name, "an agent that replays: others learn from what has come")
            return
        if self.agent.n_steps > 1:
            raise ConfigError("n_steps", self.agent.n_steps, "1: experiences reach the cloud one by one, with gaps")
        if self.agent.prioritised:
            raise ConfigError("prioritised", True, "false: the augmented memory is sampled uniformly")
        if self.agent.batch_size > self.arm_capacity:
            allowed = f"at least batch_size = {self.agent.batch_size}: below that it never trains"
            raise ConfigError("arm_capacity", self.arm_capacity, allowed)


class LearnerState(struct.PyTreeNode):
    """What the agent in the cloud has learnt and stored; save it whole."""

    learnt: Any  # the algorithm's state
    brm: Memory | None
    arm: Memory | None
    generator: Any  # of ``Learner.augment``
    rollout: Experience | None  # leaves [T, B, ...], of a learner from whole rollouts
    trainings: jax.Array  # [] int32 t, since the last transfer of the weights
    iteration: jax.Array  # [] int32
    sent: jax.Array  # [] int32 transfers of the weights so far
    spoilt: jax.Array  # [] int32 rows, sent or generated, that were refused because a number in them is not finite


def require_count(field: str, value: Any) -> None:
    """Raise ConfigError unless ``value`` is a whole number of at least 1 (a traced one is not looked at)."""
    if isinstance(value, int | float) and not (value >= 1 and float(value).is_integer()):
        raise ConfigError(field, value, "a whole number of at least 1")


def begin(learner: Learner, key: jax.Array, specs: Specs, rows: int) -> LearnerState:
    """Lines 1 to 7: empty memories, a fresh evaluation network, cloned into the target network.

    Args:
        learner: the record.
        key: typed random key.
        specs: of the problem.
        rows: B, experiences that may come in one slot.
    """
    agent, (agent_key, generator_key) = learner.agent, jax.random.split(key)
    zero, features = jnp.zeros((), jnp.int32), specs.observation_size
    return LearnerState(
        learnt=agent.init(agent_key, specs),
        brm=make_memory("brm_capacity", learner.brm_capacity, features) if agent.replays else None,
        arm=make_memory("arm_capacity", learner.arm_capacity, features) if agent.replays else None,
        generator=None
        if learner.augment is None
        else learner.augment.init(generator_key, features, learner.brm_capacity),
        rollout=blank((agent.rollout_slots, rows), features) if agent.sequential else None,
        trainings=zero,
        iteration=zero,
        sent=zero,
        spoilt=zero,
    )


def blank(shape: tuple[int, ...], features: int) -> Experience:
    """Invalid experiences [...]."""
    zero, seen = jnp.zeros(shape), jnp.zeros((*shape, features))
    return Experience(seen, zero.astype(jnp.int32), zero, seen, zero > 0, zero > 0)


def policy_of(learnt: Any) -> Any:
    """What acting needs of an algorithm's state: networks, what normalises observations, and how far it has learnt."""
    return learnt.replace(**{name: None for name in FORGETS if hasattr(learnt, name)})


def weights_bits(agent: Any, specs: Specs) -> int:
    """Size of the evaluation network (of an actor: the policy alone) in float32, bit."""

    def parts(key: jax.Array) -> list[tuple[jax.Array, jax.Array]]:
        return [(layer.kernel, layer.bias) for layer in agent.layers(agent.init(key, specs))]

    return 32 * sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(parts, jax.random.key(0))))


# --------------------------------------------------------------------------------------------- iterations


def work(
    learner: Learner, state: LearnerState, come: Experience, works: jax.Array, key: jax.Array
) -> tuple[LearnerState, jax.Array, dict[str, jax.Array]]:
    """What the agent does in one slot: lines 9 to 25, ``iterations`` times. Rows that are not finite are refused.

    Args:
        learner: the record.
        state: what it has.
        come: [B] new experiences.
        works: [] bool, is the cloud there? If not it does nothing.
        key: typed random key.

    Returns:
        the state, whether the weights go to the access point [] bool, and metrics.
    """
    finite = is_finite(come)
    state = state.replace(spoilt=state.spoilt + jnp.sum(come.valid & ~finite, dtype=jnp.int32))
    come = come.replace(valid=come.valid & finite)
    if not learner.agent.replays:
        return _learn_at_once(learner, state, come, works, key)
    assert state.brm is not None
    state = state.replace(brm=remember(state.brm, come, state.iteration))  # 9, 10

    def once(carry: LearnerState, key: jax.Array) -> tuple[LearnerState, tuple[jax.Array, dict[str, jax.Array]]]:
        store_key, train_key = jax.random.split(key)
        carry = augmented(learner, carry, works, store_key)
        carry, metrics = trained(learner, carry, works, train_key)
        carry, sends = transferred(learner, carry)
        return carry.replace(iteration=carry.iteration + works), (sends, metrics)

    keys = jax.random.split(key, learner.iterations)
    state, (sends, metrics) = jax.lax.scan(once, state, keys)
    return state, jnp.any(sends), jax.tree.map(jnp.mean, metrics)


def refitted(learner: Learner, state: LearnerState, works: jax.Array, key: jax.Array) -> LearnerState:
    """The generator fitted to what the BRM holds now, if the cloud ``works`` [] bool."""
    brm = state.brm
    assert brm is not None
    generator = learner.augment.refit(state.generator, brm.table, brm.size, key)
    return state.replace(generator=choose(works, generator, state.generator))


def augmented(learner: Learner, state: LearnerState, works: jax.Array, key: jax.Array) -> LearnerState:
    """Lines 11 to 14: a batch of the BRM, and what the generator makes of it, into the ARM."""
    brm, arm = state.brm, state.arm
    assert brm is not None
    assert arm is not None
    sample_key, generate_key = jax.random.split(key)
    batch = recall(brm, sample_key, learner.agent.batch_size)
    there = (brm.size > 0) & works  # 11
    batch = batch.replace(valid=batch.valid & there)
    arm = remember(arm, batch, state.iteration)  # 14
    if learner.augment is None:
        return state.replace(arm=arm)
    generator, rows, valid = learner.augment.generate(state.generator, brm.table, brm.size, pack(batch), generate_key)
    finite, valid = jnp.all(jnp.isfinite(rows), axis=1), valid & there
    arm = remember_rows(arm, rows, valid & finite, state.iteration, generated=True)
    spoilt = state.spoilt + jnp.sum(valid & ~finite, dtype=jnp.int32)
    return state.replace(arm=arm, generator=choose(there, generator, state.generator), spoilt=spoilt)


def trained(
    learner: Learner, state: LearnerState, works: jax.Array, key: jax.Array
) -> tuple[LearnerState, dict[str, jax.Array]]:
    """Lines 15 to 22: one training once the ARM holds BS; the target is copied in it when that is due."""
    arm = state.arm
    assert arm is not None
    draw_key, update_key = jax.random.split(key)
    batch = recall_mixed(
        arm, draw_key, learner.agent.batch_size, learner.generated_share, learner.age_limit, state.iteration
    )
    ready = (arm.size >= learner.agent.batch_size) & (state.iteration >= learner.learning_starts) & works  # 15
    batch = batch.replace(valid=batch.valid & ready)
    return _update(learner, state, batch, update_key)


def _update(
    learner: Learner, state: LearnerState, batch: Experience, key: jax.Array
) -> tuple[LearnerState, dict[str, jax.Array]]:
    any_valid = jnp.any(batch.valid)
    learnt, metrics = learner.agent.update(state.learnt, batch, key)
    learnt = choose(any_valid, learnt, state.learnt)
    state = state.replace(learnt=learnt, trainings=state.trainings + any_valid)  # 22
    return state, {"td_error": metrics["td_error"], "trained": any_valid.astype(jnp.float32)}


def transferred(learner: Learner, state: LearnerState) -> tuple[LearnerState, jax.Array]:
    """Lines 23 to 25: do the weights go to the access point now? Then t starts again."""
    sends = state.trainings >= learner.weights_period
    trainings = jnp.where(sends, 0, state.trainings)
    return state.replace(trainings=trainings, sent=state.sent + sends), sends


def _learn_at_once(
    learner: Learner, state: LearnerState, come: Experience, works: jax.Array, key: jax.Array
) -> tuple[LearnerState, jax.Array, dict[str, jax.Array]]:
    """The same for a learner without memories: from the rows that came in this slot, or in the last T slots."""
    batch, rollout = come.replace(valid=come.valid & works), state.rollout
    if rollout is not None:
        row = state.iteration % learner.agent.rollout_slots
        rollout = jax.tree.map(lambda rows, new: rows.at[row].set(new), rollout, batch)
        full = (row == learner.agent.rollout_slots - 1) & works
        batch = rollout.replace(valid=rollout.valid & full)
    state, metrics = _update(learner, state.replace(rollout=rollout), batch, key)
    state, sends = transferred(learner, state)
    return state.replace(iteration=state.iteration + works), sends, metrics
