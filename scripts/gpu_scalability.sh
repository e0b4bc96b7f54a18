#!/usr/bin/env bash
# Measure the scalability figure on a machine with a GPU, in one command: its points join those in the table.
#   scripts/gpu_scalability.sh [FOLDER]     (default: paper_figures/scalability)
set -euo pipefail
cd "$(dirname "$0")/.."
python3 -m venv .venv-gpu
.venv-gpu/bin/pip install --quiet -e '.[cuda12]'
.venv-gpu/bin/offjax figures scalability --device gpu --out "${1:-paper_figures/scalability}"
