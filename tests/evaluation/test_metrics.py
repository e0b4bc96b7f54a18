"""What a user can rely on: the paper's plot rule, and tasks that are counted once."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from offjax.evaluation.metrics import result, smooth
from offjax.evaluation.rollout import Episode, count_ends
from offjax.world import End


@pytest.mark.parametrize("slots", [1, 2, 10, 11, 12, 20, 21, 57, 2000, 2001])
def test_smooth_is_the_mean_of_the_last_ten_every_ten(slots):
    values = np.random.default_rng(3).normal(size=(3, slots))
    points = [values[:, 0]] + [values[:, end - 9 : end + 1].mean(axis=1) for end in range(10, slots, 10)]
    found = smooth(values)
    assert found.shape == (3, -(-slots // 10))
    np.testing.assert_allclose(found, np.stack(points, axis=1), rtol=1e-12)
    np.testing.assert_allclose(smooth(values[0]), found[0], rtol=1e-12)


@pytest.mark.parametrize("devices", [1, 20, 3000])
def test_count_ends_is_a_scatter(devices):
    rng = np.random.default_rng(devices)
    ends, classes, places = len(End), 3, 3
    codes = [rng.integers(0, size, devices).astype(np.int8) for size in (ends, classes, places)]
    outcome = SimpleNamespace(result=codes[0], task_class=codes[1], place=codes[2])
    expected = np.zeros((ends, classes, places), np.int32)
    np.add.at(expected, tuple(code.astype(int) for code in codes), 1)
    found = count_ends(_as_jax(outcome), ends, classes, places)
    assert found.dtype == jnp.int32
    np.testing.assert_array_equal(found, expected)


def _as_jax(outcome):
    return SimpleNamespace(**{name: jnp.asarray(value) for name, value in vars(outcome).items()})


def _episode(copies=2, seeds=3, slots=20, devices=4) -> Episode:
    """Numbers that can be worked by hand: each device has one task per slot."""
    shape = (copies, seeds, slots)
    ends = np.zeros((copies, seeds, len(End), 3, 3), np.int32)
    ends[..., End.NONE, 0, 0] = 999  # nothing ended: must not count
    ends[..., End.IN_TIME, 0, 1] = 40
    ends[..., End.IN_TIME, 1, 0] = 10
    ends[..., End.LATE, 1, 0] = 10
    ends[..., End.SERVER_LOST, 2, 1] = 15
    refused = np.zeros((copies, seeds, len(End)), np.int32)
    refused[..., End.BUFFER_FULL] = 5
    return Episode(
        reward=np.full(shape, -0.2),
        success=np.full(shape, 2.5),
        energy=np.full(shape, 8.0),
        latency=np.full(shape, 0.6),
        parts=np.full((*shape, 7), 0.3),
        battery=np.full(shape, 400.0),
        ends=ends,
        refused=refused,
        left=np.full((copies, seeds, devices), 90.0),
    )


def test_a_result_by_hand():
    """80 tasks in 20 slots of 4 devices; 60 came to a result; every number per task but the latency."""
    row = result("name", "label", "rule", _episode(), devices=4)
    expected = {
        "reward": -0.2 * 20 / 80,
        "success": 50 / 80,
        "energy_j": 2.0,
        "latency_s": 0.6 * 20 / 60,
        "battery_j": 90.0,
    }
    for name, value in expected.items():
        assert row.samples[name].shape == (2, 3)
        np.testing.assert_allclose(row.samples[name], value, rtol=1e-12)
    assert row.parts["uplink"].mean == pytest.approx(0.3 * 20 / 60)
    assert row.late.mean == pytest.approx(10 / 80)
    assert row.drops["server_lost"].mean == pytest.approx(15 / 80)
    assert row.drops["buffer_full"].mean == pytest.approx(5 / 80)
    assert sum(drop.mean for drop in row.drops.values()) + row.late.mean + row.samples["success"][
        0, 0
    ] == pytest.approx(1)
    assert row.decisions == {"class1": [0, 1, 0], "class2": [1, 0, 0], "class3": [0, 1, 0]}
    assert not row.exhausted
    assert row.curves["battery"].shape == (3, 2)
    np.testing.assert_allclose(row.curves["battery"], 100.0)
    np.testing.assert_allclose(row.curves["reward"], -0.05)


def test_one_empty_battery_is_seen():
    episode = _episode()
    episode.left[1, 2, 3] = 0.0
    assert result("name", "label", "rule", episode, devices=4).exhausted
