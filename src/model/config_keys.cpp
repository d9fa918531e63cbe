#include "config_keys.h"

#include <algorithm>
#include <string_view>

namespace lowmem::model {
namespace {

using nlohmann::json;

// Keys that describe the file, the training that made it, or how text is generated. They
// do not change what the weights compute here.
constexpr auto kHarmless = std::to_array<std::string_view>({
    "architectures",
    "auto_map",
    "bos_token_id",
    "chunk_size_feed_forward",
    "dtype",
    "eos_token_id",
    "finetuning_task",
    "gradient_checkpointing",
    "id2label",
    "is_decoder",
    "is_llama_config",
    "is_encoder_decoder",
    "keys_to_ignore_at_inference",
    "label2id",
    "max_sequence_length",
    "model_type",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "pad_token_id",
    "prefix",
    "pretraining_tp",
    "problem_type",
    "quantization_config",  // whoever reads the weights reads it
    "return_dict",
    "return_dict_in_generate",
    "sep_token_id",
    "task_specific_params",
    "tokenizer_class",
    "torch_dtype",
    "torchscript",
    "transformers.js_config",
    "transformers_version",
    "unk_token_id",
    "unsloth_fixed",
    "unsloth_version",
    "use_bfloat16",
    "use_cache",
    // generation settings that older releases kept here
    "bad_words_ids",
    "begin_suppress_tokens",
    "decoder_start_token_id",
    "diversity_penalty",
    "do_sample",
    "early_stopping",
    "encoder_no_repeat_ngram_size",
    "exponential_decay_length_penalty",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "length_penalty",
    "max_length",
    "min_length",
    "neftune_noise_alpha",
    "no_repeat_ngram_size",
    "num_beam_groups",
    "num_beams",
    "num_return_sequences",
    "remove_invalid_values",
    "repetition_penalty",
    "suppress_tokens",
    "temperature",
    "tf_legacy_loss",
    "top_k",
    "top_p",
    "typical_p",
});

// Keys that every family has.
constexpr auto kOfAll = std::to_array<std::string_view>({
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "max_position_embeddings",
    "rms_norm_eps",
    "initializer_range",
    "tie_word_embeddings",
    "hidden_act",
    "rope_theta",
    "rope_scaling",
    "rope_parameters",
    "rope_interleaved",
    "partial_rotary_factor",
    "cross_attention_hidden_size",
    "add_cross_attention",
    "tie_encoder_decoder",
    "pruned_heads",
    "original_max_position_embeddings",
});

// A value by which most keys ask for nothing.
bool is_nothing(const json& value) {
  return value.is_null() || value == false || value == 0 ||
         (value.is_string() && value.get_ref<const std::string&>().empty()) ||
         ((value.is_array() || value.is_object()) && value.empty());
}

bool all_are(const json& value, const json& word) {
  return value.is_array() && std::all_of(value.begin(), value.end(),
                                         [&](const json& one) { return one == word; });
}

// Whether a key that some family reads, and this one does not, would do nothing there
// either.
bool is_neutral(const ConfigReader& in, const std::string& key, const json& value) {
  if (key == "embedding_multiplier" || key == "residual_multiplier" ||
      key == "logits_scaling")
    return value == 1;
  if (key == "no_rope_layers") return all_are(value, 1);
  if (key == "layer_types") return all_are(value, "full_attention");
  // Without a window there are no layers that have one.
  const bool off = in.object().value("use_sliding_window", json()) == false;
  if (key == "sliding_window") return off;
  return key == "max_window_layers" && (off || !in.has("sliding_window"));
}

bool any_reads(std::string_view key) {
  const auto all = families();
  return std::any_of(all.begin(), all.end(),
                     [&](const Family& family) { return family.reads(key); });
}

// Keys by which false, and not true, would be another model.
constexpr auto kCausal = std::to_array<std::string_view>({"is_causal", "causal"});

template <class List>
bool holds(const List& list, std::string_view key) {
  return std::find(list.begin(), list.end(), key) != list.end();
}

}  // namespace

void refuse_other_keys(const ConfigReader& in, const Family& family) {
  for (const auto& item : in.object().items()) {
    const std::string& key = item.key();
    const json& value = item.value();
    if (key.starts_with("_") || holds(kHarmless, key) || holds(kDropout, key) ||
        holds(kOfAll, key) || family.reads(key))
      continue;
    if (holds(kCausal, key) ? value == true : is_nothing(value)) continue;
    if (value.is_null() || is_neutral(in, key, value)) continue;
    if (any_reads(key))
      in.fail(
          key,
          "is no setting of model_type " + std::string(family.model_type) +
              ", and it may change the model",
          "If it does not change what the weights compute, remove it from config.json");
    in.fail(key, "is not a setting this program knows, and it may change the model",
            "If it does not change what the weights compute, remove it from config.json");
  }
}

}  // namespace lowmem::model
