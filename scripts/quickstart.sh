#!/usr/bin/env bash
# From a fresh Debian or Ubuntu machine to a results table: set-up, build, the embedded
# demo, then the baseline and the low-memory recipe on it. Takes a few minutes, most of them
# the build. The demo and its runs are left in ./demo.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
cmake --preset release
cmake --build --preset release --target lowmem-train
# Threads that wait should sleep: a spinning one takes a core from whatever else runs.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
train=build/lowmem-train
[ -d demo/model ] || $train demo demo
for recipe in baseline_adam baseline_adafactor lowmem; do
  echo "--- configs/demo_$recipe.yaml"
  $train --config "configs/demo_$recipe.yaml" run.overwrite=true
done
echo
$train report demo/runs/baseline_adam demo/runs/baseline_adafactor demo/runs/lowmem
