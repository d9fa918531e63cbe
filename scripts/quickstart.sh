#!/usr/bin/env bash
# From a fresh Debian or Ubuntu machine to a results table: set-up, build, the embedded
# demo, then the baseline and the low-memory recipe on it. Takes a few minutes, most of them
# the build. The demo and its runs are left in ./demo.
#
#   scripts/quickstart.sh --real
#
# does so with a real model, SmolLM2-135M-Instruct (scripts/real_model.sh fetches it), trained for
# STEPS (60) updates of 8 rows and evaluated on ROWS (100), which is too few to tell recipes apart
# by accuracy: bench/real_table.sh does that. Beside set-up and build it takes less than ten
# minutes on two idle cores, and 1.8 GB of disk. The rows are HellaSwag's own where SHARED
# (../shared) has data/hellaswag, else the demo's. MODEL is where the model goes, by default a
# folder in the user's cache folder; the runs are left in ./demo/real.
set -euo pipefail
cd "$(dirname "$0")/.."
case ${1:-} in
  '' | --real) form=${1:-} ;;
  *) echo "quickstart: error: unknown option $1: there is only --real" >&2; exit 2 ;;
esac
scripts/setup.sh
cmake --preset release
cmake --build --preset release --target lowmem-train
# Threads that wait should sleep: a spinning one takes a core from whatever else runs.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
train=build/lowmem-train
if [ "$form" = --real ]; then
  rows=${SHARED:-../shared}/data/hellaswag
  train_rows=$rows/train_4303.jsonl eval_rows=$rows/val_1000.jsonl
  if [ ! -e "$train_rows" ] || [ ! -e "$eval_rows" ]; then
    echo "quickstart: there are no real rows in $rows: the demo's generated ones serve"
    [ -d demo/model ] || $train demo demo
    train_rows=demo/train.jsonl eval_rows=demo/val.jsonl
  fi
  cache=${LOWMEM_DEPS:-${XDG_CACHE_HOME:-$HOME/.cache}/lowmem-train}
  model=${MODEL:-$cache/smollm2/SmolLM2-135M-Instruct}
  scripts/real_model.sh --no-check "$model"
  recipe() {  # recipe NAME RATE
    echo "--- configs/$1.yaml"
    $train --config "configs/$1.yaml" model.path="$model" data.train="$train_rows" \
      eval.data="$eval_rows" eval.limit="${ROWS:-100}" eval.every=never train.batch_size=8 \
      train.max_steps="${STEPS:-60}" train.log_every=20 optimizer.lr="$2" run.seed=1 \
      run.dir=demo/real run.overwrite=true
  }
  recipe baseline 1e-5
  recipe baseline_adafactor 1e-4
  recipe lowmem 1e-4
  echo
  $train report demo/real/baseline demo/real/baseline_adafactor demo/real/lowmem
  exit
fi
[ -d demo/model ] || $train demo demo
for recipe in baseline_adam baseline_adafactor lowmem; do
  echo "--- configs/demo_$recipe.yaml"
  $train --config "configs/demo_$recipe.yaml" run.overwrite=true
done
echo
$train report demo/runs/baseline_adam demo/runs/baseline_adafactor demo/runs/lowmem
