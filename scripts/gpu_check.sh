#!/usr/bin/env bash
# What only a GPU can show, in ten minutes of one: the GPU tests, then how fast and in how
# much memory random Llama-3.2-1B and Llama-3.1-8B train, beside what Python users run.
#
#   scripts/gpu_check.sh [options]      in an unpacked bundle (scripts/bundle.sh), or beside
#                                       a build in build/
#   --only LIST        sections, with commas: tests,1b,python,8b,sanitizer,python8b
#   --rows FILE        HellaSwag rows; by default the bundle's data/rows.jsonl, else made-up
#                      rows of HellaSwag's lengths
#   --tokenizer DIR    folder with Llama-3's tokenizer.json, for --rows; by default the
#                      bundle's data/tokenizer
#   --peak-tflops N    dense bf16 peak of the GPU, where the script does not know it
#   --budget SECONDS   end by then; what does not fit is left out (590; 1800 for a dry run)
#   --out DIR          for gpu_check.json, gpu_check.md and gpu_check.log (gpu_check)
#   --work DIR         for the models, then removed: 6 GB for 1B, 34 GB for 8B (/dev/shm
#                      where there is room, else TMPDIR)
#   --dry-run          the same on the CPU with tiny models: shows that the script works
#
# Needs LibTorch alone (scripts/gpu_check/libtorch.sh says where it looks), uses nvidia-smi,
# compute-sanitizer, and PYTHON (python3) with torch, transformers and tokenizers where they
# are there. SANITIZER_FILTER chooses the tests that run under compute-sanitizer.
#
# A run of ours is configs/lowmem.yaml on memory.device=cuda. Times are those of the steps
# after the first few. Exits 1 if a test or anything else failed; the rest is run all the
# same.
set -euo pipefail
export LC_ALL=C
root=$(cd "$(dirname "$0")/.." && pwd)
helpers=$root/scripts/gpu_check
# shellcheck source=scripts/gpu_check/report.sh
. "$helpers/report.sh"
# shellcheck source=scripts/gpu_check/models.sh
. "$helpers/models.sh"

say() { printf 'gpu_check: %s\n' "$*" >&2; }
die() { printf 'gpu_check: error: %s\n' "$*" >&2; exit 2; }

# --- options --------------------------------------------------------------------------
all=tests,1b,python,8b,sanitizer,python8b
only=$all rows='' tokenizer='' peak_tflops='' budget='' out=gpu_check work='' dry_run=false
while [ $# -gt 0 ]; do
  case "$1" in
    --dry-run) dry_run=true ;;
    --only | --rows | --tokenizer | --peak-tflops | --budget | --out | --work)
      [ $# -ge 2 ] || die "$1 needs a value"
      name=${1#--}
      declare "${name//-/_}=$2"
      shift ;;
    -h | --help) sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//p}' "$0"; exit ;;
    *) die "unknown option $1; see --help" ;;
  esac
  shift
done
for section in ${only//,/ }; do
  [[ ,$all, == *,"$section",* ]] || die "unknown section $section; they are $all"
done
[ -n "$budget" ] || budget=$($dry_run && echo 1800 || echo 590)
[[ $budget =~ ^[0-9]+$ ]] || die "--budget $budget is not a number of seconds"
if [ -z "$rows$tokenizer" ] && [ -e "$root/data/rows.jsonl" ] && [ -d "$root/data/tokenizer" ]; then
  rows=$root/data/rows.jsonl tokenizer=$root/data/tokenizer
fi
[ -z "$rows" ] || [ -r "$rows" ] || die "--rows $rows: no such file"
[ -z "$rows" ] || [ -n "$tokenizer" ] ||
  die "--rows needs --tokenizer: the demo's tokenizer knows few of their words"
[ -z "$tokenizer" ] || [ -d "$tokenizer" ] || die "--tokenizer $tokenizer: no such folder"

# --- what is here -----------------------------------------------------------------------
train=$root/lowmem-train tests=$root/device_gpu_test
if [ ! -x "$train" ]; then
  train=$root/build/lowmem-train tests=$root/build/tests/device_gpu_test
fi
[ -x "$train" ] || die "no lowmem-train in $root or $root/build"
library_path=$("$helpers/libtorch.sh") || exit 2
with_torch=(env "LD_LIBRARY_PATH=$library_path" "LOWMEM_FIXTURES_DIR=$root/tests/fixtures")
version=$("${with_torch[@]}" "$train" --version) ||
  die "lowmem-train does not start; $root/MANIFEST.txt says what it needs"
has_graphs=false
case $("${with_torch[@]}" "$train" --help) in *memory.cuda_graphs*) has_graphs=true ;; esac
PYTHON=${PYTHON:-python3}
device=cuda
! $dry_run || device=cpu

gib_free_in() { df --output=avail -k "$1" 2>/dev/null | awk 'END { print int($1 / 1048576) }'; }
memory_gib() { awk -v key="$1:" '$1 == key { print int($2 / 1048576) }' /proc/meminfo; }
if [ -z "$work" ]; then
  work=${TMPDIR:-/tmp}
  if [ "$(gib_free_in /dev/shm)" -ge 34 ] && [ "$(memory_gib MemAvailable)" -ge 58 ]; then
    work=/dev/shm
  fi
fi
mkdir -p "$work" "$out"
work=$(mktemp -d "$work/gpu_check-XXXXXX")
trap 'rm -rf "$work"' EXIT
out=$(cd "$out" && pwd)
log=$out/gpu_check.log
: >"$log"

smi() { nvidia-smi --query-gpu="$1" --format=csv,noheader -i 0 2>/dev/null || true; }
gpu='' driver='' gpu_memory=''
if $dry_run; then
  gpu='none: a dry run on the CPU'
else
  gpu=$(smi name) driver=$(smi driver_version) gpu_memory=$(smi memory.total)
  [ -n "$gpu" ] || gpu=$(sed -n 's/^Model: *//p' /proc/driver/nvidia/gpus/*/information \
    2>/dev/null | head -n 1) || true
fi
[ -n "$peak_tflops" ] || peak_tflops=$(peak_of "$gpu")

# --- time -------------------------------------------------------------------------------
section_end=$budget longest=$budget
# begin SECTION SECONDS LONGEST: whether it was asked for and there is time. No command of
# it may take longer than LONGEST, so that one which hangs leaves time for the others.
begin() {
  [[ ,$only, == *,"$1",* ]] || return 1
  longest=$3
  section_end=$((SECONDS + $2))
  if $dry_run; then section_end=$budget longest=$budget; fi # a CPU takes what it takes
  [ "$section_end" -le "$budget" ] || section_end=$budget
  if [ "$section_end" -lt $((SECONDS + 5)) ]; then
    say "$1: left out, no time left"
    report_left_out "$1" "no time left"
    return 1
  fi
  say "--- $1 (at $SECONDS s)"
}

# attempt TITLE COMMAND...: runs it within the section's time, its output to $work/output
# and the log. On failure $reason says why; a lack of time is no failure but $left_out.
attempt() {
  local title=$1 limit=$((section_end - SECONDS)) status=0
  shift
  reason='' left_out=false
  if [ "$limit" -lt 5 ]; then
    reason='no time left' left_out=true
    return 1
  fi
  [ "$limit" -le "$longest" ] || limit=$longest
  printf '\n### %s\n+ %s\n' "$title" "$*" >>"$log"
  timeout --kill-after=10 "$limit" "$@" >"$work/output" 2>&1 </dev/null || status=$?
  cat "$work/output" >>"$log"
  case $status in
    0) return ;;
    124 | 137) reason="stopped after $limit s" ;;
    *) reason=$(grep -iE 'error|out of memory' "$work/output" | tail -n 1 | cut -c1-200) || true
      reason="failed ($status)${reason:+: $reason}" ;;
  esac
  return "$status"
}
failed=0
broken() { # broken TITLE: reports what attempt() met
  say "$1: $reason"
  if $left_out; then report_left_out "$1" "$reason"; else failed=1; fi
}

# --- runs -------------------------------------------------------------------------------
# ours MODEL KIND GRAPHS: trains and reports.
ours() {
  local model=$1 kind=$2 graphs=$3 title data batch length steps warmup every tokens_of_row
  shape "$kind"
  local overrides=(
    "model.path=$work/$model" "data.train=$data" data.shuffle=false "data.max_length=$length"
    eval.data= "train.batch_size=$batch" train.epochs=1000 "train.max_steps=$steps"
    "train.log_every=$every" "memory.device=$device" "run.dir=$work/runs" run.overwrite=true)
  if $has_graphs; then
    overrides+=("memory.cuda_graphs=$([ "$graphs" = on ] && echo true || echo false)")
  elif [ "$graphs" = off ]; then
    return # nothing to switch
  else
    graphs=''
  fi
  local run=$work/runs/lowmem sums=''
  local label
  label="$(name_of "$model"), $title, lowmem-train${graphs:+, graphs $graphs}"
  if attempt "$label" "${with_torch[@]}" "$train" --config "$root/configs/lowmem.yaml" \
    "${overrides[@]}"; then
    sums=$(awk -v warmup="$warmup" -f "$helpers/metrics.awk" "$run/metrics.jsonl")
    if [ "$tokens_of_row" != 0 ] && ! awk -v want="$tokens_of_row" \
      '{ exit $4 == $3 * want ? 0 : 1 }' <<<"$sums"; then
      reason="failed: the rows were not $tokens_of_row tokens long"
    fi
  fi
  [ -z "$reason" ] || broken "$label"
  $left_out || report_run "$model" "$kind" "$title" lowmem-train "$graphs" "$sums" \
    "$(field total "$run/results.json")" "$(field device_used_bytes "$run/results.json")" \
    "$reason"
  rm -rf "$work/runs" # with the trained model
}

# python_run MODEL KIND PROGRAM NAME
python_run() {
  local model=$1 kind=$2 program=$3 name=$4
  local title data batch length steps warmup every tokens_of_row sums='' key
  shape "$kind"
  $dry_run || steps=12 warmup=4
  local label answer=$work/answer.json
  label="$(name_of "$model"), $title, $name"
  : >"$answer"
  if attempt "$label" "$PYTHON" "$helpers/compare.py" "$program" --batch "$batch" \
    --config "$work/config/$model/config.json" --tokenizer "$work/config/$model" \
    --rows "$data" --length "$length" --steps "$steps" --warmup "$warmup" --device "$device"
  then
    grep '^{' "$work/output" >"$answer"
    for key in steps seconds examples tokens labelled_tokens; do
      sums+="$(field "$key" "$answer") "
    done
  fi
  [ -z "$reason" ] || broken "$label"
  $left_out || report_run "$model" "$kind" "$title" "$name" '' "$sums" "$(field total "$answer")" \
    "$(field device_used_bytes "$answer")" "$reason"
}

run_tests() {
  if [ ! -x "$tests" ]; then
    report_tests "missing: there is no ${tests##*/} here" ''
    $dry_run || failed=1
    return
  fi
  local status=0
  attempt "GPU tests" "${with_torch[@]}" "$tests" || status=$?
  if [ "$status" = 77 ] && $dry_run; then
    report_tests 'skipped: no GPU (dry run)' "$work/output"
  elif [ "$status" = 77 ]; then
    failed=1
    report_tests "failed: $(tail -n 1 "$work/output")" "$work/output"
  elif [ "$status" = 0 ]; then
    report_tests passed "$work/output"
  else
    failed=1
    report_tests "$reason" "$work/output"
  fi
}

# Memory errors and races in the tests that launch little; those of whole loss curves would
# take minutes.
run_sanitizer() {
  local tool sanitizer='' errors status
  for tool in "$(command -v compute-sanitizer || true)" /usr/local/cuda/bin/compute-sanitizer; do
    if [ -n "$tool" ] && [ -x "$tool" ]; then sanitizer=$tool; break; fi
  done
  if [ -z "$sanitizer" ] || [ ! -x "$tests" ]; then
    report_left_out sanitizer "$([ -n "$sanitizer" ] && echo no GPU tests || echo no compute-sanitizer) here"
    return
  fi
  for tool in memcheck racecheck; do
    status=0
    attempt "compute-sanitizer $tool" "${with_torch[@]}" "$sanitizer" --tool "$tool" \
      --error-exitcode 99 "$tests" \
      "--gtest_filter=${SANITIZER_FILTER:--*Curve*:*Training*:*Memory*:*Large*}" || status=$?
    errors=$(sed -n 's/^=* *\(ERROR SUMMARY\|RACECHECK SUMMARY\): *\([0-9]*\).*/\2/p' \
      "$work/output" | tail -n 1)
    if [ "$status" = 77 ] && $dry_run; then
      report_sanitizer "$tool" 'skipped: no GPU (dry run)' ''
    elif [ -z "$errors" ] || grep -q 'Device not supported' "$work/output"; then
      report_sanitizer "$tool" "did not run: ${reason:-no summary}" ''
    elif [ "$errors" = 0 ] && [ "$status" = 0 ]; then
      report_sanitizer "$tool" clean 0
    else
      failed=1
      report_sanitizer "$tool" "${reason:-failed}" "$errors"
    fi
  done
}

# room_for MODEL: whether there is disk for it and for what a run saves; says what is missing.
room_for() {
  local need=6
  [ "$1" = 1b ] || need=34
  $dry_run && need=0
  [ "$(gib_free_in "$work")" -ge "$need" ] && return
  reason="needs $need GiB in $work; $(gib_free_in "$work") are free"
  report_left_out "$1" "$reason"
  say "$1: left out, $reason"
  return 1
}
have_python() {
  "$PYTHON" -c 'import torch, transformers, tokenizers' 2>>"$log" && return
  say "$1: left out, $PYTHON has no torch, transformers or tokenizers"
  report_left_out "$1" "$PYTHON has no torch, transformers or tokenizers"
  return 1
}
# trainings MODEL KIND/GRAPHS...
trainings() {
  local model=$1 run
  shift
  room_for "$model" || return 0
  if ! make_model "$model"; then
    broken "init $model"
    $left_out || report_left_out "$model" "its model could not be made: $reason"
    return 0
  fi
  for run in "$@"; do ours "$model" "${run%/*}" "${run#*/}"; done
  rm -rf "${work:?}/$model"
}

# --- main -------------------------------------------------------------------------------
torch=$("$helpers/libtorch.sh" --version)
cpu=$(sed -n '/^model name/{s/[^:]*: //p; q}' /proc/cpuinfo)
say "${gpu:-no GPU found}${gpu_memory:+, $gpu_memory}; LibTorch ${torch:-in ${library_path%%:*}}"
report_begin
[ -z "$gpu" ] || nvidia-smi >>"$log" 2>&1 || true
"${with_torch[@]}" "$train" --quiet demo "$work/demo" >>"$log" 2>&1 || die "the demo cannot be written"
make_rows

# Tests and the targets at batch 8 come first; compute-sanitizer can take any time.
! begin tests 150 150 || run_tests
! begin 1b 150 60 || trainings 1b 160/on short/on 2048/on 160/off short/off 2048/off
if begin python 110 60 && have_python python; then
  configure 1b
  python_run 1b short recipe 'Python recipe'
  python_run 1b 160 recipe 'Python recipe'
  python_run 1b short plain 'transformers, AdamW'
  python_run 1b 2048 plain 'transformers, AdamW'
fi
! begin 8b 300 120 || trainings 8b 2048/on 160/on short/on 160/off short/off 2048/off
! begin sanitizer 120 90 || run_sanitizer
if begin python8b 60 60 && have_python python8b; then
  configure 8b
  python_run 8b short recipe 'Python recipe'
  python_run 8b 160 recipe 'Python recipe'
fi
report_end
cat "$out/gpu_check.md"
say "wrote $out/gpu_check.json, gpu_check.md and gpu_check.log in $SECONDS s"
exit "$failed"
