"""What a user can rely on: a script for a GPU says at once that there is none, and installs and leaves nothing."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("script", ["gpu_sweep.sh", "gpu_scalability.sh"])
def test_no_gpu_is_one_line_and_code_3(tmp_path, script):
    """Also on a machine that has one: here the driver's tool finds nothing."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho No devices were found\nexit 6\n")
    tool.chmod(0o755)
    installed = ROOT / ".venv-gpu"
    before = installed.exists()
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = ["bash", str(ROOT / "scripts" / script), str(tmp_path / "results")]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == f"{script}: no NVIDIA GPU on this machine (nvidia-smi -L finds none)\n"
    assert installed.exists() == before
    assert not (tmp_path / "results").exists()
