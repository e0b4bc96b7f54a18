"""The examples of docs/environments.md run as they stand, where every interface is installed."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLIENTS = ROOT / ".venv-clients"
BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "docs" / "environments.md").read_text(), re.DOTALL | re.MULTILINE)


def test_every_interface_has_an_example():
    ways = ("offjax.make(", "gymnax.make(", "make_fleet(", "gymnasium.make(", "gymnasium.make_vec(", "parallel_env(")
    assert all(any(way in block for block in BLOCKS) for way in ways)


@pytest.mark.ci
@pytest.mark.skipif(not (CLIENTS / ".ready").exists(), reason="no .venv-clients: make .venv-clients/.ready")
def test_the_examples_run():
    """In one process, each with names of its own."""
    code = f"for block in {BLOCKS!r}: exec(block, {{}})"
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    command = [CLIENTS / "bin" / "python", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
