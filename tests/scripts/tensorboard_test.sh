#!/usr/bin/env bash
# Runs the demo in one go and in two, and has TensorBoard's own reader compare the event
# files with what the runs wrote besides (tensorboard_events.py).
#
#   tests/scripts/tensorboard_test.sh LOWMEM_TRAIN
#
# Python is LOWMEM_PYTHON, which must have the package tensorboard; without it, a virtual
# environment in the folder where scripts/setup.sh keeps LibTorch, made on first use.
# Exits with 77, which CTest takes for skipped, where neither can be had.
set -euo pipefail

program=$1
here=$(cd "$(dirname "$0")" && pwd)
reader=tensorboard.backend.event_processing.event_accumulator

skip() { printf 'skipped: %s\n' "$*"; exit 77; }

python=${LOWMEM_PYTHON:-}
if [ -n "$python" ]; then
  "$python" -c "import $reader" 2>/dev/null || skip "$python has no package tensorboard"
else
  deps=${LOWMEM_DEPS:-${XDG_CACHE_HOME:-$HOME/.cache}/lowmem-train}
  home=$deps/tensorboard-2
  python=$home/bin/python
  mkdir -p "$home"
  exec 9>"$home/.lock"
  flock 9 # two tests at once would install over each other
  if ! "$python" -c "import $reader" 2>/dev/null; then
    python3 -m venv "$home" >/dev/null 2>&1 || skip "python3 makes no virtual environment"
    "$python" -m pip install --quiet --disable-pip-version-check --retries 1 --timeout 20 \
      'tensorboard>=2.16,<3' >/dev/null 2>&1 || skip "tensorboard cannot be installed"
    "$python" -c "import $reader" 2>/dev/null || skip "tensorboard cannot be imported"
  fi
  exec 9>&-
fi

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
"$program" demo "$scratch" --quiet
printf '{"text": "%s"}\n' 'A cat sits on a mat.' 'It looks at the moon.' >"$scratch/text.jsonl"

# Lines of metrics.jsonl, evaluations and checkpoints fall on different steps.
run() {
  local name=$1
  shift
  "$program" --quiet model.path="$scratch/model" data.train="$scratch/train.jsonl" \
    eval.data="[$scratch/val.jsonl, $scratch/text.jsonl]" eval.limit=8 eval.every=4 run.dir="$scratch/runs" \
    run.name="$name" train.batch_size=4 "train.max_steps=${steps:-10}" train.log_every=3 \
    train.save_every=5 optimizer.lr=0.001 "$@"
}
run whole
# As a kill after the last evaluation leaves it, once with the checkpoint after the last
# step, and once without: the events of four steps, or of the evaluation, come again.
for name in resumed evaluated; do
  cp -r "$scratch/runs/whole" "$scratch/runs/$name"
  rm -r "$scratch/runs/$name/results.json" "$scratch/runs/$name/model"
done
rm -r "$scratch/runs/resumed/checkpoints/step-00000010"
run resumed --resume
run evaluated --resume
run without run.tensorboard=false
steps=4 run whole run.overwrite=true

"$python" "$here/tensorboard_events.py" "$scratch/runs"
