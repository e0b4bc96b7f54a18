"""Optuna proposes settings batch by batch; each batch is trained together.

Nothing of Optuna is kept on disk: a study is told again what the run folder holds, and the sampler of a batch has a
seed of its own, so that an interrupted search goes on with the settings that it would have proposed anyway.
"""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

from offjax.config import RangeConfig, SweepConfig
from offjax.errors import ConfigError, MachineError
from offjax.sweeps.results import LESS_IS_BETTER

Point = dict[str, Any]


def batch_sizes(sweep: SweepConfig) -> Iterator[int]:
    """How many settings each batch has."""
    assert sweep.search is not None
    left = sweep.search.trials
    while left > 0:
        yield min(left, sweep.search.batch)
        left -= sweep.search.batch


def propose(sweep: SweepConfig, tried: Sequence[tuple[Point, float]], batch: int, size: int) -> list[Point]:
    """Settings worth a try.

    Args:
        sweep: its axes say what may be proposed.
        tried: settings of all batches before, and what each has reached (not a number where it failed).
        batch: number of the batch; it seeds the sampler.
        size: how many settings.

    Raises:
        MachineError: Optuna is not installed.
    """
    optuna = require_optuna()
    distributions = {path: _distribution(optuna, sweep, path) for path in sweep.axes}
    direction = "minimize" if sweep.ranked_by in LESS_IS_BETTER else "maximize"
    study = optuna.create_study(direction=direction, sampler=_sampler(optuna, sweep, batch))
    for point, value in tried:
        good = math.isfinite(value)
        study.add_trial(
            optuna.trial.create_trial(
                params=point,
                distributions=distributions,
                value=value if good else None,
                state=optuna.trial.TrialState.COMPLETE if good else optuna.trial.TrialState.FAIL,
            )
        )
    asked = [dict(study.ask(distributions).params) for _ in range(size)]
    allowed = [point for point in asked if _allowed(sweep, point)]
    if not allowed:
        sweep.at(asked[0])  # says what is wrong
    return allowed


def _allowed(sweep: SweepConfig, point: Point) -> bool:
    """Whether two values that are allowed alone are so together."""
    try:
        sweep.at(point)
    except ConfigError as error:
        warnings.warn(f"a proposed setting is left out: {error}", stacklevel=2)
        return False
    return True


def require_optuna() -> Any:
    """The package.

    Raises:
        MachineError: it is not installed.
    """
    try:
        optuna = import_module("optuna")
    except ImportError:
        raise MachineError("a search needs Optuna, which is not installed: pip install offjax[search]") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _sampler(optuna: Any, sweep: SweepConfig, batch: int) -> Any:
    assert sweep.search is not None
    seed = sweep.search.seed + batch
    if sweep.search.sampler == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    with warnings.catch_warnings():
        with suppress(AttributeError):
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        # constant_liar: settings of one batch keep away from each other
        return optuna.samplers.TPESampler(seed=seed, constant_liar=True, multivariate=True)


def _distribution(optuna: Any, sweep: SweepConfig, path: str) -> Any:
    own = sweep.axes[path]
    if not isinstance(own, RangeConfig):
        return optuna.distributions.CategoricalDistribution(own)
    log = own.scale == "log"
    if sweep.whole_numbers(path):
        return optuna.distributions.IntDistribution(round(own.low), round(own.high), log=log)
    return optuna.distributions.FloatDistribution(own.low, own.high, log=log)


def reached(ranking: Sequence[Mapping[str, Any]], points: Sequence[Point]) -> list[tuple[Point, float]]:
    """What each setting has reached, a mean over agents and scenarios."""
    found = []
    for point in points:
        rows = [row for row in ranking if _agrees(row["axes"], point)]
        found.append((point, sum(row["mean"] for row in rows) / len(rows) if rows else math.nan))
    return found


def _agrees(axes: Mapping[str, Any], point: Point) -> bool:
    """Whether a row is of a setting; where its algorithm does not have an axis, any value will do."""
    return all(value is None or value == point[path] for path, value in axes.items())
