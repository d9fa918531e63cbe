#!/usr/bin/env bash
# Packs a build, unpacks it into an empty directory and runs the GPU check there without a
# GPU, on tiny models.
#
#   bundle_test.sh BUILD [LIBTORCH]
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)
build=$1
export LOWMEM_TORCH=${2:-${LOWMEM_TORCH:-}}
[ -n "$LOWMEM_TORCH" ] || unset LOWMEM_TORCH
export OMP_WAIT_POLICY=passive
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
broken() { printf 'bundle_test: %s\n' "$*" >&2; exit 1; }

"$repository/scripts/bundle.sh" --build "$build" "$scratch/bundle.tar.gz"
mkdir "$scratch/empty"
tar -C "$scratch/empty" -xzf "$scratch/bundle.tar.gz"
cd "$scratch/empty"/*
! scripts/gpu_check.sh --dry-run --only nothing 2>/dev/null || broken "an unknown section was taken"
scripts/gpu_check.sh --dry-run --only tests,1b,8b,sanitizer --out out

grep -q '"dry_run": true' out/gpu_check.json || broken "the JSON does not say that it is a dry run"
grep -q '^\*\*Dry run' out/gpu_check.md || broken "the table does not say that it is a dry run"
for model in 1B 8B; do
  for rows in "8 x 160" "4 x 2048" "8 x HellaSwag"; do
    grep "$model's stand-in.*\"rows\": \"$rows.*\"problem\": null" out/gpu_check.json |
      grep -q '"tokens_per_second": [1-9]' || broken "no figures of $model on $rows"
  done
done
if command -v python3 >/dev/null; then
  python3 -m json.tool out/gpu_check.json >/dev/null || broken "gpu_check.json is not JSON"
fi

# A run that fails is reported, and does not keep the others from running.
mv configs/lowmem.yaml configs/other.yaml
! scripts/gpu_check.sh --dry-run --only 1b --out failed >/dev/null 2>&1 ||
  broken "failing runs passed"
[ "$(grep -c '"problem": "failed' failed/gpu_check.json)" -ge 3 ] ||
  broken "not every failing run was reported"
echo "bundle_test: the bundle's dry run wrote figures for both models and all three kinds of rows"
