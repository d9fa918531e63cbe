#!/usr/bin/env bash
# Fuzzes everything that reads a file from outside: builds tests/fuzz with Clang and runs
# each target, two at a time.
#
#   scripts/fuzz.sh SECONDS [TARGET...]    # targets: the names of tests/fuzz/*.cpp
#
# First come the inputs of tests/fuzz/regressions, then SECONDS of new ones on a copy of
# tests/fuzz/corpus. Anything but an Error or success is a finding: another exception, a
# sanitizer's report, a leak, an input that takes more than 5 seconds or 512 MiB. Exits with
# 1 if there is one; it is kept in build/fuzz/findings. docs/fuzzing.md says what to do with
# it. LOWMEM_FUZZ_BUILD names another build folder.
set -euo pipefail
cd "$(dirname "$0")/.."
usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//p}' "$0"; }
[[ "${1:-}" =~ ^[0-9]+$ ]] || { usage >&2; exit 2; }
export seconds=$1
shift
mapfile -t all < <(cd tests/fuzz && ls -- *.cpp | sed 's/\.cpp$//')
targets=("${@:-${all[@]}}")
for target in "${targets[@]}"; do
  [ -e "tests/fuzz/$target.cpp" ] && continue
  echo "fuzz: error: no target $target; the targets are ${all[*]}" >&2
  exit 2
done

export build=${LOWMEM_FUZZ_BUILD:-build/fuzz}
cmake --preset fuzz -B "$build" >/dev/null
cmake --build "$build" -- "${targets[@]/#/fuzz_}"
rm -rf "$build/findings" "$build/corpus" "$build/logs"
mkdir -p "$build/findings" "$build/logs"

# The input folders of targets that crash, which cannot remove their own.
memory=/dev/shm
[ -w $memory ] || memory=${TMPDIR:-/tmp}
TMPDIR=$(mktemp -d "$memory/lowmem-fuzz-XXXXXX")
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT

# Memory that was freed counts too while AddressSanitizer holds it back.
export ASAN_OPTIONS=quarantine_size_mb=16:detect_stack_use_after_return=1

fuzz() {
  local target=$1 program=$build/tests/fuzz/fuzz_$1 corpus=$build/corpus/$1 log=$build/logs/$1
  local options=(-timeout=5 -rss_limit_mb=512 -malloc_limit_mb=512
    -artifact_prefix="$build/findings/$target-")
  mkdir -p "$corpus"
  cp tests/fuzz/corpus/"$target"/* "$corpus"
  if [ -e "tests/fuzz/dictionaries/$target.dict" ]; then
    options+=(-dict="tests/fuzz/dictionaries/$target.dict")
  fi
  local outcome=none
  if [ -d "tests/fuzz/regressions/$target" ]; then
    "$program" "${options[@]}" tests/fuzz/regressions/"$target"/* >"$log.regressions" 2>&1 ||
      outcome="a regression, see $log.regressions"
  fi
  if [ "$outcome" = none ] && [ "$seconds" -gt 0 ]; then
    "$program" "${options[@]}" -max_total_time="$seconds" -print_final_stats=1 "$corpus" \
      >"$log" 2>&1 || outcome="see $log"
  fi
  touch "$log"
  number() { sed -n "s/$1/\\1/p" "$log" | tail -1 | grep . || echo -; }
  printf '%-18s %12s %8s %7s %9s  %s\n' "$target" \
    "$(number '^stat::number_of_executed_units: *\(.*\)')" \
    "$(number '^stat::average_exec_per_sec: *\(.*\)')" \
    "$(number '.* cov: \([0-9]*\) .*')" "$(number '.* ft: \([0-9]*\) .*')" "$outcome" \
    >"$build/logs/$target.row"
}
export -f fuzz
printf '%s\n' "${targets[@]}" | xargs -P 2 -I{} bash -c 'fuzz {}'

printf '%-18s %12s %8s %7s %9s  %s\n' target executions exec/s edges features findings
for target in "${targets[@]}"; do cat "$build/logs/$target.row"; done
if ls "$build"/findings/* >/dev/null 2>&1 || grep -qv ' none$' "$build"/logs/*.row; then
  echo "fuzz: findings are in $build/findings" >&2
  exit 1
fi
