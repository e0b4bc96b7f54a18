"""A fixed set of real experiences, thinned, with and without what is made of them: the same learner offline.

What a generated row carries as its reward, and which decisions are asked for, are varied one by one; every policy is
scored in the same held-out worlds.
"""

from collections.abc import Mapping
from functools import partial
from itertools import product
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from offjax.agents.specs import Specs
from offjax.baselines.lookahead import Oracle
from offjax.baselines.rules import Random, always
from offjax.config.paper_a import PaperAConfig
from offjax.evaluation.rollout import Learned, episode
from offjax.evaluation.statistics import Bounded
from offjax.learning import cloud
from offjax.learning.cloud import Learner, LearnerState
from offjax.learning.collect import real_rows, slots_for
from offjax.learning.generated import REWARDS, Generated, RewardHead
from offjax.learning.generated import GeneratedState as Made
from offjax.paper_a import arms, systems
from offjax.paper_a.arms import FIDELITY
from offjax.paper_a.claims import Claim
from offjax.paper_a.drawing import interval, mean_over_seeds, new_figure, save, write_table
from offjax.paper_a.members import each, keys
from offjax.paper_a.store import Job, Result
from offjax.problems.spec import Problem
from offjax.replay.memory import Memory
from offjax.runs.folder import write_bytes
from offjax.world import State

NAME = "table_2c"
DATA, RUN, JUDGE = 21, 22, 23  # purposes of keys
LANE, ALONE = 80, 400  # devices that a lane counts as, without and with a generator: see learning_curves
PLAIN = ("none", "noise", "relabel")
MADE = ("gan", "flow")
LAWS = ("policy", "uniform")
OF_GENERATORS = {"generator_sparsities", "gan_steps", "flow_steps", "head_steps", "pool"}  # numbers of no other arm
OPTIONS = tuple(product(REWARDS, LAWS))  # what a generated row's reward is, and which decisions
REFERENCES = ("local", "random", "behaviour", "myopic")
LABELS = {
    "local": "always local",
    "random": "random",
    "behaviour": "behaviour (made the set)",
    "myopic": "myopic optimum",
    "none": "real rows alone",
    "noise": "copies with noise",
    "relabel": "counterfactual relabelling",
    "gan": "GAN",
    "flow": "flow",
}


class Behaviour(struct.PyTreeNode):
    """Decisions drawn by fixed chances."""

    chances: jax.Array  # [places]

    def decide(self, problem: Problem, state: State, observation: jax.Array, key: jax.Array) -> jax.Array:
        """[D] int8."""
        shape = (observation.shape[0],)
        return jax.random.categorical(key, jnp.log(self.chances), shape=shape).astype(jnp.int8)


# ----------------------------------------------------------------------------------------------- what is computed


def jobs(config: PaperAConfig) -> list[Job]:
    """The references, the arms without a generator, and each generator with all of its options."""
    own = config.table_2c
    updates = 5e-4 * own.updates
    plain = (len(own.sparsities) + 1) * config.seeds * updates
    fits = {"gan": 1.6e-2 * own.gan_steps, "flow": 9e-3 * own.flow_steps}
    made = {
        kind: len(own.generator_sparsities) * config.seeds * (fit + len(OPTIONS) * updates)
        for kind, fit in fits.items()
    }
    return [
        _job(config, "references", 10.0, references),
        *(_job(config, arm, plain, partial(compute_plain, arm=arm)) for arm in PLAIN),
        *(_job(config, kind, made[kind], partial(compute_made, kind=kind)) for kind in MADE),
    ]


def _job(config: PaperAConfig, name: str, cost: float, run: Any) -> Job:
    groups = ("system", "gaps", "generators", "learning_curves", "table_2c")
    depends = {"name": name, "seed": config.seed, "seeds": config.seeds}
    depends |= {group: getattr(config, group).model_dump(mode="json") for group in groups}
    if name not in MADE:
        depends["table_2c"] = config.table_2c.model_dump(mode="json", exclude=OF_GENERATORS)
    return Job(NAME, name, depends, cost, partial(run, config))


def make_problem(config: PaperAConfig) -> Any:
    """The world of Fig. 2 with more devices."""
    own = config.table_2c
    slots = max(own.evaluation_slots, slots_for(own.real_rows, own.devices))
    return arms.problem_with_gaps(config, own.devices, slots)


def tables(config: PaperAConfig, problem: Problem) -> np.ndarray:
    """[seeds, real_rows, 2 F + 3] the whole set of each seed, in random order."""
    own = config.table_2c
    found = [real_rows(problem, key, own.real_rows, own.behaviour) for key in keys(config.seed, config.seeds, DATA)]
    return np.stack(found)


def score(config: PaperAConfig, problem: Problem, policy: Any, key: jax.Array) -> jax.Array:
    """[] reward of a task in a held-out world; to be traced."""
    own = config.table_2c
    return jnp.sum(episode(policy, problem, key, own.evaluation_slots).reward) / (own.evaluation_slots * own.devices)


def references(config: PaperAConfig) -> Result:
    """[seeds] of each policy that learns nothing."""
    problem = make_problem(config)
    policies = {
        "local": always(0, len(problem.groups)),
        "random": Random(),
        "behaviour": Behaviour(jnp.asarray(config.table_2c.behaviour)),
        "myopic": Oracle(jnp.zeros(())),
    }
    judges = keys(config.seed, config.seeds, JUDGE)

    def one(policy: Any) -> np.ndarray:
        return np.asarray(each(lambda _, key: score(config, problem, policy, key), LANE, [0.0], judges)[0])

    return {name: one(policy) for name, policy in policies.items()}


def make_learner(config: PaperAConfig, augment: Any, k: Any) -> Learner:
    """The learner of Fig. 2, with a memory for the whole set."""
    curves = config.learning_curves
    agent = systems.ddqn(config.system, gamma=curves.gamma, reward_scale=curves.reward_scale)
    return Learner(
        agent,
        augment=augment,
        generated_share=1.0 - 1.0 / k,
        brm_capacity=config.table_2c.real_rows,
        arm_capacity=max(curves.arm_capacity, config.table_2c.real_rows),
    )


def filled(learner: Learner, problem: Problem, table: jax.Array, k: jax.Array, key: jax.Array) -> LearnerState:
    """A fresh learner that has the first 1/k of a table in its basic memory; to be traced."""
    state = cloud.begin(learner, key, Specs(len(problem.features), len(problem.decisions)), 1)
    assert state.brm is not None
    size, ring = (table.shape[0] / k).astype(jnp.int32), state.brm.ring
    rows = jnp.pad(table, ((0, 0), (0, 2)))  # real, of iteration 0
    return state.replace(brm=Memory(ring.replace(rows=rows, size=size, head=size % ring.capacity)))


def taught(config: PaperAConfig, learner: Learner, state: LearnerState, key: jax.Array) -> LearnerState:
    """Lines 11 to 22 of algorithm 1, ``updates`` times; to be traced."""
    works = jnp.ones((), bool)

    def one(state: LearnerState, key: jax.Array) -> tuple[LearnerState, None]:
        store_key, train_key = jax.random.split(key)
        state = cloud.augmented(learner, state, works, store_key)
        state, _ = cloud.trained(learner, state, works, train_key)
        return state.replace(iteration=state.iteration + 1), None

    return jax.lax.scan(one, state, jax.random.split(key, config.table_2c.updates))[0]


def compute_plain(config: PaperAConfig, arm: str) -> Result:
    """``score`` [k, seeds] of an arm without a generator; the first k is 1, the whole set."""
    problem = make_problem(config)
    augment = None if arm == "none" else arms.augment(config, problem, arm)

    def lane(k: jax.Array, seed: tuple[jax.Array, ...]) -> dict[str, jax.Array]:
        table, key, judge = seed
        own = make_learner(config, augment, k)
        begin_key, teach_key = jax.random.split(key)
        state = taught(config, own, filled(own, problem, table, k, begin_key), teach_key)
        return {
            "score": score(config, problem, Learned(own.agent, state.learnt), judge),
            "updates": state.learnt.updates,
        }

    return _over_seeds(config, problem, (1, *config.table_2c.sparsities), lane)


def compute_made(config: PaperAConfig, kind: str) -> Result:
    """``score`` [k, seeds, options] of a generator, which is fitted once for all of its options."""
    problem, own, chosen = make_problem(config), config.table_2c, config.generators
    steps = own.gan_steps if kind == "gan" else own.flow_steps
    head = RewardHead(steps=own.head_steps)
    options: dict[str, Any] = {
        "head": head,
        "steps": steps,
        "pool": own.pool,
        "rows": chosen.rows,
        "least_rows": chosen.least_rows,
    }
    record = arms.generator(config, problem, kind)
    augments = [Generated(record, problem, reward=r, decisions=d, **options) for r, d in OPTIONS]
    fitting = augments[-1]
    assert fitting.reward == "learned"  # it has a regressor beside the generator

    def lane(k: jax.Array, seed: tuple[jax.Array, ...]) -> dict[str, jax.Array]:
        table, key, judge = seed
        learner = make_learner(config, fitting, k)
        begin_key, fit_key, ask_key, draw_key, teach_key = jax.random.split(key, 5)
        state = filled(learner, problem, table, k, begin_key)
        assert state.brm is not None
        size = state.brm.size
        made: Made = fitting.refit(state.generator, state.brm.table, size, fit_key)
        asked = jnp.stack([augment.wanted(state.brm.table, size, ask_key) for augment in augments[: len(LAWS)]])
        drawn = jax.lax.map(lambda wanted: record.draw(made.generator, draw_key, own.pool, wanted), asked)
        pools = [augment.rewarded(made, drawn[place % len(LAWS)]) for place, augment in enumerate(augments)]
        rows, usable = (jnp.stack(part) for part in zip(*pools, strict=True))

        def one(rows: jax.Array, usable: jax.Array) -> dict[str, jax.Array]:
            full = state.replace(generator=made.replace(pool=rows, usable=usable & (made.fits > 0)))
            after = taught(config, learner, full, teach_key)
            return {
                "score": score(config, problem, Learned(learner.agent, after.learnt), judge),
                "updates": after.learnt.updates,
            }

        assert made.head is not None
        real = state.brm.table[jnp.arange(own.pool) % size]
        more = {"fidelity": arms.fidelity(problem, real, rows[0]), "bias": made.head.bias}
        return jax.vmap(one)(rows, usable) | more

    return _over_seeds(config, problem, own.generator_sparsities, lane, ALONE)


def _over_seeds(
    config: PaperAConfig, problem: Problem, sparsities: tuple[int, ...], lane: Any, size: int = LANE
) -> Result:
    """``lane`` of every k and seed: leaves [k, seeds, ...]."""
    own = [keys(config.seed, config.seeds, purpose) for purpose in (RUN, JUDGE)]
    settings = [jnp.float32(k) for k in sparsities]
    return dict(each(lane, size, settings, (jnp.asarray(tables(config, problem)), *own)))


# ------------------------------------------------------------------------------------------------- what is drawn

Row = tuple[str, int, np.ndarray]  # what it is, k, reward of a task [seeds]


def rows_of(config: PaperAConfig, results: Mapping[str, Result]) -> list[Row]:
    """Every policy's rewards in the order of the table: references, arms without a generator, generators."""
    own = config.table_2c
    rows: list[Row] = [(LABELS[name], 0, results["references"][name]) for name in REFERENCES]
    for arm in PLAIN:
        for place, k in enumerate((1, *own.sparsities)):
            rows.append((LABELS[arm], k, results[arm]["score"][place]))
    for kind in MADE:
        for place, k in enumerate(own.generator_sparsities):
            for index, (reward, decisions) in enumerate(OPTIONS):
                label = f"{LABELS[kind]}, {reward} reward, {decisions} decisions"
                rows.append((label, k, results[kind]["score"][place, :, index]))
    return rows


def draw(config: PaperAConfig, results: Mapping[str, Result], folder: Any) -> list[Claim]:
    """The table as CSV, Markdown and figure."""
    rows = rows_of(config, results)
    bands = [mean_over_seeds(rewards) for *_, rewards in rows]
    gains = {(label, k): _gain(rows, label, k) for label, k, _ in rows}
    header = ["what is learnt from", "k", "reward", "low", "high", "above real rows alone", "above_low", "above_high"]
    told = [
        [label, k, *_three(band), *_three(gains[label, k])] for (label, k, _), band in zip(rows, bands, strict=True)
    ]
    write_table(folder, NAME, header, told)
    write_bytes(folder / f"{NAME}.md", markdown(config, rows, gains).encode())
    _draw_rows(config, rows, folder)
    _write_fidelity(config, results, folder)
    return [_claim(config, gains)]


def _gain(rows: list[Row], label: str, k: int) -> Bounded | None:
    """Reward above that of the same real rows alone, seed by seed."""
    own = {(name, number): rewards for name, number, rewards in rows}
    alone = own.get((LABELS["none"], k))
    return None if alone is None or label == LABELS["none"] else mean_over_seeds(own[label, k] - alone)


def _three(band: Bounded | None) -> list[Any]:
    return ["", "", ""] if band is None else [float(part) for part in band]


def markdown(config: PaperAConfig, rows: list[Row], gains: Mapping[tuple[str, int], Bounded | None]) -> str:
    """The table for the documentation: one line for each policy, one column for each k."""
    ks = sorted({k for _, k, _ in rows if k})
    lines = ["| what is learnt from | " + " | ".join("all" if k == 1 else f"1/{k}" for k in ks) + " |"]
    lines.append("|---" * (len(ks) + 1) + "|")
    own = {(label, k): mean_over_seeds(rewards) for label, k, rewards in rows}
    for label in dict.fromkeys(label for label, *_ in rows):
        if (label, 0) in own:
            cells = [_cell(own[label, 0], None), *[""] * (len(ks) - 1)]
        else:
            cells = [_cell(own[label, k], gains[label, k]) if (label, k) in own else "" for k in ks]
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    note = (
        f"Reward of a task, {config.seeds} seeds, 95 % interval; bold: better than the same real rows alone beyond it."
    )
    return "\n".join([*lines, "", note, ""])


def _cell(band: Bounded, gain: Bounded | None) -> str:
    text = f"{float(band.value):.3f} ({float(band.low):.3f}, {float(band.high):.3f})"
    return f"**{text}**" if gain is not None and float(gain.low) > 0 else text


def _draw_rows(config: PaperAConfig, rows: list[Row], folder: Any) -> None:
    """An axis for each k that generators have: every policy's mean and interval, references as lines."""
    own = config.table_2c
    count = len(own.generator_sparsities)
    figure, axes = new_figure(1, count, 3.0 + 3.6 * count, 6.0, sharex=True, sharey=True)
    for axis, k in zip(axes[0], own.generator_sparsities, strict=True):
        shown = [(label, mean_over_seeds(rewards)) for label, number, rewards in rows if number == k]
        whole = mean_over_seeds(
            next(rewards for label, number, rewards in rows if (label, number) == (LABELS["none"], 1))
        )
        for place, (label, band) in enumerate(shown):
            colour = "C0" if label.startswith("GAN") else "C1" if label.startswith("flow") else "black"
            error = [[band.value - band.low], [band.high - band.value]]
            axis.errorbar(band.value, -place, xerr=error, fmt="o", ms=4, capsize=2, color=colour)
        axes[0, 0].set_yticks([-place for place in range(len(shown))], [label for label, _ in shown], fontsize=8)
        for name, style in (("random", ":"), ("local", "-."), ("behaviour", "--")):
            value = next(rewards.mean() for label, _, rewards in rows if label == LABELS[name])
            axis.axvline(value, color="0.5", lw=0.9, ls=style, label=LABELS[name])
        axis.axvline(
            next(r.mean() for label, _, r in rows if label == LABELS["myopic"]),
            color="C2",
            lw=1,
            label=LABELS["myopic"],
        )
        axis.axvline(float(whole.value), color="C3", lw=1, label="all real rows")
        axis.set_title(f"1/{k} of {own.real_rows:,} real experiences", fontsize=10)
        axis.set_xlabel("reward of a task")
        axis.grid(alpha=0.3, axis="x")
    axes[0, -1].legend(fontsize=7)
    figure.suptitle(f"The same learner on fixed sets of experiences, {config.seeds} seeds, 95 % intervals", fontsize=11)
    save(figure, folder, NAME)


def _write_fidelity(config: PaperAConfig, results: Mapping[str, Result], folder: Any) -> None:
    """What the generators were worth as such, and the bias of the learned reward for each decision."""
    rows = []
    for kind in MADE:
        for place, k in enumerate(config.table_2c.generator_sparsities):
            numbers = (
                results[kind]["fidelity"][place].mean(axis=0).tolist()
                + results[kind]["bias"][place].mean(axis=0).tolist()
            )
            rows.append([kind, k, *numbers])
    biases = [f"bias of the learned reward, {name}" for name in ("local", "edge", "cloud")]
    write_table(folder, "table_2c_fidelity", ["generator", "k", *FIDELITY, *biases], rows)


def _claim(config: PaperAConfig, gains: Mapping[tuple[str, int], Bounded | None]) -> Claim:
    """50, offline: does the paper's GAN (generated reward, decisions as in the data) make up for missing data?"""
    label = f"{LABELS['gan']}, {OPTIONS[0][0]} reward, {OPTIONS[0][1]} decisions"
    k = config.table_2c.generator_sparsities[0]
    main = gains[label, k]
    assert main is not None
    better = [
        f"{name} ({float(gain.value):+.3f})"
        for (name, number), gain in gains.items()
        if number == k and gain is not None and float(gain.low) > 0
    ]
    text = f"reward of a task above the same 1/{k} of the real rows alone; what helps beyond its interval"
    reason = f"{text}: {', '.join(better) or 'nothing'}"
    holds = float(main.low) > 0
    return Claim(
        50, float(main.value), "reward", interval(main), config.seeds, holds, "emergent", reason, f"{NAME}.png"
    )
