"""``offjax bench learners``: how near the machine's limits learners learn, one shared or thousands side by side."""

import json
import time
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.table import Table

from offjax.agents import make_agent
from offjax.agents.specs import Specs
from offjax.bench import machine
from offjax.learning.train import GENERATOR
from offjax.memory import bytes_of, require_fits
from offjax.replay.experience import Experience
from offjax.runs.progress import ProgressReport
from offjax.runs.provenance import device_name

SPECS = Specs(observation_size=5, decisions=3)  # paper B's
BATCH = 4096
SHARED: dict[str, dict[str, Any]] = {  # the learners of one batch
    "ac": {"hidden": (256, 256)},
    "dqn": {"hidden": (256, 256, 256, 256)},
}
INDEPENDENT = ((1_000, 256), (2_000, 256), (10_000, 64))  # learners and width of their two hidden layers
UPDATES = 8  # in one call
SECONDS = 4.0
PASSES = 6  # parameters and both Adam moments, read and written once
SPARE = 1.5  # times the state: what an update works with beside it


@dataclass(frozen=True)
class Row:
    """One row: ``value`` is updates of one learner per second."""

    name: str
    learners: int
    batch: int  # experiences of one learner's update
    hidden: tuple[int, ...]
    parameters: int  # of one learner
    value: float
    seconds: float  # of one update of all learners
    share: float  # of the limit
    copy_share: float | None  # of the rate at which an array is copied to another, which is lower than that in place
    limit: str  # bandwidth: 24 B per parameter against an array updated in place | matmul: the machine's rate
    compile_s: float
    device: str
    bench: str = field(default="learners", init=False)
    unit: str = field(default="updates/s", init=False)


def bench_learners() -> list[Row]:
    """All rows.

    Raises:
        MachineError: they do not fit into memory, before anything is measured.
    """
    for learners, width in INDEPENDENT:
        require_fits(f"{learners:,} learners of width {width}", bytes_needed(learners, width))
    limits, rows = machine.measure_limits(), []
    with ProgressReport("bench learners", len(SHARED) + len(INDEPENDENT)) as progress:
        for name, structure in SHARED.items():
            rows.append(shared(name, structure, limits))
            progress.advance(0, f"{name}: {100 * rows[-1].share:.0f} % of matmul")
        for learners, width in INDEPENDENT:
            rows.append(independent(learners, width, limits))
            progress.advance(0, f"{learners:,} x {width}: {100 * rows[-1].share:.0f} % of bandwidth")
    return rows


def bytes_needed(learners: int, width: int) -> int:
    """Memory of independent actor-critics."""
    agent = make_agent("ac", hidden=(width, width))
    state = jax.eval_shape(partial(agent.init, specs=SPECS), jax.random.key(0, impl=GENERATOR))
    return int(SPARE * learners * bytes_of(state))


def shared(name: str, structure: dict[str, Any], limits: machine.Limits, batch: int = BATCH) -> Row:
    """One learner, many experiences per update."""
    agent = make_agent(name, **structure)
    rows = experiences((batch,))
    state = agent.init(jax.random.key(0, impl=GENERATOR), SPECS)
    timed = _time(lambda carry: agent.update(carry, rows, None)[0], state)
    rate = update_flops(name, agent.hidden, batch) / timed[0]
    return _row(agent, 1, batch, timed, share=rate / limits.matmul, copy_share=None, limit="matmul")


def independent(learners: int, width: int, limits: machine.Limits) -> Row:
    """Actor-critics that learn each from its own experience, in one program."""
    agent = make_agent("ac", hidden=(width, width))
    keys = jax.random.split(jax.random.key(0, impl=GENERATOR), learners)
    state = jax.jit(jax.vmap(lambda key: agent.init(key, SPECS)))(keys)
    rows = experiences((learners, 1))
    update = jax.vmap(lambda carry, row: agent.update(carry, row, None)[0])
    timed = _time(lambda carry: update(carry, rows), state)
    rate = 4 * PASSES * learners * parameters(agent) / timed[0]
    shares = {"share": rate / limits.update, "copy_share": rate / limits.copy}
    return _row(agent, learners, 1, timed, **shares, limit="bandwidth")


def _row(agent: Any, learners: int, batch: int, timed: tuple[float, float], **shares: Any) -> Row:
    seconds, compile_seconds = timed
    return Row(
        name=agent.name,
        learners=learners,
        batch=batch,
        hidden=agent.hidden,
        parameters=parameters(agent),
        value=learners / seconds,
        seconds=seconds,
        compile_s=compile_seconds,
        device=device_name(),
        **shares,
    )


def experiences(shape: tuple[int, ...]) -> Experience:
    """Random experiences of ``shape``."""
    random = np.random.default_rng(0)
    seen = (*shape, SPECS.observation_size)
    return Experience(
        observation=jnp.asarray(random.random(seen, np.float32)),
        decision=jnp.asarray(random.integers(SPECS.decisions, size=shape), jnp.int32),
        reward=jnp.asarray(-random.random(shape, np.float32)),
        next_observation=jnp.asarray(random.random(seen, np.float32)),
        terminated=jnp.zeros(shape, bool),
        valid=jnp.ones(shape, bool),
    )


def parameters(agent: Any) -> int:
    """Numbers that one learner learns."""
    state = jax.eval_shape(partial(agent.init, specs=SPECS), jax.random.key(0, impl=GENERATOR))
    return sum(leaf.size for leaf in jax.tree.leaves(state.params))


def update_flops(name: str, hidden: tuple[int, ...], batch: int) -> int:
    """Operations of the dense layers in one update: each pass forward one product, each pass back two.

    The first layer has no product back to the observation. Both learners go forward twice (s and s') and back once;
    the actor goes both ways once.
    """
    if name == "ac":
        return batch * (_flops((*hidden, 1), forward=2) + _flops((*hidden, SPECS.decisions), forward=1))
    return batch * _flops((*hidden, SPECS.decisions), forward=2)


def _flops(widths: tuple[int, ...], forward: int) -> int:
    sizes = (SPECS.observation_size, *widths)
    products = [2 * rows * columns for rows, columns in zip(sizes, widths, strict=False)]
    return (forward + 2) * sum(products) - products[0]


def _time(update: Any, state: Any) -> tuple[float, float]:
    """Median seconds of one ``update``, and of its compilation; ``state`` is donated."""
    several = jax.jit(
        lambda carry: jax.lax.scan(lambda c, _: (update(c), None), carry, length=UPDATES)[0], donate_argnums=0
    )
    start = time.perf_counter()
    compiled = several.lower(state).compile()
    compile_seconds = time.perf_counter() - start
    state = jax.block_until_ready(compiled(state))
    seconds: list[float] = []
    while sum(seconds) < SECONDS or len(seconds) < 3:
        start = time.perf_counter()
        state = jax.block_until_ready(compiled(state))
        seconds.append((time.perf_counter() - start) / UPDATES)
    return float(np.median(seconds)), compile_seconds


def print_bench(as_json: bool) -> None:
    """``offjax bench learners``: measure and print."""
    rows = bench_learners()
    if as_json:
        print(json.dumps([{"bench": "machine", **machine.describe()}, *[asdict(row) for row in rows]], indent=2))
        return
    table = Table("agent", "learners", "batch", "hidden", "updates/s", "ms", "limit", "share", "of copy", "compile s")
    for row in rows:
        hidden = " x ".join(map(str, row.hidden))
        cells = [
            row.name,
            f"{row.learners:,}",
            f"{row.batch:,}",
            hidden,
            f"{row.value:,.0f}",
            f"{1e3 * row.seconds:.1f}",
        ]
        copied = "" if row.copy_share is None else f"{100 * row.copy_share:.0f} %"
        table.add_row(*cells, row.limit, f"{100 * row.share:.0f} %", copied, f"{row.compile_s:.1f}")
    Console().print(table)
