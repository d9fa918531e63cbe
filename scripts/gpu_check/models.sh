# shellcheck shell=bash
# The models, rows and GPUs of scripts/gpu_check.sh. Sourced by it; reads its variables.
# shellcheck disable=SC2034,SC2154

# Dense bf16 TFLOP/s with fp32 sums, from the makers' data sheets.
peak_of() {
  case "$1" in
    *B200*) echo 2250 ;;
    *H100*PCIe*) echo 756 ;;
    *H100*NVL*) echo 835 ;;
    *H100* | *H200*) echo 989 ;;
    *H20*) echo 148 ;;
    *A100* | *A800*) echo 312 ;;
    *L40S*) echo 362 ;;
    *L40*) echo 181 ;;
    *L4*) echo 121 ;;
    *' A10G') echo 70 ;;
    *' A10') echo 125 ;;
    *' A40') echo 150 ;;
    *5090*) echo 209 ;;
    *4090*) echo 165 ;;
    *3090*) echo 71 ;;
  esac
}

# llama LAYERS HIDDEN INTERMEDIATE HEADS KEY_VALUE_HEADS HEAD_SIZE TIED ROTARY_FACTOR
llama() {
  local vocabulary=128256 bos=128000 eos=128001
  [ -n "$tokenizer" ] || bos=0 eos=1 # the demo's
  if $dry_run && [ -z "$tokenizer" ]; then vocabulary=512; fi
  cat <<JSON
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
 "vocab_size": $vocabulary, "num_hidden_layers": $1, "hidden_size": $2,
 "intermediate_size": $3, "num_attention_heads": $4, "num_key_value_heads": $5,
 "head_dim": $6, "tie_word_embeddings": $7, "max_position_embeddings": 131072,
 "rms_norm_eps": 1e-05, "hidden_act": "silu", "initializer_range": 0.02,
 "rope_theta": 500000.0, "bos_token_id": $bos, "eos_token_id": $eos,
 "rope_scaling": {"rope_type": "llama3", "factor": $8, "low_freq_factor": 1.0,
                  "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}}
JSON
}
config_of() {
  case "$1$dry_run" in
    1bfalse) llama 16 2048 8192 32 8 64 true 32.0 ;;
    8bfalse) llama 32 4096 14336 32 8 128 false 8.0 ;;
    1btrue) llama 2 64 128 4 2 16 true 32.0 ;;
    8btrue) llama 3 64 192 4 2 16 false 8.0 ;;
  esac
}
name_of() {
  local name=Llama-3.2-1B
  [ "$1" = 1b ] || name=Llama-3.1-8B
  if $dry_run; then echo "$name's stand-in, tiny"; else echo "$name, random"; fi
}

# Writes $work/config/MODEL: config.json and the tokenizer's files.
configure() {
  local folder=$work/config/$1
  mkdir -p "$folder"
  config_of "$1" >"$folder/config.json"
  cp "${tokenizer:-$work/demo/model}"/tokenizer* "$folder"
}
# Makes $work/MODEL with random weights.
make_model() {
  configure "$1"
  attempt "init $1" "${with_torch[@]}" "$train" --quiet init "$work/config/$1/config.json" "$work/$1"
}

# Rows: `160` and `2048` are so many tokens each; `short` are HellaSwag's or like them.
# shape KIND: sets data, title, batch, length, steps, warmup, uniform.
shape() {
  data=$work/rows-$1.jsonl batch=8 length=161 steps=40 warmup=10 every=5
  case "$1" in
    160) title='8 x 160' tokens_of_row=160 ;;
    2048) title='4 x 2048' tokens_of_row=2048 batch=4 length=2049 steps=20 warmup=5 ;;
    short) title='8 x HellaSwag' tokens_of_row=0 length=160
      [ -n "$rows" ] || title="8 x HellaSwag's lengths" ;;
  esac
  if $dry_run; then steps=3 warmup=1 every=1; fi
}
make_rows() {
  awk -f "$helpers/rows.awk" -v rows=64 -v tokens=160 -v labelled=54 >"$work/rows-160.jsonl"
  awk -f "$helpers/rows.awk" -v rows=16 -v tokens=2048 -v labelled=2047 >"$work/rows-2048.jsonl"
  if [ -n "$rows" ]; then
    sed 400q "$rows" >"$work/rows-short.jsonl"
  else
    awk -f "$helpers/rows.awk" -v rows=420 -v spread=1 >"$work/rows-short.jsonl"
  fi
}
