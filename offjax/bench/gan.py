"""``offjax bench gan``: our generators of experiences beside CTGAN, on a table whose law is known and on rollouts.

CTGAN runs with its defaults in one torch thread, its best setting for networks this small; ours on one core and on
all. What a step costs is timed first, in turns. Then everything is trained from several seeds, side by side where
there are cores, and nothing is timed; how long a training takes is its steps at the pace that was timed. Rows that
were generated are judged by SDMetrics, by a classifier, by the exact rewards, and by how near they come to the rows
that were learnt. Every judge is also shown tables that it must pass and fail.

A run that was interrupted goes on: what was timed, trained and judged is kept in ``runs/bench_gan`` until all is done.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
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
from offjax.evaluation.statistics import estimate
from offjax.replay.codec import Columns
from offjax.replay.fidelity import copy_share, new_share, reward_errors
from offjax.runs.folder import write_json
from offjax.runs.progress import ProgressReport

GENERATOR = "philox4x32"
SEEDS, QUICK_SEEDS = (0, 1, 2), (0, 1)
ROWS = 10_000  # to learn from, to hold back, and to make
ASKED = 2_000  # generated rows whose nearest neighbours are looked for
BATCH = 500  # of CTGAN
EPOCHS, QUICK_EPOCHS = 300, 10  # of CTGAN
FLOW_STEPS, QUICK_FLOW_STEPS = 10_000, 500
BUDGETS = (250, 500, 1_000, 2_000, 4_000)  # steps in which the flow may come to CTGAN's quality
TIMED_EPOCHS, TIMED_STEPS = 10, 200  # of CTGAN and ours: the same number of steps
TURNS = 3  # in which these are timed
ARMS = {"known": ("ctgan", "gan", "flow"), "laas2022": ("gan", "flow")}
STORE = Path("runs/bench_gan")
Record = dict[str, Any]


class Bench:
    """A table of one of :data:`LAWS` in a folder, CTGAN's process, and the rows so far."""

    def __init__(self, name: str, folder: Path, theirs: Worker, progress: ProgressReport) -> None:
        """Draw the tables."""
        self.name, self.folder, self.theirs, self.progress = name, folder, theirs, progress
        self.law, self.rows = LAWS[name], list[Record]()
        self.discrete = list(self.law.columns().discrete)
        folder.mkdir(parents=True, exist_ok=True)
        draw = jax.jit(self.law.draw_table, static_argnames="rows")
        whole = draw(jax.random.key(SEEDS[0], impl=GENERATOR), rows=3 * ROWS)  # of the same worlds
        for name, part in zip(("train", "holdout", "real"), np.split(np.asarray(whole), 3), strict=True):
            np.save(self.file(name), part)
        shuffled = np.random.default_rng(SEEDS[0]).permuted(self.load("train"), axis=0)
        np.save(self.file("shuffled"), shuffled)

    def file(self, name: str) -> Path:
        """Of a table."""
        return self.folder / f"{name}.npy"

    def load(self, name: str) -> jax.Array:
        """A table."""
        return jnp.asarray(np.load(self.file(name)))

    def once(self, worker: Worker, job: Record) -> Record:
        """What a worker says of a job, or said of it in a run that was interrupted."""
        text = json.dumps(job, sort_keys=True)
        file = self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
        if not file.is_file():
            worker.send(job)
            write_json(file, worker.read())
        return dict(json.loads(file.read_text(encoding="utf-8")))

    def train(self, worker: Worker, out: str, seed: int, **job: Any) -> Record:
        """What a worker says of training on the table; the rows that it makes are the table ``out``."""
        common = {"table": str(self.file("train")), "seed": seed, "rows": ROWS, "out": str(self.file(out))}
        done = self.once(worker, common | {"discrete": self.discrete, "law": self.name} | job)
        self.progress.advance(0, f"{self.name}, {out}: {done['seconds']:.0f} s")
        return done

    def train_peer(self, out: str, seed: int, epochs: int) -> Record:
        """CTGAN; see :meth:`train`."""
        return self.train(self.theirs, out, seed, do="train", epochs=epochs)

    def judge(self, name: str) -> Record:
        """What all judges say of a table, held against rows that nobody learnt from."""
        tables = {"real": str(self.file("real")), "synthetic": str(self.file(name))}
        scores = self.once(self.theirs, {"do": "judge", "discrete": self.discrete, **tables})
        self.progress.advance(0, f"{self.name}, {name}: quality {scores['quality']:.3f}")
        made, train, holdout = (self.load(own) for own in (name, "train", "holdout"))
        error, wrong = _reward_errors(self.law, made)
        columns = self.law.columns()
        copies, new = _copy_share(columns, made[:ASKED], train, holdout), _new_share(columns, made[:ASKED], train)
        more = {"reward_error": error, "wrong_penalty": wrong, "copy_share": copies, "new_rows": new}
        return scores | {name: float(value) for name, value in more.items()}

    def add(self, measure: str, values: Sequence[float], unit: str, **more: Any) -> Record:
        """A row: the mean over seeds or turns with the half width of its 95 % interval."""
        own, place = estimate(np.asarray(values)), {"bench": "gan", "table": self.name, "measure": measure}
        width = {"ci95": own.ci95} if len(values) > 1 else {}
        self.rows.append({**place, **more, "value": own.mean, **width, "unit": unit})
        return self.rows[-1]

    def add_ratio(self, measure: str, ours: Sequence[float], theirs: Sequence[float], unit: str, **more: Any) -> None:
        """A row beside CTGAN's, turn by turn; the ratio says how many times better ours is."""
        pairs = [(own, peer) if unit == "rows/s" else (peer, own) for own, peer in zip(ours, theirs, strict=True)]
        ratio = estimate(np.asarray([better / worse for better, worse in pairs]))
        peer = {"peer": "ctgan", "peer_value": float(np.mean(theirs)), "ratio": ratio.mean, "ratio_ci95": ratio.ci95}
        self.add(measure, ours, unit, **more).update(peer)


# ------------------------------------------------------------------------------------------------- what it costs


def add_costs(bench: Bench, cores: int) -> tuple[list[Record], list[Record]]:
    """Time of a step, of the encoding and of sampling: CTGAN, ours on one core and on all, in turns.

    Returns:
        what CTGAN and the flow on all cores said in each turn.
    """
    counts = sorted({1, cores})
    with ExitStack() as stack:
        ours = {count: stack.enter_context(_ours(count)) for count in counts}
        theirs, done = list[Record](), {(arm, count): list[Record]() for arm in ("ctgan", "flow") for count in counts}
        for turn in range(TURNS):
            theirs.append(bench.train_peer("timed_peer", turn, TIMED_EPOCHS))
            for (arm, count), records in done.items():
                name = f"timed_{arm}_{count}"
                records.append(bench.train(ours[count], name, turn, arm=arm, steps=TIMED_STEPS, cores=count))
    for (arm, count), records in done.items():
        same = {"arm": arm, "cores": count, "compile_s": records[0]["compile_s"]}
        for measure, name, scale, unit in (
            ("step", "step_s", 1e3, "ms"),
            ("codec", "codec_s", 1.0, "s"),
            ("sampling", "rows_per_s", 1.0, "rows/s"),
        ):
            own, peer = ([scale * record[name] for record in side] for side in (records, theirs))
            bench.add_ratio(measure, own, peer, unit, **same)
    return theirs, done["flow", cores]


def add_time_to_quality(
    bench: Bench, ours: Worker, seeds: Sequence[int], quality: float, epochs: int, paces: tuple[list[Record], ...]
) -> None:
    """The shortest training of the flow that reaches what CTGAN came to with every seed, each from its start."""
    for steps in BUDGETS:
        for seed in seeds:
            bench.train(ours, f"flow_{steps}_{seed}", seed, arm="flow", steps=steps)
        reached = [bench.judge(f"flow_{steps}_{seed}")["quality"] for seed in seeds]
        if min(reached) >= quality:
            theirs = [pace["codec_s"] + epochs * (ROWS // BATCH) * pace["step_s"] for pace in paces[0]]
            own = [pace["codec_s"] + steps * pace["step_s"] for pace in paces[1]]
            more = {"steps": steps, "quality": float(np.mean(reached)), "compile_s": paces[1][0]["compile_s"]}
            bench.add_ratio("time to quality", own, theirs, "s", arm="flow", **more)
            return
    bench.rows.append({"bench": "gan", "table": bench.name, "measure": "time to quality", "arm": "flow", "value": None})


# ---------------------------------------------------------------------------------------------- what it is worth


def add_fidelity(bench: Bench, arm: str, names: Sequence[str], **more: Any) -> float:
    """What all judges say of an arm's tables, one for each seed; its mean quality."""
    scores = [bench.judge(name) for name in names]
    for measure in scores[0]:
        unit = "reward" if measure == "reward_error" else "share"
        bench.add(measure, [score[measure] for score in scores], unit, arm=arm, **more)
    return float(np.mean([score["quality"] for score in scores]))


@partial(jax.jit, static_argnames="law")
def _reward_errors(law: Any, made: jax.Array) -> tuple[jax.Array, jax.Array]:
    return reward_errors(made, made[:, law.REWARD], law.exact_reward, law.THRESHOLD)


@partial(jax.jit, static_argnames="columns")
def _copy_share(columns: Columns, made: jax.Array, train: jax.Array, holdout: jax.Array) -> jax.Array:
    return copy_share(columns, made, train, holdout)


@partial(jax.jit, static_argnames="columns")
def _new_share(columns: Columns, made: jax.Array, train: jax.Array) -> jax.Array:
    return new_share(columns, made, train)


# ------------------------------------------------------------------------------------------------------- the run


def bench_gan(quick: bool = False, peers_python: Path | None = None) -> list[Record]:
    """All rows, with a progress bar.

    Args:
        quick: 10 epochs of CTGAN in place of 300, as little of ours, and two seeds.
        peers_python: interpreter with ctgan and sdmetrics, if not ``.venv-peers`` of the checkout.

    Raises:
        MachineError: it is missing, before anything is measured.
    """
    load, cores, store = os.getloadavg()[0], os.cpu_count() or 1, (STORE / ("quick" if quick else "full")).absolute()
    seeds = QUICK_SEEDS if quick else SEEDS
    jobs = sum(2 * (len(arms) + 1) * len(seeds) + 3 for arms in ARMS.values()) + TURNS * 5 + 12
    theirs = Worker(interpreter("peers", peers_python), "ctgan_worker")
    with closing(theirs), ProgressReport("bench gan", jobs) as progress:
        tables = {name: Bench(name, store / name, theirs, progress) for name in LAWS}
        paces = add_costs(next(iter(tables.values())), cores)
        with _ours(cores) as ours:
            for bench in tables.values():
                _train_and_judge(bench, ours, quick, seeds, paces)
    rows = [row for bench in tables.values() for row in bench.rows]
    shutil.rmtree(store)
    return [{"bench": "machine", "load": load, "processors": cores}, *rows]


def _train_and_judge(
    bench: Bench, ours: Worker, quick: bool, seeds: Sequence[int], paces: tuple[list[Record], ...]
) -> None:
    """Everything but the costs of one table: CTGAN trains beside ours."""
    epochs, flow_steps = (QUICK_EPOCHS, QUICK_FLOW_STEPS) if quick else (EPOCHS, FLOW_STEPS)
    peer_steps = epochs * (ROWS // BATCH)
    steps = {arm: flow_steps if arm == "flow" else peer_steps for arm in ARMS[bench.name]}
    beside = ThreadPoolExecutor(1)
    try:
        peers = beside.map(lambda seed: bench.train_peer(f"peer_{seed}", seed, epochs), seeds)
        for arm, count in steps.items():
            for seed in seeds:
                bench.train(ours, f"{arm}_{seed}", seed, arm=arm, steps=count)
        list(peers)  # what failed there is raised here
    finally:
        beside.shutdown(wait=False, cancel_futures=True)  # its process is ended by whoever started it
    quality = add_fidelity(bench, "peer", [f"peer_{seed}" for seed in seeds], steps=peer_steps)
    for arm, count in steps.items():
        add_fidelity(bench, arm, [f"{arm}_{seed}" for seed in seeds], steps=count)
    for control in ("holdout", "train", "shuffled"):
        add_fidelity(bench, control, [control])
    add_time_to_quality(bench, ours, seeds, quality, epochs, paces)


@contextmanager
def _ours(cores: int) -> Iterator[Worker]:
    """Our process, on so many cores."""
    worker = Worker(Path(sys.executable), "gan_worker", JAX_PLATFORMS="cpu")
    with closing(worker):
        worker.send({"cores": cores})
        yield worker


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
        "table", "measure", "arm", "cores", "steps", "value", "±", "", "ctgan", "ratio", "±", title="Generators"
    )
    for row in rows[1:]:
        names = ("value", "ci95", "peer_value", "ratio", "ratio_ci95")
        numbers = [f"{row[name]:,.3f}" if row.get(name) is not None else "" for name in names]
        place = [str(row.get(name, "")) for name in ("arm", "cores", "steps")]
        table.add_row(row["table"], row["measure"], *place, *numbers[:2], row.get("unit", ""), *numbers[2:])
    Console().print(table)
