"""How far learned decisions are from the optimum of equation (4), in cells that share the air and the edge server.

A cell whose devices all have a task is a slot game, of which the optimum is known exactly: for given numbers at every
server an assignment is left. A bound gives every device everything to itself.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from offjax import world
from offjax.baselines.games import SlotGame, count_places, slot_game
from offjax.baselines.optimum import exact_slot_game
from offjax.config.paper_a import PaperAConfig
from offjax.learning import system
from offjax.learning.train import look
from offjax.paper_a import members, systems
from offjax.paper_a.claims import Claim
from offjax.paper_a.drawing import interval, mean_over_seeds, new_figure, save, write_table
from offjax.paper_a.store import Job, Result
from offjax.problems.laas2022 import CELL, Laas2022
from offjax.world.links import by_cell

LEARN, LOOK, CHANCE = 6, 7, 8  # purposes of keys
DRAWS = 32  # random placements of a state
LEVELS = {"learned": "learned", "home": "all at home", "random": "random"}
AIM = 0.9  # score from which a policy is called near the optimum


def problem_of(config: PaperAConfig, cell: int) -> Laas2022:
    """Cells of ``cell`` devices with as much band for each as in one of twenty."""
    return systems.problem(
        config.system, devices=config.optimum.devices, devices_per_cell=cell, bandwidth=20e6 * cell / CELL
    )


def learn(own: tuple[Any, Any], key: jax.Array, slots: int) -> Any:
    """What the agent has learnt after a run; to be traced."""
    architecture, problem = own
    state = system.init(key, architecture, problem)
    return system.run(architecture, problem, state, slots)[0].learner.learnt


def total(game: SlotGame, places: jax.Array) -> jax.Array:
    """[A] reward of every cell if its devices go to ``places`` [D] int8."""
    params, count = game.problem.params, len(game.problem.decisions)
    there = count_places(places, count, params)  # [P, A, 1] devices at each place
    shape = (count, params.access_points, params.cell_size)
    senders = jnp.broadcast_to(jnp.sum(there[1:], axis=0), shape).reshape(count, -1)
    jobs = jnp.maximum(jnp.broadcast_to(there, shape).reshape(count, -1), 1)
    rewards = game.rewards(jnp.maximum(senders, 1), jobs)
    chosen = jnp.take_along_axis(rewards, places[None, :].astype(jnp.int32), axis=0)[0]
    return jnp.sum(by_cell(chosen, params), axis=1)


def compare(problem: Laas2022, agent: Any, learnt: Any, key: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
    """A held-out state, and rewards of its cells: [S, A] of the learnt, [A] of all others; to be traced."""
    start_key, chance_key = jax.random.split(key)
    state = world.init(start_key, problem.params)
    game, seen = slot_game(problem, state), look(problem, state)
    places = jax.vmap(lambda own: agent.act(own, seen, key, False))(learnt).astype(jnp.int8)
    shape = (DRAWS, problem.params.devices)
    chance = jax.random.randint(chance_key, shape, 0, len(problem.decisions)).astype(jnp.int8)
    ones = jnp.ones((len(problem.decisions), problem.params.devices))
    alone = jnp.max(game.rewards(ones, ones), axis=0)
    return state, {
        "learned": jax.vmap(partial(total, game))(places),
        "home": total(game, jnp.zeros(problem.params.devices, jnp.int8)),
        "random": jnp.mean(jax.vmap(partial(total, game))(chance), axis=0),
        "bound": jnp.sum(by_cell(alone, problem.params), axis=1),
    }


def run_cell(config: PaperAConfig, cell: int) -> Result:
    """Rewards [X] of all held-out cells: ``exact``, ``bound``, ``home``, ``random``, and ``learned`` [S, X]."""
    architecture, problem = systems.distributed(config.system), problem_of(config, cell)
    keys = members.keys(config.seed, config.seeds, LEARN)
    run = partial(learn, slots=config.optimum.slots)
    learnt = members.each(run, config.optimum.devices, [(architecture, problem)], keys)
    learnt = jax.tree.map(lambda leaf: jnp.asarray(leaf[0]), learnt)
    look_at = jax.jit(partial(compare, problem, architecture.learner.agent))
    rows: list[dict[str, np.ndarray]] = []
    for key in members.keys(config.seed, config.optimum.states, LOOK):
        state, rewards = look_at(learnt, key)
        exact = np.array([found.reward for found in exact_slot_game(problem, state)])
        rows.append({"exact": exact, **jax.tree.map(np.asarray, rewards)})
    return {name: np.concatenate([row[name] for row in rows], axis=-1) for name in rows[0]}


def jobs(config: PaperAConfig) -> list[Job]:
    """One for each size of a cell."""
    found = []
    common = {"seeds": config.seeds, "seed": config.seed, "system": config.system.model_dump(mode="json")}
    chosen = config.optimum.model_dump(mode="json", exclude={"cells"})
    for cell in config.optimum.cells:
        cost = 40.0 + config.seeds * config.optimum.slots * 1e-3
        depends = {**common, "optimum": chosen, "cell": cell}
        found.append(Job("optimum", f"cell-{cell}", depends, cost, partial(run_cell, config, cell)))
    return found


def score(found: Result) -> np.ndarray:
    """[S] of the learnt: 0 for random decisions, 1 for the optimum, over all held-out cells."""
    least, most = found["random"].sum(), found["exact"].sum()
    return np.asarray((found["learned"].sum(axis=-1) - least) / (most - least))


def claim_51(results: Mapping[str, Result]) -> Claim:
    """The learned policy approaches the optimal decision: score against the exact optimum, worst size of a cell."""
    scores = {name: score(found) for name, found in results.items()}
    worst = min(scores, key=lambda name: scores[name].mean())
    band = mean_over_seeds(scores[worst])
    told = []
    for name, found in results.items():
        ratio = found["learned"].sum() / len(found["learned"]) / found["exact"].sum()
        told.append(f"{name.removeprefix('cell-')}: {scores[name].mean():.3f} ({ratio:.3f})")
    reason = (
        f"(R - R_random) / (R_exact - R_random) in held-out slot games, least of all sizes of a cell; from {AIM:g} on "
        f"it is called near; score by devices of a cell (cost over that of the optimum): {', '.join(told)}"
    )
    holds, seeds = bool(float(band.low) >= AIM), scores[worst].size
    return Claim(51, float(band.value), "score", interval(band), seeds, holds, "emergent", reason, "optimum.png")


def draw(config: PaperAConfig, results: Mapping[str, Result], folder: Path) -> list[Claim]:
    """``optimum``: cost per task of the learned decisions beside the optimum, the bound and what is easy."""
    figure, axes = new_figure(1, len(results), 4.5 * len(results) + 2, 4.2)
    rows: list[list[Any]] = []
    for axis, cell in zip(axes[0], config.optimum.cells, strict=True):
        found = results[f"cell-{cell}"]
        bars = {"bound": "bound", "exact": "exact optimum", **LEVELS}
        for place, name in enumerate(bars):
            cost = -found[name].reshape(-1, found["exact"].size).mean(axis=1) / cell  # [S] or [1]
            band = mean_over_seeds(cost)
            low, high = interval(band) if cost.size > 1 else (float("nan"), float("nan"))
            value = float(band.value)
            error = [[value - low], [high - value]] if cost.size > 1 else None
            axis.bar(place, value, yerr=error, capsize=4, color=f"C{place}")
            axis.annotate(f"{value:.3f}", (place, np.fmax(value, high)), ha="center", va="bottom", fontsize=8)
            rows.append([cell, name, value, low, high])
        own = mean_over_seeds(score(found))
        axis.set_xticks(range(len(bars)), list(bars.values()), rotation=20, fontsize=8)
        axis.set_title(f"cells of {cell}: learned scores {float(own.value):.3f} of 1", fontsize=10)
        axis.grid(alpha=0.3, axis="y")
        rows.append([cell, "score_learned", float(own.value), *interval(own)])
    axes[0, 0].set_ylabel("cost of a task, equation (4)")
    states = config.optimum.states * config.optimum.devices
    figure.suptitle(f"Shared air and edge server: {states} held-out tasks, {config.seeds} seeds, 95 %")
    save(figure, folder, "optimum")
    write_table(folder, "optimum", ("cell", "policy", "cost_per_task", "low", "high"), rows)
    return [claim_51(results)]
