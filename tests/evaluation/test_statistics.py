"""What a user can rely on: the intervals are Student's, and hold what they promise; the rest agrees with rliable."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from offjax.evaluation.statistics import (
    Estimate,
    bootstrap,
    estimate,
    estimate_crossed,
    interquartile_mean,
    learning_curve,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)

RLIABLE = json.loads((Path(__file__).parents[1] / "data/rliable.json").read_text())  # by data/make_rliable.py


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.mark.parametrize("count", [2, 3, 10, 200])
def test_estimate_is_student_s(rng, count):
    samples = rng.normal(3.0, 2.0, count)
    found = estimate(samples)
    low, high = stats.t.interval(0.95, count - 1, loc=samples.mean(), scale=stats.sem(samples))
    assert found.mean == pytest.approx(samples.mean(), rel=1e-12)
    assert (found.mean - found.ci95, found.mean + found.ci95) == pytest.approx((low, high), rel=1e-9)


def test_by_hand():
    """1..5: mean 3, standard error sqrt(2.5 / 5), t(4, 0.975) = 2.776445."""
    found = estimate(np.array([1.0, 2.0, 3.0, 4.0, 5.0], np.float32))
    assert found == pytest.approx((3.0, 2.776445105 * np.sqrt(0.5)), rel=1e-8)
    assert found.to_dict() == {"mean": found.mean, "ci95": found.ci95}


def test_one_sample_has_no_interval():
    assert estimate(np.array([2.5])).mean == 2.5
    assert np.isnan(estimate(np.array([2.5])).ci95)
    assert estimate(np.zeros(4)) == Estimate(0.0, 0.0)


def test_crossed_adds_the_variances_of_both_margins(rng):
    samples = rng.normal(size=(4, 9))
    by_policy, by_seed = samples.mean(axis=1), samples.mean(axis=0)
    error = np.sqrt(by_policy.var(ddof=1) / 4 + by_seed.var(ddof=1) / 9)
    found = estimate_crossed(samples)
    assert found.mean == pytest.approx(samples.mean(), rel=1e-12)
    assert found.ci95 == pytest.approx(stats.t.ppf(0.975, 3) * error, rel=1e-9)
    assert estimate_crossed(samples.T) == pytest.approx(found, rel=1e-9)


def test_one_policy_is_judged_over_its_seeds(rng):
    samples = rng.normal(size=(1, 9))
    assert estimate_crossed(samples) == estimate(samples[0])


def _coverage(draw, judge, truth, times=3000) -> float:
    hits = [abs(found.mean - truth) <= found.ci95 for found in (judge(draw()) for _ in range(times))]
    return float(np.mean(hits))


@pytest.mark.parametrize("count", [3, 10])
def test_the_interval_covers_95_percent(rng, count):
    coverage = _coverage(lambda: rng.normal(1.0, 2.0, count), estimate, 1.0)
    assert coverage == pytest.approx(0.95, abs=0.012)


@pytest.mark.parametrize(
    ("policies", "seeds", "noise"), [((1.0, 0.0, 0.1)), ((0.0, 1.0, 0.1)), ((1.0, 1.0, 0.5)), ((0.0, 0.0, 1.0))]
)
def test_the_crossed_interval_covers_at_least_95_percent(rng, policies, seeds, noise):
    """Wide rather than narrow, whichever of the two varies."""

    def draw():
        return (
            2.0
            + policies * rng.normal(size=(5, 1))
            + seeds * rng.normal(size=(1, 10))
            + noise * rng.normal(size=(5, 10))
        )

    coverage = _coverage(draw, estimate_crossed, 2.0, times=2000)
    assert 0.935 <= coverage <= 1.0


# ------------------------------------------------------------------- over runs and settings together, as rliable 1.2.0


@pytest.fixture(scope="module")
def scores():
    return {name: np.asarray(rows) for name, rows in RLIABLE["scores"].items()}


def _agrees(found, golden, resolution):
    """Values exactly; bounds within what 2,000 and 50,000 resamples leave open."""
    assert np.ravel(found.value) == pytest.approx(golden["value"], rel=1e-12)
    width = np.maximum(np.subtract(golden["high"], golden["low"]), 1e-12)
    for mine, theirs in ((found.low, golden["low"]), (found.high, golden["high"])):
        assert (np.abs(np.ravel(mine) - theirs) <= 0.06 * width + resolution).all()


@pytest.mark.parametrize("name", ["ac", "ddqn"])
def test_statistics_of_one_algorithm_are_those_of_rliable(scores, name):
    own, cells = scores[name], scores[name].size
    _agrees(bootstrap(interquartile_mean, own), RLIABLE["iqm"][name], 0)
    _agrees(bootstrap(optimality_gap, own), RLIABLE["gap"][name], 0)
    taus = RLIABLE["thresholds"]
    _agrees(bootstrap(lambda s: performance_profile(s, taus), own), RLIABLE["profile"][name], 1 / cells)


def test_the_probability_of_improvement_is_that_of_rliable(scores):
    found = bootstrap(probability_of_improvement, scores["ac"], scores["ddqn"])
    _agrees(found, RLIABLE["improvement"], 0.01)
    back = probability_of_improvement(scores["ddqn"], scores["ac"])
    assert float(found.value + back) == pytest.approx(1, rel=1e-12)  # so ties count half: there are some
    assert any(np.intersect1d(*pair).size for pair in zip(scores["ac"].T, scores["ddqn"].T, strict=True))


def test_the_learning_curve_is_that_of_rliable():
    _agrees(learning_curve(np.asarray(RLIABLE["curve_values"])), RLIABLE["curve"], 0.01)


def test_by_hand_over_runs_and_settings():
    """Of 0 .. 9 two are cut at either end; above the target nothing counts; one run of three above 0.5."""
    assert interquartile_mean(np.arange(10.0).reshape(5, 2)) == 4.5
    assert optimality_gap(np.array([[0.5], [3.0]])) == 0.25
    assert performance_profile(np.array([[0.2], [0.5], [0.9]]), [0.5, 0.1]).tolist() == [1 / 3, 1]
    assert probability_of_improvement(np.array([[1.0], [2.0]]), np.array([[1.0], [0.0]])) == 0.875


def test_the_same_seed_gives_the_same_bounds(scores):
    one, two, other = (bootstrap(interquartile_mean, scores["ac"], seed=seed) for seed in (3, 3, 4))
    assert one == two
    assert one != other
    assert bootstrap(interquartile_mean, scores["ac"][:1]).value == interquartile_mean(scores["ac"][:1])
    assert np.isnan(bootstrap(interquartile_mean, scores["ac"][:1]).low)


def test_settings_of_one_stratum_keep_their_runs_together(rng):
    """The same policies on twin settings: twice the numbers, not twice the evidence."""
    once = rng.normal(size=(6, 1))
    twice = np.repeat(once, 2, axis=1)
    alone = bootstrap(lambda s: s.mean((0, 1)), once)
    together = bootstrap(lambda s: s.mean((0, 1)), twice, strata=[0, 0])
    apart = bootstrap(lambda s: s.mean((0, 1)), twice)
    assert (together.low, together.high) == pytest.approx((alone.low, alone.high), rel=1e-12)
    assert apart.high - apart.low < 0.85 * (alone.high - alone.low)  # 1 / sqrt(2) in the mean


def test_the_bootstrap_covers_what_a_bootstrap_of_ten_runs_covers(rng):
    """Ten runs of two settings: 95 % of many, a little less of few, which is known of percentile intervals."""
    hits = []
    for _ in range(150):
        found = bootstrap(lambda s: s.mean((0, 1)), rng.normal(1.0, 2.0, (10, 2)), replicates=200)
        hits.append(found.low <= 1.0 <= found.high)
    assert 0.88 <= np.mean(hits) <= 0.98
