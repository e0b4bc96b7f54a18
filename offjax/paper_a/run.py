"""``offjax figures paper-a``: do what is missing, and draw everything."""

import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import jax

from offjax.config import config_hash
from offjax.config.paper_a import PaperAConfig, load_paper_a
from offjax.paper_a.claims import Claim, write_claims
from offjax.paper_a.store import Job, Result, Store
from offjax.runs.folder import cannot_write
from offjax.runs.progress import ProgressReport
from offjax.runs.provenance import device_name

CONFIG, STORE, QUICK_STORE = Path("configs/paper_a.yaml"), Path("runs/paper_a"), Path("runs/paper_a_quick")
EXPERIMENTS: tuple[str, ...] = (
    "architecture",
    "resilience",
    "traffic",
    "scale",
    "optimum",
    "algorithms",
    "learning_curves",
    "shares",
    "table_2c",
)


class Experiment(Protocol):
    """A module of this room: what it computes, and what it draws."""

    def jobs(self, config: PaperAConfig) -> list[Job]:
        """What is to be computed."""

    def draw(self, config: PaperAConfig, results: Mapping[str, Result], folder: Path) -> list[Claim]:
        """Figures and tables into ``folder``, from the results by the names of the jobs."""


def experiments(names: Sequence[str] = EXPERIMENTS) -> dict[str, Experiment]:
    """The modules by name."""
    return {name: cast(Experiment, import_module(f"offjax.paper_a.{name}")) for name in names}


def figures(folder: Path | None = None, redo: bool = False, quick: bool = False, config_path: Path = CONFIG) -> None:
    """Compute what is missing, and draw every figure.

    Args:
        folder: of the figures; ``paper_figures/paper_a``, or inside the store of quick results, if not given.
        redo: compute again what is there.
        quick: small numbers into a store of their own; figures for a look, and no ``claims.json``.
        config_path: the experiments.

    Raises:
        ConfigError: a wrong key or value of the configuration.
        MachineError: a result or a figure cannot be read or written.
    """
    config, store = load_paper_a(config_path, quick), Store(QUICK_STORE if quick else STORE)
    if folder is None:
        folder = store.folder / "figures" if quick else Path("paper_figures/paper_a")
    modules = experiments()
    jobs = {name: module.jobs(config) for name, module in modules.items()}
    every = list({store.path(job): job for own in jobs.values() for job in own}.values())  # some serve two modules
    compute(store, every, redo)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise cannot_write(folder, error) from error
    claims: list[Claim] = []
    for name, module in modules.items():
        claims += module.draw(config, {job.name: store.get(job) for job in jobs[name]}, folder)
    if not quick:
        write_claims(folder, claims, about(config, store, every))


def compute(store: Store, jobs: Sequence[Job], redo: bool = False) -> None:
    """Do the jobs whose results are missing, after a word on how long that takes; an interrupt loses one at most."""
    if redo:
        for job in jobs:
            store.forget(job)
    missing = [job for job in jobs if not store.has(job)]
    if not missing:
        return
    minutes = estimate(store, jobs) / 60
    print(f"{len(missing)} of {len(jobs)} jobs are missing: about {minutes:.0f} min", file=sys.stderr, flush=True)
    with ProgressReport("figures paper-a", len(jobs), len(jobs) - len(missing)) as progress:
        for before, job in zip([None, *missing], missing, strict=False):
            if before is not None and before.experiment != job.experiment:
                jax.clear_caches()  # each program maps memory, and a process may have only so many maps
            store.do(job)
            progress.advance(0, f"{job.experiment}: {job.name}")


def estimate(store: Store, jobs: Sequence[Job]) -> float:
    """Seconds that the missing jobs take: at the pace of this device in the same experiment so far, else by cost."""
    seconds, spent, cost, here = 0.0, dict[str, float](), dict[str, float](), device_name()
    for job in jobs:
        if store.has(job) and (told := store.about(job))["device"] == here:
            spent[job.experiment] = spent.get(job.experiment, 0.0) + float(told["seconds"])
            cost[job.experiment] = cost.get(job.experiment, 0.0) + job.cost
    for job in jobs:
        if not store.has(job):
            pace = spent.get(job.experiment, 0.0) / cost[job.experiment] if cost.get(job.experiment) else 1.0
            seconds += pace * job.cost
    return seconds


def about(config: PaperAConfig, store: Store, jobs: Sequence[Job]) -> dict[str, Any]:
    """What a file of claims says of itself: the configuration, the devices that computed, and how long."""
    rows = [store.about(job) for job in jobs]
    return {
        "config": config_hash(config),
        "devices": sorted({row["device"] for row in rows}),
        "seconds": round(sum(row["seconds"] for row in rows), 1),
        "jax": sorted({row["versions"]["jax"] for row in rows}),
    }
