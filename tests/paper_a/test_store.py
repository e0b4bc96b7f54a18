"""Results are kept under what they depend on, done once, whole or absent; quick ones never become claims."""

import json
from pathlib import Path

import numpy as np
import pytest

from offjax.errors import MachineError
from offjax.paper_a import run as command
from offjax.paper_a.claims import Claim, write_claims
from offjax.paper_a.store import Job, Store

ROOT = Path(__file__).parents[2]


def _jobs(done, count=3, stop=None, cost=2.0):
    """Jobs that write down when they are computed; number ``stop`` is interrupted."""

    def make(index):
        def run():
            if index == stop:
                raise KeyboardInterrupt
            done.append(index)
            return {"square": np.arange(4.0) ** 2 + index, "name": np.asarray("text")}

        return Job("toy", f"job{index}", {"index": index, "slots": 10}, cost, run)

    return [make(index) for index in range(count)]


def test_a_job_is_done_once_and_found_again(tmp_path):
    store, done = Store(tmp_path), []
    for _ in range(2):
        command.compute(store, _jobs(done))
    assert done == [0, 1, 2]
    again = Store(tmp_path).get(_jobs([])[1])
    np.testing.assert_array_equal(again["square"], [1, 2, 5, 10])
    assert again.keys() == {"square", "name"}
    about = store.about(_jobs([])[1])
    assert about["seconds"] >= 0
    assert about["depends"] == {"index": 1, "slots": 10}
    assert about["versions"]["jax"]
    assert about["device"]
    command.compute(store, _jobs(done), redo=True)
    assert done == [0, 1, 2] * 2


def test_what_a_result_depends_on_is_its_name(tmp_path):
    store, job = Store(tmp_path), _jobs([])[0]
    store.do(job)
    other = Job("toy", "job0", {"index": 0, "slots": 11}, 1.0, job.run)
    assert not store.has(other)
    assert store.has(Job("toy", "job0", {"slots": 10, "index": 0}, 1.0, job.run)), "the order of keys says nothing"


def test_an_interrupt_loses_one_job(tmp_path):
    store, done = Store(tmp_path), []
    with pytest.raises(KeyboardInterrupt):
        command.compute(store, _jobs(done, stop=1))
    assert [store.has(job) for job in _jobs([])] == [True, False, False]
    command.compute(store, _jobs(done))
    assert done == [0, 1, 2]
    assert len(list((tmp_path / "toy").iterdir())) == 3, "no file is left over"


def test_a_write_is_whole_or_absent(tmp_path, monkeypatch):
    store, job = Store(tmp_path), _jobs([])[0]

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(MachineError, match="No space left"):
        store.do(job)
    assert not store.has(job)
    assert list((tmp_path / "toy").iterdir()) == []


def test_a_damaged_result_is_named(tmp_path):
    store, job = Store(tmp_path), _jobs([])[0]
    store.do(job)
    store.path(job).write_bytes(store.path(job).read_bytes()[:100])
    with pytest.raises(MachineError, match=f"cannot read .*{job.name}.*; remove it, and it is computed again"):
        store.get(job)


def test_the_estimate_is_the_pace_of_what_was_done_here(tmp_path, monkeypatch):
    store, jobs = Store(tmp_path), _jobs([])
    assert command.estimate(store, jobs) == 6.0
    store.do(jobs[0])
    pace = store.about(jobs[0])["seconds"] / 2.0
    assert command.estimate(store, jobs) == pytest.approx(4.0 * pace)
    monkeypatch.setattr(command, "device_name", lambda: "another device")
    assert command.estimate(store, jobs) == 4.0


def test_claims_are_in_the_order_of_their_rows(tmp_path):
    rows = [Claim(row, 0.5, "share", (0.4, float("nan")), 10, True, "emergent", "", "a.png") for row in (45, 44)]
    write_claims(tmp_path, rows, {"device": "x"})
    told = json.loads((tmp_path / "claims.json").read_text())
    assert [row["claim"] for row in told["claims"]] == [44, 45]
    assert told["claims"][0]["ci95"] == [0.4, None]


def test_quick_results_never_become_claims(tmp_path, monkeypatch):
    """All of the command but the experiments: where it writes, with and without --quick."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "experiments", dict)
    command.figures(quick=True, config_path=ROOT / "configs/paper_a.yaml")
    assert (tmp_path / "runs/paper_a_quick/figures").is_dir()
    assert not list(tmp_path.rglob("claims.json"))
    command.figures(config_path=ROOT / "configs/paper_a.yaml")
    assert (tmp_path / "paper_figures/paper_a/claims.json").is_file()
