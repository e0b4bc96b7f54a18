"""``offjax bench gan``: our generators of experiences beside CTGAN, on a table whose law is known and on rollouts.

CTGAN runs with its defaults in one torch thread, its best setting for networks this small; ours on one core and on
all. Rows that were generated are judged by SDMetrics, by a classifier, by the exact rewards, and by how near they come
to the rows that were learnt. Every judge is also shown tables that it must pass and fail.

A run that was interrupted goes on: what was trained and judged is kept in ``runs/bench_gan`` until all is done.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from offjax.bench.gan_worker import LAWS
from offjax.bench.trainers import Worker, interpreter
from offjax.replay.codec import Columns
from offjax.replay.fidelity import copy_share, new_share, reward_errors
from offjax.runs.folder import write_json
from offjax.runs.progress import ProgressReport

GENERATOR = "philox4x32"
SEED = 0
ROWS = 10_000  # to learn from, to hold back, and to make
ASKED = 2_000  # generated rows whose nearest neighbours are looked for
BATCH = 500  # of CTGAN
EPOCHS, QUICK_EPOCHS = 300, 10  # of CTGAN
FLOW_STEPS, QUICK_FLOW_STEPS = 10_000, 500
BUDGETS = (250, 500, 1_000, 2_000, 4_000)  # steps in which the flow may come to CTGAN's quality
TIMED_STEPS = {"ctgan": 100, "flow": 200}  # on one core and on two
ARMS = {"known": ("ctgan", "gan"), "laas2022": ("gan",)}  # beside the flow
STORE = Path("runs/bench_gan")
Record = dict[str, Any]


class Bench:
    """A table of one of :data:`LAWS` in a folder, the processes, and the rows so far."""

    def __init__(self, name: str, folder: Path, theirs: Worker, ours: Worker, progress: ProgressReport) -> None:
        """Draw the tables."""
        self.name, self.folder, self.theirs, self.ours, self.progress = name, folder, theirs, ours, progress
        self.law, self.rows = LAWS[name], list[Record]()
        self.discrete = list(self.law.columns().discrete)
        folder.mkdir(parents=True, exist_ok=True)
        keys = jax.random.split(jax.random.key(SEED, impl=GENERATOR), 3)
        draw = jax.jit(self.law.draw_table, static_argnames="rows")
        for name, key in zip(("train", "holdout", "real"), keys, strict=True):
            np.save(self.file(name), draw(key, rows=ROWS))
        shuffled = np.random.default_rng(SEED).permuted(self.load("train"), axis=0)
        np.save(self.file("shuffled"), shuffled)

    def file(self, name: str) -> Path:
        """Of a table."""
        return self.folder / f"{name}.npy"

    def load(self, name: str) -> jax.Array:
        """A table."""
        return jnp.asarray(np.load(self.file(name)))

    def ask(self, worker: Worker, out: str, **job: Any) -> Record:
        """What a worker says of training on the table; the rows that it makes are the table ``out``."""
        common = {"table": str(self.file("train")), "seed": SEED, "rows": ROWS, "out": str(self.file(out))}
        return self.once(worker, common | {"discrete": self.discrete, "law": self.name} | job)

    def once(self, worker: Worker, job: Record) -> Record:
        """What a worker says of a job, or said of it in a run that was interrupted."""
        text = json.dumps(job, sort_keys=True)
        file = self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
        if not file.is_file():
            worker.send(job)
            write_json(file, worker.read())
        return dict(json.loads(file.read_text(encoding="utf-8")))

    def train(self, arm: str, steps: int, worker: Worker | None = None) -> Record:
        """One of our arms; its rows are the table ``ARM_STEPS``."""
        done = self.ask(worker or self.ours, f"{arm}_{steps}", arm=arm, steps=steps)
        self.progress.advance(0, f"{arm}, {steps:,} steps: {done['seconds']:.1f} s")
        return done | {"steps": steps}

    def judge(self, name: str) -> Record:
        """SDMetrics and the classifier of a table, held against rows that nobody learnt from."""
        tables = {"real": str(self.file("real")), "synthetic": str(self.file(name))}
        scores = self.once(self.theirs, {"do": "judge", "discrete": self.discrete, **tables})
        self.progress.advance(0, f"{name}: quality {scores['quality']:.3f}")
        return scores

    def add(self, measure: str, value: float | None, unit: str, peer_value: float | None = None, **more: Any) -> None:
        """A row; where CTGAN has a value as well, the ratio says how many times better ours is."""
        row: Record = {"bench": "gan", "table": self.name, "measure": measure, **more, "value": value, "unit": unit}
        if value is not None and peer_value is not None:
            ratio = value / peer_value if unit == "rows/s" else peer_value / value
            row |= {"peer": "ctgan", "peer_value": peer_value, "ratio": ratio}
        self.rows.append(row)


def add_costs(bench: Bench, theirs: Record, ours: Mapping[str, Record], cores: int) -> None:
    """Time of a step, of the encoding and of sampling, on so many cores."""
    for arm, done in ours.items():
        same = {"arm": arm, "cores": cores}
        bench.add("step", 1e3 * done["step_s"], "ms", 1e3 * theirs["step_s"], compile_s=done["compile_s"], **same)
        bench.add("codec", done["codec_s"], "s", theirs["codec_s"], **same)
        bench.add("sampling", done["rows_per_s"], "rows/s", theirs["rows_per_s"], **same)


def add_fidelity(bench: Bench, name: str, arm: str, steps: int | None) -> Record:
    """All judges of the table of an arm; what they said of its quality."""
    scores = bench.judge(name)
    made, train, holdout = (bench.load(own) for own in (name, "train", "holdout"))
    error, wrong = _reward_errors(bench.law, made)
    columns = bench.law.columns()
    near = _copy_share(columns, made[:ASKED], train, holdout), _new_share(columns, made[:ASKED], train)
    values = {**scores, "reward_error": error, "wrong_penalty": wrong, "copy_share": near[0], "new_rows": near[1]}
    for measure, value in values.items():
        unit = "reward" if measure == "reward_error" else "share"
        bench.add(measure, float(value), unit, arm=arm, **({} if steps is None else {"steps": steps}))
    return scores


@partial(jax.jit, static_argnames="law")
def _reward_errors(law: Any, made: jax.Array) -> tuple[jax.Array, jax.Array]:
    return reward_errors(made, made[:, law.REWARD], law.exact_reward, law.THRESHOLD)


@partial(jax.jit, static_argnames="columns")
def _copy_share(columns: Columns, made: jax.Array, train: jax.Array, holdout: jax.Array) -> jax.Array:
    return copy_share(columns, made, train, holdout)


@partial(jax.jit, static_argnames="columns")
def _new_share(columns: Columns, made: jax.Array, train: jax.Array) -> jax.Array:
    return new_share(columns, made, train)


def time_to_quality(bench: Bench, quality: float, theirs: Record) -> None:
    """The shortest training of the flow, each from its start, that reaches what CTGAN came to."""
    for steps in BUDGETS:
        done = bench.train("flow", steps)
        reached = bench.judge(f"flow_{steps}")["quality"]
        if reached >= quality:
            more = {"arm": "flow", "steps": steps, "compile_s": done["compile_s"], "quality": reached}
            bench.add("time to quality", done["seconds"], "s", theirs["seconds"], **more)
            return
    bench.add("time to quality", None, "s", arm="flow", steps=BUDGETS[-1])


def bench_gan(quick: bool = False, peers_python: Path | None = None) -> list[Record]:
    """All rows, with a progress bar.

    Args:
        quick: 10 epochs of CTGAN in place of 300, and as little of ours.
        peers_python: interpreter with ctgan and sdmetrics, if not ``.venv-peers`` of the checkout.

    Raises:
        MachineError: it is missing, before anything is measured.
    """
    load, cores, store = os.getloadavg()[0], os.cpu_count() or 1, (STORE / ("quick" if quick else "full")).absolute()
    jobs = sum(len(arms) + 2 + len(arms) + 5 for arms in ARMS.values()) + len(TIMED_STEPS)
    with _processes(peers_python, cores) as workers, ProgressReport("bench gan", jobs) as progress:
        rows: list[Record] = []
        for name in LAWS:
            rows += _bench_table(Bench(name, store / name, *workers, progress), quick, cores)
    shutil.rmtree(store)
    return [{"bench": "machine", "load": load, "processors": cores}, *rows]


def _bench_table(bench: Bench, quick: bool, cores: int) -> list[Record]:
    """All rows of one table; one core is timed on the first alone."""
    epochs, flow_steps = (QUICK_EPOCHS, QUICK_FLOW_STEPS) if quick else (EPOCHS, FLOW_STEPS)
    steps = epochs * (ROWS // BATCH)
    theirs = bench.ask(bench.theirs, "peer", do="train", epochs=epochs)
    bench.progress.advance(0, f"ctgan, {theirs['steps']:,} steps: {theirs['seconds']:.1f} s")
    done = {arm: bench.train(arm, steps) for arm in ARMS[bench.name]}
    done["flow"] = bench.train("flow", flow_steps)
    add_costs(bench, theirs, done, cores)
    if bench.name == next(iter(LAWS)):
        add_costs(bench, theirs, _on_one_core(bench), 1)
    quality = add_fidelity(bench, "peer", "peer", steps)["quality"]
    for arm, one in done.items():
        add_fidelity(bench, f"{arm}_{one['steps']}", arm, one["steps"])
    for control in ("holdout", "train", "shuffled"):
        add_fidelity(bench, control, control, None)
    time_to_quality(bench, quality, theirs)
    return bench.rows


def _on_one_core(bench: Bench) -> dict[str, Record]:
    worker = _start_ours(1)
    try:  # the rows that it makes are not those that are judged
        return {arm: bench.ask(worker, f"{arm}_one_core", arm=arm, steps=steps) for arm, steps in TIMED_STEPS.items()}
    finally:
        worker.close()


def _start_ours(cores: int) -> Worker:
    worker = Worker(Path(sys.executable), "gan_worker", JAX_PLATFORMS="cpu")
    worker.send({"cores": cores})
    return worker


@contextmanager
def _processes(peers_python: Path | None, cores: int) -> Iterator[tuple[Worker, Worker]]:
    """CTGAN's and ours."""
    theirs = Worker(interpreter("peers", peers_python), "ctgan_worker")
    ours = _start_ours(cores)
    try:
        yield theirs, ours
    finally:
        theirs.close()
        ours.close()


def print_bench(quick: bool, peers_python: Path | None, as_json: bool) -> None:
    """``offjax bench gan``: measure and print.

    Args:
        quick: as in :func:`bench_gan`.
        peers_python: interpreter with ctgan and sdmetrics.
        as_json: JSON instead of a table.
    """
    rows = bench_gan(quick, peers_python)
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(
        "table", "measure", "arm", "cores", "steps", "value", "", "ctgan", "ratio", title="Generators of experiences"
    )
    for row in rows[1:]:
        numbers = [
            f"{row[name]:,.3f}" if row.get(name) is not None else "" for name in ("value", "peer_value", "ratio")
        ]
        place = [str(row.get(name, "")) for name in ("arm", "cores", "steps")]
        table.add_row(row["table"], row["measure"], *place, numbers[0], row["unit"], *numbers[1:])
    Console().print(table)
