"""Closed forms of queueing theory; times in seconds, rates in jobs per second."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


def load(rate: float, service: float) -> float:
    """Share of the time in which a server of mean ``service`` s is busy at ``rate`` jobs/s; an error from 1 on."""
    rho = rate * service
    if not 0 <= rho < 1:
        raise ValueError(f"a load of {rho:g} has no steady state; it must be at least 0 and below 1")
    return rho


def mg1_wait(rate: float, service: float, second_moment: float) -> float:
    """Mean wait s in front of an M/G/1 FIFO server (Pollaczek-Khinchine; Kleinrock 1975, Queueing Systems 1, eq 5.68).

    Args:
        rate: Poisson arrivals per second.
        service: mean service time s.
        second_moment: of the service time, s^2.
    """
    return rate * second_moment / (2.0 * (1.0 - load(rate, service)))


def mm1_wait(rate: float, service: float) -> float:
    """Mean wait s in front of an M/M/1 FIFO server: exponential service (Kleinrock 1975, section 3.2)."""
    return mg1_wait(rate, service, 2.0 * service**2)


def md1_wait(rate: float, service: float) -> float:
    """Mean wait s in front of an M/D/1 FIFO server: constant service (Kleinrock 1975, section 5.6)."""
    return mg1_wait(rate, service, service**2)


def ps_sojourn(rate: float, service: float) -> float:
    """Mean time s that a job spends at an M/G/1 server shared by all its jobs, whatever the law of the service.

    Kleinrock 1976, Queueing Systems 2, section 4.4; Sakata, Noguchi, Oizumi 1971 for the insensitivity.
    """
    return service / (1.0 - load(rate, service))


class ClosedNetwork(NamedTuple):
    """Steady state of a closed network."""

    throughput: float  # rounds per second, all customers together
    sojourn: np.ndarray  # [stations] s per visit
    present: np.ndarray  # [stations] mean number of customers


def machine_repairman(stations: Sequence[float], population: int, think: float) -> ClosedNetwork:
    """Exact mean value analysis of customers who think, then visit every station once, again and again.

    A station is one server: FIFO with exponential service, or processor sharing with any law (only its mean counts).
    The law of the thinking does not matter either. An arriving customer sees the network of one customer fewer
    (Reiser and Lavenberg 1980, JACM 27(2); one station is the machine-repairman model).

    Args:
        stations: mean service time s at each.
        population: number of customers; each device with at most one task is one.
        think: mean time s between the last station and the first.
    """
    service = np.asarray(stations, np.float64)
    sojourn = present = np.zeros_like(service)
    throughput = 0.0
    for customers in range(1, population + 1):
        sojourn = service * (1.0 + present)
        throughput = customers / (think + float(sojourn.sum()))
        present = throughput * sojourn
    return ClosedNetwork(throughput, sojourn, present)
