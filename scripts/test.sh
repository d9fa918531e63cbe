#!/usr/bin/env bash
# Everything from a fresh Debian or Ubuntu machine to a tested program: set-up, build, all
# tests. Arguments go to CTest, e.g. `scripts/test.sh -L unit`.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/setup.sh
cmake --preset release -DLOWMEM_TESTS=ON -DLOWMEM_BENCH=ON
cmake --build --preset release
ctest --preset release --no-tests=error -j "$(nproc)" "$@"
