#!/usr/bin/env bash
# The low-memory recipe beside the same in transformers (bench/real_python.py): SmolLM2-135M-
# Instruct, the same real HellaSwag rows in the same order, one process after the other. Prints
# how far the losses are from each other, examples a second and resident peaks. Builds nothing.
#
#   bench/real_python.sh [OUT_DIR]     # default: build/bench/real_python
#
# What bf16 noise is, two more runs of lowmem-train tell: one with another seed, which differs in
# the noise of rounding alone, and one in fp32, which has no rounding to speak of.
#
# Environment, with what it is by default:
#   STEPS=200     steps of 8 rows; the first is not counted in times. All four runs take some 25
#                 minutes on two cores (estimated)
#   RATE=1e-4     the learning rate
#   PAD=longest   how Python pads a batch: to its longest row, or to 160
#   PYTHON        one that has torch, transformers and tokenizers; that of
#                 scripts/make_references.py, else python3
#   RESULTS       folder for real_python.json: bench/results for 200 steps, else OUT_DIR
#   MODEL, LOWMEM_TRAIN, SHARED   as in bench/real_table.sh
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
say() { printf 'real_python: %s\n' "$*" >&2; }
fail() { printf 'real_python: error: %s\n' "$*" >&2; exit 1; }
case ${1:-} in
  -h | --help) sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//p}' "$0"; exit ;;
  -*) fail "unknown option $1; see --help" ;;
esac
[ $# -le 1 ] || fail "one folder is wanted, not $#: bench/real_python.sh [OUT_DIR]"
out=$(realpath -m "${1:-$repository/build/bench/real_python}")
STEPS=${STEPS:-200}
RATE=${RATE:-1e-4}
PAD=${PAD:-longest}
LOWMEM_TRAIN=${LOWMEM_TRAIN:-$repository/build/lowmem-train}
shared=$(realpath -m "${SHARED:-$repository/../shared}")
deps=${LOWMEM_DEPS:-${XDG_CACHE_HOME:-$HOME/.cache}/lowmem-train}
MODEL=$(realpath -m "${MODEL:-$deps/smollm2/SmolLM2-135M-Instruct}")
rows=$shared/data/hellaswag/train_4303.jsonl
if [ -z "${RESULTS:-}" ]; then
  RESULTS=$out
  [ "$STEPS $RATE $PAD" != "200 1e-4 longest" ] || RESULTS=$repository/bench/results
fi
if [ -z "${PYTHON:-}" ]; then
  PYTHON=$deps/references/bin/python
  [ -x "$PYTHON" ] || PYTHON=python3
fi
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive} OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(nproc)}

if ! [[ $STEPS =~ ^[1-9][0-9]*$ ]] || [ "$STEPS" -lt 2 ] || [ "$STEPS" -gt 537 ]; then
  fail "STEPS=$STEPS: give 2 to 537, which are all rows once"
fi
[ -e "$rows" ] ||
  fail "there is no $rows: a clone alone has no real rows;" \
    "SHARED names a folder with data/hellaswag"
command -v "$LOWMEM_TRAIN" >/dev/null ||
  fail "there is no executable $LOWMEM_TRAIN: build it, or name one in LOWMEM_TRAIN"
"$PYTHON" -c 'import tokenizers, torch, transformers' 2>/dev/null ||
  fail "$PYTHON lacks torch, transformers or tokenizers: name a Python that has them in PYTHON"
mkdir -p "$out" "$RESULTS"
"$repository/scripts/real_model.sh" --no-check "$MODEL" >&2

ours() { # NAME SETTING...
  local name=$1
  shift
  say "lowmem-train, $name: $STEPS steps"
  "$LOWMEM_TRAIN" --quiet --config "$repository/configs/lowmem.yaml" model.path="$MODEL" \
    data.train="$rows" 'eval.data=[]' data.shuffle=false train.max_steps="$STEPS" \
    train.log_every=1 optimizer.lr="$RATE" run.dir="$out" run.name="$name" run.overwrite=true \
    run.tensorboard=false memory.device=cpu "$@"
}
ours lowmem run.seed=1
say "transformers: $STEPS steps"
mkdir -p "$out/python"
"$PYTHON" "$repository/bench/real_python.py" "$MODEL" "$rows" --steps "$STEPS" --lr "$RATE" \
  --pad "$PAD" >"$out/python/metrics.jsonl" 2>"$out/python/log" || {
  tail -n 5 "$out/python/log" >&2
  fail "bench/real_python.py ended early: the lines above say why"
}
ours other_seed run.seed=2
ours fp32 run.seed=1 model.dtype=fp32 model.compute_dtype=fp32

python3 - "$out" "$RESULTS/real_python.json" "$PAD" "$RATE" <<'EOF_TABLE'
import json, pathlib, statistics, sys
out, file, pad, rate = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3], float(sys.argv[4])
runs = {}
for name in ("lowmem", "python", "other_seed", "fp32"):
    text = (out / name / "metrics.jsonl").read_text(encoding="utf-8")
    steps = [step for step in map(json.loads, text.splitlines()) if "loss" in step]
    timed = [step["step_seconds"] for step in steps[1:]]
    runs[name] = {"examples_per_second": 8 * len(timed) / sum(timed),
                  "median_step_seconds": statistics.median(timed)}
    if name == "python":
        runs[name]["resident_bytes"] = max(step["peak_rss"] for step in steps)
    else:
        results = json.loads((out / name / "results.json").read_text(encoding="utf-8"))
        runs[name]["resident_bytes"] = results["peak_rss_bytes"]
        runs[name]["peak_bytes"] = results["peak_bytes"]["total"]
    runs[name]["labelled_tokens"] = [step["labelled_tokens"] for step in steps]
    runs[name]["losses"] = [round(step["loss"], 5) for step in steps]
labelled = [run.pop("labelled_tokens") for run in runs.values()]
if any(other != labelled[0] for other in labelled):
    sys.exit("real_python: error: the runs learned other tokens: their rows are not the same")
width = "the longest row" if pad == "longest" else pad
words = {"lowmem": "lowmem-train", "python": f"transformers, padded to {width}",
         "other_seed": "lowmem-train, another seed", "fp32": "lowmem-train in fp32"}
pairs = [("lowmem", "python"), ("lowmem", "other_seed"), ("lowmem", "fp32"), ("python", "fp32")]
differences = []
for first, second in pairs:
    apart = [abs(a - b) for a, b in zip(runs[first]["losses"], runs[second]["losses"], strict=True)]
    differences.append({"of": [first, second], "first_step": apart[0],
                        "mean": statistics.mean(apart), "max": max(apart)})
steps = len(labelled[0])
pathlib.Path(file).write_text(json.dumps({
    "model": "SmolLM2-135M-Instruct", "steps": steps, "batch_size": 8, "lr": rate,
    "versions": results["versions"], "differences": differences, "runs": runs}, indent=1) + "\n",
    encoding="utf-8")
last = min(50, steps)
print(f"{steps} steps of 8 rows\n")
print(f"| | mean loss of the first {last} | of the last {last} | examples/s | times Python | "
      "process, GiB |")
print("|---|---:|---:|---:|---:|---:|")
for name, run in runs.items():
    print(f"| {words[name]} | {statistics.mean(run['losses'][:last]):.4f} | "
          f"{statistics.mean(run['losses'][-last:]):.4f} | {run['examples_per_second']:.2f} | "
          f"{run['examples_per_second'] / runs['python']['examples_per_second']:.2f} | "
          f"{run['resident_bytes'] / 2**30:.2f} |")
print("\n| losses of | and of | apart at step 1 | mean | at most |\n|---|---|---:|---:|---:|")
for pair in differences:
    first, second = (words[name] for name in pair["of"])
    print(f"| {first} | {second} | {pair['first_step']:.4f} | {pair['mean']:.4f} | "
          f"{pair['max']:.4f} |")
EOF_TABLE
say "$RESULTS/real_python.json"
