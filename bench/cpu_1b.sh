#!/usr/bin/env bash
# Whole training steps and evaluations on the CPU, beside what Python users run today, as
# Markdown tables. Builds nothing: cmake --build build --target lowmem-train comes first.
#
#   bench/cpu_1b.sh [python] [ours] [long] [8b] [cost] [eval]     # default: all, 30-40 min
#
#   python  the low-memory recipe of usamec/lowmem_finetuning in Python, on a random
#           Llama-3.2-1B, padded to 160 tokens and padded to the batch's longest row
#   ours    the same model and rows with configs/lowmem.yaml; with `python`, in turns
#   long    both on rows that are all 160 tokens long
#   8b      a random Llama-3.1-8B, two steps of batch 8
#   cost    60M, 1B and 8B parameters by batches of 1, 8 and 32
#   eval    200 HellaSwag rows on the 60M model in fp32, beside lm-evaluation-harness; 100
#           rows on the 1B model in bf16, a row's query run once or four times
#
# Environment:
#   LOWMEM_TRAIN  the program                            (build/lowmem-train)
#   SHARED        real rows, tokenizer, Python recipe    (../shared)
#   PYTHON        has torch, transformers and lm_eval; else its rows are left out (python3)
#   WORK          folder for the models, then kept       (a temporary one, removed)
#   RESULTS       folder for logs and JSON lines         (build/bench/cpu_1b)
#   ROUNDS        how often `python` and `ours` take turns        (1)
#   STEPS         steps of a run of ours; the first is not counted        (10)
#   SIZES         models of `cost`                       (60m 1b 8b)
#   CONFIG_1B     a config.json to use in the place of Llama-3.2-1B's
#
# A time is the median of the steps after the first. Models and saved results need 5 GB of
# disk for 1B and 34 GB for 8B.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
SHARED=$(realpath -m "${SHARED:-$repository/../shared}")
PYTHON=${PYTHON:-python3}
LOWMEM_TRAIN=${LOWMEM_TRAIN:-$repository/build/lowmem-train}
RESULTS=${RESULTS:-$repository/build/bench/cpu_1b}
STEPS=${STEPS:-10}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)}
rows=$SHARED/data/hellaswag/train_4303.jsonl
recipe=$SHARED/anchors/python_recipe.py
failed=0

say() { printf 'cpu_1b: %s\n' "$*" >&2; }
tables() { python3 "$repository/bench/cpu_1b_tables.py" "$@"; }

. "$repository/bench/models.sh"  # model NAME

# Whether this machine can train the 8B model; says what is missing.
room_for_8b() {
  local disk memory need=34
  [ -e "$WORK/8b/config.json" ] && need=17
  disk=$(($(df --output=avail -k "$WORK" | tail -1) / 1024 / 1024))
  memory=$(($(sed -n 's/MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo) / 1024 / 1024))
  [ "$disk" -ge "$need" ] && [ "$memory" -ge 17 ] && return
  echo "Llama-3.1-8B is left out: it needs $need GiB of disk in $WORK ($disk are free) and 17" \
    "GiB of memory ($memory are free)."
  return 1
}

# --- measurements ---------------------------------------------------------------------
# A section's JSON lines are in $RESULTS/SECTION.jsonl.
begin() { : >"$RESULTS/$1.jsonl"; }

# ours SECTION LABEL MODEL ROWS STEPS BATCH: trains and records.
ours() {
  local section=$1 label=$2 model=$3 data=$4 steps=$5 batch=$6
  local log=$RESULTS/$section-${label// /_}.log
  say "$section: $label, $steps steps of batch $batch"
  if "$LOWMEM_TRAIN" --config "$repository/configs/lowmem.yaml" "model.path=$WORK/$model" \
    "data.train=$data" data.shuffle=false "data.limit=$((steps * batch))" eval.data= \
    "train.batch_size=$batch" "train.max_steps=$steps" train.log_every=1 \
    "run.dir=$WORK/runs" run.overwrite=true >"$log" 2>&1; then
    tables record-run "$label" "$WORK/runs/lowmem" "$batch" >>"$RESULTS/$section.jsonl"
  else
    broken "$log"
  fi
  rm -rf "$WORK/runs" # with the trained model
}

# seed_recipe SECTION LABEL RECIPE ARGUMENTS...: runs the Python recipe and records.
seed_recipe() {
  local section=$1 label=$2 script=$3
  shift 3
  local log=$RESULTS/$section-${label//[ ,]/_}.log
  [ -z "${CONFIG_1B:-}" ] || set -- --model "$WORK/1b" "$@"
  say "$section: $label"
  if "$PYTHON" "$script" --threads "$OMP_NUM_THREADS" --steps 3 "$@" >"$log" 2>&1; then
    tables record-recipe "$label" "$log" 8 >>"$RESULTS/$section.jsonl"
  else
    broken "$log"
  fi
}
have_python() {
  "$PYTHON" -c 'import torch, transformers, tokenizers' 2>/dev/null && return
  echo "The Python recipe's rows are left out: $PYTHON lacks torch, transformers or tokenizers."
  return 1
}
broken() {
  say "this run failed; the end of $1:"
  tail -n 5 "$1" >&2
  failed=1
}

# --- sections -------------------------------------------------------------------------
speed() { # WHO...
  printf '\n## Speed and peak: 1B, batch 8, real rows\n\n'
  local who=" $* "
  [[ $who != *" python "* ]] || have_python || who=${who/ python / }
  begin speed
  model 1b
  for _ in $(seq "${ROUNDS:-1}"); do
    [[ $who != *" python "* ]] || seed_recipe speed "Python, padded to 160" "$recipe"
    [[ $who != *" ours "* ]] || ours speed lowmem-train 1b "$rows" "$STEPS" 8
    [[ $who != *" python "* ]] || seed_recipe speed "Python, --dynamic" "$recipe" --dynamic
    [[ $who != *" python "*" ours "* && $who != *" ours "*" python "* ]] ||
      ours speed lowmem-train 1b "$rows" "$STEPS" 8
  done
  tables compare "$RESULTS/speed.jsonl"
}

# The recipe takes its data from beside itself: here, a folder of links with other rows.
long() {
  printf '\n## Long rows: 1B, batch 8, every row cut at 160 tokens\n\n'
  begin long
  model 1b
  local beside=$WORK/long
  mkdir -p "$beside/anchors" "$beside/data/hellaswag"
  ln -sfn "$recipe" "$beside/anchors/python_recipe.py"
  ln -sfn "$SHARED/tokenizers" "$beside/tokenizers"
  local data=$beside/data/hellaswag/train_4303.jsonl
  tables long-rows "$rows" "$((8 * STEPS))" >"$data"
  ! have_python || seed_recipe long "Python" "$beside/anchors/python_recipe.py"
  ours long lowmem-train 1b "$data" "$(((STEPS + 1) / 2))" 8
  tables compare "$RESULTS/long.jsonl"
}

eight_billion() {
  printf '\n## Llama-3.1-8B, batch 8, two steps\n\n'
  room_for_8b || return 0
  begin 8b
  model 8b
  ours 8b "8B" 8b "$rows" 2 8
  tables cost "$RESULTS/8b.jsonl"
}

cost() {
  printf '\n## Cost of a step\n\n'
  begin cost
  local size batch steps
  for size in ${SIZES:-60m 1b 8b}; do
    steps=$STEPS
    if [ "$size" = 8b ]; then
      room_for_8b || continue
      steps=3
    fi
    model "$size"
    for batch in 1 8 32; do ours cost "${size^^}" "$size" "$rows" "$steps" "$batch"; done
  done
  tables cost "$RESULTS/cost.jsonl"
}

# evaluate SECTION MODEL DTYPE ROWS OVERRIDES...: scores the first ROWS rows; prints the
# seconds of the whole process.
evaluate() {
  local section=$1 model=$2 dtype=$3 limit=$4 start=$EPOCHREALTIME
  shift 4
  "$LOWMEM_TRAIN" --quiet evaluate "model.path=$WORK/$model" "model.dtype=$dtype" \
    "model.compute_dtype=$dtype" "eval.data=$SHARED/data/hellaswag/val_1000.jsonl" \
    eval.bos=true "eval.limit=$limit" --rows "$RESULTS/$section.rows" "$@" \
    >"$RESULTS/$section.log" 2>&1
  awk "BEGIN { print $EPOCHREALTIME - $start }"
}

# evaluated SECTION LABEL MODEL DTYPE ROWS OVERRIDES...: scores and records. Start-up is the
# time of one row.
evaluated() {
  local section=$1 label=$2 start_up seconds
  shift 2
  local model=$1 dtype=$2 rows=$3
  shift 3
  say "$section: $label"
  if start_up=$(evaluate "$section" "$model" "$dtype" 1 "$@") &&
    seconds=$(evaluate "$section" "$model" "$dtype" "$((rows + 1))" "$@"); then
    tables record-evaluation "$label" "$RESULTS/$section.rows" "$seconds" "$start_up" \
      "$rows" >>"$RESULTS/$section.jsonl"
  else
    broken "$RESULTS/$section.log"
  fi
}

evaluation() {
  printf '\n## Evaluation: 200 rows, 60M parameters, fp32\n\n'
  begin eval
  model 60m
  evaluated eval lowmem-train 60m fp32 200
  if "$PYTHON" -c 'import torch, transformers, lm_eval' 2>/dev/null; then
    say "eval: lm-evaluation-harness"
    "$PYTHON" "$repository/bench/lm_eval_rows.py" "$WORK/60m" \
      "$SHARED/data/hellaswag/val_1000.jsonl" --limit 200 2>"$RESULTS/lm_eval.log" \
      >>"$RESULTS/eval.jsonl" || broken "$RESULTS/lm_eval.log"
  else
    echo "The harness's row is left out: $PYTHON lacks torch, transformers or lm_eval."
  fi
  tables evaluation "$RESULTS/eval.jsonl"

  printf '\n## Evaluation: 100 rows, 1B parameters, bf16\n\n'
  begin eval1b
  model 1b
  evaluate eval1b 1b bf16 1 >/dev/null # into the page cache
  evaluated eval1b "each query once" 1b bf16 100
  evaluated eval1b "four texts a row" 1b bf16 100 eval.share_query=false
  tables evaluation "$RESULTS/eval1b.jsonl"
}

# --- main -----------------------------------------------------------------------------
[ $# -gt 0 ] || set -- python ours long 8b cost eval
for section in "$@"; do
  case "$section" in
    python | ours | long | 8b | cost | eval) ;;
    *) say "unknown section $section; they are python, ours, long, 8b, cost and eval"
       exit 2 ;;
  esac
done
if [ ! -e "$recipe" ]; then
  say "needs $recipe and the rows and tokenizer beside it; SHARED names another folder"
  exit 77
fi
if [ ! -x "$LOWMEM_TRAIN" ]; then
  say "$LOWMEM_TRAIN is missing; run cmake --build build --target lowmem-train"
  exit 1
fi
if [ -z "${WORK:-}" ]; then
  WORK=$(mktemp -d)
  trap 'rm -rf "$WORK"' EXIT
fi
mkdir -p "$WORK" "$RESULTS"

echo "$(sed -n '/^model name/{s/[^:]*: //p; q}' /proc/cpuinfo), $OMP_NUM_THREADS threads," \
  "$(sed -n 's/MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo |
    awk '{ printf "%.0f", $1 / 1048576 }') GiB; lowmem-train" \
  "$("$LOWMEM_TRAIN" --version); load average $(cut -d' ' -f1 /proc/loadavg) before"
wanted=" $* "
case "$wanted" in *" python "* | *" ours "*) speed "$@" ;; esac
[[ $wanted != *" long "* ]] || long
[[ $wanted != *" 8b "* ]] || eight_billion
[[ $wanted != *" cost "* ]] || cost
[[ $wanted != *" eval "* ]] || evaluation
exit "$failed"
