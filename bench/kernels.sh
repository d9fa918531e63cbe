#!/usr/bin/env bash
# Each vector kernel against the plain ATen formula, on one thread, as a Markdown table.
# Builds nothing: cmake --build build --target kernels_bench comes first.
#
#   bench/kernels.sh [options of Google Benchmark]
#   bench/kernels.sh --benchmark_filter=adafactor --benchmark_min_time=1
#
# LOWMEM_BENCH names the program (default build/bench/kernels_bench), JSON a file that keeps
# what it measured.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
program=${LOWMEM_BENCH:-$repository/build/bench/kernels_bench}
if [ ! -x "$program" ]; then
  echo "kernels.sh: $program is missing; run cmake --build build --target kernels_bench" >&2
  exit 1
fi
json=${JSON:-$(mktemp)}
[ -n "${JSON:-}" ] || trap 'rm -f "$json"' EXIT
"$program" --benchmark_min_time=0.2 --benchmark_out="$json" --benchmark_out_format=json \
  "$@" >&2
python3 "$repository/bench/kernels_table.py" "$json"
