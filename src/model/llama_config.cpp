#include "lowmem/model/llama_config.h"

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <string_view>

#include "lowmem/core/error.h"
#include "lowmem/core/files.h"

namespace lowmem::model {
namespace {

using nlohmann::json;

// Keys that describe the file, the training that made it, or how text is generated. They
// do not change what the weights compute here.
constexpr auto kHarmless = std::to_array<std::string_view>({
    "architectures",
    "attention_dropout",
    "bos_token_id",
    "chunk_size_feed_forward",
    "dtype",
    "eos_token_id",
    "finetuning_task",
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

// Keys read below.
constexpr auto kImplemented = std::to_array<std::string_view>({
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
    "attention_bias",
    "mlp_bias",
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
});

class Reader {
 public:
  Reader(json object, std::string where)
      : object_(std::move(object)), where_(std::move(where)) {}

  bool has(const char* key) const {
    return object_.contains(key) && !object_[key].is_null();
  }
  const json& at(const char* key) const { return object_[key]; }
  const json& object() const { return object_; }

  int64_t integer(const char* key, std::optional<int64_t> fallback = {}) const {
    if (!has(key)) return or_missing(key, fallback);
    const json& value = object_[key];
    constexpr int64_t kLargest = int64_t{1} << 31;
    if (!value.is_number_integer() || value < 1 || value > kLargest)
      fail(key, "must be a whole number from 1 to 2^31");
    return value.get<int64_t>();
  }

  double positive(const char* key, std::optional<double> fallback = {}) const {
    if (!has(key)) return or_missing(key, fallback);
    const json& value = object_[key];
    const double number = value.is_number() ? value.get<double>() : 0.0;
    // In fp32 what is out of its range would be 0 or infinite.
    using Fp32 = std::numeric_limits<float>;
    if (!(number >= Fp32::min() && number <= Fp32::max()))
      fail(key, "must be a positive number that fp32 can hold");
    return number;
  }

  bool boolean(const char* key, bool fallback) const {
    if (!has(key)) return fallback;
    if (!object_[key].is_boolean()) fail(key, "must be true or false");
    return object_[key].get<bool>();
  }

  std::string text(const char* key, const std::string& fallback) const {
    if (!has(key)) return fallback;
    if (!object_[key].is_string()) fail(key, "must be a string");
    return object_[key].get<std::string>();
  }

  [[noreturn]] void fail(
      const std::string& key, const std::string& problem,
      const std::string& remedy = "Repair the file, or fetch it again") const {
    std::string value;
    if (object_.contains(key)) {
      // Bytes that are not UTF-8 never get here: the parser refuses them.
      value = object_[key].dump();
      if (value.size() > 60) value = value.substr(0, 57) + "...";
      value = " = " + value;
    }
    throw Error(where_ + " " + key + value, problem, remedy);
  }

 private:
  template <class T>
  T or_missing(const char* key, std::optional<T> fallback) const {
    if (!fallback) fail(key, "is missing");
    return *fallback;
  }

  json object_;
  std::string where_;
};

void refuse_unknown(const Reader& in) {
  for (const auto& item : in.object().items()) {
    const std::string& key = item.key();
    const auto named = [&](const auto& list) {
      return std::find(list.begin(), list.end(), key) != list.end();
    };
    if (item.value().is_null() || key.starts_with("_") || named(kHarmless) ||
        named(kImplemented))
      continue;
    in.fail(key, "is not a setting this program knows, and it may change the model",
            "If it does not change what the weights compute, remove it from config.json");
  }
}

void read_rope(const Reader& in, const std::string& where, LlamaConfig& config) {
  config.rope_theta = in.positive("rope_theta", 10000.0);
  const char* key = in.has("rope_parameters") ? "rope_parameters" : "rope_scaling";
  if (!in.has(key)) return;
  if (in.has("rope_parameters") && in.has("rope_scaling") &&
      in.at("rope_parameters") != in.at("rope_scaling"))
    in.fail("rope_scaling", "contradicts rope_parameters", "Remove one of the two");
  if (!in.at(key).is_object()) in.fail(key, "must be an object");
  const Reader rope(in.at(key), where + " " + key);
  config.rope_theta = rope.positive("rope_theta", config.rope_theta);
  if (rope.positive("partial_rotary_factor", 1.0) != 1.0)
    rope.fail("partial_rotary_factor", "other than 1 is not implemented",
              "Use a model whose heads are rotated whole");
  for (const auto& item : rope.object().items()) {
    static constexpr auto kKnown = std::to_array<std::string_view>(
        {"rope_type", "type", "factor", "low_freq_factor", "high_freq_factor",
         "original_max_position_embeddings", "rope_theta", "partial_rotary_factor"});
    if (!item.value().is_null() &&
        std::find(kKnown.begin(), kKnown.end(), item.key()) == kKnown.end())
      rope.fail(item.key(), "is not implemented", "Use a model without it");
  }
  const std::string type = rope.text("rope_type", rope.text("type", "default"));
  if (type == "default") return;
  if (type == "linear") {
    config.rope_scaling = RopeScaling::kLinear;
    config.rope_factor = rope.positive("factor");
  } else if (type == "llama3") {
    config.rope_scaling = RopeScaling::kLlama3;
    config.rope_factor = rope.positive("factor");
    config.rope_low_freq_factor = rope.positive("low_freq_factor");
    config.rope_high_freq_factor = rope.positive("high_freq_factor");
    config.rope_original_max_position_embeddings =
        rope.integer("original_max_position_embeddings");
    if (config.rope_high_freq_factor <= config.rope_low_freq_factor)
      rope.fail("high_freq_factor", "must be larger than low_freq_factor");
  } else {
    rope.fail(rope.has("rope_type") ? "rope_type" : "type",
              "is a rotary scaling this program does not implement",
              "Use a model with default, linear or llama3 scaling");
  }
}

void check_shapes(const Reader& in, const LlamaConfig& config) {
  if (config.head_dim % 2 != 0)
    in.fail("head_dim", "must be even, for rotary embeddings");
  if (config.num_attention_heads % config.num_key_value_heads != 0)
    in.fail("num_key_value_heads", "must divide num_attention_heads = " +
                                       std::to_string(config.num_attention_heads));
  // Products of two sizes are tensors; keep them far from overflowing int64.
  constexpr double kLargestTensor = 1e13;
  const double width = static_cast<double>(config.hidden_size);
  for (const int64_t rows : {config.vocab_size, config.intermediate_size,
                             config.num_attention_heads * config.head_dim})
    if (static_cast<double>(rows) * width > kLargestTensor)
      in.fail("hidden_size", "asks for a matrix of more than 10^13 elements");
  if (config.num_hidden_layers > 100000)
    in.fail("num_hidden_layers", "is more than 100,000");
}

// What people give in the place of a model's folder.
void refuse_other_folder(const std::filesystem::path& path) {
  std::error_code code;
  if (std::filesystem::exists(path / "config.json", code)) return;
  if (std::filesystem::exists(path / "adapter_config.json", code))
    throw Error(path.string(), "holds an adapter (adapter_config.json), and no model",
                "Merge it into its base model first, and give that folder");
  if (std::filesystem::is_directory(path / "snapshots", code))
    throw Error(path.string(),
                "is a folder of the Hugging Face cache, and the model lies deeper",
                "Give the folder " + (path / "snapshots").string() + "/REVISION");
  const std::string name = path.string();
  const bool hub_name = std::count(name.begin(), name.end(), '/') == 1 &&
                        !name.starts_with('/') && !name.starts_with('.') &&
                        !std::filesystem::exists(path.parent_path(), code);
  if (!std::filesystem::exists(path, code) && hub_name)
    throw Error(
        name,
        "is no folder here; it looks like a name on the Hugging Face Hub, and "
        "nothing is downloaded",
        "Download it first (hf download " + name + " --local-dir DIR), and give DIR");
}

}  // namespace

LlamaConfig read_llama_config(const std::filesystem::path& path) {
  std::error_code code;
  if (std::filesystem::is_regular_file(path, code) && path.extension() != ".json")
    throw Error(path.string(), "is a file, and not a config.json",
                "Give the folder of the model");
  refuse_other_folder(path);
  const auto file =
      std::filesystem::is_directory(path, code) ? path / "config.json" : path;
  json parsed = read_json(file, weights::kLargestConfig);
  if (!parsed.is_object())
    throw Error(file.string(), "is not a JSON object",
                "Repair the file, or fetch it again");
  const Reader in(std::move(parsed), file.string());

  const std::string remedy = "This program trains Llama models only";
  if (in.text("model_type", "llama") != "llama")
    in.fail("model_type", "is not implemented", remedy);
  if (in.has("architectures") &&
      in.at("architectures") != json::array({"LlamaForCausalLM"}))
    in.fail("architectures", "is not [\"LlamaForCausalLM\"]", remedy);
  if (in.text("hidden_act", "silu") != "silu")
    in.fail("hidden_act", "is not implemented", "Use a model with silu");
  for (const char* key :
       {"rope_interleaved", "add_cross_attention", "tie_encoder_decoder"})
    if (in.boolean(key, false)) in.fail(key, "is not implemented", remedy);
  if (in.has("partial_rotary_factor") && in.positive("partial_rotary_factor") != 1.0)
    in.fail("partial_rotary_factor", "other than 1 is not implemented", remedy);
  if (in.has("pruned_heads") && !in.at("pruned_heads").empty())
    in.fail("pruned_heads", "is not implemented", remedy);
  if (in.has("attention_dropout") && in.at("attention_dropout") != 0)
    in.fail("attention_dropout", "is not implemented", "Set it to 0.0");
  refuse_unknown(in);

  LlamaConfig config;
  config.vocab_size = in.integer("vocab_size");
  config.hidden_size = in.integer("hidden_size");
  config.intermediate_size = in.integer("intermediate_size");
  config.num_hidden_layers = in.integer("num_hidden_layers");
  config.num_attention_heads = in.integer("num_attention_heads");
  config.num_key_value_heads =
      in.integer("num_key_value_heads", config.num_attention_heads);
  if (!in.has("head_dim") && config.hidden_size % config.num_attention_heads != 0)
    in.fail("num_attention_heads",
            "must divide hidden_size = " + std::to_string(config.hidden_size) +
                " where no head_dim is given");
  config.head_dim =
      in.integer("head_dim", config.hidden_size / config.num_attention_heads);
  config.max_position_embeddings = in.integer("max_position_embeddings", 2048);
  config.rms_norm_eps = in.positive("rms_norm_eps", 1e-6);
  config.initializer_range = in.positive("initializer_range", 0.02);
  config.tie_word_embeddings = in.boolean("tie_word_embeddings", false);
  config.attention_bias = in.boolean("attention_bias", false);
  config.mlp_bias = in.boolean("mlp_bias", false);
  read_rope(in, file.string(), config);
  check_shapes(in, config);
  return config;
}

}  // namespace lowmem::model
