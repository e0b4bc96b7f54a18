"""What the experiments on generated experiences share: their world, real experiences, and the arms that add to them."""

from typing import Any

import jax
import jax.numpy as jnp

from offjax.config.paper_a import PaperAConfig
from offjax.learning.augment import Noise, Relabel, exact_rewards
from offjax.learning.generated import Generated, columns_of
from offjax.paper_a import systems
from offjax.problems.laas2022 import Device
from offjax.problems.parts import Sharing
from offjax.problems.scenario import Scenario
from offjax.problems.spec import Problem
from offjax.replay.fidelity import pair_trends, reward_errors, shapes
from offjax.replay.flow import Flow
from offjax.replay.gan import Gan

MARKED = ("reward",)  # columns whose commonest value a flow has as a condition: that of a lost task
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


def generator(config: PaperAConfig, problem: Problem, kind: str) -> Gan | Flow:
    """The record of a ``gan`` or a ``flow`` for the memories of a problem."""
    columns, own = columns_of(problem), config.generators
    return Gan(columns, batch_size=own.gan_batch) if kind == "gan" else Flow(columns, MARKED, batch_size=own.flow_batch)


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
