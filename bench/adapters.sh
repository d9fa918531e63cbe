#!/usr/bin/env bash
# LoRA of rank 16 on every linear layer of a random Llama-3.2-1B, beside transformers with
# PEFT on the same rows and machine, in turns: examples a second and memory, as a Markdown
# table and JSON. Builds nothing.
#
#   bench/adapters.sh
#
# Environment: LOWMEM_TRAIN, SHARED, WORK, RESULTS as in bench/cpu_1b.sh; PYTHON, one that has
# torch, transformers, tokenizers and peft (else its rows are left out); ROUNDS (2), STEPS (5;
# the first is not counted). Takes 5 GB of disk, removed unless WORK is given.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
SHARED=$(realpath -m "${SHARED:-$repository/../shared}")
LOWMEM_TRAIN=${LOWMEM_TRAIN:-$repository/build/lowmem-train}
RESULTS=${RESULTS:-$repository/build/bench/adapters}
PYTHON=${PYTHON:-python3}
ROUNDS=${ROUNDS:-2}
STEPS=${STEPS:-5}
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)}
say() { printf 'adapters: %s\n' "$*" >&2; }
if [ -z "${WORK:-}" ]; then
  WORK=$(mktemp -d)
  trap 'rm -rf "$WORK"' EXIT
fi
. "$repository/bench/models.sh"
model 1b
rm -rf "$RESULTS"
mkdir -p "$RESULTS"
rows=$SHARED/data/hellaswag/train_4303.jsonl
peft=yes
"$PYTHON" -c 'import peft, transformers, torch' 2>/dev/null || {
  peft=no
  say "$PYTHON lacks peft, transformers or torch: its rows are left out"
}

ours() { # NAME ROUND SETTING...
  local name=$1 round=$2
  shift 2
  say "round $round, $name"
  "$LOWMEM_TRAIN" --quiet --config "$repository/configs/lowmem.yaml" model.path="$WORK/1b" \
    data.train="$rows" 'eval.data=[]' data.shuffle=false train.max_steps="$STEPS" \
    train.log_every=1 run.dir="$RESULTS" run.name="$name.$round" run.tensorboard=false \
    memory.device=cpu memory.scratch="$WORK" optimizer.name=adamw optimizer.lr=2e-4 "$@"
}
theirs() { # NAME ROUND ARGUMENT...
  [ $peft = yes ] || return 0
  local name=$1 round=$2
  shift 2
  say "round $round, $name"
  mkdir -p "$RESULTS/$name.$round"
  "$PYTHON" "$repository/bench/adapters_peft.py" "$WORK/1b" "$rows" --steps "$STEPS" "$@" \
    >"$RESULTS/$name.$round/metrics.jsonl" 2>"$RESULTS/$name.$round/log"
}

lora="adapter.kind=lora adapter.targets=all-linear adapter.rank=16 adapter.alpha=32"
for round in $(seq "$ROUNDS"); do
  # shellcheck disable=SC2086
  ours lora "$round" $lora
  # shellcheck disable=SC2086
  ours lora_keep "$round" $lora memory.activations=keep
  # shellcheck disable=SC2086
  ours lora_disk "$round" $lora memory.weights=disk memory.ahead=1
  # shellcheck disable=SC2086
  ours nf4 "$round" $lora model.quantize=nf4
  # shellcheck disable=SC2086
  ours nf4_keep "$round" $lora model.quantize=nf4 memory.activations=keep
  # shellcheck disable=SC2086
  ours int8 "$round" $lora model.quantize=int8
  # shellcheck disable=SC2086
  ours dora "$round" $lora adapter.kind=dora
  theirs peft_bf16 "$round"
  theirs peft_bf16_160 "$round" --pad 160
  [ "$round" -gt 1 ] || theirs peft_fp32 "$round" --dtype float32
done
python3 - "$RESULTS" <<'EOF_TABLE'
import json, pathlib, statistics, sys
results = pathlib.Path(sys.argv[1])
table = []
for first in sorted(results.glob("*.1"), key=lambda path: path.stat().st_mtime):
    name = first.name.removesuffix(".1")
    seconds, tokens, peak, resident = [], [], 0, 0
    for run in results.glob(f"{name}.*"):
        steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        steps = [step for step in steps if "loss" in step]
        seconds += [step["step_seconds"] for step in steps[1:]]
        tokens = [step["tokens"] for step in steps]
        if (run / "results.json").exists():
            found = json.loads((run / "results.json").read_text())
            peak, resident = found["peak_bytes"]["total"], found["peak_rss_bytes"]
        else:
            resident = max(step["peak_rss"] for step in steps)
    table.append({"name": name, "seconds": statistics.median(seconds), "tokens": tokens,
                  "examples_per_second": 8 / statistics.median(seconds),
                  "peak_bytes": peak, "resident_bytes": resident,
                  "losses": [step["loss"] for step in steps]})
(results / "adapters.json").write_text(json.dumps(table, indent=1) + "\n")
base = next(row for row in table if row["name"] == "lora")
print("| | seconds a step | examples/s | lora is so many times as fast | tensors, GiB | process, GiB |")
print("|---|---:|---:|---:|---:|---:|")
for row in table:
    peak = f"{row['peak_bytes'] / 2**30:.3f}" if row["peak_bytes"] else ""
    print(f"| {row['name']} | {row['seconds']:.2f} | {row['examples_per_second']:.2f} | "
          f"{row['seconds'] / base['seconds']:.2f} | {peak} | "
          f"{row['resident_bytes'] / 2**30:.2f} |")
EOF_TABLE
