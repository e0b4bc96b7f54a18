#!/usr/bin/env bash
# Measure the scalability figure on a machine with a GPU, in one command: its points join those in the table.
#   scripts/gpu_scalability.sh [FOLDER]     (default: paper_figures/scalability)
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/gpu_machine.sh
prepare_gpu > /dev/null
"$python" -m offjax figures scalability --device gpu --out "${1:-paper_figures/scalability}"
