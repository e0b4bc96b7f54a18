"""Our generators on the clock, on so many cores: jobs as JSON lines in, a JSON line for each out.

Started by ``offjax.bench.gan``.
"""

import json
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from offjax.bench import gan_rollouts, gan_table
from offjax.replay.codec import Columns
from offjax.replay.flow import Flow
from offjax.replay.gan import Gan
from offjax.replay.generator import compile_fit, fit, sample

GENERATOR = "philox4x32"
NEVER_ATOM = 1.0  # share of the rows
REPEATS = 3


LAWS: dict[str, Any] = {"known": gan_table, "laas2022": gan_rollouts}


def make_generator(arm: str, law: str) -> Gan | Flow:
    """One arm of the benchmark.

    Args:
        arm: ``ctgan``, as its authors have it, without bounds; ``gan``, with bounds, atoms and differences; ``flow``,
            with bounds alone.
        law: of the table, a name of :data:`LAWS`.
    """
    if arm == "gan":
        return Gan(LAWS[law].columns())
    plain = LAWS[law].columns(difference=False)
    if arm == "flow":
        return Flow(plain, LAWS[law].MARKED)
    unbounded = Columns(tuple(replace(column, low=-math.inf, high=math.inf) for column in plain.of))
    return Gan(unbounded, atom_share=NEVER_ATOM)


def run(job: dict[str, Any]) -> dict[str, Any]:
    """Train an arm and sample it.

    Args:
        job: ``arm``, ``law``, ``table`` (a file of NumPy), ``steps``, ``seed``, ``rows`` to make, ``out``, their file.

    Returns:
        ``compile_s``; ``seconds`` of training without it; of these, ``codec_s``; ``step_s``; ``rows_per_s``.
    """
    record, table = make_generator(job["arm"], job["law"]), jnp.asarray(np.load(job["table"]))
    init_key, fit_key, sample_key = jax.random.split(jax.random.key(job["seed"], impl=GENERATOR), 3)
    state, count = record.init(init_key, len(table)), jnp.int32(len(table))
    start = time.perf_counter()
    compile_fit(record, state, table, job["steps"])
    compile_seconds = time.perf_counter() - start
    encode = jax.jit(record.encode)
    codec = _best(lambda: encode(state, table, count, fit_key))
    start = time.perf_counter()
    state = jax.block_until_ready(fit(record, state, table, len(table), fit_key, job["steps"]))
    seconds = time.perf_counter() - start
    rate = job["rows"] / _best(lambda: sample(record, state, sample_key, job["rows"]))
    np.save(job["out"], sample(record, state, sample_key, job["rows"]))
    step = (seconds - codec) / job["steps"]
    return {"compile_s": compile_seconds, "seconds": seconds, "codec_s": codec, "step_s": step, "rows_per_s": rate}


def _best(call: Callable[[], Any]) -> float:
    """Least s of a few calls, the first not counted."""
    seconds = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def main() -> None:
    """Read jobs from standard input, print their results; the first line says how many cores."""
    cores = json.loads(sys.stdin.readline())["cores"]
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])  # jax starts its threads later
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
