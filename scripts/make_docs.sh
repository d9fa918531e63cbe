#!/usr/bin/env bash
# Writes the tables of keys in docs/configuration.md, between their two marks, as the
# program prints them. For use after a key, a default or a line of help has changed, and a
# build. LOWMEM_TRAIN names the executable; default: build/lowmem-train.
set -euo pipefail
cd "$(dirname "$0")/.."
train=${LOWMEM_TRAIN:-build/lowmem-train}
page=docs/configuration.md
begin='<!-- keys: written by scripts/make_docs.sh -->'
end='<!-- end of keys -->'

for mark in "$begin" "$end"; do
  [ "$(grep -cxF -- "$mark" "$page")" = 1 ] || {
    echo "make_docs: error: $page must hold the line '$mark' once" >&2
    exit 1
  }
done
scratch=$(mktemp)
trap 'rm -f "$scratch"' EXIT
{
  sed "\|^$begin\$|q" "$page"
  "$train" manual keys
  sed -n "\|^$end\$|,\$p" "$page"
} >"$scratch"
if cmp -s "$scratch" "$page"; then
  echo "make_docs: $page is current"
else
  cat "$scratch" >"$page"
  echo "make_docs: wrote $page"
fi
