"""``offjax bench sweep``: 256 agents in one sweep, beside 256 processes and one compiled program called 256 times.

Everything is timed end to end, from the start of the process to its results, without a cache of compiled programs.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from offjax.bench import machine
from offjax.bench.one_program import DEVICES, HYPER, ROUNDS, SLOTS, WORLDS, learning_rates
from offjax.bench.options import whole
from offjax.config import parse_sweep, to_yaml
from offjax.runs.progress import ProgressReport
from offjax.runs.provenance import device_name
from offjax.xla_flags import set_flags

WIDTHS = (16, 64, 256)
AGENTS, SETTINGS = 256, 32  # 8 seeds of each setting
SAMPLE = 8  # processes that are measured, for all of them
QUICK_AGENTS, QUICK_SAMPLE = 64, 2


def sweep_yaml(width: int, settings: int, seeds: int) -> str:
    """The configuration of a sweep over learning rates and seeds, without validation."""
    tree = {
        "base": {
            "problem": {"name": "laas2022", "scenarios": ["calm"], "devices": DEVICES, "slots": SLOTS},
            "agents": {"ac": {"hidden": [width, width], **HYPER}},
            "training": {
                "seeds": seeds,
                "worlds": WORLDS,
                "rounds": ROUNDS,
                "checkpoint_rounds": ROUNDS,
                "validation_devices": 0,
            },
        },
        "axes": {"agents.ac.actor_learning_rate": learning_rates(settings)},
    }
    return to_yaml(parse_sweep(tree))


def run_sweep(width: int, settings: int, seeds: int) -> tuple[float, list[dict[str, Any]]]:
    """Seconds of a whole process of ``offjax sweep``, and what it says of its programs."""
    with tempfile.TemporaryDirectory() as folder:
        config, out = Path(folder) / "sweep.yaml", Path(folder) / "run"
        config.write_text(sweep_yaml(width, settings, seeds), encoding="utf-8")
        command = [sys.executable, "-m", "offjax", "sweep", str(config), "--out", str(out)]
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=uncached())
        seconds = time.perf_counter() - start
        return seconds, json.loads((out / "summary.json").read_text(encoding="utf-8"))["parts"]


def time_processes(width: int, sample: int, agents: int) -> float:
    """Seconds of ``agents`` processes that train an agent each, as many at a time as there are processors.

    ``sample`` are measured, the rest are taken to be like them.
    """
    together = min(os.cpu_count() or 1, sample)
    start = time.perf_counter()
    with ThreadPoolExecutor(max_workers=together) as pool:
        list(pool.map(lambda _: run_sweep(width, 1, 1), range(sample)))
    return (time.perf_counter() - start) * agents / sample


def time_one_program(width: int, agents: int) -> float:
    """Seconds of a process whose one compiled program trains ``agents`` agents, one after the other."""
    command = [sys.executable, "-m", "offjax.bench.one_program", str(width), str(agents)]
    environment = uncached()
    set_flags(environment)  # as the command line does
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return time.perf_counter() - start


def uncached() -> dict[str, str]:
    """The environment, without a cache of compiled programs."""
    kept = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    return kept | {"OFFJAX_CACHE_DIR": ""}  # where it is empty the command line keeps nothing


def measure(width: int, quick: bool) -> list[dict[str, Any]]:
    """Our row and those of both peers, all on the same work."""
    agents, sample = (QUICK_AGENTS, QUICK_SAMPLE) if quick else (AGENTS, SAMPLE)
    settings = SETTINGS if agents >= AGENTS else SETTINGS // 4
    ours, parts = run_sweep(width, settings, agents // settings)
    one = time_one_program(width, agents)
    processes = time_processes(width, sample, agents)
    steps = DEVICES * SLOTS // WORLDS * ROUNDS
    same = {
        "bench": "sweep",
        "width": width,
        "agents": agents,
        "unit": "s",
        "device_steps_per_agent": steps,
        "device": device_name(),
    }
    return [
        same | {"value": ours, "chunk": parts[0]["chunk"], "device_steps_per_s": agents * steps / ours},
        same | {"peer": "one program", "value": one, "ratio": one / ours, "measured": agents},
        same | {"peer": "processes", "value": processes, "ratio": processes / ours, "measured": sample},
    ]


def bench_sweep(widths: Sequence[int] = WIDTHS, quick: bool = False) -> list[dict[str, Any]]:
    """All rows, with a progress bar; ``quick`` trains fewer agents and measures fewer processes."""
    rows: list[dict[str, Any]] = []
    with ProgressReport("bench sweep", len(widths)) as progress:
        for width in widths:
            rows += measure(width, quick)
            progress.advance(0, f"{width} wide: {rows[-3]['value']:.0f} s")
    return rows


def print_bench(widths: str | None, quick: bool, as_json: bool) -> None:
    """``offjax bench sweep``: measure and print.

    Args:
        widths: comma-separated widths of the hidden layers, or none for all of ``WIDTHS``.
        quick: fewer agents and processes.
        as_json: JSON instead of a table.

    Raises:
        ConfigError: a number that is not allowed.
    """
    chosen = WIDTHS if widths is None else [whole("--widths", text) for text in widths.split(",")]
    rows = bench_sweep(chosen, quick)
    if as_json:
        print(json.dumps([{"bench": "machine", **machine.describe()}, *rows], indent=2))
        return
    table = Table("width", "agents", "what", "s", "times ours", "measured", title=f"Sweep, on {rows[0]['device']}")
    for row in rows:
        ratio = f"{row['ratio']:.1f}" if "ratio" in row else ""
        what = row.get("peer") or f"offjax sweep, {row['chunk']} at once"
        measured = str(row.get("measured", row["agents"]))
        table.add_row(str(row["width"]), str(row["agents"]), what, f"{row['value']:.1f}", ratio, measured)
    console = Console()
    (console if console.is_terminal else Console(width=200)).print(table)
