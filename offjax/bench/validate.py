"""``offjax validate``: the simulator against what theory knows, and the page that says so."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from offjax.bench.closed import mean_sojourn
from offjax.bench.kernels import Comparison, fifo_mean_wait, ps_mean_sojourn
from offjax.bench.options import whole
from offjax.errors import ConfigError
from offjax.runs.progress import ProgressReport
from offjax.runs.provenance import collect_provenance, device_name

LOADS = (0.5, 0.8)
KERNEL_LIMIT, WORLD_LIMIT = 0.02, 0.03
SLOTS = (1.0, 0.5, 0.25)  # s, of a mean service of 1 s: the error of coupling "slot" as slots are halved
GENERATOR = "philox4x32"


@dataclass(frozen=True)
class Check:
    """One comparison that is to be made."""

    table: str  # where its row goes
    name: str
    load: float
    limit: float | None  # largest error allowed, or none where it is shown only
    measure: Callable[[jax.Array], Comparison]


@dataclass(frozen=True)
class Row:
    """A comparison that was made."""

    check: Check
    found: Comparison

    @property
    def passes(self) -> bool:
        """Is the error within its limit?"""
        return self.check.limit is None or abs(self.found.error) <= self.check.limit

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        check, found = self.check, self.found
        return {
            "bench": "validate",
            "table": check.table,
            "name": check.name,
            "load": check.load,
            "value": found.measured.mean,
            "ci95": found.measured.ci95,
            "unit": "s",
            "theory": found.theory,
            "error": found.error,
            "limit": check.limit,
            "passes": self.passes,
            "tasks": found.arrivals,
        }


def checks(arrivals: int, tasks: int) -> Iterator[Check]:
    """Everything that is compared.

    Args:
        arrivals: at the queues alone, per row.
        tasks: in the world, per row.
    """
    for load in LOADS:
        for law in ("exponential", "deterministic"):
            yield Check("queues", f"FIFO, {law} service: mean wait", load, KERNEL_LIMIT, _fifo(load, law, arrivals))
        for law in ("exponential", "hyperexponential"):
            name = f"processor sharing, {law} service: mean sojourn"
            yield Check("queues", name, load, KERNEL_LIMIT, _ps(load, law, arrivals))
    for load in LOADS:
        for queue in ("fifo", "ps"):
            for coupling, slot in (("slot", 0.1), ("exact", 1.0)):
                name = f"{queue}, coupling {coupling}, slot {slot:g} E[S]"
                yield Check("world", name, load, WORLD_LIMIT, _world(queue, coupling, slot, load, tasks))
    for load in LOADS:
        for queue in ("fifo", "ps"):
            for slot in SLOTS:
                name = f"{queue}, coupling slot, slot {slot:g} E[S]"
                yield Check("slots", name, load, None, _world(queue, "slot", slot, load, tasks))


def _fifo(load: float, law: str, arrivals: int) -> Callable[[jax.Array], Comparison]:
    return lambda key: fifo_mean_wait(key, load, law, arrivals)


def _ps(load: float, law: str, arrivals: int) -> Callable[[jax.Array], Comparison]:
    return lambda key: ps_mean_sojourn(key, load, law, arrivals)


def _world(queue: str, coupling: str, slot: float, load: float, tasks: int) -> Callable[[jax.Array], Comparison]:
    return lambda key: mean_sojourn(key, queue, coupling, slot, load, tasks)


def validate(arrivals: int = 10_000_000, tasks: int = 1_000_000, seed: int = 0) -> list[Row]:
    """Make every comparison, with a progress bar.

    Args:
        arrivals: at the queues alone, per row.
        tasks: in the world, per row.
        seed: of everything random; rows of one load share their key.
    """
    todo = list(checks(arrivals, tasks))
    rows = []
    with ProgressReport("validate", len(todo)) as progress:
        for check in todo:
            row = Row(check, check.measure(jax.random.key(seed, impl=GENERATOR)))
            rows.append(row)
            progress.advance(0, f"{check.name}, load {check.load}: {100 * row.found.error:+.2f} %")
    return rows


TITLES = {
    "queues": (
        "Queues alone",
        "The kernels by which the world queues and shares (`offjax/world/sharing.py`, exact forms), fed with Poisson"
        " arrivals, many queues side by side; mean service 1 s. Formulas: Pollaczek-Khinchine for FIFO,"
        " S / (1 - rho) for processor sharing, which holds for any law of the service.",
    ),
    "world": (
        "The world",
        "Cells of 20 devices that think, send a task to the edge server and think again: the whole step of the world,"
        " against exact mean value analysis of the closed network (Reiser and Lavenberg 1980). With 20 devices the"
        " infinite-source formulas would be the wrong measure: their sojourn is longer by up to 44 %.",
    ),
    "slots": (
        "What a long slot costs",
        "Coupling `slot` takes the sharers of a slot as constant, so that its error falls with the slot. Coupling"
        " `exact` follows the events within the slot and has no such error.",
    ),
}


def page(rows: list[Row], provenance: dict[str, Any]) -> str:
    """The rows as Markdown."""
    backend = provenance["backend"]
    lines = [
        "# Validity",
        "",
        "Written by `offjax validate`; every number below is a measurement of that run. Intervals are 95 %, from 20",
        f"independent groups of queues or cells. jax {provenance['versions']['jax']}, {backend['name']}:",
        f"{device_name(backend)}, {provenance['started'][:10]}.",
    ]
    for table, (title, text) in TITLES.items():
        lines += ["", f"## {title}", "", text, "", *_table([row for row in rows if row.check.table == table])]
    failed = sum(not row.passes for row in rows)
    judged = sum(row.check.limit is not None for row in rows)
    lines += ["", f"{judged - failed} of {judged} comparisons with a limit are within it.", ""]
    return "\n".join(lines)


def _table(rows: list[Row]) -> Iterator[str]:
    yield "| what | load | measured s | theory s | error | limit | tasks |"
    yield "|---|---|---|---|---|---|---|"
    for row in rows:
        check, found = row.check, row.found
        limit = "" if check.limit is None else f"{100 * check.limit:.0f} %{'' if row.passes else ' **missed**'}"
        interval = f"{100 * found.measured.ci95 / found.theory:.2f}"
        yield (
            f"| {check.name} | {check.load} | {found.measured.mean:.4f} | {found.theory:.4f} |"
            f" {100 * found.error:+.2f} ± {interval} % | {limit} | {found.arrivals:,} |"
        )


def print_validation(tasks: str, out: Path | None, as_json: bool) -> None:
    """``offjax validate``: compare, and print or write the page.

    Args:
        tasks: behind each row at the queues; a tenth of it in the world.
        out: file of the page, or none to print it.
        as_json: print the rows as JSON.

    Raises:
        ConfigError: a number that is not allowed, or no folder for the page.
    """
    count = whole("--tasks", tasks)
    if out is not None and not out.parent.is_dir():
        raise ConfigError("--out", str(out), "its folder must exist")
    rows = validate(int(1.002 * count), max(count // 10, 1000))  # a Poisson stream may fall a little short
    if out is not None:
        out.write_text(page(rows, collect_provenance()), encoding="utf-8")
    if as_json:
        print(json.dumps([row.to_dict() for row in rows], indent=2))
    elif out is None:
        print(page(rows, collect_provenance()))
