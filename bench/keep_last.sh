#!/usr/bin/env bash
# What keeping the activations of the last N blocks costs in memory and spares in time: a
# random Llama-3.2-1B in bf16, batches of 8 real HellaSwag rows, for each N in turns, as a
# Markdown table and JSON. Builds nothing.
#
#   bench/keep_last.sh [N...]      # default: 0 4 8 12 16
#
# Environment: LOWMEM_TRAIN, SHARED, WORK, RESULTS as in bench/cpu_1b.sh; ROUNDS (2), STEPS
# (4; the first is not counted). A time is the median of all counted steps; every N has the
# same rows. Takes about 8 minutes on two cores, and 2.5 GB of disk, removed unless WORK is
# given.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
SHARED=$(realpath -m "${SHARED:-$repository/../shared}")
LOWMEM_TRAIN=${LOWMEM_TRAIN:-$repository/build/lowmem-train}
RESULTS=${RESULTS:-$repository/build/bench/keep_last}
ROUNDS=${ROUNDS:-2}
STEPS=${STEPS:-4}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)}
say() { printf 'keep_last: %s\n' "$*" >&2; }
if [ -z "${WORK:-}" ]; then
  WORK=$(mktemp -d)
  trap 'rm -rf "$WORK"' EXIT
fi
. "$repository/bench/models.sh"
model 1b
[ $# -gt 0 ] || set -- 0 4 8 12 16
rm -rf "$RESULTS"
mkdir -p "$RESULTS"
for round in $(seq "$ROUNDS"); do
  for n in "$@"; do
    say "round $round, the last $n blocks"
    "$LOWMEM_TRAIN" --quiet --config "$repository/configs/lowmem.yaml" \
      model.path="$WORK/1b" data.train="$SHARED/data/hellaswag/train_4303.jsonl" \
      'eval.data=[]' data.shuffle=false train.max_steps="$STEPS" train.log_every=1 \
      run.dir="$RESULTS" run.name="n$n.$round" run.tensorboard=false \
      memory.activations="$n" memory.device=cpu
    rm -rf "$RESULTS/n$n.$round/model"
  done
done
python3 - "$RESULTS" "$ROUNDS" "$@" <<'EOF_TABLE'
import json, pathlib, statistics, sys
results, rounds, counts = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
table = []
for n in counts:
    seconds, losses = [], []
    for r in range(1, rounds + 1):
        run = results / f"n{n}.{r}"
        steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        steps = [step for step in steps if "loss" in step]
        seconds += [step["step_seconds"] for step in steps[1:]]
        losses.append([step["loss"] for step in steps])
        peak = json.loads((run / "results.json").read_text())["peak_bytes"]["total"]
    table.append({"blocks": int(n), "seconds": round(statistics.median(seconds), 3),
                  "peak_bytes": peak, "losses": losses[0]})
    assert all(l == table[0]["losses"] for l in losses), "a loss differs"
(results / "keep_last.json").write_text(json.dumps(table, indent=1) + "\n")
print("| last blocks that keep | seconds a step | times as fast as 0 | peak, GiB |")
print("|---:|---:|---:|---:|")
for row in table:
    print(f"| {row['blocks']} | {row['seconds']:.2f} | "
          f"{table[0]['seconds'] / row['seconds']:.2f} | {row['peak_bytes'] / 2**30:.3f} |")
EOF_TABLE
