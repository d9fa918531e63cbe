#!/usr/bin/env bash
# What low memory costs in accuracy, and what it saves, on a real model: SmolLM2-135M-Instruct
# trained one epoch on real HellaSwag rows by each recipe, with the same rows in the same order.
# Prints Markdown tables and draws loss and accuracy against memory. Builds nothing.
#
#   bench/real_table.sh [--choose-rates | --table] [OUT_DIR]
#
#   OUT_DIR         where runs, models and tables go (build/bench/real_table); 3 GB a seed, 5
#                   GB for the rates
#   --choose-rates  tries learning rates, once an optimizer, and writes RATES; trains no table
#   --table         the tables of what has finished, without training
#
# Started again with the same settings it goes on where it was: scripts/sweep.sh does that, but
# a run that was killed outright begins anew. A seed that is added later adds its runs. On two
# cores the rates take about an hour, the table of one seed two and a half (estimated).
#
# Environment, with what it is by default:
#   SEEDS="1"        seeds, such as "1 2 3": scores are means over them
#   ROWS=3803        training rows, the first ones; the 500 after these 3,803 choose the rates
#   EVAL_ROWS=1000   validation rows, the first ones
#   RECIPES=         names of the recipes (all; bench/real_recipes.py names them)
#   RATE_STEPS=200   steps of 8 rows for each learning rate that is tried
#   RATE_ROWS=500    held-out rows for its loss, the first ones
#   RATES            the file of learning rates (bench/real_rates.json)
#   RESULTS          folder for real_table.json: bench/results where rows and recipes are all
#                    there, else OUT_DIR
#   MODEL            folder of the model, made by scripts/real_model.sh where it is missing (in
#                    the user's cache folder)
#   LOWMEM_TRAIN     the executable (build/lowmem-train)
#   SHARED           a folder with data/hellaswag (../shared)
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
helper=$repository/bench/real_table.py
say() { printf 'real_table: %s\n' "$*" >&2; }
fail() { printf 'real_table: error: %s\n' "$*" >&2; exit 1; }
usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//p}' "$0"; }

stage=train out=''
while [ $# -gt 0 ]; do
  case $1 in
    --choose-rates) stage=rates ;;
    --table) stage=table ;;
    -h | --help) usage; exit ;;
    -*) fail "unknown option $1; see --help" ;;
    *) [ -z "$out" ] || fail "two folders: $out and $1; give one"
      out=$1 ;;
  esac
  shift
done
all_rows=3803 all_evaluated=1000
out=$(realpath -m "${out:-$repository/build/bench/real_table}")
SEEDS=${SEEDS:-1}
ROWS=${ROWS:-$all_rows}
EVAL_ROWS=${EVAL_ROWS:-$all_evaluated}
RECIPES=${RECIPES:-}
RATE_STEPS=${RATE_STEPS:-200}
RATE_ROWS=${RATE_ROWS:-500}
RATES=${RATES:-$repository/bench/real_rates.json}
LOWMEM_TRAIN=${LOWMEM_TRAIN:-$repository/build/lowmem-train}
shared=$(realpath -m "${SHARED:-$repository/../shared}")
deps=${LOWMEM_DEPS:-${XDG_CACHE_HOME:-$HOME/.cache}/lowmem-train}
MODEL=$(realpath -m "${MODEL:-$deps/smollm2/SmolLM2-135M-Instruct}")
train_rows=$shared/data/hellaswag/train_4303.jsonl
eval_rows=$shared/data/hellaswag/val_1000.jsonl
export LOWMEM_TRAIN OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}

for name in ROWS EVAL_ROWS RATE_STEPS RATE_ROWS; do
  [[ ${!name} =~ ^[1-9][0-9]*$ ]] || fail "$name=${!name}: give a number from 1 up"
done
[ "$ROWS" -le $all_rows ] ||
  fail "ROWS=$ROWS: at most $all_rows, since the rows after them choose the rates"
if [ "$EVAL_ROWS" -lt 2 ] || [ "$EVAL_ROWS" -gt $all_evaluated ]; then
  fail "EVAL_ROWS=$EVAL_ROWS: give 2 to $all_evaluated, which are all validation rows"
fi
if [ -z "${RESULTS:-}" ]; then
  RESULTS=$out
  if [ "$ROWS $EVAL_ROWS $RECIPES" = "$all_rows $all_evaluated " ]; then
    RESULTS=$repository/bench/results
  fi
fi

child=''
stop() {
  trap '' INT TERM HUP
  [ -z "$child" ] || { kill -TERM "$child" 2>/dev/null || true; wait "$child" || true; }
  say "stopped; the same command goes on from here"
  exit 143
}
trap stop INT TERM HUP
# In the background, so that a signal to this script is passed on at once. A run that fails
# does not keep the others from the table.
failed=0
sweep() {
  local status=0
  "$repository/scripts/sweep.sh" "$@" &
  child=$!
  wait "$child" || status=$?
  child=''
  [ "$status" -le 1 ] || exit "$status"
  [ "$status" -eq 0 ] || failed=1
}

tables() {
  mkdir -p "$RESULTS"
  python3 "$helper" table "$out/runs" "$RESULTS/real_table.json" --seeds "$SEEDS" \
    --rows "$ROWS" | tee "$out/real_table.md"
  python3 "$repository/bench/real_figure.py" "$RESULTS/real_table.json" "$out/real_table.svg"
  say "$RESULTS/real_table.json, $out/real_table.md, $out/real_table.svg"
}

if [ $stage = table ]; then
  tables
  exit
fi
if [ ! -e "$train_rows" ] || [ ! -e "$eval_rows" ]; then
  fail "there is no $train_rows, or no val_1000.jsonl beside it: a clone alone has no real rows;" \
    "SHARED names a folder with data/hellaswag"
fi
command -v "$LOWMEM_TRAIN" >/dev/null ||
  fail "there is no executable $LOWMEM_TRAIN: build it, or name one in LOWMEM_TRAIN"
mkdir -p "$out"
"$repository/scripts/real_model.sh" --no-check "$MODEL" >&2
common=(model.path="$MODEL" data.train="$train_rows" run.tensorboard=false memory.device=cpu)

if [ $stage = rates ]; then
  mkdir -p "$out/rates/recipes"
  python3 "$helper" held-out "$train_rows" $all_rows "$out/held_out.jsonl"
  tried=$(python3 "$helper" tried "$out/rates/recipes")
  while read -r config rates; do
    say "learning rates $rates for ${config##*/}"
    sweep --dir "$out/rates" --configs "$config" --override "optimizer.lr=$rates" --seeds 1 -- \
      "${common[@]}" data.limit=$all_rows train.max_steps="$RATE_STEPS" \
      eval.data="$out/held_out.jsonl" eval.limit="$RATE_ROWS"
  done <<<"$tried"
  [ $failed -eq 0 ] || fail "a run failed, by the lines above: remove its cause, start this again"
  python3 "$helper" choose "$out/rates" "$RATE_STEPS" "$RATE_ROWS" "$RATES"
  exit
fi

[ -e "$RATES" ] || fail "there are no learning rates, $RATES: run this with --choose-rates first"
mkdir -p "$out/recipes"
# shellcheck disable=SC2086
configs=$(python3 "$helper" recipes "$RATES" "$out/recipes" $RECIPES)
read -ra seeds <<<"$SEEDS"
sweep --dir "$out/runs" --configs "$(paste -sd, <<<"$configs")" \
  --seeds "$(IFS=, && echo "${seeds[*]}")" -- \
  "${common[@]}" data.limit="$ROWS" eval.data="$eval_rows" eval.limit="$EVAL_ROWS"
tables
exit $failed
