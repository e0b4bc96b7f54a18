"""What a user can rely on: the street-canyon path losses of 3GPP TR 38.901, table 7.4.1-1."""

import numpy as np
import pytest

from offjax.physics.radio import PATH_LOSSES, path_loss_umi_los, path_loss_umi_nlos

CARRIER = np.float32(3.5e9)


def _los(d2, fc=3.5, high=10.0, low=1.5):
    """The table, line by line, in Python."""
    d3 = np.hypot(d2, high - low)
    corner = 4 * (high - 1) * (low - 1) * fc * 1e9 / 3e8
    if d2 <= corner:
        return 32.4 + 21 * np.log10(d3) + 20 * np.log10(fc)
    return 32.4 + 40 * np.log10(d3) + 20 * np.log10(fc) - 9.5 * np.log10(corner**2 + (high - low) ** 2)


def _nlos(d2, fc=3.5):
    return max(_los(d2, fc), 35.3 * np.log10(np.hypot(d2, 8.5)) + 22.4 + 21.3 * np.log10(fc))


@pytest.mark.parametrize(("model", "expected"), [(path_loss_umi_los, 85.3142), (path_loss_umi_nlos, 104.6438)])
def test_spot_values_at_100_m(model, expected):
    assert float(model(np.float32(100.0), CARRIER)) == pytest.approx(expected, abs=5e-4)


@pytest.mark.parametrize(("name", "line"), [("umi_los", _los), ("umi_nlos", _nlos)])
def test_every_distance_on_both_sides_of_the_breakpoint(name, line):
    distances = np.geomspace(10.0, 5000.0, 200)
    found = PATH_LOSSES[name](distances.astype(np.float32), CARRIER)
    np.testing.assert_allclose(found, [line(distance) for distance in distances], atol=1e-3)
    assert (np.diff(found) > 0).all()


def test_no_obstacle_helps():
    distances = np.geomspace(10.0, 5000.0, 200).astype(np.float32)
    assert (path_loss_umi_nlos(distances, CARRIER) >= path_loss_umi_los(distances, CARRIER)).all()
