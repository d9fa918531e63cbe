#!/usr/bin/env bash
# Trains the demo's model under ever higher limits: each run must finish, or end with status
# 1 and one line "error: ...". Prints each at which neither happened, and a count of each
# ending; fails where there is such a one. Where the system cannot even load the program
# (status 127), the program has no say.
#
#   scripts/starve.sh PROGRAM [LIMIT FROM TO STEP] [KEY=VALUE ...]
#
# LIMIT is what `ulimit` takes: v (addresses, in MiB; the default, 375 to 700 in steps of
# 5), d (data, in MiB), u (processes and threads), n (open files), f (a file's MiB), s (stack,
# in KiB).
set -u
program=$(realpath "${1:?usage: scripts/starve.sh PROGRAM [LIMIT FROM TO STEP] [KEY=VALUE ...]}")
shift
limit=v from=375 to=700 step=5
if [[ $# -ge 4 && $1 =~ ^[vdunfs]$ ]]; then
  limit=$1 from=$2 to=$3 step=$4
  shift 4
fi
case $limit in
  v | d | f) unit=1024 ;;
  *) unit=1 ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$program" -q demo "$work/demo" || exit 1
export OMP_WAIT_POLICY=passive
declare -A endings
bad=0
for ((at = from; at <= to; at += step)); do
  rm -rf "$work/runs"
  (
    ulimit -S -"$limit" $((at * unit)) || exit 99
    exec timeout -s KILL 300 "$program" model.path="$work/demo/model" data.train="$work/demo/train.jsonl" \
      eval.data="$work/demo/val.jsonl" eval.limit=8 data.limit=64 run.dir="$work/runs" \
      run.name=starved model.dtype=bf16 model.compute_dtype=bf16 train.max_steps=4 \
      train.save_every=2 train.log_every=1 "$@"
  ) 2>&1 | cat >"$work/out" # past a limit on files
  status=${PIPESTATUS[0]}
  errors=$(grep -c '^error: ' "$work/out")
  left=$(find "$work/runs" -name '*.partial' 2>/dev/null | wc -l)
  if [[ $status -eq 0 && $errors -eq 0 ]]; then
    ending="done"
  elif [[ $status -eq 127 ]] && grep -q "error while loading shared libraries" "$work/out"; then
    ending="cannot be loaded"
  elif [[ $status -eq 1 && $errors -eq 1 && $left -eq 0 ]] &&
    ! grep -qE 'unexpected failure|terminate|what\(\)|^OMP:|libgomp' "$work/out"; then
    ending=$(grep '^error: ' "$work/out" | sed 's/[0-9.,]\+ [KMG]iB/N/g' | cut -c1-60)
  else
    ending="WRONG"
    bad=$((bad + 1))
    echo "$limit $at: status $status, $errors errors, $left files half written:"
    tail -n 4 "$work/out" | sed 's/^/  /'
  fi
  endings[$ending]=$((${endings[$ending]:-0} + 1))
done
for ending in "${!endings[@]}"; do echo "${endings[$ending]}  $ending"; done
[[ $bad -eq 0 ]]
