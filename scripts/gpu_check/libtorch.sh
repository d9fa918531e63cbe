#!/usr/bin/env bash
# Prints the library path with which the bundle's programs find LibTorch:
#
#   export LD_LIBRARY_PATH=$(scripts/gpu_check/libtorch.sh)
#   scripts/gpu_check/libtorch.sh --version     # its version instead, where it says one
#
# LibTorch is the first of: the folder LOWMEM_TORCH (with lib/libtorch_cpu.so), a folder on
# LD_LIBRARY_PATH, the torch of python3 (or PYTHON), what scripts/setup.sh installed, and
# /opt/libtorch, /usr/local/libtorch. What LD_LIBRARY_PATH holds already stays behind it.
set -euo pipefail

candidates() {
  [ -z "${LOWMEM_TORCH:-}" ] || { echo "$LOWMEM_TORCH"; return; }
  local folder
  tr ':' '\n' <<<"${LD_LIBRARY_PATH:-}" | while read -r folder; do
    [ ! -e "$folder/libtorch_cpu.so" ] || dirname "$folder"
  done
  "${PYTHON:-python3}" - 2>/dev/null <<'PYTHON' || true
import importlib.util
found = importlib.util.find_spec("torch")
if found:
    print(found.submodule_search_locations[0])
PYTHON
  local cache=${LOWMEM_DEPS:-${XDG_CACHE_HOME:-${HOME:-}/.cache}/lowmem-train}
  printf '%s\n' "$cache"/libtorch-*/torch /opt/libtorch /usr/local/libtorch
}

torch=
while read -r folder; do
  if [ -e "$folder/lib/libtorch_cpu.so" ]; then
    torch=$(cd "$folder" && pwd)
    break
  fi
done < <(candidates)
if [ -z "$torch" ]; then
  echo "error: no LibTorch${LOWMEM_TORCH:+ in $LOWMEM_TORCH}. Install Python's torch, or name" \
    "an unpacked LibTorch (the folder with lib/) in LOWMEM_TORCH." >&2
  exit 1
fi

if [ "${1:-}" = --version ]; then
  version=$(sed -n "s/^__version__ = ['\"]\(.*\)['\"]$/\1/p" "$torch/version.py" 2>/dev/null || true)
  [ -n "$version" ] || version=$(cat "$torch/build-version" 2>/dev/null || true)
  [ -n "$version" ] || version=$(sed -n 's/^#define TORCH_VERSION_\(MAJOR\|MINOR\|PATCH\) //p' \
    "$torch/include/torch/headeronly/version.h" 2>/dev/null | paste -sd .)
  echo "$version"
  exit
fi

path=$torch/lib
# The wheel's CUDA runtime lies in a package of its own; a LibTorch download has it in lib/.
for runtime in "$torch"/../nvidia/*/lib/libcudart.so.*; do
  [ ! -e "$runtime" ] || path+=:$(cd "$(dirname "$runtime")" && pwd)
done
echo "$path${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
