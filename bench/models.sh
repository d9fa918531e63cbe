# Sourced by the scripts beside it: `model NAME` makes $WORK/NAME, a random model of that size.
# They set WORK, SHARED, LOWMEM_TRAIN and say().

# Llama-3's shape: layers, hidden and intermediate size, heads, key-value heads, head size,
# tied embeddings, factor of the rotary embedding.
llama_3() {
  cat <<EOF
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "torch_dtype": "bfloat16",
 "vocab_size": 128256, "num_hidden_layers": $1, "hidden_size": $2, "intermediate_size": $3,
 "num_attention_heads": $4, "num_key_value_heads": $5, "head_dim": $6,
 "tie_word_embeddings": $7, "max_position_embeddings": 131072, "rms_norm_eps": 1e-05,
 "hidden_act": "silu", "initializer_range": 0.02, "rope_theta": 500000.0,
 "rope_scaling": {"rope_type": "llama3", "factor": $8, "low_freq_factor": 1.0,
                  "high_freq_factor": 4.0, "original_max_position_embeddings": 8192},
 "bos_token_id": 128000, "eos_token_id": 128001}
EOF
}
config_of() {
  case "$1" in
    60m) llama_3 8 384 1024 6 2 64 true 32.0 ;;  # 61.8 million, 49.3 of them embeddings
    1b) if [ -n "${CONFIG_1B:-}" ]; then cat "$CONFIG_1B"
        else llama_3 16 2048 8192 32 8 64 true 32.0; fi ;;
    8b) llama_3 32 4096 14336 32 8 128 false 8.0 ;;
    13b) llama_3 40 5120 13824 40 40 128 false 8.0 ;;  # Llama 2's blocks, Llama 3's words
  esac
}

# Makes $WORK/NAME, a random model with Llama-3's tokenizer, unless it is there.
model() {
  local folder=$WORK/$1
  [ -e "$folder/config.json" ] && return
  local source=$WORK/$1.config
  mkdir -p "$source"
  config_of "$1" >"$source/config.json"
  cp "$SHARED/tokenizers/llama3/tokenizer.json" "$source"
  say "making a random $1 model"
  rm -rf "$folder.partial"
  "$LOWMEM_TRAIN" --quiet init "$source/config.json" "$folder.partial"
  mv "$folder.partial" "$folder"
}
