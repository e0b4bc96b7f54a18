"""The bench of generators: its table has the law that it says, and ratios above 1 mean that ours is better."""

import jax
import numpy as np
import pytest

from offjax.bench import gan_rollouts, gan_table
from offjax.bench.gan import Bench, add_time_to_quality
from offjax.replay.codec import check_table

NAMES = [column.name for column in gan_table.columns().of]


@pytest.fixture(scope="module")
def table(key):
    return np.array(jax.jit(gan_table.draw_table, static_argnames="rows")(key, rows=4000))


def test_the_table_has_its_law(table):
    check_table(gan_table.columns(), table, 4000, 4000)
    row = dict(zip(NAMES, table.T, strict=True))
    np.testing.assert_allclose(jax.jit(gan_table.exact_reward)(table), row["reward"], rtol=1e-6)
    arriving = np.where(row["decision"] == 0, 0.8 * row["size"], 0.0)
    queue = np.clip(row["queue"] - gan_table.DRAIN + arriving, 0.0, 1.0)
    np.testing.assert_allclose(row["next_queue"], queue, atol=1e-6)
    assert 0.1 < np.mean(row["reward"] == gan_table.PENALTY) < 0.4
    assert row["reward"][row["reward"] > gan_table.THRESHOLD].min() > -2.5
    assert np.bincount(row["decision"].astype(int)).min() > 400
    assert set(row["deadline"]) == set(np.float32(gan_table.DEADLINES))
    assert np.corrcoef(row["gain"], row["next_gain"])[0, 1] > 0.8


class Told(Bench):
    """A bench whose flow has a quality of its steps over a thousand."""

    def __init__(self):
        self.name, self.rows = "known", []

    def train(self, worker, out, seed, **job):
        return {}

    def judge(self, name):
        return {"quality": int(name.split("_")[1]) / 1000}


PACES = [{"codec_s": 20.0, "step_s": 0.03}] * 2, [{"codec_s": 1.0, "step_s": 0.009, "compile_s": 1.0}] * 2


def test_the_shortest_training_that_is_good_enough_counts():
    bench = Told()
    add_time_to_quality(bench, None, (0, 1), 0.9, 300, PACES)
    (row,) = bench.rows
    assert row["steps"] == 1000
    assert row["value"] == pytest.approx(1.0 + 1000 * 0.009)
    assert row["ratio"] == pytest.approx((20.0 + 300 * 20 * 0.03) / row["value"])
    add_time_to_quality(bench, None, (0, 1), 9.0, 300, PACES)
    assert bench.rows[1]["value"] is None
    assert "ratio" not in bench.rows[1]


def test_ratios_above_one_are_ours():
    bench = Told()
    bench.add_ratio("step", [10.0, 10.0], [20.0, 40.0], "ms")
    bench.add_ratio("sampling", [300.0, 300.0], [100.0, 100.0], "rows/s")
    assert [row["ratio"] for row in bench.rows] == [3.0, 3.0]
    assert bench.rows[0]["ratio_ci95"] > 1.0 > bench.rows[1]["ratio_ci95"]


class Counting:
    """A worker that says how many jobs it was given."""

    def __init__(self):
        self.jobs = 0

    def send(self, job):
        self.jobs += 1

    def read(self):
        return {"jobs": self.jobs}


def test_a_run_that_was_interrupted_does_nothing_twice(tmp_path):
    worker = Counting()
    for _ in range(2):  # two processes, one after the other
        bench = Told()
        bench.folder = tmp_path
        assert bench.once(worker, {"seed": 0}) == {"jobs": 1}
    assert bench.once(worker, {"seed": 1}) == {"jobs": 2}


@pytest.mark.ci
def test_rollouts_have_the_rewards_of_the_problem(key):
    """All but the few tasks that outlast their slot; lost ones are in it, and every feature changes."""
    table = np.array(jax.jit(gan_rollouts.draw_table, static_argnames="rows")(key, rows=2000))
    check_table(gan_rollouts.columns(), table, 2000, 2000)
    exact = np.array(jax.jit(gan_rollouts.exact_reward)(table))
    reward = table[:, gan_rollouts.REWARD]
    assert np.mean(np.abs(exact - reward) < 0.01) > 0.95
    assert 0.05 < np.mean(reward == -10.0) < 0.2
    assert (table.std(axis=0) > 0.1).all()
