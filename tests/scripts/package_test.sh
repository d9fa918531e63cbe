#!/usr/bin/env bash
# Installs a build into an empty folder, makes the tarball and the .deb and unpacks both, and
# in each trains two steps of the demo with nothing but LibTorch on the library path.
#
#   package_test.sh BUILD LIBTORCH
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)
build=$(realpath "$1") torch=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
broken() { printf 'package_test: %s\n' "$*" >&2; exit 1; }

version=$("$build/lowmem-train" --version)
libtorch_path=$(env -u LD_LIBRARY_PATH LOWMEM_TORCH="$torch" \
  "$repository/scripts/gpu_check/libtorch.sh")
alone() { env -i PATH=/usr/bin:/bin OMP_WAIT_POLICY=passive "$@"; }

# tried FOLDER: the folder's bin/lowmem-train, from an empty directory.
tried() {
  local root=$1 work=$1-work program
  program=$root/bin/lowmem-train
  mkdir "$work"
  cd "$work"
  for file in share/lowmem-train/configs/demo_lowmem.yaml share/man/man1/lowmem-train.1* \
    share/bash-completion/completions/lowmem-train share/doc/lowmem-train/README.md \
    share/doc/lowmem-train/LICENSE share/doc/lowmem-train/docs/configuration.md; do
    compgen -G "$root/$file" >/dev/null || broken "$root lacks $file"
  done
  ! readelf -d "$root/lib/lowmem-train/lowmem-train" | grep -E 'R(UN)?PATH' |
    grep -qvF "[\$ORIGIN]" || broken "$program looks for libraries where it was built"
  bash -n "$root/share/bash-completion/completions/lowmem-train"

  [ "$(alone LD_LIBRARY_PATH="$libtorch_path" "$program" --version)" = "$version" ] ||
    broken "$program --version is not $version"
  alone LD_LIBRARY_PATH="$libtorch_path" "$program" --quiet demo demo
  alone LD_LIBRARY_PATH="$libtorch_path" "$program" --quiet \
    --config "$root/share/lowmem-train/configs/demo_lowmem.yaml" memory.device=cpu \
    train.max_steps=2 eval.limit=4
  grep -q '"status": "finished"' demo/runs/lowmem/results.json || broken "no run finished"
  cd "$scratch"
}

# Where LibTorch is missing, or another one, one line says so.
refused() { # refused FOLDER
  local output
  ! output=$(alone LOWMEM_TORCH="$scratch" "$1/bin/lowmem-train" --version 2>&1) ||
    broken "it ran without LibTorch"
  [[ $output == "error: no LibTorch in $scratch. "* ]] || broken "without LibTorch: $output"
  mkdir -p "$scratch/old/lib"
  touch "$scratch/old/lib/libtorch_cpu.so"
  echo 1.13.1 >"$scratch/old/build-version"
  ! output=$(alone LOWMEM_TORCH="$scratch/old" "$1/bin/lowmem-train" --version 2>&1) ||
    broken "it ran with LibTorch 1.13"
  [[ $output == "error: the LibTorch in $scratch/old is 1.13.1, but"* ]] ||
    broken "with another LibTorch: $output"
}

cmake --install "$build" --prefix "$scratch/installed" >/dev/null
tried "$scratch/installed"
refused "$scratch/installed"
[ "$(LOWMEM_TORCH=$torch "$scratch/installed/bin/lowmem-train" --version)" = "$version" ] ||
  broken "LOWMEM_TORCH names LibTorch in vain"
ln -s "$scratch/installed/bin/lowmem-train" "$scratch/link"
[ "$(LOWMEM_TORCH=$torch "$scratch/link" --version)" = "$version" ] ||
  broken "a link to the program does not start it"

# The tarball brings its libraries, and finds them beside the program.
packages=$scratch/packages
cpack --config "$build/CPackConfig.cmake" -G TGZ -B "$packages" >"$scratch/log" 2>&1 ||
  { cat "$scratch/log" >&2; broken "there is no tarball"; }
tarball=$packages/lowmem-train-$version-linux-$(uname -m).tar.gz
[ -s "$tarball" ] || broken "$(ls "$packages") is no name for the tarball"
mkdir "$scratch/unpacked"
tar -C "$scratch/unpacked" -xzf "$tarball"
root=$(echo "$scratch/unpacked"/*)
tried "$root"
found=$(LD_LIBRARY_PATH=$libtorch_path ldd "$root/lib/lowmem-train/lowmem-train")
for library in sentencepiece pcre2 utf8proc uring yaml-cpp; do
  grep "lib$library" <<<"$found" | grep -qF "=> $root/lib/lowmem-train/" ||
    broken "the tarball's program takes lib$library from elsewhere"
done
compgen -G "$root/share/doc/lowmem-train/licenses/*sentencepiece*/copyright" >/dev/null ||
  ! command -v dpkg-query >/dev/null || broken "the libraries' licences are missing"
! compgen -G "$root/lib/lowmem-train/libtorch*.so*" >/dev/null ||
  broken "the tarball holds LibTorch"

if ! command -v dpkg-deb >/dev/null || ! command -v dpkg-shlibdeps >/dev/null; then
  echo "package_test: installed and unpacked; no .deb here: dpkg-deb or dpkg-shlibdeps is missing"
  exit
fi
cpack --config "$build/CPackConfig.cmake" -G DEB -B "$packages" >"$scratch/log" 2>&1 ||
  { cat "$scratch/log" >&2; broken "there is no .deb"; }
deb=$packages/lowmem-train_${version}_$(dpkg --print-architecture).deb
[ -s "$deb" ] || broken "$(ls "$packages") is no name for the .deb"
dpkg-deb -x "$deb" "$scratch/debian"
tried "$scratch/debian/usr"
depends=$(dpkg-deb -f "$deb" Depends)
for package in libc6 libsentencepiece0 libpcre2-8-0 libutf8proc liburing2; do
  [[ $depends == *"$package"* ]] || broken "the .deb does not depend on $package: $depends"
done
[[ $depends != *torch* && $depends != *cuda* ]] || broken "the .deb depends on $depends"
! compgen -G "$scratch/debian/usr/lib/lowmem-train/*.so*" >/dev/null ||
  broken "the .deb holds libraries of other packages"
echo "package_test: installed, and unpacked from tarball and .deb, it trained the demo"
