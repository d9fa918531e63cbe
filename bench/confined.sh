#!/usr/bin/env bash
# A Llama that is larger than the memory it may use: in a control group it trains from the
# disk, is stopped, goes on from its checkpoint and is saved; then the same steps outside of
# the group. Random weights in bf16, 8 real HellaSwag rows a step, Adafactor, layers trained.
# Prints a Markdown table, and ends with an error where a loss differs or a process was
# killed for its memory. Builds nothing. Only root makes control groups.
#
#   bench/confined.sh [MODEL [LIMIT]]      # default: 8b 2048, of bench/models.sh and in MiB
#
# Environment: LOWMEM_TRAIN, SHARED, WORK, RESULTS as in bench/cpu_1b.sh; STEPS (5). Needs on
# the disk of WORK for 8b 64 GB; removed unless WORK is given.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
SHARED=$(realpath -m "${SHARED:-$repository/../shared}")
LOWMEM_TRAIN=${LOWMEM_TRAIN:-$repository/build/lowmem-train}
RESULTS=${RESULTS:-$repository/build/bench/confined}
STEPS=${STEPS:-5}
size=${1:-8b} limit=${2:-2048}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)}
say() { printf 'confined: %s\n' "$*" >&2; }
fail() { printf 'confined: error: %s\n' "$*" >&2; exit 1; }
if [ -z "${WORK:-}" ]; then
  WORK=$(mktemp -d)
  temporary=$WORK
fi
group=''
clean_up() {
  [ -z "$group" ] || rmdir "$group" 2>/dev/null || true
  [ -z "${temporary:-}" ] || rm -rf "$temporary"
}
trap clean_up EXIT
. "$repository/bench/models.sh"

# A control group of the second version, or of the first one's memory controller.
for root in /sys/fs/cgroup /sys/fs/cgroup/memory; do
  [ -e "$root/cgroup.procs" ] || continue
  group=$root/lowmem-confined-$$
  mkdir "$group" 2>/dev/null || { group='' && continue; }
  if [ -e "$group/memory.max" ]; then
    of_limit=memory.max of_peak=memory.peak of_kills=memory.events
  elif [ -e "$group/memory.limit_in_bytes" ]; then
    of_limit=memory.limit_in_bytes of_peak=memory.max_usage_in_bytes of_kills=memory.oom_control
  else
    rmdir "$group" && group='' && continue
  fi
  break
done
[ -n "$group" ] || fail "this system lets nobody make a control group with a limit for memory"
echo $((limit << 20)) >"$group/$of_limit"
[ ! -e "$group/memory.swap.max" ] || echo 0 >"$group/memory.swap.max"

mkdir -p "$RESULTS" "$WORK"
rm -rf "$RESULTS"/{confined,free}{,.log,.peak} "$WORK/runs"
model "$size"
common=(--config "$repository/configs/lowmem.yaml" model.path="$WORK/$size" model.dtype=bf16
  data.train="$SHARED/data/hellaswag/train_4303.jsonl" 'eval.data=[]' data.shuffle=false
  train.max_steps="$STEPS" train.log_every=1 run.dir="$WORK/runs" run.tensorboard=false
  memory.device=cpu memory.weights=disk memory.ahead=1 memory.scratch="$WORK")

steps_of() { # RUN
  local count
  count=$(grep -c '"loss"' "$WORK/runs/$1/metrics.jsonl" 2>/dev/null) || count=0
  echo "${count:-0}"
}
# Runs it until it ends, or until so many steps are on record, where it gets a signal.
run() { # RUN WHERE STEPS SIGNAL SETTING...
  local name=$1 where=$2 steps=$3 signal=$4 process now peak=0 status=0
  shift 4
  if [ "$where" = inside ]; then
    (echo "$BASHPID" >"$group/cgroup.procs" && exec "$LOWMEM_TRAIN" "${common[@]}" \
      run.name="$name" "$@") >>"$RESULTS/$name.log" 2>&1 &
  else
    "$LOWMEM_TRAIN" "${common[@]}" run.name="$name" "$@" >>"$RESULTS/$name.log" 2>&1 &
  fi
  process=$!
  while kill -0 $process 2>/dev/null; do
    now=$(awk '/VmHWM/ {print $2}' /proc/$process/status 2>/dev/null || true)
    [ -z "$now" ] || [ "$now" -le "$peak" ] || peak=$now
    if [ "$steps" -gt 0 ] && [ "$(steps_of "$name")" -ge "$steps" ]; then
      kill "-$signal" $process 2>/dev/null || true
      steps=0
    fi
    sleep 0.2
  done
  wait $process || status=$?
  echo "$peak" >>"$RESULTS/$name.peak"
  say "$name, $where: exit status $status"
  return "$status"
}

say "in a control group of $limit MiB, stopped after $((STEPS / 2)) steps"
if run confined inside $((STEPS / 2)) TERM; then
  fail "it ended before it could be stopped"
fi
say "and gone on from its checkpoint"
run confined inside 0 TERM --resume || { tail -5 "$RESULTS/confined.log" >&2; exit 1; }
model_bytes=$(du -sb "$WORK/runs/confined/model" | cut -f1)
group_peak=$(cat "$group/$of_peak") kills=$(awk '/oom_kill / {print $2}' "$group/$of_kills")
cp "$WORK/runs/confined/metrics.jsonl" "$RESULTS/confined.jsonl"
rm -rf "$WORK/runs/confined"
say "outside of it"
run free outside "$STEPS" KILL || true
cp "$WORK/runs/free/metrics.jsonl" "$RESULTS/free.jsonl"

python3 - "$RESULTS" "$size" "$limit" "$group_peak" "${kills:-0}" "$model_bytes" <<'EOF_TABLE'
import json, pathlib, statistics, sys
results = pathlib.Path(sys.argv[1])
size, limit, group_peak, kills, model_bytes = sys.argv[2], *map(int, sys.argv[3:])
rows = []
for name in ("confined", "free"):
    steps = {}
    for line in (results / f"{name}.jsonl").read_text().splitlines():
        step = json.loads(line)
        if "loss" in step:
            steps[step["step"]] = step
    steps = [steps[number] for number in sorted(steps)]
    rows.append({"run": name, "losses": [step["loss"] for step in steps],
                 "peak_bytes": max(step["peak_bytes"] for step in steps),
                 "resident_bytes": 1024 * max(map(int, (results / f"{name}.peak").read_text().split())),
                 "seconds": statistics.median(step["step_seconds"] for step in steps[1:])})
confined, free = rows
count = min(len(confined["losses"]), len(free["losses"]))
assert count > 2 and confined["losses"][:count] == free["losses"][:count], (confined, free)
assert kills == 0, f"{kills} killed for their memory"
found = {"model": size, "limit_mib": limit, "group_peak_bytes": group_peak, "killed": kills,
         "saved_bytes": model_bytes, "runs": rows}
(results / "confined.json").write_text(json.dumps(found, indent=1) + "\n")
gib = lambda number: f"{number / 2**30:.3f}"
print(f"| Llama of {size} | tensors, GiB | the process, GiB | seconds a step | loss of step {count} |")
print("|---|---:|---:|---:|---:|")
for row, what in ((confined, f"within {limit} MiB, stopped and gone on"), (free, "no limit")):
    print(f"| {what} | {gib(row['peak_bytes'])} | {gib(row['resident_bytes'])} | "
          f"{row['seconds']:.2f} | {row['losses'][count - 1]:.6f} |")
EOF_TABLE
