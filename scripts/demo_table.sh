#!/usr/bin/env bash
# The embedded demo over several seeds: the four rows of the README's results table, and
# what bf16 rounding does to the accuracy at a small learning rate. Wants a build; takes
# about four minutes. SEEDS="1 2 3 4 5" by default; runs are left in demo/seeds.
set -euo pipefail
cd "$(dirname "$0")/.."
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
train=${LOWMEM_TRAIN:-build/lowmem-train}
[ -d demo/model ] || $train demo demo

run() {  # run LABEL CONFIG [overrides...], once a seed
  local label=$1 config=$2
  shift 2
  for seed in ${SEEDS:-1 2 3 4 5}; do
    $train --quiet --config "configs/$config.yaml" run.dir=demo/seeds \
      "run.name=$label-$seed" "run.seed=$seed" run.overwrite=true eval.every=never "$@"
  done
}

run adam demo_baseline_adam
run adafactor demo_baseline_adafactor
run lowmem demo_lowmem
small=(optimizer.lr=0.002 train.epochs=2)
run small-fp32 demo_lowmem "${small[@]}" model.dtype=fp32 model.compute_dtype=fp32
for rounding in stochastic kahan nearest; do
  run "small-$rounding" demo_lowmem "${small[@]}" "optimizer.rounding=$rounding"
done
python3 scripts/demo_table.py demo/seeds
