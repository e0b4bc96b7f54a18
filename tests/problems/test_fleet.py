"""What a user can rely on: every cell of a mixed fleet has its shares, and numbers follow the profile."""

import numpy as np
import pytest

from offjax.errors import ConfigError
from offjax.problems.fleet import Profile, deal, make_fleet

MIX = (Profile("pi4", 0.5, speed=1e9), Profile("nano", 0.3, speed=2e9), Profile("orin", 0.2, speed=3e9))


@pytest.mark.parametrize(
    ("shares", "cell", "counts"),
    [
        ((1.0,), 7, [7]),
        ((0.5, 0.3, 0.2), 20, [10, 6, 4]),
        ((0.5, 0.3, 0.2), 10, [5, 3, 2]),
        ((0.5, 0.3, 0.2), 7, [4, 2, 1]),
        ((1 / 3, 1 / 3, 1 / 3), 20, [7, 7, 6]),
        ((0.88, 0.12), 5, [4, 1]),
    ],
)
def test_whole_devices_nearest_to_the_shares(shares, cell, counts):
    dealt = deal([Profile(str(n), share) for n, share in enumerate(shares)], cell)
    assert np.bincount(dealt).tolist() == counts


def test_a_profile_is_spread_over_the_cell():
    """FIFO serves ties by index: no profile may stand in front of all others."""
    dealt = deal(MIX, 20)
    for profile in range(3):
        assert abs(np.flatnonzero(dealt == profile).mean() - 9.5) < 1.5


def test_every_cell_is_dealt_alike_and_numbers_follow_the_profile():
    fleet = make_fleet(MIX, 60, 20)
    profile = np.asarray(fleet.profile).reshape(3, 20)
    assert (profile == profile[0]).all()
    np.testing.assert_array_equal(fleet.speed, np.array([1e9, 2e9, 3e9], np.float32)[profile.ravel()])
    assert fleet.update_power.shape == ()


def test_one_profile_is_a_number_for_all():
    assert all(np.shape(number) == () for number in vars(make_fleet((Profile(),), 40, 20)).values())


@pytest.mark.parametrize(
    ("profiles", "cell", "words"),
    [
        ((Profile("a", 0.5),), 20, "sum to 1"),
        ((Profile("a", 1.0), Profile("b", 0.0)), 20, "shares above 0"),
        ((Profile("a", 0.5), Profile("b", 0.5)), 1, r"fleet\.b\.share: 0\.5 .*at least one of the 1 devices"),
        ((Profile("a", 0.99), Profile("b", 0.01)), 20, r"fleet\.b\.share"),
    ],
)
def test_shares_that_cannot_be_dealt_are_refused(profiles, cell, words):
    with pytest.raises(ConfigError, match=words):
        deal(profiles, cell)
