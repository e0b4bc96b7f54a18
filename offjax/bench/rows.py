"""``offjax bench world``: device-steps and tasks per second, beside a NumPy peer and the machine's limits."""

import json
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import jax
from rich.console import Console
from rich.table import Table

from offjax.bench import machine, peer
from offjax.bench.options import choose, whole
from offjax.bench.world import (
    BLOCK,
    CELL,
    LONG,
    SERVICE,
    Case,
    Fleet,
    deal,
    make_fleet,
    network_flops,
)
from offjax.errors import ConfigError
from offjax.memory import bytes_of, require_fits
from offjax.runs.progress import ProgressReport
from offjax.runs.provenance import device_name
from offjax.world import init

SIZES = (1, 1_000, 10_000, 100_000, 1_000_000, 10_000_000)
SHORT = 0.1 * SERVICE  # s
MODES = (
    Case("none"),
    Case("slot", "fifo", SHORT),
    Case("slot", "fifo", LONG),
    Case("exact", "fifo", LONG),
    Case("exact", "ps", LONG),
)
POLICIES = ("random", "mlp")
GENERATORS = ("philox4x32", "threefry2x32")
SECONDS = 1.0  # that a row is measured, at least
REPEATS = 3  # chunks, at least
REFERENCE_DEVICES, REFERENCE_TIME = 20_000, 20.0  # s of simulated time behind a coupling error
PEER_SECONDS = 2.0
SPARE = 1.25  # times the state: what a chunk works with beside it


@dataclass(frozen=True)
class Row:
    """One row; ``value`` is ``device_steps_per_s``."""

    devices: int
    coupling: str
    queue: str
    slot: float  # s
    policy: str
    generator: str
    device_steps_per_s: float
    tasks_per_s: float
    tasks_per_step: float
    offloads_in_time: float  # share
    coupling_error: float  # of the mean latency of edge tasks, against `exact` in short slots
    bytes_per_device: float  # of state
    compile_s: float
    bandwidth_share: float  # state read and written once per slot, against the machine's copy rate
    matmul_share: float  # of the network's operations, against the machine's matmul rate
    ratio: float  # against the NumPy peer on one core
    checksum: float
    shards: int
    device: str

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {"bench": "world", "value": self.device_steps_per_s, "unit": "device-steps/s", **asdict(self)}


def chunk_slots(devices: int) -> int:
    """Slots in a chunk: many where a fleet is small, so that the call itself does not count."""
    return 500 if devices <= 20_000 else 64 if devices <= 1_000_000 else 8


def bytes_needed(case: Case, devices: int) -> int:
    """Memory of a fleet of ``devices``, before it is made."""
    _, size = deal(devices, case.cell, len(jax.devices()), BLOCK[jax.devices()[0].platform])
    state = jax.eval_shape(init, jax.random.key(0, impl=case.generator), case.problem(size).params)
    return int(SPARE * bytes_of(state) * devices / size)


def time_fleet(fleet: Fleet) -> tuple[float, float, Any]:
    """Seconds per chunk (median), tasks per chunk (mean), and the counts of the last chunk."""
    fleet.advance()  # the first call also moves memory
    seconds: list[float] = []
    tasks: list[int] = []
    while sum(seconds) < SECONDS or len(seconds) < REPEATS:
        start = time.perf_counter()
        total = fleet.advance()
        seconds.append(time.perf_counter() - start)
        tasks.append(total.tasks)
    return statistics.median(seconds), statistics.mean(tasks), total


def time_call(function: Any, *arguments: Any) -> tuple[Any, float, float]:
    """The result of a jitted call, its seconds (median) and the seconds of its compilation."""
    start = time.perf_counter()
    compiled = jax.jit(function).lower(*arguments).compile()
    compile_seconds = time.perf_counter() - start
    result = jax.block_until_ready(compiled(*arguments))
    seconds: list[float] = []
    while sum(seconds) < SECONDS or len(seconds) < REPEATS:
        start = time.perf_counter()
        result = jax.block_until_ready(compiled(*arguments))
        seconds.append(time.perf_counter() - start)
    return result, statistics.median(seconds), compile_seconds


def measure(case: Case, devices: int) -> Row:
    """One row.

    Raises:
        MachineError: the fleet does not fit into memory.
    """
    require_fits(f"{devices:,} devices", bytes_needed(case, devices))
    fleet = make_fleet(case, devices, chunk_slots(devices))
    seconds, tasks, total = time_fleet(fleet)
    steps = fleet.devices * fleet.slots
    rate = steps / seconds
    flops = network_flops(fleet.problem) if case.policy == "mlp" else 0
    return Row(
        devices=fleet.devices,
        coupling=case.coupling,
        queue=case.queue,
        slot=case.slot,
        policy=case.policy,
        generator=case.generator,
        device_steps_per_s=rate,
        tasks_per_s=tasks / seconds,
        tasks_per_step=tasks / steps,
        offloads_in_time=total.succeeded / max(total.offloaded, 1),
        coupling_error=coupling_error(case.coupling, case.queue, case.slot),
        bytes_per_device=fleet.bytes_per_device,
        compile_s=fleet.compile_seconds,
        bandwidth_share=2 * fleet.bytes_per_device * rate / limits().copy,
        matmul_share=flops * rate / limits().matmul,
        ratio=rate / peer_rate(case.coupling, case.queue, case.slot),
        checksum=total.checksum,
        shards=len(fleet.shards),
        device=device_name(),
    )


@cache
def limits() -> machine.Limits:
    """What this machine can do, measured once per process."""
    return machine.measure_limits()


@cache
def edge_latency(case: Case) -> float:
    """Mean latency s of tasks at the edge server, over ``REFERENCE_TIME`` of a fleet of ``REFERENCE_DEVICES``."""
    fleet = make_fleet(case, REFERENCE_DEVICES, 500)
    latency, tasks = 0.0, 0
    for _ in range(max(round(REFERENCE_TIME / case.slot / fleet.slots), 1)):
        total = fleet.advance()
        latency, tasks = latency + total.edge_latency, tasks + total.edge_tasks
    return latency / tasks


def coupling_error(coupling: str, queue: str, slot: float) -> float:
    """Relative error of the mean latency of edge tasks at this slot, against ``exact`` in short slots."""
    if coupling == "none":
        return 0.0
    return edge_latency(Case(coupling, queue, slot)) / edge_latency(Case("exact", queue, SHORT)) - 1.0


@cache
def peer_rate(coupling: str, queue: str, slot: float) -> float:
    """Device-steps/s of the NumPy peer on one cell of the same problem; it is exact in any case."""
    problem = Case("none" if coupling == "none" else "exact", queue, slot).problem(CELL)
    slots, rate = 20, 0.0
    while slots * CELL < PEER_SECONDS * rate or not rate:
        slots *= 4
        rate = peer.measure(problem, slots).device_steps_per_s
    return rate


def cases(policies: Sequence[str], generators: Sequence[str]) -> Iterator[Case]:
    """Every mode with every policy and generator."""
    for mode in MODES:
        for policy in policies:
            for generator in generators:
                yield Case(mode.coupling, mode.queue, mode.slot, policy, generator)


def bench_world(
    sizes: Sequence[int] = SIZES, policies: Sequence[str] = POLICIES, generators: Sequence[str] = GENERATORS
) -> list[Row]:
    """All rows, with a progress bar.

    Args:
        sizes: numbers of devices; above 20 in whole cells of 20.
        policies: "random", "mlp".
        generators: "philox4x32", "threefry2x32".

    Raises:
        ConfigError: a size that does not fill its cells.
        MachineError: a fleet that does not fit into memory, before anything is measured.
    """
    for size in sizes:
        if size < 1 or (size > CELL and size % CELL):
            raise ConfigError("--devices", size, f"1 to {CELL}, or a multiple of {CELL}")
    todo = [(case, size) for size in sizes for case in cases(policies, generators)]
    for case, size in todo:
        require_fits(f"{size:,} devices", bytes_needed(case, size))
    rows = []
    with ProgressReport("bench world", len(todo)) as progress:
        for case, size in todo:
            row = measure(case, size)
            rows.append(row)
            text = f"{size:,} {case.coupling} {case.queue} {case.policy}: {row.device_steps_per_s / 1e6:.1f} M/s"
            progress.advance(0, text)
    return rows


def peer_rows() -> list[dict[str, Any]]:
    """The peer itself, a row for each mode."""
    return [
        {
            "bench": "world",
            "peer": "numpy",
            "devices": CELL,
            "coupling": mode.coupling,
            "queue": mode.queue,
            "slot": mode.slot,
            "value": peer_rate(mode.coupling, mode.queue, mode.slot),
            "unit": "device-steps/s",
        }
        for mode in MODES
    ]


COLUMNS: dict[str, Callable[[Row], str]] = {
    "devices": lambda row: f"{row.devices:,}",
    "coupling": lambda row: f"{row.coupling} {row.queue}" if row.coupling != "none" else "none",
    "slot ms": lambda row: f"{1e3 * row.slot:g}",
    "policy": lambda row: row.policy,
    "generator": lambda row: row.generator,
    "M steps/s": lambda row: f"{row.device_steps_per_s / 1e6:.2f}",
    "M tasks/s": lambda row: f"{row.tasks_per_s / 1e6:.3f}",
    "times peer": lambda row: f"{row.ratio:,.0f}",
    "in time": lambda row: f"{100 * row.offloads_in_time:.0f} %",
    "error": lambda row: f"{100 * row.coupling_error:+.1f} %",
    "B/device": lambda row: f"{row.bytes_per_device:.0f}",
    "compile s": lambda row: f"{row.compile_s:.1f}",
    "copy": lambda row: f"{100 * row.bandwidth_share:.0f} %",
    "matmul": lambda row: f"{100 * row.matmul_share:.0f} %" if row.matmul_share else "",
    "checksum": lambda row: f"{row.checksum:.6g}",
}


def print_bench(devices: str | None, policies: str | None, generators: str | None, as_json: bool) -> None:
    """``offjax bench world``: measure and print.

    Args:
        devices: comma-separated numbers, or none for all of ``SIZES``.
        policies: comma-separated names, or none for all.
        generators: comma-separated names, or none for all.
        as_json: JSON instead of a table.

    Raises:
        ConfigError: a number or a name that is not allowed.
    """
    sizes = SIZES if devices is None else [whole("--devices", text) for text in devices.split(",")]
    chosen = [choose("--policies", policies, POLICIES), choose("--generators", generators, GENERATORS)]
    rows = bench_world(sizes, *chosen)
    if as_json:
        machine_row = {"bench": "machine", **machine.describe(), **limits()._asdict()}
        print(json.dumps([machine_row, *peer_rows(), *[row.to_dict() for row in rows]], indent=2))
        return
    table = Table(*COLUMNS, title=f"World, on {rows[0].shards} x {rows[0].device}")
    for row in rows:
        table.add_row(*[show(row) for show in COLUMNS.values()])
    console = Console()
    (console if console.is_terminal else Console(width=200)).print(table)
    for known in peer_rows():
        print(f"NumPy peer, {known['coupling']} {known['queue']}: {known['value']:,.0f} device-steps/s on one core")
    print(f"copy {limits().copy / 1e9:.1f} GB/s, matmul {limits().matmul / 1e9:.0f} GFLOP/s")
