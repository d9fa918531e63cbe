#!/usr/bin/env bash
# Installs what lowmem-train is built with, on Debian 12+ or Ubuntu 24.04+: the
# distribution's packages, and LibTorch from its PyPI wheel. Safe to run again: what is
# there stays.
#
#   scripts/setup.sh [--cuda | --cpu]
#
# --cuda also fetches the CUDA libraries that LibTorch links (2.4 GB); without a flag they
# are fetched where nvcc is found. LOWMEM_DEPS names the folder for LibTorch; by default the
# user's cache folder, so that clones share it.
set -euo pipefail

torch_version=2.11.0
packages=(
  g++ cmake ninja-build ccache pkg-config python3 python3-pip unzip ca-certificates
  libcli11-dev nlohmann-json3-dev libsentencepiece-dev libspdlog-dev libyaml-cpp-dev
  libpcre2-dev libutf8proc-dev liburing-dev libxxhash-dev libgtest-dev libgmock-dev
  libbenchmark-dev
)
# What libtorch_cpu.so of this wheel asks the loader for, and what libtorch_cuda.so adds.
# The versions are those the wheel's own metadata pins.
cpu_wheels=(nvidia-cuda-runtime==13.0.96 nvidia-cuda-cupti==13.0.85)
cuda_wheels=(
  nvidia-cublas==13.1.0.3 nvidia-cufft==12.0.0.61 nvidia-cufile==1.15.1.6
  nvidia-curand==10.4.0.35 nvidia-cusparse==12.6.3.3 nvidia-nvjitlink==13.0.88
  nvidia-cudnn-cu13==9.19.0.56 nvidia-cusparselt-cu13==0.8.0 nvidia-nccl-cu13==2.28.9
  nvidia-nvshmem-cu13==3.4.5
)

say() { printf 'setup: %s\n' "$*"; }
fail() { printf 'setup: error: %s\n' "$*" >&2; exit 1; }

with_cuda=auto
case "${1:-}" in
  --cuda) with_cuda=yes ;;
  --cpu) with_cuda=no ;;
  "") ;;
  *) fail "unknown option $1; the options are --cuda and --cpu" ;;
esac
if [ "$with_cuda" = auto ]; then
  if command -v nvcc >/dev/null || [ -x /usr/local/cuda/bin/nvcc ]; then
    with_cuda=yes
  else
    with_cuda=no
  fi
fi

# --- packages -------------------------------------------------------------------------
# A package is present when dpkg says so, or when its one command is found by other means.
missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' && continue
  case "$package" in
    ninja-build) command -v ninja >/dev/null && continue ;;
    python3-pip) python3 -m pip --version >/dev/null 2>&1 && continue ;;
    g++ | cmake | ccache | python3 | unzip) command -v "$package" >/dev/null && continue ;;
  esac
  missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  command -v apt-get >/dev/null ||
    fail "this script knows Debian and Ubuntu only; install by hand: ${missing[*]}"
  as_root=()
  if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null ||
      fail "these packages need root to install, and there is no sudo: ${missing[*]}"
    as_root=(sudo)
  fi
  say "installing packages: ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
    --no-install-recommends "${missing[@]}" >/dev/null
else
  say "packages: all present"
fi

cmake_version=$(cmake --version | sed -n 's/cmake version //p')
printf '3.24\n%s\n' "$cmake_version" | sort -V -C ||
  fail "CMake is $cmake_version and must be 3.24 or later: use Debian 12, Ubuntu 24.04 or newer"

# --- LibTorch -------------------------------------------------------------------------
deps=${LOWMEM_DEPS:-${XDG_CACHE_HOME:-$HOME/.cache}/lowmem-train}
home=$deps/libtorch-$torch_version
mkdir -p "$home"
exec 9>"$home/.lock"
flock 9 # two set-ups at once would unpack over each other

# pip matches a platform tag exactly, so every glibc up to that of Debian 12 is named.
platforms=()
for minor in $(seq 5 36); do platforms+=(--platform "manylinux_2_${minor}_$(uname -m)"); done
platforms+=(--platform "manylinux2014_$(uname -m)" --platform "manylinux1_$(uname -m)")

# Unpacks the given wheels into $home; a stamp a wheel says that it is whole.
fetch() {
  local wheel stamp scratch
  for wheel in "$@"; do
    stamp=$home/.installed-$wheel
    [ -e "$stamp" ] && continue
    say "fetching $wheel"
    scratch=$(mktemp -d "$home/.fetch-XXXXXX")
    python3 -m pip download --quiet --no-deps --only-binary=:all: --no-cache-dir \
      --disable-pip-version-check --python-version 3.12 --implementation cp \
      --abi cp312 --abi none "${platforms[@]}" -d "$scratch" "$wheel" ||
      { rm -rf "$scratch"; fail "could not fetch $wheel"; }
    unzip -q -o "$scratch"/*.whl -d "$home"
    rm -rf "$scratch"
    touch "$stamp"
  done
}
rm -rf "$home"/.fetch-* # left by an interrupted run
if [ -e "$home/.installed-torch==$torch_version" ]; then
  say "LibTorch $torch_version: present in $home"
fi
fetch "torch==$torch_version" "${cpu_wheels[@]}"
if [ "$with_cuda" = yes ]; then
  fetch "${cuda_wheels[@]}"
  rm -f "$home/lowmem-cpu-only"
  say "LibTorch's CUDA libraries: present"
elif [ ! -e "$home/.installed-${cuda_wheels[0]}" ]; then
  touch "$home/lowmem-cpu-only" # tells CMake that the CUDA libraries are not there
  say "LibTorch's CUDA libraries: left out (no nvcc; --cuda fetches them)"
fi
say "done"
