#!/usr/bin/env bash
# Trains adapters of the demo's model in several settings, lets PEFT load each folder, and
# compares the logits with those of the merged folder in transformers: a line each.
#
#   PYTHON=venv/bin/python scripts/check_adapters.sh
#
# PYTHON needs torch, transformers, peft and safetensors; LOWMEM_TRAIN names the executable.
set -euo pipefail
repository=$(cd "$(dirname "$0")/.." && pwd)
LOWMEM_TRAIN=${LOWMEM_TRAIN:-$repository/build/lowmem-train}
PYTHON=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$LOWMEM_TRAIN" -q demo "$work/demo"
base=$work/demo/model # what PEFT lays the adapter beside
check() { # NAME SETTING...
  local name=$1
  shift
  "$LOWMEM_TRAIN" -q model.path="$work/demo/model" data.train="$work/demo/train.jsonl" \
    run.dir="$work/runs" run.name="$name" train.max_steps=60 train.batch_size=16 \
    model.dtype=fp32 model.compute_dtype=fp32 adapter.kind=lora optimizer.name=adamw \
    optimizer.lr=5e-3 "$@"
  "$LOWMEM_TRAIN" -q merge "$work/runs/$name/adapter" --model "$work/demo/model" \
    --into "$work/merged/$name"
  printf '%s: ' "$name"
  "$PYTHON" -W ignore "$repository/scripts/check_export.py" "$base" \
    --adapter "$work/runs/$name/adapter" --against "$work/merged/$name" |
    sed "s#$work/##g"
}
check query_value
check all_linear adapter.targets=all-linear adapter.rank=16
check rank_stabilized adapter.targets=all-linear adapter.rank_stabilized=true
check patterns 'adapter.targets=[q_proj,down_proj]' adapter.rank_pattern=q_proj=2 \
  adapter.alpha_pattern=model.layers.1.mlp.down_proj=3
check some_layers 'adapter.targets=model.layers.1.*' 'adapter.exclude=*.mlp.*'
check also_norm adapter.also_train=norm
check also_norms 'adapter.also_train=*layernorm'
check dora adapter.kind=dora adapter.targets=all-linear
check adalora adapter.kind=adalora adapter.targets=all-linear adapter.rank=6 \
  adapter.target_rank=2 adapter.tfinal=10
check pissa adapter.init=pissa adapter.targets=all-linear
check olora adapter.init=olora adapter.targets=all-linear adapter.alpha=8 optimizer.lr=1e-3
# Beside a folder in codes that this program wrote.
for form in nf4 int8; do
  "$LOWMEM_TRAIN" -q quantize "$work/demo/model" --as $form --into "$work/$form"
done
"$PYTHON" -W ignore "$repository/scripts/check_export.py" "$work/int8" | sed "s#$work/##g"
base=$work/nf4
check beside_nf4 adapter.targets=all-linear model.quantize=nf4
check loftq adapter.targets=all-linear model.quantize=nf4 adapter.init=loftq
