"""How many generated rows a batch may have, and how old they may be: the system of Fig. 2 at one k.

Fig. 2 makes up for what is not sent, so that a share of 1 - 1/k of each batch is generated. A learner may take fewer,
and only those of the last fit.
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
REFERENCES = "thinned"  # the job of Fig. 2 with random decisions, real and thinned data

Numbers = dict[str, np.ndarray]


def settings(config: PaperAConfig) -> list[tuple[float, float]]:
    """(share of a batch that is generated, iterations that a row lasts) of an arm."""
    own = config.shares
    return [(share, age) for age in (np.inf, float(own.age_limit)) for share in own.shares]


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
    cost = like.cost * len(settings(config)) / len(config.learning_curves.sparsities)
    run = partial(compute, config, arm, config.seed + first, seeds)
    return Job(NAME, f"{arm}-{first}", {**like.depends, "shares": shares}, cost, run)


def compute(config: PaperAConfig, arm: str, first: int, seeds: int) -> Result:
    """What runs of an arm come to, [settings, seeds, ...]; see ``learning_curves.lane``."""
    own = config.learning_curves
    problem = arms.problem_with_gaps(config, own.devices, own.iterations)
    k, learns = jnp.float32(config.shares.sparsity), jnp.float32(0)
    numbers = [(k, learns, jnp.float32(share), jnp.float32(age)) for share, age in settings(config)]
    lane = partial(learning_curves.lane, config, problem, arm, learning_curves.held_out_rows(config))
    size = learning_curves.ALONE if arm in GENERATORS else learning_curves.LANE
    found = each(lane, size, numbers, keys(first, seeds, learning_curves.RUN))
    return {name: found[name] for name in ("reward", "updates")}


def scores(config: PaperAConfig, results: Mapping[str, Result]) -> Numbers:
    """[settings, seeds] of every arm and [1, seeds] of ``thinned``, on the scale of Fig. 2."""
    place = 2 + config.learning_curves.sparsities.index(config.shares.sparsity)
    low, high, thinned = (learning_curves.tail(config, results[REFERENCES]["reward"])[row] for row in (0, 1, place))
    found = {"thinned": (thinned - low) / (high - low)}
    for arm in ARMS:
        parts = [results[job.name]["reward"] for job in jobs(config) if job.name.split("-")[0] == arm]
        found[arm] = (learning_curves.tail(config, np.concatenate(parts, axis=1)) - low) / (high - low)
    return found


def draw(config: PaperAConfig, results: Mapping[str, Result], folder: Any) -> list[Any]:
    """``shares``: score above thinned data against the share, rows of any age and of the last fit; no claim."""
    own, found = config.shares, scores(config, results)
    figure, axes = new_figure(1, 2, 11.0, 4.4, sharey=True)
    rows: list[list[Any]] = []
    for arm in ARMS:
        score, above = mean_over_seeds(found[arm].T), mean_over_seeds((found[arm] - found["thinned"]).T)
        for place, setting in enumerate(settings(config)):
            rows.append([arm, *setting, *(float(part[place]) for band in (score, above) for part in band)])
        colour = f"C{list(LABELS).index(arm)}"
        for column, axis in enumerate(axes[0]):
            part = slice(column * len(own.shares), (column + 1) * len(own.shares))
            value, low, high = (bound[part] for bound in above)
            error = [value - low, high - value]
            axis.errorbar(
                own.shares, value, error, marker="o", ms=3, lw=1.2, capsize=2, color=colour, label=LABELS[arm]
            )
    for axis, title in zip(axes[0], ("rows of any age", f"rows of the last {own.age_limit} iterations"), strict=True):
        axis.axhline(0.0, color="black", lw=0.8)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("share of a batch that is generated")
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("score above that of thinned data")
    axes[0, 0].legend(fontsize=8, loc="lower left")
    figure.suptitle(
        f"How much of a batch may be generated; 1/{own.sparsity} is sent, {config.seeds} seeds", fontsize=11
    )
    save(figure, folder, NAME)
    header = ["arm", "share", "age_limit", "score", "low", "high", "above thinned data", "above_low", "above_high"]
    write_table(folder, NAME, header, rows)
    return []
