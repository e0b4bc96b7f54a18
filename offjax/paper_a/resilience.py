"""Fig. 4: tasks that are dropped against the latency of the loop, under both architectures in the same worlds.

Networks learn first, in a system of 20 devices in which every node fails now and then; then they are given to a fleet
that meets one latency of the loop for good, or one failure. Devices do not explore any more. Nothing else differs
between the two architectures, and learning goes on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from offjax.config.paper_a import FleetConfig, PaperAConfig
from offjax.learning import system
from offjax.learning.access_point import Links
from offjax.learning.cloud import Learner, LearnerState
from offjax.learning.system import Architecture
from offjax.paper_a import members, systems
from offjax.paper_a.claims import Basis, Claim
from offjax.paper_a.drawing import draw_band, interval, mean_over_seeds, new_figure, save, write_table
from offjax.paper_a.store import Job, Result
from offjax.problems import laas2022
from offjax.problems.laas2022 import Device, Server
from offjax.problems.parts import Sharing
from offjax.problems.scenario import Scenario
from offjax.problems.spec import Problem
from offjax.workload.arrivals import periodic, poisson
from offjax.world import End
from offjax.world.records import DROPS

CELL = 20
UNITS = 40e6  # unit/s of a device; in the setting constant, of every server too
FAR = (2**29, 2**29 + 1)  # a span of slots that no run reaches
KINDS = {"loop": "both links SAP–cloud", "cloud": "the cloud server", "link": "the radio link"}
ARCHITECTURES = ("centralised", "distributed")
SETTINGS = {
    "constant": "periodic tasks, one service time",
    "periodic": "periodic tasks, the problem's own",
    "poisson": "Poisson tasks, the problem's own",
}
COLOURS = {End.NO_DECISION: "C3", End.BUFFER_FULL: "C1", End.LINK_LOST: "C0", End.SERVER_LOST: "C4"}
LEARN, FLEET = 1, 2  # purposes of keys


@dataclass(frozen=True)
class Case:
    """What a fleet meets, in times of a task: the loop takes ``latency`` for good, or ``kind`` is gone once."""

    latency: float = 0.0
    kind: str = ""
    failure: float = 0.0


def cases(fleet: FleetConfig) -> list[Case]:
    """All members of a job, in the order of its results."""
    slow = [Case(latency=latency) for latency in fleet.latencies]
    return slow + [Case(kind=kind, failure=length) for kind in KINDS for length in fleet.failures]


# ------------------------------------------------------------------------------------------------------- the worlds


def make_problem(config: PaperAConfig, setting: str, scenario: Scenario, devices: int, slots_per_task: int) -> Problem:
    """The world of a setting: nothing is shared and no task may wait."""
    chosen = config.resilience
    slot = chosen.time_between_tasks_s / slots_per_task
    changes: dict[str, Any] = {}
    if setting == "constant":
        demand = chosen.service_share * chosen.time_between_tasks_s * UNITS
        servers = [Server("edge", f=UNITS), Server("cloud", f=UNITS, cloud=True)]
        changes = {"demand": (demand, demand), "theta": 1e-6, "servers": servers}
    if setting == "poisson":
        arrivals = poisson(chosen.time_between_tasks_s)
    else:
        arrivals = periodic(slots_per_task, np.arange(devices) % slots_per_task)
    return laas2022.make(
        scenario,
        devices=devices,
        devices_per_cell=CELL,
        fleet=[Device(f=UNITS, battery=systems.BATTERY)],
        arrivals=arrivals,
        slot_duration=slot,
        buffer=0,
        sharing=Sharing(),
        **changes,
    )


def failing(case: Case, fleet: FleetConfig) -> Scenario:
    """The schedule of a case; whole slots, at least one."""
    start = fleet.before * fleet.slots_per_task
    span = [(start, start + max(round(case.failure * fleet.slots_per_task), 1))]
    never = [FAR]
    return Scenario(
        redundant=True,
        backhaul=span if case.kind == "loop" else never,
        backup=span if case.kind == "loop" else never,
        cloud=span if case.kind == "cloud" else never,
        link=span if case.kind == "link" else never,
    )


def training_scenario(slots: int) -> Scenario:
    """Cloud, links to it and radio link are each gone four times, one after the other, for a 25th of the run."""

    def spans(place: int) -> list[tuple[int, int]]:
        starts = [int(slots * (0.15 + 0.2 * time + 0.06 * place)) for time in range(4)]
        return [(start, start + max(slots // 25, 1)) for start in starts]

    return Scenario(redundant=True, cloud=spans(0), backhaul=spans(1), backup=spans(1), link=spans(2))


# ----------------------------------------------------------------------------------------------------- the systems


def make_learner(config: PaperAConfig) -> Learner:
    """The agent, whose exploration ends with the training before."""
    chosen = config.resilience
    agent = systems.ddqn(
        config.system,
        hidden=chosen.hidden,
        batch_size=chosen.batch_size,
        epsilon_final=0.0,
        epsilon_decay_updates=2 * chosen.training_tasks,
    )
    return systems.learner(config.system, agent, brm_capacity=chosen.memory, arm_capacity=chosen.memory)


def architecture_of(config: PaperAConfig, name: str, latency: float, places: int = 4) -> Architecture:
    """One of :data:`ARCHITECTURES` with a loop of ``latency`` s on top of what the links take."""
    make = systems.distributed if name == "distributed" else systems.centralised
    links = Links(loop_latency=jnp.float32(latency), places=places)
    return make(config.system, make_learner(config), sending_period=1, links=links)


def trained(config: PaperAConfig, setting: str) -> LearnerState:
    """What the agent of each seed has learnt, leaves [S, ...]; once in a process."""
    return _trained(config.model_dump_json(), setting)


@cache
def _trained(text: str, setting: str) -> LearnerState:
    config, slots_per_task = PaperAConfig.model_validate_json(text), 4
    slots = config.resilience.training_tasks * slots_per_task
    problem = make_problem(config, setting, training_scenario(slots), CELL, slots_per_task)
    architecture = architecture_of(config, "distributed", 0.0)

    def learn(own: Any, key: jax.Array) -> LearnerState:
        problem, architecture = own
        state = system.init(key, architecture, problem)
        return system.run(architecture, problem, state, slots)[0].learner

    keys = members.keys(config.seed, config.seeds, LEARN)
    found = members.each(learn, CELL, [(problem, architecture)], keys)
    return jax.tree.map(lambda leaf: leaf[0], found)


def deploy(architecture: Architecture, problem: Problem, key: jax.Array, learner: LearnerState) -> system.SystemState:
    """A fresh system whose agent, and whose devices where they decide, have learnt already."""
    state = system.init(key, architecture, problem)
    versions = architecture.first_versions(learner.learnt, problem.params.devices)
    if versions is not None:
        versions = versions.replace(number=versions.number.at[0].set(learner.sent))
    return state.replace(learner=learner, versions=versions)


def meet(own: tuple[Architecture, Problem], seed: tuple[jax.Array, LearnerState], slots: int) -> dict[str, jax.Array]:
    """What became of the tasks of a run: counts over all devices and slots; to be traced."""
    architecture, problem = own
    return tally(system.run(architecture, problem, deploy(architecture, problem, *seed), slots)[1])


def tally(report: system.Report) -> dict[str, jax.Array]:
    """Tasks by how they ended [End], on arrival too, and how many came and were decided."""
    refused = jnp.sum(report.refused, axis=0) * (jnp.arange(len(End)) != End.NONE)
    ends = jnp.sum(report.ends, axis=0) + refused
    return {"ends": ends, "arrived": jnp.sum(report.arrived), "decisions": jnp.sum(report.decisions)}


def run_fleet(config: PaperAConfig, fleet: FleetConfig, setting: str, name: str) -> Result:
    """All cases of a fleet: ``ends`` [M, S, End], ``arrived`` and ``decisions`` [M, S]; ``base`` s of the loop."""
    learner = trained(config, setting)
    keys, tau = members.keys(config.seed, config.seeds, FLEET), config.resilience.time_between_tasks_s
    settings = [
        (
            architecture_of(config, name, case.latency * tau, fleet.places),
            make_problem(config, setting, failing(case, fleet), fleet.devices, fleet.slots_per_task),
        )
        for case in cases(fleet)
    ]
    slots = fleet.tasks * fleet.slots_per_task
    found: Result = members.each(partial(meet, slots=slots), fleet.devices, settings, (keys, learner))
    return found | {"base": np.asarray(own_loop(config, setting))}


def own_loop(config: PaperAConfig, setting: str) -> float:
    """Seconds that the centralised loop takes without any added latency, in the mean over devices."""
    central = architecture_of(config, "centralised", 0.0)
    problem = make_problem(config, setting, Scenario(redundant=True), CELL, 4)
    state = system.init(members.keys(config.seed, 1, FLEET)[0], central, problem)
    return float(jnp.mean(central.loop(problem, state)[0]))  # type: ignore[attr-defined]


def name_of(fleet: FleetConfig, setting: str, architecture: str) -> str:
    """Of a job."""
    return f"{architecture}-{setting}-{fleet.devices}"


def jobs(config: PaperAConfig) -> list[Job]:
    """One for each fleet, setting and architecture."""
    found = []
    common = {"seeds": config.seeds, "seed": config.seed, "system": config.system.model_dump(mode="json")}
    common |= {"resilience": config.resilience.model_dump(mode="json", exclude={"fleets"})}
    for fleet in config.resilience.fleets:
        for setting in fleet.settings:
            for name in ARCHITECTURES:
                depends = {**common, "fleet": fleet.model_dump(mode="json"), "setting": setting, "architecture": name}
                steps = len(cases(fleet)) * config.seeds * fleet.tasks * fleet.slots_per_task
                cost = 20.0 + steps * (1e-4 + 1e-6 * fleet.devices)
                run = partial(run_fleet, config, fleet, setting, name)
                found.append(Job("resilience", name_of(fleet, setting, name), depends, cost, run))
    return found


# -------------------------------------------------------------------------------------------------- what is found


def closed_form(latency: float | np.ndarray, service: float) -> np.ndarray:
    """Share of tasks that find no decision, all in times between two tasks: (ceil(L) - 1) / ceil(L + S)."""
    latency = np.asarray(latency, np.float64)
    return np.maximum(np.ceil(latency) - 1, 0) / np.ceil(latency + service)


def dropped(found: Result) -> np.ndarray:
    """[M, S] tasks that were dropped for any cause."""
    return np.asarray(found["ends"][..., list(DROPS)].sum(axis=-1))


def share(found: Result) -> np.ndarray:
    """[M, S] of the tasks that came."""
    return dropped(found) / found["arrived"]


def expected(config: PaperAConfig, latencies: np.ndarray, found: Result) -> np.ndarray:
    """:func:`closed_form` at latencies on top of what the loop takes anyway, all in times between two tasks."""
    base = float(found["base"]) / config.resilience.time_between_tasks_s
    return closed_form(latencies + base, config.resilience.service_share)


def claim_38(config: PaperAConfig, latencies: Sequence[float], found: Result) -> Claim:
    """Fig. 4, drawn: the centralised curve of the setting ``constant`` against its closed form."""
    count = len(latencies)
    waiting = (found["ends"][..., End.NO_DECISION] / found["arrived"])[:count]  # [M, S]
    apart = np.abs(waiting - expected(config, np.asarray(latencies), found)[:, None]).max(axis=0)
    band, tasks = mean_over_seeds(apart), int(config.resilience.fleets[0].tasks)
    reason = (
        f"largest difference of the centralised curve from (ceil(L/tau) - 1) / ceil((L + S)/tau) over {count} "
        f"latencies, one service time; a run has {tasks} tasks and may end within a cycle of them: 0.01 is allowed"
    )
    holds = float(band.high) <= 0.01
    return Claim(
        38, float(band.value), "share of tasks", interval(band), apart.size, holds, "emergent", reason, "fig4.png"
    )


def claim_44(latencies: Sequence[float], found: Result) -> Claim:
    """Centralised: dropped tasks explode as the loop's latency grows."""
    shares = share(found)[: len(latencies)]
    last, first = mean_over_seeds(shares[-1]), mean_over_seeds(shares[0])
    rises = bool((np.diff(shares.mean(axis=1)) >= -1e-3).all())
    holds = rises and float(last.low) > 0.9 and float(last.low) > 10 * float(first.high)
    reason = (
        f"share of all tasks dropped when the loop takes {latencies[-1]:g} times between two tasks; "
        f"{float(first.value):.3g} when it takes nothing but its own time"
    )
    return Claim(
        44, float(last.value), "share of tasks", interval(last), shares.shape[1], holds, "emergent", reason, "fig4.png"
    )


def claim_45(latencies: Sequence[float], found: Mapping[str, Result]) -> Claim:
    """Distributed: no task is dropped for any cause, at any latency of the loop, where one ends before the next comes.

    Args:
        latencies: the first members of each result.
        found: setting -> result of the distributed system.
    """
    count = len(latencies)
    worst = {setting: share(own)[:count] for setting, own in found.items()}
    open_loop = {setting: own for setting, own in worst.items() if setting != "poisson"}
    most = max((own.max(axis=0) for own in open_loop.values()), key=np.max)
    band = mean_over_seeds(most)
    zero = bool(np.max(most) == 0)
    reason = "drops of all causes are counted, periodic tasks that end before the next one comes"
    if "poisson" in worst:
        poisson_shares = worst["poisson"].mean(axis=1)
        reason += (
            f"; of Poisson tasks {poisson_shares.min():.2%} to {poisson_shares.max():.2%} find a busy device, "
            "whatever the loop takes"
        )
    if not zero:
        reason += "; they are not zero"
    basis: Basis = "emergent" if zero else "construction"
    return Claim(45, float(np.max(most)), "share of tasks", interval(band), len(most), zero, basis, reason, "fig4.png")


def claim_46(fleet: FleetConfig, found: Mapping[str, Result]) -> Claim:
    """Distributed: a device decides while the agent in the cloud cannot be reached.

    Args:
        fleet: whose failures these are.
        found: architecture -> result, of one setting.
    """
    longest = [index for index, case in enumerate(cases(fleet)) if case.failure == fleet.failures[-1]]
    gone = [index for index in longest if cases(fleet)[index].kind in ("loop", "cloud")]
    decided = {name: (own["decisions"] / own["arrived"])[gone].min(axis=0) for name, own in found.items()}
    lost = dropped(found["distributed"])[gone].max()
    band = mean_over_seeds(decided["distributed"])
    central = decided["centralised"].mean()
    holds = bool(float(band.low) > 0.99 and central < float(band.low))
    reason = (
        f"share of {fleet.tasks} tasks decided in a run with the cloud gone for {fleet.failures[-1]:g} of them; "
        f"centralised {central:.3f}; the distributed system dropped at most {int(lost)} tasks of all causes in a run"
    )
    basis: Basis = "emergent" if lost == 0 else "construction"
    seeds = len(decided["distributed"])
    return Claim(
        46, float(band.value), "share of tasks", interval(band), seeds, holds, basis, reason, "fig4_failures.png"
    )


# ------------------------------------------------------------------------------------------------------- drawing


def draw(config: PaperAConfig, results: Mapping[str, Result], folder: Path) -> list[Claim]:
    """``fig4`` (constant latencies), ``fig4_failures`` (one failure), ``fig4_devices`` and one table of everything."""
    first = config.resilience.fleets[0]
    write_table(folder, "fig4", HEADER, table(config, results))
    _draw_latencies(config, first, results, folder)
    _draw_failures(config, first, results, folder)
    _draw_devices(config, results, folder)
    main = first.settings[0]
    own = {str(setting): results[name_of(first, setting, "distributed")] for setting in first.settings}
    both = {name: results[name_of(first, main, name)] for name in ARCHITECTURES}
    constant = results[name_of(first, "constant", "centralised")]
    return [
        claim_38(config, first.latencies, constant),
        claim_44(first.latencies, both["centralised"]),
        claim_45(first.latencies, own),
        claim_46(first, both),
    ]


HEADER = ("devices", "setting", "architecture", "met", "times_of_a_task", "cause", "share", "low", "high", "per_device")


def table(config: PaperAConfig, results: Mapping[str, Result]) -> list[list[Any]]:
    """A row for every fleet, setting, architecture, case and cause that occurred, and one for all causes."""
    rows: list[list[Any]] = []
    for fleet in config.resilience.fleets:
        for setting in fleet.settings:
            for name in ARCHITECTURES:
                head = [fleet.devices, setting, name]
                rows += [head + row for row in _causes(results[name_of(fleet, setting, name)], fleet)]
    return rows


def _causes(found: Result, fleet: FleetConfig) -> list[list[Any]]:
    counts = np.concatenate([dropped(found)[..., None], found["ends"][..., list(DROPS)]], axis=-1)  # [M, S, 1 + causes]
    band = mean_over_seeds(np.moveaxis(counts / found["arrived"][..., None], 1, 0))
    names = ["all", *(end.name.lower() for end in DROPS)]
    rows = []
    for index, case in enumerate(cases(fleet)):
        for column, name in enumerate(names):
            if name == "all" or counts[index, :, column].any():
                told = [float(part[index, column]) for part in band]
                each = float(counts[index, :, column].mean()) / fleet.devices
                rows.append([case.kind or "latency", case.failure or case.latency, name, *told, each])
    return rows


def _stack(axis: Any, x: np.ndarray, shares: np.ndarray) -> None:
    """Causes [M, S, End] of drops on top of each other, with the interval of their sum."""
    causes = [end for end in DROPS if shares[..., end].any()]
    if causes:
        heights = [shares[..., end].mean(axis=1) for end in causes]
        colours = [COLOURS.get(end, "C7") for end in causes]
        axis.stackplot(
            x, heights, labels=[end.name.lower().replace("_", " ") for end in causes], colors=colours, alpha=0.5
        )
    total = shares[..., list(DROPS)].sum(axis=-1).T
    draw_band(axis, x, total, "all causes, 95 %", color="k", marker="o", ms=3)
    if not causes:
        axis.text(0.5, 0.25, "no task is dropped, for any cause", ha="center", transform=axis.transAxes, fontsize=9)


def _log_axis(axis: Any, least: float) -> None:
    axis.set_xscale("symlog", linthresh=least, linscale=0.4)
    axis.set_xlim(left=0)
    axis.grid(alpha=0.3)


def _draw_latencies(config: PaperAConfig, fleet: FleetConfig, results: Mapping[str, Result], folder: Path) -> None:
    count, x = len(fleet.latencies), np.asarray(fleet.latencies)
    figure, axes = new_figure(2, len(fleet.settings), 4.3 * len(fleet.settings), 6.4, sharex=True, sharey=True)
    for column, setting in enumerate(fleet.settings):
        for row, name in enumerate(ARCHITECTURES):
            axis, found = axes[row, column], results[name_of(fleet, setting, name)]
            _stack(axis, x, (found["ends"] / found["arrived"][..., None])[:count])
            if setting == "constant" and name == "centralised":
                fine = np.concatenate([np.linspace(0, 1, 200), np.geomspace(1.001, x[-1], 1500)])
                form = expected(config, fine, found)
                axis.plot(fine, form, "C2--", lw=1, label="no decision: (⌈L/τ⌉-1) / ⌈(L+S)/τ⌉")
            _log_axis(axis, 0.1)
            axis.set_title(f"{name}: {SETTINGS[setting]}", fontsize=9)
            axis.legend(fontsize=7, loc="upper left")
        axes[1, column].set_xlabel("latency of the loop L / τ, τ between two tasks")
    for row in range(2):
        axes[row, 0].set_ylabel("share of tasks dropped")
    axes[0, 0].set_ylim(-0.03, 1.03)
    figure.suptitle(f"Fig. 4: dropped tasks against loop latency; {fleet.devices} devices, {config.seeds} seeds")
    save(figure, folder, "fig4")


def _draw_failures(config: PaperAConfig, fleet: FleetConfig, results: Mapping[str, Result], folder: Path) -> None:
    """Dropped tasks per device in a run with one failure, by what failed."""
    setting = fleet.settings[-1]
    x, count = np.asarray(fleet.failures), len(fleet.latencies)
    figure, axes = new_figure(2, len(KINDS), 4.3 * len(KINDS), 6.4, sharex=True, sharey="row")
    for column, (kind, text) in enumerate(KINDS.items()):
        for row, name in enumerate(ARCHITECTURES):
            axis, found = axes[row, column], results[name_of(fleet, setting, name)]
            start = count + column * len(x)
            _stack(axis, x, found["ends"][start : start + len(x)] / fleet.devices)
            axis.set_xscale("log")
            axis.set_xticks(x, [f"{length:g}" for length in x])
            axis.set_xticks([], minor=True)
            axis.set_ylim(bottom=0)
            axis.grid(alpha=0.3)
            axis.set_title(f"{name}: {text} gone once", fontsize=9)
            axis.legend(fontsize=7, loc=("upper left", "lower left")[row])
        axes[1, column].set_xlabel(f"length of the failure / τ ({kind})")
    for row in range(2):
        axes[row, 0].set_ylabel(f"dropped tasks per device, of {fleet.tasks}")
    figure.suptitle(f"One failure: {SETTINGS[setting]}; {fleet.devices} devices, {config.seeds} seeds (scales differ)")
    save(figure, folder, "fig4_failures")


def _draw_devices(config: PaperAConfig, results: Mapping[str, Result], folder: Path) -> None:
    """The same share of dropped tasks in small and large fleets."""
    figure, axes = new_figure(1, 2, 11, 4, sharey=True)
    for place, fleet in enumerate(config.resilience.fleets):
        for setting in fleet.settings:
            for column, name in enumerate(ARCHITECTURES):
                found, count = results[name_of(fleet, setting, name)], len(fleet.latencies)
                style = {"constant": ":", "periodic": "-", "poisson": "--"}[setting]
                label = f"{fleet.devices:,} devices, {setting}"
                samples = share(found)[:count].T
                draw_band(
                    axes[0, column], fleet.latencies, samples, label, color=f"C{place}", ls=style, marker="o", ms=3
                )
    for column, name in enumerate(ARCHITECTURES):
        _log_axis(axes[0, column], 0.1)
        axes[0, column].set_title(name)
        axes[0, column].set_xlabel("latency of the loop L / τ")
    axes[0, 0].set_ylabel("share of tasks dropped, all causes")
    axes[0, 0].legend(fontsize=7)
    figure.suptitle(f"Dropped tasks in fleets of different sizes, {config.seeds} seeds, 95 % bands")
    save(figure, folder, "fig4_devices")
