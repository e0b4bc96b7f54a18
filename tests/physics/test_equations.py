"""What a user can rely on: equations (1)-(16) of Nieto et al. 2024, each against one line of NumPy in float64."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from offjax.physics import compute, fibre, offload, radio

RELATIVE = 1e-6


def _range(low: float, high: float):
    """float32 numbers in a physical range, spread evenly over its decades."""
    return st.floats(np.log10(low), np.log10(high)).map(lambda decade: np.float32(10.0**decade))


bits, cycles = _range(1e3, 1e8), _range(1e3, 1e10)
speeds, kappas = _range(1e6, 1e11), _range(1e-28, 1e-20)
distances, carriers = _range(1.0, 1e4), _range(1e8, 1e11)
bandwidths, powers = _range(1e4, 1e9), _range(1e-3, 1e2)
gains, noises = _range(1e-14, 1e-3), _range(1e-16, 1e-9)
rates = _range(1e4, 1e11)


def _close(value, expected, relative=RELATIVE):
    np.testing.assert_allclose(np.float64(value), expected, rtol=relative, atol=0)


def _wide(*values):
    return [np.float64(value) for value in values]


@settings(deadline=None)
@given(cycles, speeds, kappas)
def test_local_execution_is_equations_1_and_2(work, speed, kappa):
    phi, f, k = _wide(work, speed, kappa)
    _close(compute.execution_time(work, speed), phi / f)
    _close(compute.execution_energy(work, speed, kappa), k * f**2 * phi)
    # Power times time is the energy: the simulator integrates power.
    _close(compute.execution_power(speed, kappa) * compute.execution_time(work, speed), k * f**2 * phi)


@settings(deadline=None)
@given(distances, carriers)
def test_path_loss_is_equation_3(distance, carrier):
    d, f = _wide(distance, carrier)
    # The three terms may cancel, so the error is relative to the largest of them.
    expected = 32.4 + 23 * np.log10(d) + 20 * np.log10(f / 1e9)
    np.testing.assert_allclose(radio.path_loss_inf_sh(distance, carrier), expected, rtol=RELATIVE, atol=3e-5)


@settings(deadline=None)
@given(st.floats(20, 170, width=32), st.floats(-30, 30, width=32))
def test_channel_gain_is_equation_4(loss, shadowing):
    level = -(loss + shadowing)
    gain = radio.channel_gain(np.float32(loss), np.float32(shadowing))
    np.testing.assert_allclose(gain, level, rtol=RELATIVE, atol=1e-5)
    # The linear gain of -200 dB cannot be nearer than 46 float32 roundings.
    linear = radio.from_db(gain)
    _close(linear, 10 ** (level / 10), relative=5e-6)
    np.testing.assert_allclose(radio.to_db(linear), level, rtol=RELATIVE, atol=2e-5)


@settings(deadline=None)
@given(bandwidths, powers, gains, noises)
def test_uplink_rate_is_equation_5(bandwidth, power, gain, noise):
    b, p, h, n = _wide(bandwidth, power, gain, noise)
    _close(radio.shannon_rate(bandwidth, power, gain, noise), b * np.log1p(p * h / n) / np.log(2))


@settings(deadline=None)
@given(bits, cycles, rates, speeds, powers)
def test_edge_server_is_equations_6_to_9(size, work, rate, speed, power):
    d, phi, r, f, p = _wide(size, work, rate, speed, power)
    time = radio.transmission_time(size, rate)
    _close(time, d / r)  # (6)
    _close(compute.execution_time(work, speed), phi / f)  # (7)
    _close(offload.edge_latency(size, work, rate, speed), d / r + phi / f)  # (8)
    _close(radio.transmission_energy(power, time), p * d / r)  # (9) and (16)


@settings(deadline=None)
@given(bits, cycles, rates, speeds, _range(1e9, 1e12), st.floats(0.0, 0.9), st.floats(0.0, 0.9), _range(1e3, 1e8))
def test_cloud_is_equations_10_to_15(size, work, rate, speed, capacity, overhead, correction, length):
    d, phi, r, f, c, metres = _wide(size, work, rate, speed, capacity, length)
    propagation = fibre.propagation_delay(metres, 2e8)
    _close(propagation, metres / 2e8)  # (11)
    usable = fibre.fibre_rate(c, 16.0, overhead, correction)
    _close(usable, c / np.sqrt(16.0) * (1 - overhead) * (1 - correction))  # (12)
    latency = offload.cloud_latency(size, work, rate, speed, np.float32(usable), np.float32(propagation))
    _close(latency, phi / f + d / r + d / usable + 2 * metres / 2e8)  # (10), (13), (14), (15)


@pytest.mark.parametrize(("level", "watt"), [(30.0, 1.0), (-100.0, 1e-13), (0.0, 1e-3), (100.0, 1e7)])
def test_dbm_of_the_papers_table(level, watt):
    assert radio.watt_from_dbm(level) == pytest.approx(watt, rel=1e-12)


def test_no_gain_at_all_is_minus_infinity():
    assert radio.to_db(np.float32(0.0)) == -np.inf
    assert radio.shannon_rate(np.float32(5e6), np.float32(1.0), np.float32(0.0), np.float32(1e-13)) == 0.0


def test_fibre_of_the_paper():
    """100 Gb/s, 16-QAM, 10 % overhead and 20 % error correction; the cloud of Fig. 4 is 15 ms away and back."""
    assert fibre.fibre_rate(100e9, 16.0, 0.10, 0.20) == pytest.approx(18e9, rel=1e-12)
    assert 2 * fibre.propagation_delay(1.4993e6, 2e8) == pytest.approx(14.993e-3, rel=1e-12)
