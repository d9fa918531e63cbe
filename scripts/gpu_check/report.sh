# shellcheck shell=bash
# What scripts/gpu_check.sh writes: gpu_check.json and gpu_check.md. Sourced by it; reads its
# variables.
# shellcheck disable=SC2154

# field KEY FILE: a number of a JSON file, the first of that name; nothing without it.
field() {
  [ -e "$2" ] || return 0
  sed -n "/\"$1\": *[-+0-9]/{s/.*\"$1\": *\([-+0-9.eE]\{1,\}\).*/\1/p; q}" "$2"
}

# json_object KEY=TEXT KEY:=NUMBER...: empty values are null.
json_object() {
  local pair key value separator='' text='{'
  for pair in "$@"; do
    key=${pair%%=*} value=${pair#*=}
    if [ -z "$value" ]; then
      value=null
    elif [[ $key != *: ]]; then
      value=$(printf '%s' "$value" | tr -d '\000-\037')
      value=${value//\\/\\\\}
      value="\"${value//\"/\\\"}\""
    fi
    text+="$separator\"${key%:}\": $value"
    separator=', '
  done
  printf '%s}\n' "$text"
}

report_begin() {
  declare -gA examples_of=() share_of=() peak_of_run=()
  tests_json='{"status": null}'
  tests_line=''
  : >"$work/runs.jsonl"
  : >"$work/runs.md"
  : >"$work/sanitizer.jsonl"
  : >"$work/left_out.jsonl"
  : >"$work/notes.md"
}

# report_left_out SECTION WHY
report_left_out() {
  json_object "section=$1" "reason=$2" >>"$work/left_out.jsonl"
  printf -- '- %s: left out, %s.\n' "$1" "$2" >>"$work/notes.md"
}

# report_tests STATUS GTEST_OUTPUT
report_tests() {
  local passed='' broken='' ran=''
  if [ -n "$2" ]; then
    ran=$(sed -n 's/^\[==========\] \([0-9]*\) tests\{0,1\} from .* ran\..*/\1/p' "$2")
    passed=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) tests\{0,1\}\..*/\1/p' "$2")
    broken=$(sed -n 's/^\[  FAILED  \] \([^ ,]*\)$/\1/p; s/^\[  FAILED  \] \([^ ]*\), where.*/\1/p' \
      "$2" | sort -u | tr '\n' ' ')
  fi
  tests_json=$(json_object "status=$1" "ran:=$ran" "passed:=$passed" "failed=${broken% }")
  tests_line="$1${ran:+; $ran ran, ${passed:-0} passed}${broken:+; failed: ${broken% }}"
  say "tests: $tests_line"
}

# report_sanitizer TOOL STATUS ERRORS
report_sanitizer() {
  json_object "tool=$1" "status=$2" "errors:=$3" >>"$work/sanitizer.jsonl"
  printf -- '- compute-sanitizer, %s: %s.\n' "$1" "$2${3:+, $3 errors}" >>"$work/notes.md"
  say "compute-sanitizer $1: $2"
}

# report_run MODEL KIND TITLE PROGRAM GRAPHS SUMS PEAK_BYTES USED_BYTES REASON
# SUMS: steps seconds examples tokens labelled_tokens, of the steps that count.
report_run() {
  local model=$1 kind=$2 title=$3 program=$4 graphs=$5 sums=$6 peak=$7 used=$8 why=$9
  local flops name
  local step='' per_second='' tokens='' labelled='' tokens_per_second='' tflops='' share='' useful=''
  name=$(name_of "$model")
  if [ -n "$why" ] || ! awk '{ exit $1 > 0 && $2 > 0 ? 0 : 1 }' <<<"$sums"; then
    why=${why:-failed: no step was timed}
    peak='' used=''
  else
    read -r step per_second tokens labelled tokens_per_second < <(awk \
      '{ printf "%.6g %.6g %.6g %.6g %.6g\n", $2 / $1, $3 / $2, $4 / $1, $5 / $1, $4 / $2 }' <<<"$sums")
    flops=$(awk -f "$helpers/flops.awk" -v tokens="$tokens" -v labelled="$labelled" \
      -v rows="$(awk '{ print $3 / $1 }' <<<"$sums")" "$work/config/$model/config.json")
    read -r tflops share useful < <(awk -v seconds="$step" -v peak="${peak_tflops:-0}" '{
      all = $1 / seconds / 1e12
      if (peak > 0) printf "%.4g %.4g %.4g\n", all, all / peak, $2 / seconds / 1e12 / peak
      else printf "%.4g\n", all }' <<<"$flops")
    examples_of[$model/$kind/$program]=$(larger "$per_second" "${examples_of[$model/$kind/$program]:-0}")
    share_of[$model/$kind/$program]=$(larger "${share:-0}" "${share_of[$model/$kind/$program]:-0}")
    peak_of_run[$model/$kind/$program]=$(larger "$peak" "${peak_of_run[$model/$kind/$program]:-0}")
  fi
  local on=''
  [ -z "$graphs" ] || on=$([ "$graphs" = on ] && echo true || echo false)
  json_object "model=$name" "rows=$title" "program=$program" "cuda_graphs:=$on" \
    "dry_run:=$dry_run" "tokens_per_step:=$tokens" "labelled_tokens_per_step:=$labelled" \
    "step_seconds:=$step" "examples_per_second:=$per_second" \
    "tokens_per_second:=$tokens_per_second" "tflops:=$tflops" "roofline_share:=$share" \
    "roofline_share_without_recomputation:=$useful" "peak_bytes:=$peak" \
    "device_used_bytes:=$used" "problem=$why" >>"$work/runs.jsonl"
  printf '| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n' "$name" "$title" \
    "$program" "${graphs:--}" "$(shown %.0f "$tokens")" "$(shown %.4f "$step")" \
    "$(shown %.1f "$per_second")" "$(shown %.0f "$tokens_per_second")" "$(shown %.1f "$tflops")" \
    "$(percent "$share")" "$(gib "$peak")" "$(gib "$used")" >>"$work/runs.md"
  local label="$name, $title, $program${graphs:+, graphs $graphs}"
  if [ -n "$why" ]; then
    printf -- '- %s: %s.\n' "$label" "$why" >>"$work/notes.md"
  else
    say "$label: $(shown %.4f "$step") s a step"
  fi
}

larger() { awk -v a="${1:-0}" -v b="${2:-0}" 'BEGIN { print (a > b ? a : b) }'; }
# shown FORMAT NUMBER: the number, or a dash without one.
shown() { if [ -n "$2" ]; then awk -v f="$1" -v n="$2" 'BEGIN { printf f, n }'; else printf -- -; fi; }
percent() { if [ -n "$1" ]; then awk -v n="$1" 'BEGIN { printf "%.1f%%", 100 * n }'; else printf -- -; fi; }
# gib BYTES: 0 is what was not measured.
gib() {
  awk -v n="${1:-0}" 'BEGIN { if (n > 0) printf "%.3f", n / 1073741824; else printf "-" }'
}

# target WHAT BOUND MEASURED UNIT at_most|at_least: 0 is what was not measured.
target() {
  local verdict='not measured' measured=''
  if awk -v m="${3:-0}" 'BEGIN { exit m > 0 ? 0 : 1 }'; then
    measured=$3
    verdict=$(awk -v m="$3" -v b="$2" -v how="$5" \
      'BEGIN { print (how == "at_most" ? m <= b : m >= b) ? "met" : "missed" }')
  fi
  json_object "what=$1" "bound:=$2" "measured:=$measured" "verdict=$verdict" >>"$work/targets.jsonl"
  printf '| %s | %s %s%s | %s | %s |\n' "$1" "${5/_/ }" "$2" "$4" "$(shown %.3f "$measured")" \
    "$verdict" >>"$work/targets.md"
}
in_gib() { awk -v n="${1:-0}" 'BEGIN { printf "%.4g", n / 1073741824 }'; }
targets() {
  local kind title ratio
  for kind in short 160; do
    title=$(shape "$kind" && echo "$title")
    target "1B, $title: allocator peak" 2.5 \
      "$(in_gib "${peak_of_run[1b/$kind/lowmem-train]:-}")" " GiB" at_most
    target "8B, $title: allocator peak" 15.8 \
      "$(in_gib "${peak_of_run[8b/$kind/lowmem-train]:-}")" " GiB" at_most
    ratio=$(awk -v a="${examples_of[1b/$kind/lowmem-train]:-0}" \
      -v b="${examples_of[1b/$kind/Python recipe]:-0}" 'BEGIN { printf "%.4g", b > 0 ? a / b : 0 }')
    target "1B, $title: examples/s over the Python recipe's" 5 "$ratio" " times" at_least
  done
  target "8B, 4 x 2048: share of the bf16 peak" 0.65 "${share_of[8b/2048/lowmem-train]:-}" "" at_least
}

list() { sed '$!s/$/,/; s/^/    /' "$1"; } # JSON lines as the inside of an array

report_end() {
  : >"$work/targets.jsonl"
  : >"$work/targets.md"
  $dry_run || targets
  {
    echo '{'
    echo "  \"dry_run\": $dry_run,"
    echo "  \"versions\": $(json_object "lowmem_train=$version" "libtorch=$torch"),"
    echo "  \"machine\": $(json_object "gpu=$gpu" "driver=$driver" "gpu_memory=$gpu_memory" \
      "peak_bf16_tflops:=$peak_tflops" "cpu=$cpu" "threads:=$(nproc)" \
      "memory_gib:=$(memory_gib MemTotal)"),"
    echo "  \"sections\": \"$only\","
    echo "  \"tests\": $tests_json,"
    local name
    for name in sanitizer runs targets left_out; do
      printf '  "%s": [\n' "$name"
      list "$work/$name.jsonl"
      echo '  ],'
    done
    echo "  \"failed\": $([ "$failed" = 0 ] && echo false || echo true),"
    echo "  \"seconds\": $SECONDS"
    echo '}'
  } >"$out/gpu_check.json"
  {
    if $dry_run; then
      echo '**Dry run: tiny models on the CPU. These figures say nothing about a GPU.**'
      echo
    fi
    echo "${gpu:-No GPU found}${gpu_memory:+, $gpu_memory}${driver:+, driver $driver};" \
      "${cpu:-CPU}, $(nproc) threads; lowmem-train $version, LibTorch ${torch:-?}."
    echo
    [ -z "$tests_line" ] || echo "- GPU tests: $tests_line."
    cat "$work/notes.md"
    echo
    echo '| model | rows | program | graphs | tokens a step | s a step | examples/s | tokens/s |' \
      'TFLOP/s | of the peak | allocator peak GiB | device used GiB |'
    echo '|---|---|---|---|---|---|---|---|---|---|---|---|'
    cat "$work/runs.md"
    echo
    echo "Tokens without padding. Share of ${peak_tflops:-an unknown} dense bf16 TFLOP/s:" \
      'forward, recomputation and backward, attention and head counted (flops.awk).'
    if [ -s "$work/targets.md" ]; then
      printf '\n| target | bound | measured | |\n|---|---|---|---|\n'
      cat "$work/targets.md"
    fi
  } >"$out/gpu_check.md"
}
