"""What a user can rely on: tasks of a set keep their cycles, deadlines follow the model, cells run the whole set."""

import numpy as np
import pytest

from offjax.errors import ConfigError
from offjax.workload import dealt
from offjax.workload.arrivals import NEVER
from offjax.workload.dealt import GROUPS, DeadlineModel, DealtTasks, make_workload, size_groups
from offjax.workload.task_set import TaskSetParameters, generate

SLOT, SLOTS, SPEED = 0.05, 400, 4.8e9
B = DeadlineModel("uniform", (1.2, 3.0), 0.02)


def make(tasks=DealtTasks(), deadline=B, fleet=(40, 20), time=(SLOTS, SLOT)):  # noqa: B008 (frozen)
    return make_workload(tasks, deadline, SPEED, fleet, time)


@pytest.fixture(scope="module")
def workload():
    return make()


def test_a_class_is_a_task_of_table_2(workload):
    cycles = generate(TaskSetParameters())[0].cycles
    assert workload.classes == 500
    np.testing.assert_array_equal(workload.bits_low, workload.bits_high)
    np.testing.assert_allclose(workload.bits_low * workload.cycles_per_bit, cycles, rtol=1e-5)
    theta = np.asarray(workload.bits_low) / cycles
    assert theta.min() >= 1.75e-4 * (1 - 1e-6)
    assert theta.max() <= 3.5e-2 * (1 + 1e-6)
    np.testing.assert_allclose(np.log(theta).mean(), np.log([1.75e-4, 3.5e-2]).mean(), atol=0.25)
    np.testing.assert_allclose(workload.result_per_bit, 0.1, rtol=1e-6)


def test_deadlines_are_those_of_paper_b(workload):
    """kappa C / F_MEC + RTT, kappa uniform in 1.2 to 3."""
    assert workload.deadline == "uniform"
    np.testing.assert_allclose(workload.deadline_per_cycle, 1 / SPEED, rtol=1e-6)
    np.testing.assert_array_equal(workload.deadline_per_bit, 0)
    np.testing.assert_allclose([workload.factor_low, workload.factor_high, workload.deadline_fixed], [1.2, 3.0, 0.02])
    plain = make(deadline=DeadlineModel(fixed=0.02))
    np.testing.assert_allclose([plain.factor_low, plain.factor_high, plain.deadline_fixed], [1.0, 1.0, 0.02])


def test_every_cell_runs_the_whole_set_with_releases_of_its_own(workload):
    chosen = generate(TaskSetParameters())[0]
    slots, offsets = np.asarray(workload.arrivals.slots), np.asarray(workload.arrivals.offsets)
    classes = np.asarray(workload.arrivals.classes)
    real = slots < NEVER
    assert slots[real].max() < SLOTS
    assert (offsets[real] < SLOT * (1 + 1e-6)).all()
    assert (classes % 20 == (np.arange(40) % 20)[:, None])[real].all(), "task i belongs to device i mod 20"
    expected = SLOTS * SLOT / chosen.period_seconds
    for cell in range(2):
        rows = slice(20 * cell, 20 * cell + 20)
        count = np.bincount(classes[rows][real[rows]], minlength=500)
        assert (np.abs(count - expected) < 1).all()
    assert not np.array_equal(slots[:20], slots[20:])


def test_the_share_of_a_class_is_that_of_its_releases(workload):
    period = generate(TaskSetParameters())[0].period_seconds
    np.testing.assert_allclose(workload.probability, 1 / period / (1 / period).sum(), rtol=1e-5)


def test_the_seed_of_the_releases_is_a_parameter(workload):
    again, other = make(), make(DealtTasks(releases_seed=1))
    np.testing.assert_array_equal(again.arrivals.slots, workload.arrivals.slots)
    np.testing.assert_array_equal(again.bits_low, workload.bits_low)
    assert not np.array_equal(other.bits_low, workload.bits_low)
    assert other.arrivals.slots.shape != workload.arrivals.slots.shape or not np.array_equal(
        other.arrivals.slots, workload.arrivals.slots
    )


def test_groups_are_thirds_by_size(workload):
    group = size_groups(workload)
    cycles = np.asarray(workload.bits_low * workload.cycles_per_bit)
    assert np.bincount(group).tolist() == [167, 167, 166]
    for low, high in ((0, 1), (1, 2)):
        assert cycles[group == low].max() <= cycles[group == high].min()
    assert len(GROUPS) == 3


def test_more_releases_than_a_table_holds_are_refused(monkeypatch):
    monkeypatch.setattr(dealt, "MAX_RELEASES", 100)
    with pytest.raises(ConfigError, match=r"^devices: 40 .*at most 100 releases"):
        make()
