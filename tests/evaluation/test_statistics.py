"""What a user can rely on: the intervals are Student's, and hold what they promise."""

import numpy as np
import pytest
from scipy import stats

from offjax.evaluation.statistics import Estimate, estimate, estimate_crossed


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
