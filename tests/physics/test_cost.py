"""What a user can rely on: equations (1) to (5) of paper A, in every reading, against a NumPy line."""

import jax
import numpy as np
import pytest

from offjax.physics import cost

CASES, SERVERS = 1000, 3
RELATIVE = 1e-5


@pytest.fixture(scope="module")
def cases():
    """Random tasks, devices, servers and weights; float64 arrays [CASES] or [CASES, SERVERS]."""
    rng = np.random.default_rng(5)

    def draw(low, high, servers=False):
        return np.exp(rng.uniform(np.log(low), np.log(high), (CASES, SERVERS) if servers else CASES))

    return {
        "demand": draw(1e5, 1e8),
        "f": draw(1e6, 1e10),
        "clock": draw(1e7, 1e10),
        "e": draw(1e-8, 1e-4),
        "theta": draw(1e-2, 1e1),
        "sending": draw(1e-3, 1e1),
        "place": rng.integers(0, SERVERS + 1, CASES),
        "energy_home": draw(1e-3, 1e2),
        "time_home": draw(1e-3, 1e2),
        "energy_server": draw(1e-4, 1e1, servers=True),
        "time_server": draw(1e-3, 1e2, servers=True),
        "alpha": draw(1e-2, 1e2),
        "beta": draw(1e-2, 1e2),
    }


def _f32(*arrays):
    return [np.asarray(array, np.float32) for array in arrays]


def test_equation_1_as_a_rate(cases):
    found = cost.processing_time(*_f32(cases["demand"], cases["f"]))
    np.testing.assert_allclose(found, cases["demand"] / cases["f"], rtol=RELATIVE)


def test_equation_1_in_cycles_per_unit(cases):
    demand, f, clock = cases["demand"], cases["f"] * 1e-6, cases["clock"]
    found = cost.processing_time(*_f32(demand, f, clock), reading="cycles_per_unit")
    np.testing.assert_allclose(found, demand * f / clock, rtol=RELATIVE)


def test_equation_2_and_the_size_of_the_data(cases):
    found = cost.processing_energy(*_f32(cases["demand"], cases["e"]))
    np.testing.assert_allclose(found, cases["demand"] * cases["e"], rtol=RELATIVE)
    found = cost.data_size(*_f32(cases["demand"], cases["theta"]))
    np.testing.assert_allclose(found, cases["theta"] * cases["demand"], rtol=RELATIVE)


def test_equation_3(cases):
    sending, processing = _f32(cases["sending"], cases["demand"] / cases["f"])
    expected = cases["sending"] + cases["demand"] / cases["f"]
    np.testing.assert_allclose(cost.offloading_time(sending, processing), expected, rtol=RELATIVE)


def _one_choice(cases):
    """Energy and time of the chosen place."""
    row, server = np.arange(CASES), np.maximum(cases["place"] - 1, 0)
    home = cases["place"] == 0
    energy = np.where(home, cases["energy_home"], cases["energy_server"][row, server])
    return energy, np.where(home, cases["time_home"], cases["time_server"][row, server])


def _literal(cases, alpha, beta):
    x = (cases["place"][:, None] == np.arange(1, SERVERS + 1)).astype(float)
    home_energy, home_time = cases["energy_home"][:, None], cases["time_home"][:, None]
    energy = home_energy * (1 - x) + cases["energy_server"] * x
    return x, (alpha * energy + beta * (x * cases["time_server"] + (1 - x) * home_time)).sum(axis=1)


def _found_literal(cases, x, alpha, beta):
    energy = _f32(cases["energy_home"][:, None], cases["energy_server"])
    time = _f32(cases["time_home"][:, None], cases["time_server"])
    return jax.jit(cost.literal_cost)(*_f32(x), tuple(energy), tuple(time), *_f32(alpha, beta))


def test_equation_4_as_printed_with_weights_of_each_server(cases):
    rng = np.random.default_rng(6)
    alpha, beta = rng.uniform(0.1, 10, (2, CASES, SERVERS))
    x, expected = _literal(cases, alpha, beta)
    np.testing.assert_allclose(_found_literal(cases, x, alpha, beta), expected, rtol=RELATIVE)


def test_equation_4_with_one_choice_and_equation_5(cases):
    energy, time = _one_choice(cases)
    expected = cases["alpha"] * energy + cases["beta"] * time
    found = cost.one_choice_cost(*_f32(energy, time, cases["alpha"], cases["beta"]))
    np.testing.assert_allclose(found, expected, rtol=RELATIVE)
    np.testing.assert_allclose(cost.cost_reward(found), -expected, rtol=RELATIVE)


def test_the_two_forms_differ_by_a_constant_of_the_task(cases):
    """literal = one-choice + (Z - 1)(alpha E_IoT + beta T_IoT) where at most one server is chosen."""
    alpha, beta = cases["alpha"], cases["beta"]
    x, _ = _literal(cases, alpha[:, None], beta[:, None])
    literal = _found_literal(cases, x, alpha[:, None], beta[:, None])
    one = cost.one_choice_cost(*_f32(*_one_choice(cases), alpha, beta))
    excess = cost.literal_excess(SERVERS, *_f32(cases["energy_home"], cases["time_home"], alpha, beta))
    np.testing.assert_allclose(literal, one + excess, rtol=RELATIVE)
    expected = (SERVERS - 1) * (alpha * cases["energy_home"] + beta * cases["time_home"])
    np.testing.assert_allclose(excess, expected, rtol=RELATIVE)
    assert not np.asarray(cost.literal_excess(1, *_f32(cases["energy_home"], cases["time_home"], alpha, beta))).any()
