"""``offjax figures scalability``: how speed, memory and compile time grow, as a resumable job over a table of points.

A point that is in the table is not measured again; rows of another machine's accelerator stay beside those of this one.
"""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import jax

from offjax.bench.rows import bytes_needed, chunk_slots, limits, peer_rate, time_call, time_fleet
from offjax.bench.world import CELL, LONG, Case, make_fleet, network_weights, step_chunk
from offjax.memory import require_fits
from offjax.runs.progress import ProgressReport
from offjax.runs.provenance import device_name
from offjax.world import init

DEVICES = (10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
CELLS = (1, 10, 100, 1_000, 10_000)  # of CELL_FLEET devices together
CELL_FLEET = 10_000
WORLDS = (1, 4, 16, 64, 256, 1_024, 4_096)  # of one cell each, by vmap
MODES = (Case("none"), Case("slot", "fifo", LONG))
COLOURS = {"none": ("tab:blue", "tab:green"), "slot": ("tab:orange", "tab:red")}  # on a CPU, on an accelerator
LABELS = {"none": "uncoupled, one slot per task", "slot": "shared uplink and FIFO servers"}


@dataclass(frozen=True)
class Point:
    """One measurement; the first fields say of what."""

    backend: str  # "cpu", "gpu", "tpu"
    device: str  # name of the accelerator, or of the processor
    sweep: str  # "devices", "cells", "worlds"
    coupling: str
    devices: int
    cells: int
    worlds: int
    shards: int
    device_steps_per_s: float = 0.0
    bytes_per_device: float = 0.0
    compile_s: float = 0.0
    copy_limit: float = 0.0  # device-steps/s if the state were read and written once per slot at the copy rate
    peer: float = 0.0  # device-steps/s of the NumPy peer

    @property
    def key(self) -> tuple[Any, ...]:
        """What was measured."""
        return tuple(getattr(self, field.name) for field in fields(self)[:8])


def points() -> Iterator[tuple[Point, Case]]:
    """Everything that is measured on this machine, small first."""
    where, most = (jax.default_backend(), device_name()), len(jax.devices())
    for case in MODES:
        for shards in sorted({1, most}):
            for devices in DEVICES:
                cells = max(devices // CELL, 1)
                yield Point(*where, "devices", case.coupling, devices, cells, 1, shards), case
        for cells in CELLS:
            own = Case(case.coupling, case.queue, case.slot, cell=CELL_FLEET // cells)
            yield Point(*where, "cells", case.coupling, CELL_FLEET, cells, 1, 1), own
        for worlds in WORLDS:
            yield Point(*where, "worlds", case.coupling, worlds * CELL, worlds, worlds, 1), case


def measure(point: Point, case: Case) -> Point:
    """The point with its figures."""
    if point.sweep == "worlds":
        rate, held, compiled = measure_worlds(case, point.worlds)
    else:
        require_fits(f"{point.devices:,} devices", bytes_needed(case, point.devices))
        fleet = make_fleet(case, point.devices, chunk_slots(point.devices), shards=jax.devices()[: point.shards])
        seconds, _, _ = time_fleet(fleet)
        rate = fleet.devices * fleet.slots / seconds
        held, compiled = fleet.bytes_per_device, fleet.compile_seconds
    known = asdict(point) | {
        "device_steps_per_s": rate,
        "bytes_per_device": held,
        "compile_s": compiled,
        "copy_limit": limits().copy / (2 * held),
        "peer": peer_rate(case.coupling, case.queue, case.slot),
    }
    return Point(**known)


def measure_worlds(case: Case, worlds: int, slots: int = 64) -> tuple[float, float, float]:
    """Device-steps/s, bytes per device and compile time s of ``vmap`` over worlds of one cell."""
    problem = case.problem(CELL)
    keys = jax.random.split(jax.random.key(0, impl=case.generator), worlds)
    states = jax.jit(jax.vmap(partial(init, params=problem.params)))(keys)
    step = jax.vmap(partial(step_chunk, problem, network_weights(problem), policy=case.policy, slots=slots))
    _, seconds, compile_seconds = time_call(step, states, keys)
    held = sum(leaf.nbytes for leaf in jax.tree.leaves(states)) / (worlds * CELL)
    return worlds * CELL * slots / seconds, held, compile_seconds


# ------------------------------------------------------------------------------------------------- the table


def read_points(path: Path) -> list[Point]:
    """The points of a table, none if there is no such file."""
    if not path.is_file():
        return []
    kinds: dict[str, type] = {field.name: field.type for field in fields(Point)}  # type: ignore[misc]
    with path.open(newline="", encoding="utf-8") as file:
        return [Point(**{name: kinds[name](text) for name, text in row.items()}) for row in csv.DictReader(file)]


def write_points(path: Path, table: Sequence[Point]) -> None:
    """Write the whole table, through a file beside it so that an interrupt leaves the old one."""
    beside = path.with_suffix(".csv.new")
    with beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Point)], lineterminator="\n")
        writer.writeheader()
        writer.writerows([asdict(point) for point in table])
    beside.replace(path)


def run(folder: Path, redo: bool = False) -> list[Point]:
    """Measure what is missing and draw.

    Args:
        folder: gets ``scalability.csv``, ``.png`` and ``.pdf``.
        redo: measure again what this machine's device has in the table.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "scalability.csv"
    device = device_name()
    table = [point for point in read_points(path) if not (redo and point.device == device)]
    known = {point.key for point in table}
    missing = [(point, case) for point, case in points() if point.key not in known]
    print(f"{len(missing)} points to measure, about {len(missing) * 8 // 60 + 1} minutes")
    with ProgressReport("figures scalability", max(len(missing), 1)) as progress:
        for point, case in missing:
            table.append(measure(point, case))
            write_points(path, table)
            progress.advance(0, f"{point.sweep} {point.devices:,} {point.coupling}")
    draw(table, folder)
    return table


# ------------------------------------------------------------------------------------------------ the figure


def draw(table: Sequence[Point], folder: Path) -> None:
    """The figure as PNG and PDF."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 3, figsize=(15, 8.5), layout="constrained")
    draw_speed(axes[0, 0], table)
    draw_sweep(axes[0, 1], table, "cells", f"access points ({CELL_FLEET:,} devices in all)")
    draw_sweep(axes[0, 2], table, "worlds", f"worlds of {CELL} devices (vmap, one device)")
    draw_column(axes[1, 0], table, "bytes_per_device", "bytes of state per device")
    draw_column(axes[1, 1], table, "compile_s", "compile time, s")
    draw_ratio(axes[1, 2], table)
    devices = sorted({point.device for point in table})
    only = " (CPU only)" if {point.backend for point in table} == {"cpu"} else ""
    figure.suptitle(f"Scalability of the world, random decisions, measured on: {', '.join(devices)}{only}")
    for suffix in ("png", "pdf"):
        figure.savefig(folder / f"scalability.{suffix}", dpi=150)
    pyplot.close(figure)


def lines(table: Sequence[Point], sweep: str) -> Iterator[tuple[str, dict[str, Any], list[Point]]]:
    """Label, looks and points in order of every line of a sweep."""
    chosen = [point for point in table if point.sweep == sweep]
    for key in sorted({(point.device, point.backend, point.coupling, point.shards) for point in chosen}):
        own = [point for point in chosen if (point.device, point.backend, point.coupling, point.shards) == key]
        device, backend, coupling, shards = key
        on_cpu = backend == "cpu"
        host = f"{shards} host device{'s' if shards > 1 else ''}" if on_cpu else device
        looks = {
            "color": COLOURS[coupling][not on_cpu],
            "marker": "^" if not on_cpu else "o" if shards > 1 else "s",
            "ls": "--" if on_cpu and shards == 1 else "-",
        }
        line = sorted(own, key=lambda point: (point.devices, point.cells))
        yield f"{LABELS[coupling]}, {host}", looks, line


def draw_speed(axis: Any, table: Sequence[Point]) -> None:
    """Device-steps per second over devices, beside the peer and the copy limit of each device."""
    for label, looks, line in lines(table, "devices"):
        axis.plot([point.devices for point in line], [point.device_steps_per_s for point in line], label=label, **looks)
    for coupling, backend in sorted({(point.coupling, point.backend) for point in table}):
        own = [
            point for point in table if (point.coupling, point.backend, point.sweep) == (coupling, backend, "devices")
        ]
        if own:
            text = f"{coupling}, {backend}: state read and written at the copy rate"
            axis.axhline(own[-1].copy_limit, color=COLOURS[coupling][backend != "cpu"], ls=":", label=text)
    for coupling, (colour, _) in COLOURS.items():
        peers = [point.peer for point in table if point.coupling == coupling and point.backend == "cpu"]
        if peers:
            axis.axhline(peers[-1], color=colour, ls="-.", label=f"{coupling}: NumPy peer, one core")
    axis.set(xscale="log", yscale="log", xlabel="devices", ylabel="device-steps/s", title="Speed")
    axis.set_ylim(bottom=min(point.peer for point in table) / 3e4)  # room for the legend below the peer
    axis.legend(fontsize=7, loc="lower right")
    axis.grid(alpha=0.3)


def draw_sweep(axis: Any, table: Sequence[Point], sweep: str, across: str) -> None:
    """Device-steps per second over cells or worlds."""
    for label, looks, line in lines(table, sweep):
        x, y = [getattr(point, sweep) for point in line], [point.device_steps_per_s for point in line]
        axis.plot(x, y, label=label, **looks)
    axis.set(xscale="log", yscale="log", xlabel=across, ylabel="device-steps/s", title=f"Speed over {sweep}")
    axis.legend(fontsize=7)
    axis.grid(alpha=0.3)


def draw_column(axis: Any, table: Sequence[Point], column: str, up: str) -> None:
    """One column over devices."""
    for label, looks, line in lines(table, "devices"):
        axis.plot([point.devices for point in line], [getattr(point, column) for point in line], label=label, **looks)
    axis.set(xscale="log", xlabel="devices", ylabel=up, title=up.split(",")[0].capitalize())
    axis.set_ylim(bottom=0)
    axis.legend(fontsize=7)
    axis.grid(alpha=0.3)


def draw_ratio(axis: Any, table: Sequence[Point]) -> None:
    """How many times as fast as the NumPy peer of the same machine."""
    for label, looks, line in lines(table, "devices"):
        ratios = [point.device_steps_per_s / point.peer for point in line]
        axis.plot([point.devices for point in line], ratios, label=label, **looks)
    axis.set(xscale="log", yscale="log", xlabel="devices", ylabel="times the peer", title="Against the NumPy peer")
    axis.legend(fontsize=7)
    axis.grid(alpha=0.3)
