"""What the experiments on generated experiences share: their world, real experiences, and the arms that add to them."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from offjax import world
from offjax.config.paper_a import PaperAConfig
from offjax.learning.augment import Noise, Relabel, exact_rewards
from offjax.learning.generated import Generated, columns_of
from offjax.learning.train import look, move
from offjax.learning.transitions import no_transitions
from offjax.paper_a import systems
from offjax.problems.laas2022 import Device
from offjax.problems.parts import Sharing
from offjax.problems.scenario import Scenario
from offjax.problems.spec import Problem
from offjax.replay.experience import Experience, merge_slots
from offjax.replay.fidelity import pair_trends, reward_errors, shapes
from offjax.replay.flow import Flow
from offjax.replay.gan import Gan
from offjax.replay.ring import pack

PENALTY = -9.0  # rewards below are those of dropped tasks
FIDELITY = ("shapes", "pairs", "reward_error", "wrong_penalty")

LABELS = {
    "thinned": "thinned real data",
    "noise": "copies with noise",
    "relabel": "counterfactual relabelling",
    "gan": "GAN",
    "flow": "flow",
    "flow_exact": "flow, exact reward, uniform decisions",
}
GENERATORS = ("gan", "flow", "flow_exact")


def problem_with_gaps(config: PaperAConfig, devices: int, slots: int) -> Any:
    """The problem of paper A, nothing shared, whose edge server fails again and again during so many slots."""
    gaps = config.gaps
    down = [
        (slot, slot + gaps.edge_down_slots)
        for slot in range(gaps.edge_period_slots // 2, slots, gaps.edge_period_slots)
    ]
    scenario = Scenario(redundant=True, mec=down if gaps.edge_down_slots else [])
    fleet, alone = [Device(battery=gaps.battery_j)], Sharing()
    return systems.problem(
        config.system, scenario=scenario, devices=devices, devices_per_cell=devices, fleet=fleet, sharing=alone
    )


def collect(problem: Problem, key: jax.Array, slots: int, chances: Sequence[float] | None = None) -> Experience:
    """Real experiences [slots D] of decisions drawn by ``chances`` of the places, all alike if not given; to be traced.

    Those of a device's last task may be missing: they are invalid.
    """
    devices, places = problem.params.devices, len(problem.decisions)
    world_key, slot_key = jax.random.split(key)
    logits = jnp.log(jnp.full(places, 1.0 / places) if chances is None else jnp.asarray(chances))
    state = world.init(world_key, problem.params)

    def step(carry: Any, key: jax.Array) -> tuple[Any, Experience]:
        state, transitions, seen = carry
        decision_key, draw_key = jax.random.split(key)
        decision = jax.random.categorical(decision_key, logits, shape=(devices,)).astype(jnp.int32)
        state, transitions, experience, seen, _ = move(problem, state, transitions, seen, decision, draw_key)
        return (state, transitions, seen), experience

    start = (state, no_transitions(devices, len(problem.features)), look(problem, state))
    return merge_slots(jax.lax.scan(step, start, jax.random.split(slot_key, slots))[1])


def generator(config: PaperAConfig, problem: Problem, kind: str) -> Gan | Flow:
    """The record of a ``gan`` or a ``flow`` for the memories of a problem."""
    columns, own = columns_of(problem), config.generators
    return Gan(columns, batch_size=own.gan_batch) if kind == "gan" else Flow(columns, batch_size=own.flow_batch)


def augment(config: PaperAConfig, problem: Problem, arm: str) -> Any:
    """What an arm of :data:`LABELS` adds to the augmented memory; None: nothing."""
    own = config.generators
    if arm in GENERATORS:
        kind, _, exact = arm.partition("_")
        return Generated(
            generator(config, problem, kind),
            problem,
            least_rows=own.least_rows,
            reward="exact" if exact else "generated",
            decisions="uniform" if exact else "policy",
            steps=own.gan_steps if kind == "gan" else own.flow_steps,
            pool=own.pool,
            rows=own.rows,
        )
    return {"thinned": None, "noise": Noise(scale=own.noise), "relabel": Relabel(problem)}[arm]


def fidelity(problem: Problem, real: jax.Array, made: jax.Array) -> jax.Array:
    """[4] of :data:`FIDELITY`: how like ``real`` rows those that were ``made`` are, both [N, 2 F + 3]; to be traced."""
    columns, features = columns_of(problem), len(problem.features)

    def exact(rows: jax.Array) -> jax.Array:
        decision = rows[:, 2 * features].astype(jnp.int32)
        return jnp.take_along_axis(exact_rewards(problem, rows), decision[:, None], axis=1)[:, 0]

    error, wrong = reward_errors(made, made[:, 2 * features + 1], exact, PENALTY)
    trends = jnp.nanmean(pair_trends(columns, real, made)[0])  # a constant column has no correlation
    return jnp.stack([jnp.mean(shapes(columns, real, made)), trends, error, wrong])


def real_rows(problem: Problem, key: jax.Array, rows: int, chances: Sequence[float] | None = None) -> np.ndarray:
    """[rows, 2 F + 3] real experiences in random order, on the host.

    Args:
        problem: of D devices.
        key: typed random key.
        rows: how many.
        chances: as of :func:`collect`.
    """
    slots = -(-rows // problem.params.devices) + 3  # the first tasks have not ended, the last may not
    collect_key, order_key = jax.random.split(key)
    found = jax.jit(partial(collect, problem, slots=slots, chances=chances))(collect_key)
    table = np.asarray(pack(found))[np.asarray(found.valid)]
    return np.asarray(jax.random.permutation(order_key, table))[:rows]
