# shellcheck shell=bash
# To be sourced, at the top of the checkout: what a script needs before it measures anything on a GPU.

# Exit 3 with one line.
refuse() {
  echo "$(basename "$0"): $*" >&2
  exit 3
}

# An interpreter that has offjax, jax and CUDA. By default one is made; a machine without a network brings its own.
python="${GPU_PYTHON:-.venv-gpu/bin/python}"

# Install what requirements.lock names and the CUDA extra in .venv-gpu, unless GPU_PYTHON says what to use, and print the
# name of the GPU that jax finds, as part of a path. Nothing is installed where there is no GPU.
prepare_gpu() {
  nvidia-smi -L > /dev/null 2>&1 || refuse "no NVIDIA GPU on this machine (nvidia-smi -L finds none)"
  [ -n "${GPU_PYTHON:-}" ] ||
    { python3 -m venv .venv-gpu && .venv-gpu/bin/pip install --quiet -r requirements.lock -e '.[cuda12]'; } >&2 ||
    refuse "offjax cannot be installed in .venv-gpu"
  "$python" - << 'END' || refuse "there is a GPU, but jax cannot use it"
import re
import sys

import jax

from offjax.runs.provenance import device_name

if jax.default_backend() != "gpu":
    sys.exit(1)  # jax has said why
print(re.sub(r"[^\w.-]+", "_", device_name()))
END
}
