"""What travels and what it is worth: sending less often, older weights, links that fail, and servers that are lost.

All of it is one program: the paper's system learns from scratch, and its members differ in numbers and schedules alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from offjax import world
from offjax.config.paper_a import PaperAConfig
from offjax.learning import system
from offjax.learning.distributed import Distributed
from offjax.learning.system import Architecture, Report
from offjax.paper_a import members, systems
from offjax.paper_a.claims import Claim
from offjax.paper_a.drawing import draw_band, interval, mean_over_seeds, new_figure, save, write_table
from offjax.paper_a.store import Job, Result
from offjax.problems.parts import Sharing
from offjax.problems.scenario import Scenario
from offjax.problems.spec import Problem

LEARN = 3  # purpose of keys
FAR = 2**29  # a slot that no run reaches
SERIES = ("reward", "arrived", "applied", "trained")
TOTALS = ("sent", "joules", "broadcasts")
CUTS = {
    "none": "no failure",
    "first": "first link down",
    "second": "second link down",
    "both": "both links down",
}
LOSSES = {"edge": "edge server lost", "cloud": "cloud server lost", "both": "both links to the cloud lost"}
NODES = {"edge": ("mec",), "cloud": ("cloud",), "both": ("backhaul", "backup")}  # what is gone in each
HISTORIES = {"lost": "networks that never saw one", "seen": "networks that have seen some"}
Span = tuple[int, int]


@dataclass(frozen=True)
class Case:
    """A member: SF and T, and what fails from when on for how long."""

    name: str
    sending_period: int
    weights_period: int
    gone: Mapping[str, tuple[Span, ...]] = field(default_factory=dict)


def cases(config: PaperAConfig) -> list[Case]:
    """All members, in the order of the results."""
    chosen, own = config.traffic, config.system
    start, cut = chosen.failure_start, (chosen.failure_start, chosen.failure_start + chosen.failure_slots)
    found = [Case(f"SF={period}", period, own.weights_period) for period in chosen.sending_periods]
    found += [Case(f"T={period}", 1, period) for period in chosen.weights_periods]
    links = {"none": (), "first": ("backhaul",), "second": ("backup",), "both": ("backhaul", "backup")}
    found += [Case(f"cut={name}", 1, own.weights_period, dict.fromkeys(links[name], (cut,))) for name in CUTS]
    for history in HISTORIES:
        before = seen(config) if history == "seen" else {}
        for name in LOSSES:
            last = dict.fromkeys(NODES[name], ((start, FAR),))
            gone = {node: before.get(node, ()) + last.get(node, ()) for node in (*before, *last)}
            found.append(Case(f"{history}={name}", 1, own.weights_period, gone))
    return found


def seen(config: PaperAConfig) -> dict[str, tuple[Span, ...]]:
    """Short failures before the one that lasts, each node in its turn, evenly over the time until then."""
    chosen, found = config.traffic, dict[str, tuple[Span, ...]]()
    turn = chosen.turn_slots
    for before in range(1, chosen.seen_failures + 1):
        for place, nodes in enumerate(NODES.values()):
            start = (before * len(NODES) + place) * turn
            for node in nodes:
                found[node] = (*found.get(node, ()), (start, start + chosen.seen_slots))
    return found


def problem_of(config: PaperAConfig, case: Case) -> Any:
    """Nothing is shared: what a device can get does not depend on the others, so that the best is known."""
    never = (FAR, FAR + 1)
    spans: dict[str, Any] = {}
    for node in ("mec", "cloud", "backhaul", "backup"):
        gone = case.gone.get(node, ())
        spans[node] = [*gone, *[never] * (config.traffic.seen_failures + 1 - len(gone))]
    return systems.problem(config.system, scenario=Scenario(redundant=True, **spans), sharing=Sharing())


def architecture_of(config: PaperAConfig, case: Case) -> Distributed:
    """The paper's, with the numbers of the case."""
    agent = systems.ddqn(config.system, epsilon_final=config.traffic.epsilon_final)
    learner = systems.learner(config.system, agent, weights_period=case.weights_period)
    return systems.distributed(config.system, learner, sending_period=case.sending_period)


def follow(own: tuple[Architecture, Problem], key: jax.Array, slots: int) -> dict[str, jax.Array]:
    """Series over the slots, and totals of what was sent; to be traced."""
    report = systems.run(*own, key, slots)
    return summary(report) | {"sent": jnp.sum(report.experiences.sent), "joules": jnp.sum(report.experiences.joules)}


def summary(report: Report) -> dict[str, jax.Array]:
    """Of every slot: reward, experiences that came to the agent, devices that took weights, trainings."""
    return {
        "reward": report.reward,
        "arrived": report.experiences.arrived,
        "applied": report.applied,
        "trained": report.trained,
        "broadcasts": jnp.sum(report.broadcasts),
    }


def reachable(problem: Any, key: jax.Array, slots: int) -> dict[str, jax.Array]:
    """Of every slot the mean reward of the best decision for each device, and of a random one; to be traced.

    It looks at the world that the system of this ``key`` lives in, and stays at home there: where nothing is shared and
    tasks end in their slot, what is asked does not depend on what was decided.
    """
    start_key, _, _, run_key = system.start_keys(key)
    home = world.Decision(jnp.zeros(problem.params.devices, jnp.int8))

    def slot(carry: tuple[Any, jax.Array], _: Any) -> tuple[tuple[Any, jax.Array], dict[str, jax.Array]]:
        state, key = carry
        _, _, world_key, _, key = system.slot_keys(key)
        rewards = problem.rewards(problem.observe(state))
        told = {"best": jnp.mean(jnp.max(rewards, axis=-1)), "random": jnp.mean(rewards)}
        after = world.advance(state, home, world.draw(world_key, problem.params), problem.params)[0]
        return (after, key), told

    start = world.init(start_key, problem.params), run_key
    return jax.lax.scan(slot, start, length=slots)[1]


def run_systems(config: PaperAConfig) -> Result:
    """Every case with every seed: series [M, S, slots], totals [M, S]."""
    settings = [(architecture_of(config, case), problem_of(config, case)) for case in cases(config)]
    keys = members.keys(config.seed, config.seeds, LEARN)
    found: Result = members.each(partial(follow, slots=config.traffic.slots), config.system.devices, settings, keys)
    return found


def run_reachable(config: PaperAConfig) -> Result:
    """Best and random rewards [M, S, slots] of the cases."""
    settings = [problem_of(config, case) for case in cases(config)]
    keys = members.keys(config.seed, config.seeds, LEARN)
    found: Result = members.each(partial(reachable, slots=config.traffic.slots), config.system.devices, settings, keys)
    return found


def jobs(config: PaperAConfig) -> list[Job]:
    """The systems, and what can be reached in their worlds."""
    depends = {"seeds": config.seeds, "seed": config.seed, "system": config.system.model_dump(mode="json")}
    depends |= {"traffic": config.traffic.model_dump(mode="json", exclude={"window", "recovered", "quick_slots"})}
    steps = len(cases(config)) * config.seeds * config.traffic.slots
    return [
        Job("traffic", "systems", depends, 20.0 + 6e-4 * steps, partial(run_systems, config)),
        Job(
            "traffic",
            "reachable",
            {**depends, "worlds": "of the systems"},
            10.0 + 2e-5 * steps,
            partial(run_reachable, config),
        ),
    ]


# -------------------------------------------------------------------------------------------------- what is found


def scores(config: PaperAConfig, results: Mapping[str, Result]) -> np.ndarray:
    """[M, S, slots - window + 1] score of the next ``window`` slots: 0 for random decisions, 1 for the best.

    Both are of the same tasks, channels and servers.
    """
    reward = results["systems"]["reward"] / config.system.devices
    best, chance = (results["reachable"][name] for name in ("best", "random"))
    reward, best, chance = (_moving(series, config.traffic.window) for series in (reward, best, chance))
    return (reward - chance) / (best - chance)


def _moving(series: np.ndarray, window: int) -> np.ndarray:
    """Means of the ``window`` entries from each one on, along the last axis."""
    return np.lib.stride_tricks.sliding_window_view(series, window, axis=-1).mean(axis=-1)


def slots_to(score: np.ndarray, start: int, aim: float) -> np.ndarray:
    """[S] slots after ``start`` from which the score [S, slots] of the next window is at least ``aim``.

    What never gets there counts all slots that are left.
    """
    reached = score[:, start:] >= aim
    return np.where(reached.any(axis=1), reached.argmax(axis=1), reached.shape[1])


def claim_47(config: PaperAConfig, found: Result) -> Claim:
    """Sending less often saves energy: bytes and joules in proportion to 1 / SF."""
    periods = np.asarray(config.traffic.sending_periods)
    joules, sent = (found[name][: len(periods)].astype(float) for name in ("joules", "sent"))
    times = joules[0] / joules[-1] / (periods[-1] / periods[0])
    bytes_times = sent[0] / sent[-1] / (periods[-1] / periods[0])
    band = mean_over_seeds(times)
    holds = bool(abs(times.mean() - 1) < 0.15 and abs(bytes_times.mean() - 1) < 0.1)
    reason = (
        f"joules of SF = {periods[0]} over those of SF = {periods[-1]}, over {periods[-1] // periods[0]}: 1 is in "
        f"proportion to 1/SF; bytes {bytes_times.mean():.3f}; a counter on the device makes it so, channels do the rest"
    )
    return Claim(
        47, float(band.value), "ratio", interval(band), times.size, holds, "construction", reason, "traffic.png"
    )


def claim_24(config: PaperAConfig, found: Result) -> Claim:
    """Redundant links: one that fails does not cut learning, both do."""
    chosen = config.traffic
    span = slice(chosen.failure_start + 1, chosen.failure_start + chosen.failure_slots)
    applied = {name: found["applied"][_at(config, f"cut={name}"), :, span].sum(axis=-1).astype(float) for name in CUTS}
    kept = np.minimum(applied["first"], applied["second"]) / np.maximum(applied["none"], 1)
    band, both = mean_over_seeds(kept), float(applied["both"].sum())
    holds = bool(kept.min() > 0.9 and both == 0 and applied["none"].min() > 0)
    reason = (
        "weights taken by devices while one link is down, over those without failure; the other link takes over in the "
        f"same slot; with both down {int(both)} are taken, and the agent goes on with what it has stored"
    )
    name = "link_failures.png"
    return Claim(
        24, float(band.value), "share of weights", interval(band), kept.size, holds, "construction", reason, name
    )


def claim_48(config: PaperAConfig, score: np.ndarray, history: str) -> Claim:
    """Quick adaptation to a change of the system: slots until the reward is near the best that is left to reach.

    Args:
        config: the experiments.
        score: [M, S, slots] of all cases.
        history: of :data:`HISTORIES`.
    """
    chosen = config.traffic
    times = {
        name: slots_to(score[_at(config, f"{history}={name}")], chosen.failure_start, chosen.recovered).astype(float)
        for name in LOSSES
    }
    slowest = max(times, key=lambda name: times[name].mean())
    band = mean_over_seeds(times[slowest])
    each = ", ".join(f"{text} {times[name].mean():.1f}" for name, text in LOSSES.items())
    reason = (
        f"slots until the next {chosen.window} score {chosen.recovered:g} (0: random, 1: best that is left), "
        f"slowest of {each}; {chosen.quick_slots} are called quick; devices hear of the loss; {HISTORIES[history]}"
    )
    holds = float(band.high) <= chosen.quick_slots
    return Claim(
        48, float(band.value), "slots", interval(band), config.seeds, holds, "emergent", reason, "adaptation.png"
    )


def _at(config: PaperAConfig, name: str) -> int:
    return [case.name for case in cases(config)].index(name)


# ------------------------------------------------------------------------------------------------------- drawing


def draw(config: PaperAConfig, results: Mapping[str, Result], folder: Path) -> list[Claim]:
    """``traffic``, ``link_failures`` and ``adaptation``, with a table each."""
    found, score = results["systems"], scores(config, results)
    _draw_traffic(config, found, score, folder)
    _draw_cuts(config, found, folder)
    _draw_losses(config, score, folder)
    losses = [claim_48(config, score, history) for history in HISTORIES]
    return [claim_24(config, found), claim_47(config, found), *losses]


def final_scores(config: PaperAConfig, score: np.ndarray) -> np.ndarray:
    """[M, S] of the last fifth of a run."""
    return score[..., -(config.traffic.slots // 5) :].mean(axis=-1)


def _draw_traffic(config: PaperAConfig, found: Result, score: np.ndarray, folder: Path) -> None:
    chosen, own = config.traffic, architecture_of(config, cases(config)[0])
    features = len(problem_of(config, cases(config)[0]).features)
    periods, last = np.asarray(chosen.sending_periods), len(chosen.sending_periods)
    size = own.experience_bits(features) // 8
    kilobytes, joules = found["sent"][:last] * size / 1e3, found["joules"][:last]
    figure, axes = new_figure(1, 4, 17, 4)
    for axis, samples, unit in ((axes[0, 0], kilobytes, "kB uplink"), (axes[0, 1], joules, "J of the devices")):
        band = draw_band(axis, periods, samples.T, "measured", marker="o")
        axis.plot(periods, band.value[0] * periods[0] / periods, "k--", lw=1, label="in proportion to 1/SF")
        axis.set(xscale="log", yscale="log", xlabel="SF, tasks for one experience", ylabel=unit)
        axis.legend(fontsize=8)
    final, weights = final_scores(config, score), len(chosen.weights_periods)
    draw_band(axes[0, 2], periods, final[:last].T, marker="o")
    draw_band(axes[0, 3], chosen.weights_periods, final[last : last + weights].T, color="C1", marker="o")
    axes[0, 2].set(
        xscale="log", xlabel="SF, tasks for one experience", ylabel="score of the last fifth", ylim=(None, 1.02)
    )
    axes[0, 3].set(
        xscale="log", xlabel="T, trainings for one transfer", ylabel="score of the last fifth", ylim=(None, 1.02)
    )
    for axis in axes[0]:
        axis.grid(alpha=0.3)
    figure.suptitle(
        f"What travels and what it is worth: {config.system.devices} devices, {chosen.slots} tasks each, "
        f"{config.seeds} seeds (score 0: random decisions, 1: the best of every task)"
    )
    save(figure, folder, "traffic")
    rows = []
    for index, case in enumerate(cases(config)[: last + weights]):
        told = (found["sent"][index] * float(size), found["joules"][index], final[index])
        bands = [mean_over_seeds(samples) for samples in told]
        rows.append([case.name, *(part for band in bands for part in (float(band.value), *interval(band)))])
    header = [f"{name}{end}" for name in ("uplink_bytes", "joules", "score") for end in ("", "_low", "_high")]
    write_table(folder, "traffic", ("case", *header), rows)


def _draw_cuts(config: PaperAConfig, found: Result, folder: Path) -> None:
    chosen, rows = config.traffic, []
    slots = np.arange(chosen.window, chosen.slots + 1)
    titles = {
        "arrived": "experiences that reach the agent, per slot",
        "trained": "trainings of the agent, per slot",
        "applied": "devices that take new weights, per slot",
    }
    figure, axes = new_figure(1, len(titles), 15, 4)
    for axis, (series, title) in zip(axes[0], titles.items(), strict=True):
        for place, (name, label) in enumerate(CUTS.items()):
            samples = _moving(found[series][_at(config, f"cut={name}")].astype(float), chosen.window)
            style = {"ls": ("-", "--", ":", "-")[place], "lw": (3, 2, 2, 1.4)[place], "alpha": 0.9}
            band = draw_band(axis, slots, samples, label, color=("0.7", "C0", "C2", "C3")[place], **style)
            rows += [[name, series, int(slot), float(value)] for slot, value in zip(slots, band.value, strict=True)]
        axis.axvspan(chosen.failure_start, chosen.failure_start + chosen.failure_slots, color="C3", alpha=0.08)
        axis.set(title=title, xlabel=f"slot (means of the last {chosen.window})", ylim=(0, None))
        axis.grid(alpha=0.3)
    axes[0, 0].legend(fontsize=8)
    figure.suptitle(f"Redundant links between access point and cloud, {config.seeds} seeds")
    save(figure, folder, "link_failures")
    write_table(folder, "link_failures", ("cut", "series", "slot", "mean"), rows)


def _draw_losses(config: PaperAConfig, score: np.ndarray, folder: Path) -> None:
    chosen, rows = config.traffic, []
    start = chosen.failure_start - 2 * chosen.window
    figure, axes = new_figure(len(HISTORIES), 2, 12, 7, sharey=True)
    slots = np.arange(score.shape[-1])
    for own, (history, text) in zip(axes, HISTORIES.items(), strict=True):
        for place, (name, label) in enumerate(LOSSES.items()):
            curves = score[_at(config, f"{history}={name}")]
            for axis in own:
                draw_band(axis, slots, curves, label, color=f"C{place}")
            times = slots_to(curves, chosen.failure_start, chosen.recovered)
            rows += [[history, name, seed, int(time)] for seed, time in enumerate(times)]
        for axis in own:
            axis.axvline(chosen.failure_start, color="k", lw=1, ls=":")
            axis.axhline(chosen.recovered, color="k", lw=1, ls="--")
            axis.set(xlabel=f"slot (means of the next {chosen.window})", ylim=(-0.1, 1.05))
            axis.grid(alpha=0.3)
        own[0].set(ylabel="score (0: random, 1: best of what is left)", title=f"{text}: the whole run")
        own[1].set(xlim=(start, start + 6 * chosen.window), title=f"{text}: around the loss")
    axes[0, 1].legend(fontsize=8, loc="center right")
    figure.suptitle(f"A server or the cloud is lost for good while the system learns, {config.seeds} seeds")
    save(figure, folder, "adaptation")
    write_table(folder, "adaptation", ("history", "lost", "seed", "slots_to_adapt"), rows)
