"""Ray trains what this process trains, to the same bits, even if one of its processes is killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from offjax.config import parse_sweep, to_yaml

ROOT = Path(__file__).parents[2]
RAY = ROOT / ".venv-ray"
PYTHON = Path(os.environ.get("OFFJAX_RAY_PYTHON", RAY / "bin" / "python"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="no .venv-ray: make .venv-ray/.ready"),
]
SWEEP = {
    "base": {
        "problem": {"devices": 40, "slots": 40},
        "agents": {"ac": {"hidden": [4]}},
        "training": {"seeds": 2, "worlds": 2, "rounds": 100, "checkpoint_rounds": 10, "validation_devices": 0},
    },
    "axes": {"agents.ac.gamma": [0.0, 0.5, 0.9, 0.99]},
    "chunk": 4,
}


def environment():
    return {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(ROOT)}


def offjax(python, *arguments):
    return [str(python), "-m", "offjax", *map(str, arguments)]


def table(folder, name):
    found = pq.read_table(folder / f"{name}.parquet")
    return found.drop([column for column in ("seconds", "unit") if column in found.column_names])


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    folder = tmp_path_factory.mktemp("local")
    (folder / "sweep.yaml").write_text(to_yaml(parse_sweep(SWEEP)))
    command = offjax(sys.executable, "sweep", folder / "sweep.yaml", "--out", folder / "run")
    subprocess.run(command, check=True, capture_output=True, env=environment())
    return folder / "run"


def workers(name):
    """Processes that train a part, by what Ray calls them."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            title = (entry / "cmdline").read_bytes().decode(errors="replace")
            parent = (entry / "environ").read_bytes()
        except OSError:
            continue
        if title.startswith("ray::work") and name.encode() in parent:
            found.append(int(entry.name))
    return found


def test_a_killed_worker_is_started_again_and_the_table_is_complete(local, tmp_path):
    out = tmp_path / "run"
    command = offjax(PYTHON, "sweep", local.parent / "sweep.yaml", "--out", out, "--engine", "ray")
    own = {**environment(), "OFFJAX_TEST": str(tmp_path)}
    process = subprocess.Popen(command, env=own, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 600
        while not list(out.glob("metrics/*/round-00000015.parquet")):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        victims = workers(f"OFFJAX_TEST={tmp_path}")
        assert victims
        os.kill(victims[0], signal.SIGKILL)
        _, errors = process.communicate(timeout=600)
    finally:
        process.kill()
    assert process.returncode == 0, errors
    for name in ("results", "curves"):
        assert table(out, name).equals(table(local, name))
    assert len(set(pq.read_table(out / "results.parquet")["unit"].to_pylist())) > 1


def test_an_address_where_nothing_is_ends_in_one_line(local, tmp_path):
    command = offjax(PYTHON, "sweep", local.parent / "sweep.yaml", "--out", tmp_path / "run")
    command += ["--engine", "ray", "--address", "127.0.0.1:1"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (3, 1)
    assert "--address 127.0.0.1:1: no Ray cluster there" in done.stderr
    assert not (tmp_path / "run").exists()


def test_proposals_hang_on_what_was_tried_and_get_better():
    command = [str(PYTHON), str(Path(__file__).parent / "search_check.py")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=300, check=False)
    assert done.returncode == 0, done.stderr


def test_a_killed_search_ends_with_the_same_table(tmp_path):
    """Settings of three batches, the later ones proposed from what the earlier ones have reached."""
    axes = {"agents.ac.gamma": {"low": 0.0, "high": 1.0}, "agents.ac.actor_learning_rate": [1e-3, 1e-2]}
    search = {"trials": 6, "batch": 2}
    (tmp_path / "sweep.yaml").write_text(to_yaml(parse_sweep({**SWEEP, "axes": axes, "search": search})))
    arguments = ("sweep", tmp_path / "sweep.yaml", "--set", "base.training.rounds=40", "--out")
    subprocess.run(offjax(PYTHON, *arguments, tmp_path / "whole"), check=True, capture_output=True, env=environment())
    killed = tmp_path / "killed"
    process = subprocess.Popen(
        offjax(PYTHON, *arguments, killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment()
    )
    while not list(killed.glob("metrics/001-*/round-00000025.parquet")):
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    subprocess.run(offjax(PYTHON, "resume", killed), check=True, capture_output=True, env=environment())
    for name in ("results", "curves"):
        assert table(killed, name).equals(table(tmp_path / "whole", name))
    assert len(table(killed, "results")) == 12
