"""Does the board decide as JAX does? Observations that ask the hard questions, and the comparison.

Uniform observations mostly hit the favourite decision far from any boundary, where every reader agrees.
So a part of them straddles the boundaries and every decision that the policy ever takes is represented.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from offjax.device.policy import Policy
from offjax.errors import ConfigError

OutputsFn = Callable[[np.ndarray], Any]  # physical observations [n, F] -> outputs [n, K]

CHUNK = 16_384  # one shape for every large call: one compilation of a jitted function
POOL_CHUNKS = 32
SEARCHES = 8
SHARE = 0.1  # of every decision
STEP = 1e-5  # of the box: how near to a boundary is near
BISECTIONS = 17  # 2^-17 of the box is below STEP
PARITY_LIMIT = 1e-5  # a larger difference of the outputs is no rounding, and excuses no decision


def parity_observations(
    outputs_fn: OutputsFn,
    low: np.ndarray,
    high: np.ndarray,
    count: int = 10_000,
    near_boundary: int = 1_000,
    seed: int = 0,
) -> np.ndarray:
    """Draw observations from the box that test a reader of the policy.

    The first rows are pairs across a decision boundary, less than ``STEP`` of the box apart,
    ``near_boundary`` of them; of the others every decision gets at least a tenth of ``count``
    (an equal part where there are too many decisions for that). A decision that half a million
    observations and a search around its few did not yield often enough gets what there is;
    ``measure_parity`` names those that are absent. With one decision only there is no boundary, and
    every row comes from the box.

    Args: outputs_fn maps physical observations [n, F] to outputs [n, K]; low, high [F] physical units.
    Returns: [count, F] float32, physical units.
    Errors: ConfigError for an impossible box or count, or outputs that are not finite.
    """
    low, high = _box(low, high)
    if not 0 <= near_boundary <= count or count < 1:
        raise ConfigError("near_boundary", near_boundary, f"it must lie in 0 .. count, and count, {count}, above 0")
    rng = np.random.default_rng(seed)
    quota = math.ceil(SHARE * count)
    pool, decisions = _pool(outputs_fn, rng, low, high, quota)
    near = _straddle(outputs_fn, rng, pool, decisions, near_boundary)
    left = count - len(near)
    present = np.unique(decisions)
    quota = min(quota, left // len(present))
    rows = [_rows_of(outputs_fn, rng, pool, pool[decisions == place], place, quota) for place in present]
    others = pool[rng.integers(len(pool), size=left - sum(map(len, rows)))]
    return np.concatenate([near, *rows, others])


def measure_parity(policy: Policy, outputs_fn: OutputsFn, observations: np.ndarray) -> dict[str, Any]:
    """Compare a policy as a board reads it with the function that it was written from.

    Args: outputs_fn as in ``parity_observations``; observations [n, F] physical units.
    Returns: a dictionary that JSON can hold: ``observations`` n; ``max_abs_diff`` of the outputs, in their
        unit; ``decision_agreement``, the share of equal decisions, where a tie counts as equal: the two best
        outputs of one side within ``max_abs_diff`` of each other, and at most ``PARITY_LIMIT``;
        ``decision_shares`` by name; ``absent_decisions``, the names that never occur; ``near_boundary``,
        the rows beside which (row before or after, within ``STEP`` of the box) the decision changes or ties.
    Errors: ConfigError for outputs of the wrong shape or that are not finite.
    """
    observations = np.asarray(observations, dtype=np.float32)
    expected = _outputs(outputs_fn, observations)
    outputs = policy.outputs(observations)
    if expected.shape != outputs.shape:
        raise ConfigError("outputs_fn", f"shape {expected.shape}", f"the policy gives {outputs.shape}")
    difference = float(np.abs(outputs - expected).max())
    # Where two outputs swap places, the gaps on both sides add up to twice the difference at the most.
    tied = np.minimum(_gap(expected), _gap(outputs)) <= min(difference, PARITY_LIMIT)
    decisions = expected.argmax(axis=1)
    equal = (outputs.argmax(axis=1) == decisions) | tied
    shares = np.bincount(decisions, minlength=len(policy.decisions)) / len(decisions)
    return {
        "observations": len(observations),
        "max_abs_diff": difference,
        "decision_agreement": float(equal.mean()),
        "decision_shares": dict(zip(policy.decisions, shares.tolist(), strict=True)),
        "absent_decisions": [name for name, share in zip(policy.decisions, shares, strict=True) if not share],
        "near_boundary": int(_beside_boundary(policy, observations, decisions, tied).sum()),
    }


def _box(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = np.asarray(low, dtype=np.float64), np.asarray(high, dtype=np.float64)
    if low.ndim != 1 or low.shape != high.shape or not low.size:
        raise ConfigError("high", f"shape {high.shape}", f"low has shape {low.shape}; both must be [F]")
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (low <= high).all()):
        raise ConfigError("low", low.tolist(), f"it must be finite and nowhere above high, {high.tolist()}")
    return low, high


def _outputs(outputs_fn: OutputsFn, observations: np.ndarray) -> np.ndarray:
    outputs = np.asarray(outputs_fn(observations))
    if outputs.ndim != 2 or len(outputs) != len(observations) or not outputs.shape[1]:
        raise ConfigError("outputs_fn", f"shape {outputs.shape}", f"it must give [{len(observations)}, K]")
    if not np.isfinite(outputs).all():
        raise ConfigError("outputs_fn", "NaN or inf", "its outputs must be finite within the box")
    return outputs


def _gap(outputs: np.ndarray) -> np.ndarray:
    """By how much the best output leads [n]; infinite where there is one decision only."""
    if outputs.shape[1] == 1:
        return np.full(len(outputs), np.inf)
    best = np.partition(outputs, -2, axis=1)
    return best[:, -1] - best[:, -2]


def _pool(
    outputs_fn: OutputsFn, rng: np.random.Generator, low: np.ndarray, high: np.ndarray, quota: int
) -> tuple[np.ndarray, np.ndarray]:
    """Draw from the box until every decision has ``quota`` rows or the pool is large.

    Returns: observations [n, F] float32, their decisions [n].
    """
    pool: list[np.ndarray] = []
    decisions: list[np.ndarray] = []
    counts = np.zeros(1, dtype=np.int64)
    while len(pool) < POOL_CHUNKS and counts.min() < quota:
        rows = _draw(rng, low, high)
        outputs = _outputs(outputs_fn, rows)
        pool.append(rows)
        decisions.append(outputs.argmax(axis=1))
        counts = np.bincount(decisions[-1], minlength=outputs.shape[1]) + (counts if len(pool) > 1 else 0)
    return np.concatenate(pool), np.concatenate(decisions)


def _draw(rng: np.random.Generator, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """[CHUNK, F] float32: half uniform; half with entries at a bound, where rare decisions hide."""
    share = rng.random((CHUNK, len(low)))
    at_bound = rng.random(share.shape) < 0.5
    at_bound[: CHUNK // 2] = False
    return _inside(low + np.where(at_bound, share.round(), share) * (high - low), low, high)


def _inside(rows: np.ndarray, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    return np.clip(rows, low, high).astype(np.float32)


def _straddle(
    outputs_fn: OutputsFn, rng: np.random.Generator, pool: np.ndarray, decisions: np.ndarray, count: int
) -> np.ndarray:
    """[count, F] float32: pairs of rows that bisection brought to both sides of a boundary."""
    present = np.unique(decisions)
    if len(present) < 2 or not count:
        return pool[:0]
    pairs = (count + 1) // 2
    here, there = np.empty((2, pairs), dtype=np.int64)
    for start, place in enumerate(present):  # every decision is one side of an equal share of the pairs
        size = len(here[start :: len(present)])
        here[start :: len(present)] = rng.choice(np.flatnonzero(decisions == place), size)
        there[start :: len(present)] = rng.choice(np.flatnonzero(decisions != place), size)
    inner, outer, place = pool[here].astype(np.float64), pool[there].astype(np.float64), decisions[here]
    for _ in range(BISECTIONS):
        middle = (inner + outer) / 2
        same = _outputs(outputs_fn, middle.astype(np.float32)).argmax(axis=1) == place
        inner = np.where(same[:, None], middle, inner)
        outer = np.where(same[:, None], outer, middle)
    return np.stack([inner, outer], axis=1).reshape(2 * pairs, -1)[:count].astype(np.float32)


def _rows_of(
    outputs_fn: OutputsFn,
    rng: np.random.Generator,
    pool: np.ndarray,
    known: np.ndarray,
    place: int,
    quota: int,
) -> np.ndarray:
    """At most ``quota`` different rows of one decision; where few are ``known``, search around them.

    Args: pool [n, F]; known [m, F], m >= 1, its rows of decision ``place``.
    """
    known = np.unique(rng.permutation(known)[: 4 * quota], axis=0)  # the corners of the box repeat
    for _ in range(SEARCHES):
        if len(known) >= quota:
            break
        start, end = (rows[rng.integers(len(rows), size=CHUNK)].astype(np.float64) for rows in (known, pool))
        # How large the region of a rare decision is nobody knows: steps of every size, 1e-6 to 1 of the way.
        way = 10 ** rng.uniform(-6, 0, size=(CHUNK, 1))
        rows = (start + way * (end - start)).astype(np.float32)
        found = rows[_outputs(outputs_fn, rows).argmax(axis=1) == place]
        known = np.unique(np.concatenate([known, found]), axis=0)
    return rng.permutation(known)[:quota]


def _beside_boundary(policy: Policy, observations: np.ndarray, decisions: np.ndarray, tied: np.ndarray) -> np.ndarray:
    low = np.asarray([entry["low"] for entry in policy.observation])
    high = np.asarray([entry["high"] for entry in policy.observation])
    # Where the range is narrow beside its numbers, float32 itself steps further than STEP.
    spacing = np.spacing(np.maximum(np.abs(low), np.abs(high)).astype(np.float32))
    distance = np.abs(np.diff(observations.astype(np.float64), axis=0))
    close = (distance <= STEP * (high - low) + 2 * spacing).all(axis=1)
    changes = close & ((decisions[1:] != decisions[:-1]) | tied[1:] | tied[:-1])
    beside = np.zeros(len(observations), dtype=bool)
    beside[1:] |= changes
    beside[:-1] |= changes
    return beside
