#!/usr/bin/env bash
# Sweep learning rates and seeds on a machine with a GPU, and measure how sweeps scale there, in one command.
#   scripts/gpu_sweep.sh [FOLDER [OPTION …]]
#   FOLDER   default: runs/gpu_sweep; results go to FOLDER/NAME_OF_THE_GPU/TIME
#   OPTION   of offjax bench sweep, like --quick --widths 16
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/gpu_machine.sh
device="$(prepare_gpu)"
results="${1:-runs/gpu_sweep}/$device/$(date -u +%Y%m%dT%H%M%SZ)"
mkdir -p "$results"
"$python" -m offjax sweep configs/sweeps/lr_seed_grid.yaml --out "$results/sweep" --device gpu
"$python" -m offjax bench sweep --json --device gpu "${@:2}" > "$results/bench_sweep.json.part"
mv "$results/bench_sweep.json.part" "$results/bench_sweep.json"
echo "results: $results"
