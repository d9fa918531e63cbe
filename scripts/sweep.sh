#!/usr/bin/env bash
# Runs every combination of configurations, overrides and seeds, one after another, and
# compares them. Called again, it goes on where it was: see --help.
set -euo pipefail

usage() {
  cat <<'TEXT'
usage: scripts/sweep.sh --dir FOLDER --configs A.yaml,B.yaml [options] [-- OVERRIDE...]

Trains every combination, each in FOLDER/NAME, and ends with a table and
FOLDER/report.html.

  --dir FOLDER             where the runs go
  --configs FILE,...       configurations; may be given several times
  --override KEY=V1,V2,... values of a key to try; each further one multiplies the runs.
                           Commas inside [ ] separate nothing
  --seeds N,...            values of run.seed to try (default: what each file says)
  --dry-run                print the commands and what would become of them
  -- OVERRIDE...           given to every run: section.key=value

A run is named by its file, the overrides and the seed: lowmem-lr=1e-4-seed1. Finished runs
are skipped, runs with a checkpoint go on from it (-- train.save_every=500 writes some), and
a run that fails does not keep the others from running: its output is in
FOLDER/logs/NAME.log. A run of that name that was made with another file or other overrides
is left as it is, and counts as failed. The exit status is 0 when every run has finished, 1 when some failed, 2 for a
wrong command line, 130 or 143 when it was stopped. LOWMEM_TRAIN names the executable;
default: build/lowmem-train.

  scripts/sweep.sh --dir demo/sweep --seeds 1,2,3 \
    --configs configs/demo_baseline_adam.yaml,configs/demo_lowmem.yaml
TEXT
}

wrong() {
  printf 'sweep: %s\n       See scripts/sweep.sh --help.\n' "$1" >&2
  exit 2
}

# Splits $1 at commas outside brackets into the array `parts`.
split() {
  parts=()
  local part="" depth=0 i character
  for ((i = 0; i < ${#1}; ++i)); do
    character=${1:i:1}
    case $character in
      '[') depth=$((depth + 1)) ;;
      ']') depth=$((depth - 1)) ;;
    esac
    if [ "$character" = , ] && [ "$depth" -eq 0 ]; then
      parts+=("$part")
      part=""
    else
      part+=$character
    fi
  done
  parts+=("$part")
  for part in "${parts[@]}"; do
    [ -n "$part" ] || wrong "an empty value in '$1'"
  done
}

arguments=("$@")
dir="" dry_run=false
configs=() overrides=() seeds=() common=()
while [ $# -gt 0 ]; do
  case $1 in
    --dir | --configs | --override | --seeds) [ $# -gt 1 ] || wrong "$1 wants a value" ;;
  esac
  case $1 in
    --dir) dir=${2%/} && shift ;;
    --configs) split "$2" && configs+=("${parts[@]}") && shift ;;
    --override)
      [[ $2 == *.*=* ]] || wrong "--override wants section.key=value,..., not '$2'"
      overrides+=("$2") && shift
      ;;
    --seeds) split "$2" && seeds+=("${parts[@]}") && shift ;;
    --dry-run) dry_run=true ;;
    --help | -h) usage && exit ;;
    --) shift && common=("$@") && break ;;
    *) wrong "unknown option '$1'" ;;
  esac
  shift
done
[ -n "$dir" ] || wrong "--dir is missing"
[ ${#configs[@]} -gt 0 ] || wrong "--configs is missing"
for config in "${configs[@]}"; do
  [ -f "$config" ] || wrong "there is no file $config"
done
for seed in ${seeds[@]+"${seeds[@]}"}; do
  [[ $seed =~ ^(0|[1-9][0-9]*)$ ]] || wrong "--seeds wants numbers, not '$seed'"
done
# A key set twice would give a run another name than its settings.
known=" "
[ ${#seeds[@]} -eq 0 ] || known=" run.seed "
for override in ${overrides[@]+"${overrides[@]}"} ${common[@]+"${common[@]}"}; do
  case $override in
    run.name=* | run.dir=* | run.overwrite=*) wrong "${override%%=*} is the sweep's to set" ;;
    *.*=*) ;;
    *) wrong "after -- section.key=value is wanted, not '$override'" ;;
  esac
  case $known in
    *" ${override%%=*} "*) wrong "${override%%=*} is set twice" ;;
  esac
  known+="${override%%=*} "
done
train=${LOWMEM_TRAIN:-$(dirname "$0")/../build/lowmem-train}
command -v "$train" >/dev/null || wrong "there is no executable $train: build it, or set LOWMEM_TRAIN"

# The end of a key, or all of it where two keys that vary end alike.
short_of() {
  local other
  for other in "${overrides[@]}"; do
    other=${other%%=*}
    if [ "$other" != "$1" ] && [ "${other##*.}" = "${1##*.}" ]; then
      printf '%s' "$1"
      return
    fi
  done
  printf '%s' "${1##*.}"
}

# Every combination: names[i], and its command's arguments, a line each, in commands[i].
names=() commands=()
combine() {  # combine NAME COMMAND OVERRIDE_INDEX
  local name=$1 so_far=$2 index=$3 key value
  if [ "$index" -lt ${#overrides[@]} ]; then
    key=${overrides[index]%%=*}
    split "${overrides[index]#*=}"
    local values=("${parts[@]}")
    for value in "${values[@]}"; do
      combine "$name-$(short_of "$key")=$value" "$so_far"$'\n'"$key=$value" $((index + 1))
    done
    return
  fi
  for seed in "${seeds[@]:-}"; do
    names+=("$name${seed:+-seed$seed}")
    commands+=("$so_far${seed:+$'\n'run.seed=$seed}")
  done
}
for config in "${configs[@]}"; do
  base=${config##*/}
  combine "${base%.yaml}" "--config"$'\n'"$config" 0
done
for i in "${!names[@]}"; do
  names[i]=${names[i]//[^A-Za-z0-9._=+-]/_}
  for ((j = 0; j < i; ++j)); do
    [ "${names[j]}" != "${names[i]}" ] || wrong "two runs would be called ${names[i]}"
  done
done

# What a run was begun with: its file's checksum and its overrides. Not the file's place.
fingerprint() {  # fingerprint INDEX
  local lines
  mapfile -t lines <<<"${commands[$1]}"
  sha256sum <"${lines[1]}"
  printf '%s\n' "${lines[@]:2}" ${common[@]+"${common[@]}"}
}

has_checkpoints() { compgen -G "$1/checkpoints/step-*" >/dev/null; }

child=""
stop() {  # stop SIGNAL_NUMBER
  trap '' INT TERM HUP
  if [ -n "$child" ]; then
    kill -TERM "$child" 2>/dev/null || true
    wait "$child" || true
  fi
  printf '\nsweep: stopped; to go on:\n ' >&2
  printf ' %q' "$0" ${arguments[@]+"${arguments[@]}"} >&2
  printf '\n' >&2
  exit $((128 + $1))
}
trap 'stop 2' INT
trap 'stop 15' TERM
trap 'stop 1' HUP

failed=()
total=${#names[@]}
if ! $dry_run; then
  mkdir -p -- "$dir/logs" 2>/dev/null || wrong "cannot make the folder $dir/logs"
  # Two sweeps would write one log and each other's records of settings.
  exec 9>"$dir/logs/.lock"
  flock -n 9 || wrong "another sweep is at work in $dir"
fi
for i in "${!names[@]}"; do
  name=${names[i]}
  log=$dir/logs/$name.log begun=$dir/logs/$name.begun
  mapfile -t command <<<"${commands[i]}"
  command+=(${common[@]+"${common[@]}"} "run.dir=$dir" "run.name=$name" --resume)
  place="[$((i + 1))/$total] $name"
  finished=false
  if grep -q '"status": "finished"' "$dir/$name/results.json" 2>/dev/null; then
    finished=true
  fi
  if ($finished || has_checkpoints "$dir/$name") && [ -e "$begun" ] &&
    [ "$(cat "$begun")" != "$(fingerprint "$i")" ]; then
    echo "$place: was run with other settings; remove $dir/$name, or choose another --dir"
    failed+=("$name")
    continue
  fi
  if $finished; then
    echo "$place: finished before"
    continue
  fi
  if $dry_run; then
    printf '%s:' "$place"
    printf ' %q' "$train" "${command[@]}"
    printf '\n'
    continue
  fi
  echo "$place: output in $log"
  fingerprint "$i" >"$begun"
  started=$SECONDS
  # In the background, so that a signal to this script is seen at once and passed on.
  "$train" "${command[@]}" >>"$log" 2>&1 </dev/null 9>&- &
  child=$!
  status=0
  wait "$child" || status=$?
  child=""
  if [ "$status" -eq 0 ]; then
    echo "$place: finished in $((SECONDS - started)) s"
    continue
  fi
  failed+=("$name")
  echo "$place: failed with status $status"
  tail -n 3 "$log" | sed 's/^/    /'
done
if ! $dry_run; then
  runs=()
  for name in "${names[@]}"; do
    if [ -e "$dir/$name/config.yaml" ]; then runs+=("$dir/$name"); fi
  done
  if [ ${#runs[@]} -gt 0 ]; then
    echo
    "$train" report --html "$dir/report.html" "${runs[@]}" || failed+=("the report")
  fi
fi
if [ ${#failed[@]} -gt 0 ]; then
  echo
  echo "sweep: failed: ${failed[*]}" >&2
  exit 1
fi
