"""How many generated rows a batch may have: the system of Fig. 2 at one k.

Fig. 2 makes up for what is not sent, so that a share of 1 - 1/k of each batch is generated. A learner may take fewer.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax.numpy as jnp
import numpy as np

from offjax.config.paper_a import PaperAConfig
from offjax.paper_a import arms, learning_curves
from offjax.paper_a.arms import GENERATORS, LABELS
from offjax.paper_a.drawing import mean_over_seeds, new_figure, save, write_table
from offjax.paper_a.members import each, keys
from offjax.paper_a.store import Job, Result

NAME = "shares"
ARMS = ("relabel", *GENERATORS)
TICKS = (-1, -0.5, -0.2, -0.1, -0.05, 0, 0.05)  # a linear scale around 0, logarithmic beyond
REFERENCES = "thinned"  # the job of Fig. 2 with random decisions, real and thinned data

Numbers = dict[str, np.ndarray]


def jobs(config: PaperAConfig) -> list[Job]:
    """Every arm in blocks of seeds, and the job of Fig. 2 that has what they are held against."""
    size = config.learning_curves.seeds_per_job
    found = [job for job in learning_curves.jobs(config) if job.name == REFERENCES]
    for arm in ARMS:
        for first in range(0, config.seeds, size):
            found.append(_job(config, arm, first, min(size, config.seeds - first)))
    return found


def _job(config: PaperAConfig, arm: str, first: int, seeds: int) -> Job:
    like = learning_curves.make_job(config, arm, first, seeds)
    shares = config.shares.model_dump(mode="json")
    cost = like.cost * len(config.shares.shares) / len(config.learning_curves.sparsities)
    run = partial(compute, config, arm, config.seed + first, seeds)
    return Job(NAME, f"{arm}-{first}", {**like.depends, "shares": shares}, cost, run)


def compute(config: PaperAConfig, arm: str, first: int, seeds: int) -> Result:
    """What runs of an arm come to, [shares, seeds, ...]; see ``learning_curves.lane``."""
    own = config.learning_curves
    problem = arms.problem_with_gaps(config, own.devices, own.iterations)
    k, learns = jnp.float32(config.shares.sparsity), jnp.float32(0)
    numbers = [(k, learns, jnp.float32(share)) for share in config.shares.shares]
    lane = partial(learning_curves.lane, config, problem, arm, learning_curves.held_out_rows(config))
    size = learning_curves.ALONE if arm in GENERATORS else learning_curves.LANE
    found = each(lane, size, numbers, keys(first, seeds, learning_curves.RUN))
    return {name: found[name] for name in ("reward", "updates")}


def scores(config: PaperAConfig, results: Mapping[str, Result]) -> Numbers:
    """[shares, seeds] of every arm and [seeds] of ``thinned``, on the scale of Fig. 2."""
    place = 2 + config.learning_curves.sparsities.index(config.shares.sparsity)
    low, high, thinned = (learning_curves.tail(config, results[REFERENCES]["reward"])[row] for row in (0, 1, place))
    found = {"thinned": (thinned - low) / (high - low)}
    for arm in ARMS:
        parts = [results[job.name]["reward"] for job in jobs(config) if job.name.split("-")[0] == arm]
        found[arm] = (learning_curves.tail(config, np.concatenate(parts, axis=1)) - low) / (high - low)
    return found


def draw(config: PaperAConfig, results: Mapping[str, Result], folder: Any) -> list[Any]:
    """``shares``: score above thinned data against the share; no claim."""
    own, found = config.shares, scores(config, results)
    figure, axes = new_figure(1, 1, 7.0, 4.5)
    axis, rows = axes[0, 0], list[list[Any]]()
    for arm in ARMS:
        score, above = mean_over_seeds(found[arm].T), mean_over_seeds((found[arm] - found["thinned"]).T)
        rows += [[arm, *row] for row in zip(own.shares, *score, *above, strict=True)]
        error = [above.value - above.low, above.high - above.value]
        style = {"color": f"C{list(LABELS).index(arm)}", "label": LABELS[arm]}
        axis.errorbar(own.shares, above.value, error, marker="o", ms=3, lw=1.2, capsize=2, **style)
    axis.axhline(0.0, color="black", lw=0.8)
    axis.set_yscale("symlog", linthresh=TICKS[-1])
    axis.set_yticks(TICKS, [f"{tick:g}" for tick in TICKS])
    axis.set_yticks([], minor=True)
    axis.set_xlabel("share of a batch that is generated")
    axis.set_ylabel("score above that of thinned data")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8, loc="lower left")
    axis.set_title(f"How much may be generated where 1/{own.sparsity} is sent; {config.seeds} seeds, 95 %", fontsize=10)
    save(figure, folder, NAME)
    header = ["arm", "share", "score", "low", "high", "above thinned data", "above_low", "above_high"]
    write_table(folder, NAME, header, rows)
    return []
