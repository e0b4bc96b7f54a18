"""What a user can rely on: the scalability figure measures what is missing, keeps other machines' points, and draws."""

from dataclasses import replace

import pytest

from offjax.bench import machine, rows, scalability
from offjax.bench.world import Case
from offjax.errors import MachineError

LIMITS = machine.Limits(1e10, 1e10, 1e10, 1e11, 10**10)


@pytest.fixture
def small(monkeypatch):
    """Few points, each measured for a moment."""
    for name, value in {"DEVICES": (40,), "CELLS": (1,), "CELL_FLEET": 40, "WORLDS": (2,)}.items():
        monkeypatch.setattr(scalability, name, value)
    monkeypatch.setattr(scalability, "MODES", (Case("none"),))
    monkeypatch.setattr(scalability, "limits", lambda: LIMITS)
    for module in (rows,):
        monkeypatch.setattr(module, "SECONDS", 0.0)
        monkeypatch.setattr(module, "PEER_SECONDS", 0.0)


def test_it_measures_what_is_missing_and_draws(small, tmp_path, monkeypatch):
    table = scalability.run(tmp_path)
    assert [(point.sweep, point.shards) for point in table] == [
        ("devices", 1),
        ("devices", 2),
        ("cells", 1),
        ("worlds", 1),
    ]
    assert all(point.device_steps_per_s > 0 and point.compile_s > 0 for point in table)
    assert all(50 < point.bytes_per_device < 200 for point in table)
    for suffix in ("png", "pdf", "csv"):
        assert (tmp_path / f"scalability.{suffix}").stat().st_size > 100
    assert scalability.read_points(tmp_path / "scalability.csv") == table

    foreign = replace(table[0], backend="gpu", device="a GPU", device_steps_per_s=1e9)
    scalability.write_points(tmp_path / "scalability.csv", [foreign, *table[1:]])
    measured = []
    real = scalability.measure
    monkeypatch.setattr(scalability, "measure", lambda *args: measured.append(args[0].key) or real(*args))
    again = scalability.run(tmp_path)
    assert measured == [table[0].key], "the one that is missing here"
    assert foreign in again, "the points of another device stay"
    assert {label for label, *_ in scalability.lines(again, "devices")} >= {
        "uncoupled, one slot per task, a GPU",
        "uncoupled, one slot per task, 2 host devices",
    }


def test_a_fleet_that_no_machine_holds_is_refused_before_it_starts():
    with pytest.raises(
        MachineError, match=r"not enough memory for [\d,]+ devices: [\d,.]+ GB are needed and [\d,.]+ GB can be had"
    ):
        rows.print_bench("1e12", "random", "philox4x32", as_json=True)
