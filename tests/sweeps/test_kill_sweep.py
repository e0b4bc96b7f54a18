"""A sweep that was killed continues to the very tables and states of one that was not."""

import json
import os
import random
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pyarrow.parquet as pq
import pytest

from offjax.config import load_sweep, parse_sweep, to_yaml
from offjax.learning.unit import load_unit
from offjax.sweeps.parts import Batch, Part, unit_of
from offjax.sweeps.trials import make_trials

AC = {
    "base": {
        "problem": {"devices": 80, "slots": 80},
        "agents": {"ac": {"hidden": [16]}},
        "training": {"seeds": 2, "worlds": 2, "rounds": 8, "checkpoint_rounds": 2, "validation_devices": 20},
        "evaluation": {"devices": 20},
    },
    "axes": {"agents.ac.gamma": [0.0, 0.5, 0.9]},
    "chunk": 4,
}
DDQN = {"hidden": [16], "replay_capacity": 2000, "batch_size": 32}
BOTH = {
    **AC,
    "base": {**AC["base"], "agents": {"ddqn": DDQN, **AC["base"]["agents"]}},
    "axes": {"agents.ddqn.learning_rate": [1e-4, 1e-3], **AC["axes"]},
}


def offjax(*arguments):
    return [sys.executable, "-m", "offjax", *map(str, arguments)]


@pytest.fixture(scope="module")
def whole(request, tmp_path_factory):
    """A sweep that nobody disturbed, and its configuration beside it."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "sweep.yaml").write_text(to_yaml(parse_sweep(request.param)))
    subprocess.run(offjax("sweep", folder / "sweep.yaml", "--out", folder / "run"), check=True, capture_output=True)
    return folder / "run"


def start(whole, out):
    command = offjax("sweep", whole.parent / "sweep.yaml", "--out", out)
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def kill(process, out):
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (out / "summary.json").exists(), "it was too late to kill it"


def final_states(folder):
    """Every number of the last checkpoint of every part."""
    config = load_sweep(folder / "config.yaml")
    batch = Batch((), make_trials(config, config.grid()))
    for row in json.loads((folder / "parts/000.json").read_text())["parts"]:
        state, rounds = load_unit(unit_of(batch, Part.from_dict(row)), folder)
        assert rounds == 8
        for leaf in jax.tree.leaves(state):
            is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            yield np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def check_equal(whole, out):
    """No missing and no doubled row, every number the same, and every state."""
    subprocess.run(offjax("resume", out), check=True, capture_output=True)
    tables = [pq.read_table(folder / "results.parquet").drop(["seconds"]) for folder in (whole, out)]
    assert tables[0].equals(tables[1])
    assert tables[1]["trial"].to_pylist() == list(range(len(tables[1])))
    curves = [pq.read_table(folder / "curves.parquet") for folder in (whole, out)]
    assert curves[0].equals(curves[1])
    keys = [(row["trial"], row["slot"], row["name"]) for row in curves[1].to_pylist()]
    assert len(set(keys)) == len(keys)
    for left, right in zip(final_states(whole), final_states(out), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.ci
@pytest.mark.parametrize("whole", [AC], indirect=True, ids=["ac"])
def test_killed_and_resumed_equals_uninterrupted(whole, tmp_path):
    out = tmp_path / "run"
    process, deadline = start(whole, out), time.monotonic() + 240
    while not list(out.glob("metrics/000-000-00/round-00000004.parquet")):  # a round after a checkpoint
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    kill(process, out)
    check_equal(whole, out)


@pytest.mark.slow
@pytest.mark.parametrize("whole", [BOTH], indirect=True, ids=["both"])
@pytest.mark.parametrize("seed", range(4))
def test_killed_at_random_and_resumed_equals_uninterrupted(whole, tmp_path, seed):
    """As many rounds are written as chance says, over all parts; then the plug is pulled."""
    out, rounds = tmp_path / "run", random.Random(seed).randrange(1, 16)
    process, deadline = start(whole, out), time.monotonic() + 240
    while len(list(out.glob("metrics/*/round-*.parquet"))) < rounds:
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.005)
    kill(process, out)
    check_equal(whole, out)
