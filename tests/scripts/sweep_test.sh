#!/usr/bin/env bash
# scripts/sweep.sh on a tiny demo, with the program given: finishes, skips what is finished,
# goes on after a failure and after being stopped.
#
#   sweep_test.sh LOWMEM_TRAIN
set -euo pipefail
repository=$(cd "$(dirname "$0")/../.." && pwd)
export LOWMEM_TRAIN=$1 OMP_WAIT_POLICY=passive
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cd "$scratch"
broken() {
  printf 'sweep_test: %s\n' "$*" >&2
  tail -n 20 output >&2 || true
  exit 1
}
says() { grep -qF -- "$1" output || broken "'$1' is not in the output"; }
is_silent_on() { ! grep -qF -- "$1" output || broken "'$1' is in the output"; }
sweep() { # sweep STATUS ARGUMENT...
  local expected=$1 status=0
  shift
  "$repository/scripts/sweep.sh" "$@" >output 2>&1 || status=$?
  [ "$status" -eq "$expected" ] || broken "status $status instead of $expected of: $*"
}

"$LOWMEM_TRAIN" --quiet demo demo
cp "$repository/configs/demo_lowmem.yaml" a.yaml
cp "$repository/configs/demo_baseline_adam.yaml" b.yaml
quick=(train.max_steps=3 train.log_every=1 eval.limit=8 train.save_every=2)
all=(--dir out/ --configs "a.yaml,b.yaml" --seeds "1,2"
  --override "optimizer.lr=1e-3,2e-3")

sweep 0 --help
says "usage: scripts/sweep.sh"

sweep 0 "${all[@]}" --dry-run -- "${quick[@]}"
[ "$(grep -c -- '--resume' output)" -eq 8 ] || broken "the dry run did not print eight commands"
[ ! -e out ] || broken "the dry run made a folder"

sweep 0 "${all[@]}" -- "${quick[@]}"
[ "$(grep -c 'finished in' output)" -eq 8 ] || broken "not all eight runs finished"
says "| a-lr=1e-3-seed1 |"
says "| b-lr=2e-3 | 2 |"
says "optimizer.lr"
[ -s out/report.html ] || broken "there is no report.html"
if command -v python3 >/dev/null; then
  python3 -c 'import sys, xml.dom.minidom as x; x.parse(sys.argv[1])' out/report.html ||
    broken "report.html is not well-formed"
fi
grep -q '"seed\|seed: 2' out/b-lr=2e-3-seed2/config.yaml || broken "the seed was not passed on"

# Again: nothing is left to do, and nothing is touched.
touch stamp
sweep 0 "${all[@]}" -- "${quick[@]}"
[ "$(grep -c 'finished before' output)" -eq 8 ] || broken "finished runs were not skipped"
[ -z "$(find out -name results.json -newer stamp)" ] || broken "a finished run ran again"

# With other overrides the same names would mean other runs.
sweep 1 "${all[@]}" -- train.max_steps=2
[ "$(grep -c 'was run with other settings' output)" -eq 8 ] || broken "other settings passed"

# A run that fails is named, and the others finish.
sed 's/adafactor/adamantium/' a.yaml >bad.yaml
sweep 1 --dir failing --configs bad.yaml,a.yaml -- "${quick[@]}"
says "sweep: failed: bad"
says "adamantium"
says "| a |"
grep -q adamantium failing/logs/bad.log || broken "the failure is not in its log"

# Stopped, then called again: the run goes on from its checkpoint.
long=(--dir stopped --configs a.yaml -- train.max_steps=300 train.epochs=2 train.log_every=1
  train.save_every=5 eval.data=)
"$repository/scripts/sweep.sh" "${long[@]}" >output 2>&1 &
sweep=$!
for _ in $(seq 600); do
  compgen -G "stopped/a/checkpoints/step-*" >/dev/null && break
  sleep 0.1
done
kill -TERM "$sweep"
status=0
wait "$sweep" || status=$?
[ "$status" -eq 143 ] || broken "status $status instead of 143 of a stopped sweep"
says "to go on:"
says "scripts/sweep.sh --dir stopped"
says "train.save_every=5"
is_silent_on "finished in"
[ -s stopped/a/metrics.jsonl ] || broken "the stopped run had not begun"
[ "$(wc -l <stopped/a/metrics.jsonl)" -lt 300 ] || broken "the stopped run had finished"
sweep 0 "${long[@]}"
says "finished in"
grep -q "goes on after step" stopped/logs/a.log ||
  broken "the stopped run began anew"
[ "$(wc -l <stopped/a/metrics.jsonl)" -eq 300 ] || broken "not every step was logged once"

# What it cannot do is said before anything runs.
sweep 2 --dir x
says "--configs is missing"
sweep 2 --dir x --configs nowhere.yaml
says "there is no file nowhere.yaml"
sweep 2 --dir x --configs a.yaml,a.yaml
says "two runs would be called a"
sweep 2 --dir x --configs a.yaml --seeds 1,,2
says "an empty value"
sweep 2 --dir x --configs a.yaml -- run.name=b
says "run.name is the sweep's to set"
sweep 2 --dir x --configs a.yaml --seeds 1 --override run.seed=1,2
says "run.seed is set twice"
sweep 2 --dir x --configs a.yaml --override train.epochs=1,2 -- train.epochs=3
says "train.epochs is set twice"
sweep 2 --dir x --configs a.yaml --override run.name=a,b
says "run.name is the sweep's to set"
[ ! -e x ] || broken "a wrong command line made a folder"
echo "sweep_test: eight runs finished, were skipped, refused, and went on after failures"
