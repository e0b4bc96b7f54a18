"""What a user can rely on: a benchmark counts what the world did, and says what it refuses."""

import json

import jax
import numpy as np
import pytest

from offjax import memory
from offjax.bench import machine, rows, world
from offjax.bench.options import choose, whole
from offjax.bench.world import CELL, LONG, Case, deal, make_fleet
from offjax.errors import ConfigError, MachineError

SLOTS, DEVICES = 20, 80
CASE = Case("slot", "fifo", LONG)


@pytest.fixture(scope="module")
def fleet():
    return make_fleet(CASE, DEVICES, SLOTS, shards=jax.devices()[:2])


def test_a_chunk_counts_tasks(fleet):
    total = fleet.advance()
    steps = fleet.devices * SLOTS
    assert fleet.devices == DEVICES
    assert 0.2 * steps < total.tasks < 0.7 * steps, "about every other slot brings a task"
    assert 0 < total.succeeded < total.offloaded < total.tasks
    assert 0 < total.edge_tasks < total.offloaded
    assert np.isfinite([total.checksum, total.edge_latency]).all()


def test_two_shards_count_what_one_counts(fleet, monkeypatch):
    """Two blocks, one on each shard or both on one: the same keys, so the same tasks."""
    monkeypatch.setitem(world.BLOCK, "cpu", DEVICES // 2)
    two = make_fleet(CASE, DEVICES, SLOTS, shards=jax.devices()[:2])
    one = make_fleet(CASE, DEVICES, SLOTS, shards=jax.devices()[:1])
    assert [len(states) for states in two.states] == [1, 1]
    assert [len(states) for states in one.states] == [2]
    for _ in range(3):
        assert one.advance() == two.advance()


@pytest.mark.parametrize(
    ("devices", "shards", "cut"),
    [(1, 2, (1, 1)), (20, 2, (1, 20)), (1000, 2, (2, 500)), (10**6, 2, (80, 12_500)), (10**7, 2, (800, 12_500))],
)
def test_fleets_are_cut_into_equal_blocks_of_whole_cells(devices, shards, cut):
    blocks, size = deal(devices, CELL, shards, 12_500)
    assert (blocks, size) == cut
    assert blocks * size == devices
    assert size % CELL == 0 or blocks == 1


def test_a_row(monkeypatch):
    monkeypatch.setattr(rows, "SECONDS", 0.0)
    monkeypatch.setattr(rows, "PEER_SECONDS", 0.0)
    monkeypatch.setattr(rows, "limits", lambda: machine.Limits(1e10, 1e10, 1e10, 1e11, 10**9))
    row = rows.measure(Case("none", policy="mlp"), CELL).to_dict()
    json.dumps(row)
    assert row["bench"] == "world"
    assert row["devices"] == CELL
    assert row["value"] == row["device_steps_per_s"] > 0
    assert row["tasks_per_step"] == 1.0
    assert 0 < row["bytes_per_device"] <= 160
    assert row["coupling_error"] == 0.0
    assert row["ratio"] > 0


def test_what_does_not_fit_is_refused_before_anything_is_made(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda device=None: 10**6)
    with pytest.raises(MachineError, match=r"not enough memory for 1,000,000 devices: .* GB are needed"):
        rows.bench_world([10**6])


def test_a_size_that_does_not_fill_its_cells():
    with pytest.raises(ConfigError, match="--devices: 1010 is not allowed; 1 to 20, or a multiple of 20"):
        rows.bench_world([1010])


@pytest.mark.parametrize("text", ["0", "-5", "1.5", "many", "nan", "1e400", ""])
def test_numbers_on_the_command_line(text):
    with pytest.raises(ConfigError, match="--devices"):
        whole("--devices", text)


def test_options():
    assert whole("--devices", "1e6") == 10**6
    assert choose("--policies", None, ("a", "b")) == ("a", "b")
    assert choose("--policies", "b", ("a", "b")) == ["b"]
    with pytest.raises(ConfigError, match="--policies: 'c' is not allowed; of a, b"):
        choose("--policies", "a,c", ("a", "b"))
