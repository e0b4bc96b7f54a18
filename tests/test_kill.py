"""A run that was killed continues to the very bits of one that was not."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from offjax.config import parse_config, to_yaml
from offjax.runs.log import read_metrics

CONFIG = {
    "problem": {"devices": 80, "slots": 80},
    "agents": {"ddqn": {"hidden": [16], "replay_capacity": 2000, "batch_size": 32}, "ac": {"hidden": [16]}},
    "training": {"seeds": 2, "worlds": 2, "rounds": 12, "checkpoint_rounds": 3, "validation_devices": 20},
    "evaluation": {"seeds": 2, "devices": 20},
}


def offjax(*arguments):
    return [sys.executable, "-m", "offjax", *map(str, arguments)]


def kill_after(folder, part, config):
    """Start a run and kill it with signal 9 as soon as ``part`` of its folder is there."""
    process = subprocess.Popen(
        offjax("train", config, "--out", folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 240
    while not list(folder.glob(part)):
        assert process.poll() is None, "it ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not (folder / "summary.json").exists()


@pytest.mark.parametrize(
    "part",
    [
        pytest.param("metrics/ddqn-scenario1/round-00000007.parquet", marks=pytest.mark.ci),
        pytest.param("checkpoints/ddqn-scenario1/3*", marks=pytest.mark.slow),
        pytest.param("checkpoints/ac-scenario1/9", marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed_equals_uninterrupted(tmp_path, whole, part):
    folder, config = whole
    killed = tmp_path / "killed"
    kill_after(killed, part, config)
    subprocess.run(offjax("resume", killed), check=True, capture_output=True)
    assert read_metrics(killed).to_pylist() == read_metrics(folder).to_pylist()
    one, two = (json.loads((path / "summary.json").read_text()) for path in (folder, killed))
    assert one == two
    assert (killed / "policy/policy.npz").read_bytes() == (folder / "policy/policy.npz").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run, and its configuration."""
    folder = tmp_path_factory.mktemp("whole")
    config = folder / "config.yaml"
    config.write_text(to_yaml(parse_config(CONFIG)))
    subprocess.run(offjax("train", config, "--out", folder / "run"), check=True, capture_output=True)
    return folder / "run", config
