"""One setting (a problem on held-out seeds): every policy on the same draws, and how close each is to the best."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from offjax.baselines.games import BestResponse, uncoupled
from offjax.baselines.lookahead import LeastEnergy, LeastLatency, Oracle, couples
from offjax.baselines.policy import Policy
from offjax.baselines.rules import Random, Rule, all_rules, always
from offjax.evaluation.metrics import Result, result
from offjax.evaluation.rollout import Episode, Learned, episode, episodes, episodes_of_many, settlement
from offjax.problems.spec import Problem
from offjax.typed_jit import typed_jit
from offjax.world.sharing import EXACT_CELL

PRICES = (1e-7, 1e-2)  # reward/J, in which the price of a joule is searched
BISECTIONS = 16  # of its logarithm: to 0.02 %
SETTLED_SLOTS = 100  # in which it is looked at whether best response ends in an equilibrium


@dataclass(frozen=True)
class Trained:
    """Trained copies of one algorithm."""

    label: str
    agent: Any  # the algorithm record
    states: Any  # algorithm states, stacked on a leading axis [K]; [K, D, ...] where independent
    independent: bool = False  # every device has a learner of its own


@dataclass(frozen=True)
class Setting:
    """All rows of one table, and what their scores are held against."""

    results: dict[str, Result]
    reference: str  # exact | myopic | clairvoyant | best_response
    reference_row: str
    gap: float  # reward per task by which the reference may miss the optimum; not a number where unknown
    settled: float = 1.0  # share of the slots of cells in which best response ended in an equilibrium
    rounds: float = 0.0  # mean rounds that it took


def evaluate(
    problem: Problem,
    keys: jax.Array,
    slots: int,
    trained: Mapping[str, Trained] | None = None,
    own: Mapping[str, Policy] | None = None,
    progress: Callable[[str], None] = lambda name: None,
) -> Setting:
    """Run every policy of the table.

    Args:
        problem: the setting.
        keys: [S] evaluation seeds; every policy meets the same tasks, channels and servers.
        slots: length of an episode.
        trained: learned policies by name.
        own: other policies of the caller by name.
        progress: called with the name of each row when it is there.
    """
    results: dict[str, Result] = {}

    def row(name: str, label: str, kind: str, batch: Episode) -> None:
        results[name] = _result(name, label, kind, jax.device_get(batch), problem)
        progress(name)

    def alone(name: str, label: str, kind: str, policy: Policy) -> None:
        row(name, label, kind, _lead(episodes(policy, problem, keys, slots)))

    for name, copies in (trained or {}).items():
        row(name, copies.label, "learned", episodes_of_many(_stack(copies), problem, keys, slots))
    for name, policy in (own or {}).items():
        alone(name, name, "learned", policy)
    alone("oracle", "Oracle, task by task", "reference", Oracle(jnp.zeros((), jnp.float32)))
    alone("least_latency", "Least latency", "rule", LeastLatency())
    alone("least_energy", "Least energy", "rule", LeastEnergy())
    alone("random", "Random", "rule", Random())
    results |= fixed_rules(problem, keys, slots)
    progress("rules")
    return with_reference(problem, keys, slots, results)


def fixed_rules(problem: Problem, keys: jax.Array, slots: int) -> dict[str, Result]:
    """Every rule that fixes a place per group of classes; the one-place rules and the best one become rows.

    The best is chosen on the very seeds that it is reported on, which flatters it.
    """
    places = problem.decisions
    groups = len(problem.groups)
    tables = list(all_rules(groups, len(places)))
    rules = Rule(jnp.asarray(tables, jnp.int8))
    batch = jax.device_get(episodes_of_many(rules, problem, keys, slots))

    def row(name: str, label: str, index: int) -> Result:
        one = jax.tree.map(lambda leaf: leaf[index : index + 1], batch)
        return _result(name, label, "rule", one, problem)

    rows = {place: row(place, f"Always {place}", tables.index((index,) * groups)) for index, place in enumerate(places)}
    best = int(np.argmax(np.asarray(batch.reward, np.float64).sum(axis=(1, 2))))
    chosen = ", ".join(places[place] for place in tables[best])
    rows["best_fixed_rule"] = row("best_fixed_rule", f"Best fixed rule ({chosen})", best)
    return rows


def _result(name: str, label: str, kind: str, batch: Episode, problem: Problem) -> Result:
    return result(name, label, kind, batch, problem.params.devices, problem.groups, problem.profiles)


def with_reference(problem: Problem, keys: jax.Array, slots: int, results: dict[str, Result]) -> Setting:
    """Name the reference.

    The task-by-task oracle is exact where no decision touches another task (see :func:`separates`), rewards do not
    depend on the battery, and none would run out if it decided without a look at the battery (one that looks spares
    the last joules, and misses the optimum all the same). Where one would, every joule gets the price per device that
    just keeps the battery alive (Lagrange): its reward misses the optimum by no more than price x joules left over.
    Where devices couple it is best response, and nothing does better than ``bound``; everywhere else it is myopic.
    """
    if couples(problem.params) and problem.params.cell_size <= EXACT_CELL:
        return _best_response(problem, keys, slots, _myopic(results).results)
    if getattr(problem, "remaining_battery", True) or not separates(problem, keys, slots):
        return _myopic(results)
    free = jnp.zeros((keys.shape[0], problem.params.devices), jnp.float32)
    if not results["oracle"].exhausted and bool((_priced(free, problem, keys, slots).left > 0).all()):
        return Setting(results, "exact", "oracle", 0.0)
    prices = price_energy(problem, keys, slots)
    batch = jax.device_get(_priced(prices, problem, keys, slots))
    row = _result("clairvoyant", "Clairvoyant", "reference", _lead(batch), problem)
    tasks = batch.ends[:, 1:].sum()
    gap = float((np.asarray(prices, np.float64) * batch.left).sum() / tasks)
    if row.exhausted:  # no price in the range keeps every battery alive: nothing is known
        gap = float("nan")
    return Setting(results | {"clairvoyant": row}, "clairvoyant", "clairvoyant", gap)


def _best_response(problem: Problem, keys: jax.Array, slots: int, results: dict[str, Result]) -> Setting:
    """Best response as reference, and a bound: the oracle in a world where everybody has everything to itself.

    The bound holds where no decision touches another task in that world, so it is left out elsewhere.
    """
    policy, alone = BestResponse(), uncoupled(problem)
    batch = _lead(jax.device_get(episodes(policy, problem, keys, slots)))
    rows = {"best_response": _result("best_response", "Best response", "reference", batch, problem)}
    free = Oracle(jnp.zeros((), jnp.float32))
    batch = _lead(jax.device_get(episodes(free, alone, keys, slots)))
    bound = _result("bound", "Bound: everybody alone", "reference", batch, problem)
    if not bound.exhausted and separates(alone, keys, slots):
        rows["bound"] = bound
    settled, rounds = settlement(policy, problem, keys[:1], min(slots, SETTLED_SLOTS))
    return Setting(results | rows, "best_response", "best_response", float("nan"), float(settled), float(rounds))


def _myopic(results: dict[str, Result]) -> Setting:
    """The oracle under the name that it deserves."""
    if "oracle" in results:
        results = results | {"oracle": replace(results["oracle"], label="Myopic, task by task")}
    return Setting(results, "myopic", "oracle", float("nan"))


def separates(problem: Problem, keys: jax.Array, slots: int) -> bool:
    """Does no decision touch another task, but through the battery?

    So it is where devices share nothing, a task comes at the start of a slot whatever was decided before, and ends
    within that slot wherever it runs: then every policy meets the same tasks, each with its lane free. The last is
    tried on these very seeds, each place for all tasks, with batteries that never end.
    """
    if couples(problem.params) or problem.params.workload.arrivals.kind not in ("periodic", "bernoulli"):
        return False
    fleet = problem.params.fleet
    params = problem.params.replace(fleet=fleet.replace(battery=jnp.full_like(fleet.battery, jnp.inf)))
    lasting = problem.replace(params=params)
    rules = [always(place, len(problem.groups)) for place in range(len(problem.decisions))]
    return all(int(jnp.sum(episodes(rule, lasting, keys, slots).outlasting)) == 0 for rule in rules)


def price_energy(problem: Problem, keys: jax.Array, slots: int) -> jax.Array:
    """Price of a joule [S, D] at which each device's battery just lasts, found by bisection over episodes."""
    shape = (keys.shape[0], problem.params.devices)
    low, high = (np.full(shape, np.log(price), np.float32) for price in PRICES)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        lasts = np.asarray(_priced(jnp.exp(middle), problem, keys, slots).left) > 0
        low, high = np.where(lasts, low, middle), np.where(lasts, middle, high)
    free = np.asarray(_priced(jnp.zeros(shape, jnp.float32), problem, keys, slots).left) > 0
    return jnp.where(free, 0.0, jnp.exp(high))


@typed_jit(static_argnames=("slots",))
def _priced(prices: jax.Array, problem: Problem, keys: jax.Array, slots: int) -> Episode:
    """Decisions that do not look at the battery: the price alone spares it, as Lagrange's bound wants it."""
    return jax.vmap(lambda price, key: episode(Oracle(price, blind=True), problem, key, slots))(prices, keys)


def _lead(tree: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[None], tree)


def _stack(copies: Trained) -> Learned:
    count = jax.tree.leaves(copies.states)[0].shape[0]
    agents = jax.tree.map(lambda leaf: jnp.broadcast_to(jnp.asarray(leaf), (count,)), copies.agent)
    return Learned(agents, copies.states, copies.independent)


def regrets(setting: Setting) -> dict[str, np.ndarray]:
    """Reward per task missing to the reference [K, S], seed by seed, for every row."""
    best = setting.results[setting.reference_row].samples["reward"]
    return {name: best - row.samples["reward"] for name, row in setting.results.items()}


def scores(setting: Setting) -> dict[str, np.ndarray]:
    """(R - R_random) / (R_reference - R_random) [K, S], seed by seed, for every row.

    Not a number where the reference (a myopic one may be poor) does no better than random decisions.
    """
    best = setting.results[setting.reference_row].samples["reward"]
    random = setting.results["random"].samples["reward"]
    range_ = np.where(best > random, best - random, np.nan)
    return {name: (row.samples["reward"] - random) / range_ for name, row in setting.results.items()}


def completed(setting: Setting) -> Setting:
    """The rows with ``regret`` and ``score`` among their samples."""
    regret, score = regrets(setting), scores(setting)
    rows = {
        name: replace(row, samples=row.samples | {"regret": regret[name], "score": score[name]})
        for name, row in setting.results.items()
    }
    return replace(setting, results=rows)
