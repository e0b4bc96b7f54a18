"""Stable-Baselines3 takes our ids and learns on them, in a process and an environment of its own."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import offjax.envs

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PEERS = ROOT / ".venv-peers"
SCRIPT = ROOT / "scripts" / "train_sb3.py"

peers = [
    pytest.mark.slow,
    pytest.mark.peers,
    pytest.mark.skipif(not (PEERS / ".ready").exists(), reason="no .venv-peers: make .venv-peers/.ready"),
]


def run(python, *command):
    """The finished process; offjax comes from this checkout, and so do the adapter and the clients' tasks."""
    places = os.pathsep.join(map(str, (ROOT, SCRIPT.parent, ROOT / "tests" / "clients")))
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": places}
    return subprocess.run([python, *command], capture_output=True, text=True, timeout=900, check=False, env=environment)


@pytest.mark.parametrize("env_id", [pytest.param(env_id, marks=peers) for env_id in offjax.envs.native_ids()])
def test_its_own_check_passes(env_id):
    done = run(PEERS / "bin" / "python", HERE / "sb3_check.py", env_id)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("env_id", [pytest.param(env_id, marks=peers) for env_id in offjax.envs.native_ids()])
def test_a_short_run_of_dqn_learns(env_id):
    """It misses the bound of the task by less than half of what it did untrained."""
    done = run(PEERS / "bin" / "python", HERE / "sb3_train.py", env_id, "10000")
    assert done.returncode == 0, done.stderr[-3000:]
    line = json.loads(done.stdout.splitlines()[-1])
    print(line)
    assert line["after"] - line["before"] > 0.5 * (line["bound"] - line["before"])


@pytest.mark.parametrize("timesteps", [pytest.param("600", marks=peers)])
def test_the_command_line_prints_what_it_learnt(timesteps):
    done = run(PEERS / "bin" / "python", SCRIPT, "nieto2024-v0", "--timesteps", timesteps, "--horizon", "50")
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["timesteps"] == int(timesteps)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        pytest.param(["nieto2042-v0"], "error: env_id: 'nieto2042-v0' is not allowed", marks=peers),
        pytest.param(["nieto2024-v0", "--timesteps", "0"], "error: timesteps: 0 is not allowed", marks=peers),
    ],
)
def test_a_mistake_ends_in_one_line(arguments, words):
    done = run(PEERS / "bin" / "python", SCRIPT, *arguments)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith(words)


@pytest.mark.skipif(find_spec("stable_baselines3") is not None, reason="stable-baselines3 is installed")
def test_without_it_one_line_says_what_to_install():
    done = run(sys.executable, SCRIPT, "nieto2024-v0")
    assert (done.returncode, done.stderr.count("\n")) == (3, 1)
    assert done.stderr.startswith("error: stable-baselines3 is not installed: pip install")
