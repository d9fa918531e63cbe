#!/usr/bin/env bash
# What it costs to let weights live on the disk: memory, time, and bytes moved, as a Markdown
# table and JSON. Random models in bf16, batches of real HellaSwag rows, Adafactor, layers
# trained. Builds nothing.
#
#   bench/larger.sh [CASE...]      # default: 1b
#
#   1b       Llama-3.2-1B, batch 8: resident, and on the disk with 1 and 2 blocks ahead
#   adam     the same in fp32 with Adam, on the disk: 16 bytes a parameter
#   1b-all, adam-all   these two with the embedding, which is the head too, trained as well
#   8b       Llama-3.1-8B, batch 8: resident, and on the disk
#   8b32     the same with 32 rows
#   13b      13 billion parameters, larger than 24 GiB: on the disk; its model is not written
#
# Environment: LOWMEM_TRAIN, SHARED, WORK, RESULTS as in bench/cpu_1b.sh; ROUNDS (2), STEPS
# (4; the first is not counted). Homes take turns within a round; a time is the median of
# all counted steps. Needs on the disk of WORK, at once: 1b 8 GB, adam 19 GB, adam-all 23 GB, 8b 32 GB, 13b
# 54 GB; removed unless WORK is given. No run writes its model.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
SHARED=$(realpath -m "${SHARED:-$repository/../shared}")
LOWMEM_TRAIN=${LOWMEM_TRAIN:-$repository/build/lowmem-train}
RESULTS=${RESULTS:-$repository/build/bench/larger}
ROUNDS=${ROUNDS:-2}
STEPS=${STEPS:-4}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)}
say() { printf 'larger: %s\n' "$*" >&2; }
if [ -z "${WORK:-}" ]; then
  WORK=$(mktemp -d)
  trap 'rm -rf "$WORK"' EXIT
fi
. "$repository/bench/models.sh"
[ $# -gt 0 ] || set -- 1b
rm -rf "$RESULTS"
mkdir -p "$RESULTS" "$WORK"

# Steps that are on record: none before the file is there.
steps_of() { # FOLDER
  local count
  count=$(grep -c '"loss"' "$1/metrics.jsonl" 2>/dev/null) || count=0
  echo "${count:-0}"
}

# One run, stopped when its last step is on record: exporting the model is not measured.
run_once() { # NAME MODEL SETTING...
  local name=$1 model=$2 folder=$RESULTS/$1
  shift 2
  "$LOWMEM_TRAIN" --config "$repository/configs/lowmem.yaml" model.path="$WORK/$model" \
    data.train="$SHARED/data/hellaswag/train_4303.jsonl" 'eval.data=[]' data.shuffle=false \
    train.max_steps=$((STEPS + 1)) train.log_every=1 run.dir="$RESULTS" run.name="$name" \
    run.tensorboard=false memory.device=cpu memory.scratch="$WORK" memory.force=true "$@" \
    >"$RESULTS/$name.log" 2>&1 &
  local process=$! peak=0 now
  while kill -0 $process 2>/dev/null; do
    now=$(awk '/VmHWM/ {print $2}' /proc/$process/status 2>/dev/null || true)
    [ -n "$now" ] && peak=$now
    [ "$(steps_of "$folder")" -lt "$STEPS" ] || kill -9 $process 2>/dev/null || true
    sleep 0.2
  done
  wait $process 2>/dev/null || true
  [ "$(steps_of "$folder")" -ge "$STEPS" ] || {
    tail -5 "$RESULTS/$name.log" >&2
    exit 1
  }
  echo "$peak" >"$folder/peak_kib"
  stat -c %s "$WORK/$model"/*.safetensors | awk '{ all += $1 } END { printf "%.0f\n", all }' \
    >"$folder/weights_bytes"
  "$LOWMEM_TRAIN" plan --json --quiet --config "$folder/config.yaml" memory.force=true \
    >"$folder/plan.json"
}

for case in "$@"; do
  low="model.dtype=bf16"
  case $case in
    1b) model=1b homes="resident disk1 disk2" ;;
    adam) model=1b homes="disk1" low="model.dtype=fp32 model.compute_dtype=bf16 optimizer.name=adam optimizer.rounding=nearest" ;;
    1b-all) model=1b homes="resident disk1" low="model.dtype=bf16 model.train=all" ;;
    adam-all) model=1b homes="disk1" low="model.dtype=fp32 model.compute_dtype=bf16 optimizer.name=adam optimizer.rounding=nearest model.train=all" ;;
    8b) model=8b homes="resident disk1" ;;
    8b32) model=8b homes="resident disk1" low="model.dtype=bf16 train.batch_size=32" ;;
    13b) model=13b homes="disk1" ;;
    *) say "no case $case"; exit 2 ;;
  esac
  model "$model"
  for round in $(seq "$ROUNDS"); do
    for home in $homes; do
      say "$case, round $round, $home"
      settings="memory.weights=${home%[0-9]}"
      [ "$home" = resident ] || settings="$settings memory.ahead=${home#disk}"
      # shellcheck disable=SC2086
      run_once "$case.$home.$round" "$model" $low $settings
    done
  done
done
python3 - "$RESULTS" "$ROUNDS" <<'EOF_TABLE'
import json, pathlib, re, statistics, sys
results, rounds = pathlib.Path(sys.argv[1]), int(sys.argv[2])
table = []
for first in sorted(results.glob("*.1"), key=lambda path: path.stat().st_mtime):
    case, home = first.name.split(".")[:2]
    seconds, moved, waited, losses, resident = [], [], [], [], []
    for r in range(1, rounds + 1):
        run = results / f"{case}.{home}.{r}"
        steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        steps = [step for step in steps if "loss" in step]
        losses.append([step["loss"] for step in steps])
        resident.append(int((run / "peak_kib").read_text()) * 1024)
        seconds += [step["step_seconds"] for step in steps[1:]]
        moved += [step.get("read_bytes", 0) + step.get("written_bytes", 0) for step in steps[1:]]
        waited += [step.get("waited_seconds", 0) / step["step_seconds"] for step in steps[1:]]
    plan = json.loads((first / "plan.json").read_text())
    row = {"case": case, "home": home, "seconds": statistics.median(seconds),
           "peak_bytes": max(step["peak_bytes"] for step in steps),
           "planned_bytes": plan["peak_bytes"]["total"], "resident_bytes": max(resident),
           "weights_bytes": int((first / "weights_bytes").read_text()),
           "moved_bytes": statistics.median(moved),
           "waited": statistics.median(waited), "losses": losses[0]}
    base = next((other for other in table if other["case"] == case), row)
    assert all(l == base["losses"] for l in losses), f"a loss differs: {case} {home}"
    row["speed"] = base["seconds"] / row["seconds"]
    table.append(row)
(results / "larger.json").write_text(json.dumps(table, indent=1) + "\n")
gib = lambda number: f"{number / 2**30:.3f}"
print("| case | home | seconds a step | speed of the first | peak, GiB | planned, GiB | resident, GiB | moved a step, GiB | share waited |")
print("|---|---|---:|---:|---:|---:|---:|---:|---:|")
for row in table:
    print(f"| {row['case']} | {row['home']} | {row['seconds']:.2f} | {row['speed']:.2f} | "
          f"{gib(row['peak_bytes'])} | {gib(row['planned_bytes'])} | {gib(row['resident_bytes'])} | "
          f"{gib(row['moved_bytes'])} | {row['waited']:.2f} |")
EOF_TABLE
