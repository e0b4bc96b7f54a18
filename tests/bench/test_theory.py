"""What a user can rely on: the closed forms are the textbook's, and the coupling kernels run alone meet them."""

from math import factorial

import numpy as np
import pytest

from offjax.bench import kernels, theory
from offjax.bench.kernels import fifo_mean_wait, ps_mean_sojourn


def _chain(population, service, think):
    """Throughput and mean sojourn of the M/M/1//N queue from its birth-death chain: p_k ~ N! / (N - k)! (S / Z)^k."""
    k = np.arange(population + 1)
    weight = np.array([factorial(population) / factorial(population - n) * (service / think) ** n for n in k])
    p = weight / weight.sum()
    throughput = (1 - p[0]) / service
    return throughput, (k * p).sum() / throughput


def _tandem(population, service, think):
    """The same for two exponential stations one after the other, from the balance equations of all their states."""
    states = [(a, b) for a in range(population + 1) for b in range(population + 1 - a)]
    index = {state: row for row, state in enumerate(states)}
    rates = np.zeros((len(states), len(states)))
    for (a, b), row in index.items():
        moves = {
            (a + 1, b): (population - a - b) / think,
            (a - 1, b + 1): (a > 0) / service[0],
            (a, b - 1): (b > 0) / service[1],
        }
        for state, rate in moves.items():
            if rate > 0:
                rates[row, index[state]] += rate
                rates[row, row] -= rate
    p = np.linalg.lstsq(np.vstack([rates.T, np.ones(len(states))]), [0] * len(states) + [1], rcond=None)[0]
    present = np.array(states).T @ p
    throughput = (population - present.sum()) / think
    return throughput, present / throughput


def test_textbook_numbers():
    """At load .5 the mean M/M/1 wait is one service time, the M/D/1 wait half of it; sharing doubles the time."""
    assert theory.mm1_wait(0.5, 1.0) == pytest.approx(1.0)
    assert theory.md1_wait(0.5, 1.0) == pytest.approx(0.5)
    assert theory.ps_sojourn(0.5, 1.0) == pytest.approx(2.0)
    # rho / (1 - rho) times the service time, in other units
    assert theory.mm1_wait(8.0, 0.1) == pytest.approx(4.0 * 0.1)
    assert theory.mg1_wait(8.0, 0.1, 0.1**2) == pytest.approx(theory.md1_wait(8.0, 0.1))
    # with exponential service sharing and FIFO keep as many jobs there, so the mean sojourn is the same
    assert theory.ps_sojourn(8.0, 0.1) == pytest.approx(theory.mm1_wait(8.0, 0.1) + 0.1)


@pytest.mark.parametrize("rate", [10.0, 11.0, -1.0])
def test_no_steady_state_is_an_error(rate):
    with pytest.raises(ValueError, match="steady state"):
        theory.mm1_wait(rate, 0.1)


@pytest.mark.parametrize(("population", "service", "think"), [(1, 0.3, 2.0), (3, 1.0, 1.0), (20, 0.5, 12.0)])
def test_one_station_is_the_birth_death_chain(population, service, think):
    found = theory.machine_repairman([service], population, think)
    throughput, sojourn = _chain(population, service, think)
    assert found.throughput == pytest.approx(throughput, rel=1e-12)
    assert found.sojourn == pytest.approx([sojourn], rel=1e-12)
    assert found.throughput * (think + found.sojourn.sum()) == pytest.approx(population)


def test_two_stations_are_their_balance_equations():
    found = theory.machine_repairman([0.5, 0.8], 5, 2.0)
    throughput, sojourn = _tandem(5, [0.5, 0.8], 2.0)
    assert found.throughput == pytest.approx(throughput, rel=1e-9)
    assert found.sojourn == pytest.approx(sojourn, rel=1e-9)
    assert found.present == pytest.approx(throughput * sojourn, rel=1e-9)


def test_limits_of_the_closed_network():
    alone = theory.machine_repairman([0.2, 0.3], 1, 4.0)
    assert alone.throughput == pytest.approx(1 / 4.5)
    assert alone.sojourn == pytest.approx([0.2, 0.3])
    # many thinkers who come seldom are a Poisson stream; too many fill the slowest station
    many = theory.machine_repairman([0.2], 3000, 3000.0 / 2.5)
    assert many.sojourn == pytest.approx([theory.ps_sojourn(2.5, 0.2)], rel=2e-3)
    assert theory.machine_repairman([0.2, 0.3], 200, 4.0).throughput == pytest.approx(1 / 0.3)
    assert theory.machine_repairman([0.2], 0, 4.0).throughput == 0


# ------------------------------------------------------------------------------------------- kernels alone


@pytest.mark.parametrize(
    ("kernel", "service"), [(fifo_mean_wait, "exponential"), (ps_mean_sojourn, "hyperexponential")], ids=["fifo", "ps"]
)
def test_a_kernel_alone_meets_the_closed_form(key, kernel, service):
    found = kernel(key, 0.5, service, 300_000, queues=200)
    assert found.arrivals == pytest.approx(300_000, rel=0.02)
    assert found.measured.ci95 < 0.05 * found.theory
    assert abs(found.measured.mean - found.theory) < 2 * found.measured.ci95


def test_a_job_without_a_lane_is_an_error(key, monkeypatch):
    monkeypatch.setattr(kernels, "lanes_for", lambda rho, arrivals: 4)
    with pytest.raises(RuntimeError, match="were lost"):
        ps_mean_sojourn(key, 0.8, "deterministic", 1000, queues=20)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", [fifo_mean_wait, ps_mean_sojourn])
@pytest.mark.parametrize("service", list(kernels.SECOND_MOMENT))
@pytest.mark.parametrize("rho", [0.5, 0.8])
def test_ten_million_arrivals_are_within_two_percent(key, kernel, service, rho):
    found = kernel(key, rho, service, 10_000_000)
    assert abs(found.error) < 0.02
    assert abs(found.measured.mean - found.theory) < 2 * found.measured.ci95
