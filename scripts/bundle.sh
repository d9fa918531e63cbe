#!/usr/bin/env bash
# Packs the program, its GPU tests and scripts/gpu_check.sh for a machine that has nothing
# but LibTorch: no compiler, none of the distribution's libraries.
#
#   scripts/bundle.sh [--build DIR] [--rows FILE] [--tokenizer DIR] [OUT.tar.gz]
#
#   --build DIR      packs what is built in DIR, as it is; by default the preset `bundle` is
#                    built first, in build/bundle, with device code for every architecture
#                    of a release
#   --rows FILE      HellaSwag rows to benchmark with; the first 1000 are packed
#   --tokenizer DIR  the tokenizer that goes with them (tokenizer.json and its like)
#   OUT.tar.gz       by default build/lowmem-train-VERSION-MACHINE.tar.gz
#
# LOWMEM_TORCH names another LibTorch than the one the build folder was configured with.
#
# Shared libraries are packed into lib/, which the programs find from where they lie. Left
# out: LibTorch's and CUDA's, and what every machine with LibTorch has, glibc and the
# compiler's run-time libraries (libstdc++, libgcc_s, libgomp): an older copy of those would
# shadow what LibTorch needs. The result is unpacked into an empty directory and tried with
# nothing but LibTorch on the library path; a bundle that fails there, or above 40 MiB, is
# not kept.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
largest=$((40 * 1024 * 1024))

say() { printf 'bundle: %s\n' "$*"; }
fail() { printf 'bundle: error: %s\n' "$*" >&2; exit 1; }
usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//p}' "$0"; }

build='' rows='' tokenizer='' out=''
while [ $# -gt 0 ]; do
  case "$1" in
    --build | --rows | --tokenizer)
      [ $# -ge 2 ] || fail "$1 needs a value"
      path=$(realpath -e "$2") || fail "$1 $2: no such file or folder"
      declare "${1#--}=$path"
      shift ;;
    -h | --help) usage; exit ;;
    -*) fail "unknown option $1; see --help" ;;
    *) [ -z "$out" ] || fail "two output files: $out and $1"
      out=$1 ;;
  esac
  shift
done

# --- build ----------------------------------------------------------------------------
if [ -z "$build" ]; then
  build=$repository/build/bundle
  (cd "$repository" && cmake --preset bundle \
    ${LOWMEM_TORCH:+"-DLOWMEM_TORCH=$LOWMEM_TORCH"})
  targets=(lowmem-train)
  if grep -q '^device_gpu_test:' <<<"$(cmake --build "$build" --target help)"; then
    targets+=(device_gpu_test)
  fi
  cmake --build "$build" --target "${targets[@]}"
fi
cached() { sed -n "s/^$1:[^=]*=//p" "$build/CMakeCache.txt"; }
[ -e "$build/CMakeCache.txt" ] || fail "$build is not a build folder"
[ -x "$build/lowmem-train" ] || fail "$build holds no lowmem-train: build that target first"
LOWMEM_TORCH=${LOWMEM_TORCH:-$(cached LOWMEM_TORCH)}
export LOWMEM_TORCH
libtorch_path=$(env -u LD_LIBRARY_PATH "$repository/scripts/gpu_check/libtorch.sh")
version=$(LD_LIBRARY_PATH=$libtorch_path "$build/lowmem-train" --version)
out=$(realpath -m "${out:-$repository/build/lowmem-train-$version-$(uname -m).tar.gz}")

# --- collect --------------------------------------------------------------------------
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
stage=$scratch/lowmem-train-$version
mkdir -p "$stage/lib" "$stage/licenses" "$stage/scripts" "$stage/tests"

programs=(lowmem-train)
cp "$build/lowmem-train" "$stage"
if [ -x "$build/tests/device_gpu_test" ]; then
  cp "$build/tests/device_gpu_test" "$stage"
  programs+=(device_gpu_test)
else
  say "$build/tests/device_gpu_test is missing: this bundle has no GPU tests"
fi
cp "$repository/LICENSE" "$stage"
cp -R "$repository/configs" "$stage"
cp "$repository/scripts/gpu_check.sh" "$stage/scripts"
cp -R "$repository/scripts/gpu_check" "$stage/scripts"
rm -rf "$stage/scripts/gpu_check/__pycache__"
cp -R "$repository/tests/fixtures" "$stage/tests" # LOWMEM_FIXTURES_DIR names them
if [ -n "$rows" ]; then
  mkdir -p "$stage/data"
  sed 1000q "$rows" >"$stage/data/rows.jsonl"
fi
if [ -n "$tokenizer" ]; then
  mkdir -p "$stage/data/tokenizer"
  find "$tokenizer" -maxdepth 1 -name 'tokenizer*' -type f \
    -exec cp -t "$stage/data/tokenizer" {} +
fi

# A library that every machine with LibTorch has: LibTorch's own, CUDA's, the C library, the
# compiler's.
everywhere() {
  case "$1" in
    libtorch* | libc10* | libcu[bdfprs]* | libcuda.so* | libnv* | libnccl*) ;;
    linux-vdso* | ld-linux* | */ld-linux* | libc.so* | libm.so* | libmvec.so*) ;;
    libdl.so* | libpthread.so* | librt.so* | libutil.so* | libresolv.so*) ;;
    libstdc++.so* | libgcc_s.so* | libgomp.so*) ;;
    *) return 1 ;;
  esac
}
# needs FILE: lines "name path" of the libraries that FILE loads, LibTorch on the path.
needs() {
  LD_LIBRARY_PATH=$libtorch_path ldd "$1" | awk '$2 == "=>" { print $1, $3 == "not" ? "" : $3 }'
}

# The licence of the distribution's package that FILE is from.
keep_licence() {
  local package
  package=$(dpkg-query -S "$(realpath "$1")" 2>/dev/null || dpkg-query -S "$1" 2>/dev/null) ||
    return 0
  package=${package%%[:,]*}
  [ ! -e "/usr/share/doc/$package/copyright" ] ||
    cp -L "/usr/share/doc/$package/copyright" "$stage/licenses/$package"
}

for program in "${programs[@]}"; do
  while read -r name path; do
    if everywhere "$name" || [ -e "$stage/lib/$name" ]; then continue; fi
    [ -n "$path" ] || fail "$program needs $name, which this machine does not have"
    cp -L "$path" "$stage/lib/$name"
    keep_licence "$path"
  done < <(needs "$stage/$program")
done

# The build's own library path gives way to one from where the program lies: what CMake's
# install step does.
cat >"$scratch/rpath.cmake" <<'CMAKE'
file(RPATH_SET FILE "${FILE}" NEW_RPATH "$ORIGIN/lib")
CMAKE
for program in "${programs[@]}"; do
  cmake -DFILE="$stage/$program" -P "$scratch/rpath.cmake" 2>/dev/null
  strip "$stage/$program"
done

# highest PREFIX FILES...: the highest version of PREFIX's symbols that the files ask for.
highest() {
  local prefix=$1
  shift
  objdump -T "$@" 2>/dev/null | grep -o "${prefix}_[0-9.]*" | sort -V | tail -n 1 || true
}
architectures=$(cached LOWMEM_CUDA_ARCHITECTURES)
if ! grep -q '^CMAKE_CUDA_COMPILER:[A-Z]*=/' "$build/CMakeCache.txt"; then
  architectures="none: built for the CPU alone"
fi
{
  echo "lowmem-train $version, $(uname -m)"
  echo "device code for sm: ${architectures//;/ }"
  echo "built with LibTorch $("$repository/scripts/gpu_check/libtorch.sh" --version)"
  echo "needs $(highest GLIBC "${programs[@]/#/$stage/}" "$stage"/lib/*)," \
    "$(highest GLIBCXX "${programs[@]/#/$stage/}" "$stage"/lib/*) and LibTorch of that version"
  echo
  # shellcheck disable=SC2016
  echo 'export LD_LIBRARY_PATH=$(scripts/gpu_check/libtorch.sh)   # where LibTorch is found'
  echo './lowmem-train --help'
  echo 'scripts/gpu_check.sh --help'
  echo
  (cd "$stage" && find lib -type f | sort)
} >"$stage/MANIFEST.txt"

archive=$scratch/bundle.tar.gz
tar -C "$scratch" --owner=0 --group=0 --numeric-owner -cf - "$(basename "$stage")" |
  gzip -9 >"$archive"
size=$(stat -c %s "$archive")
[ "$size" -le "$largest" ] ||
  fail "$((size / 1024)) KiB are more than the $((largest / 1024)) that a bundle may have"

# --- try it ---------------------------------------------------------------------------
# In an empty directory, with nothing in the environment but the path to LibTorch.
say "unpacking into an empty directory and trying it there"
empty=$scratch/empty
mkdir "$empty"
tar -C "$empty" -xzf "$archive"
cd "$empty"/*
here=$PWD
alone() { env -i PATH=/usr/bin:/bin LD_LIBRARY_PATH="$libtorch_path" OMP_WAIT_POLICY=passive "$@"; }
tried() { # tried WHAT COMMAND...
  local what=$1
  shift
  alone "$@" >"$scratch/log" 2>&1 || { tail -n 20 "$scratch/log" >&2; fail "$what failed"; }
}

for program in "${programs[@]}"; do
  while read -r name path; do
    if ! everywhere "$name" && [ "$path" != "$here/lib/$name" ]; then
      fail "in the bundle, $program finds $name in ${path:-no place}, not in lib/"
    fi
  done < <(needs "$here/$program")
done
for program in "${programs[@]}"; do
  if readelf -d "$program" | grep -E 'R(UN)?PATH' | grep -qvF "[\$ORIGIN/lib]"; then
    fail "$program looks for libraries outside the bundle"
  fi
done
tried "lowmem-train --help" ./lowmem-train --help
grep -q 'memory.device' "$scratch/log" || fail "lowmem-train --help names no keys"
tried "the demo" ./lowmem-train demo demo
tried "training the demo" ./lowmem-train --config configs/demo_lowmem.yaml \
  memory.device=cpu train.max_steps=20 eval.limit=40
grep -q '"status": "finished"' demo/runs/lowmem/results.json || fail "the demo did not finish"
if [ -x device_gpu_test ]; then
  tried "device_gpu_test --gtest_list_tests" ./device_gpu_test --gtest_list_tests
fi

mkdir -p "$(dirname "$out")"
mv "$archive" "$out"
say "--help and the CPU demo ran with only LibTorch on the library path"
say "device code: ${architectures//;/ }"
say "$out: $((size / 1024)) KiB, $(find lib -type f | wc -l) libraries"
