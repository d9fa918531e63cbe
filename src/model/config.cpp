#include "lowmem/model/config.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "config_keys.h"
#include "config_parts.h"
#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/weights/stored_form.h"

namespace lowmem::model {
namespace {

using nlohmann::json;

// The row of the table for model_type, or for architectures where there is none.
const Family& family_of(const ConfigReader& in) {
  const json architectures = in.has("architectures") ? in.at("architectures") : json();
  const Family* family = nullptr;
  if (!in.has("model_type") && architectures.is_array() && architectures.size() == 1 &&
      architectures[0].is_string())
    family = find_architecture(architectures[0].get<std::string>());
  else
    family = find_family(in.text("model_type", "llama"));
  const std::string remedy = "Use a model of one of the families " + family_names();
  if (family == nullptr)
    in.fail(in.has("model_type") ? "model_type" : "architectures",
            "is a family that is not implemented", remedy);
  const std::string architecture(family->architecture);
  if (!architectures.is_null() && architectures != json::array({architecture}))
    in.fail("architectures", "is not [\"" + architecture + "\"]",
            "Use a model that predicts the next token");
  return *family;
}

// What no family here computes.
void refuse_elsewhere(const ConfigReader& in) {
  const std::string remedy = "Use a model without it";
  if (in.text("hidden_act", "silu") != "silu")
    in.fail("hidden_act", "is not implemented", "Use a model with silu");
  for (const char* key :
       {"rope_interleaved", "add_cross_attention", "tie_encoder_decoder"})
    if (in.boolean(key, false)) in.fail(key, "is not implemented", remedy);
  if (in.has("partial_rotary_factor") && in.positive("partial_rotary_factor") != 1.0)
    in.fail("partial_rotary_factor", "other than 1 is not implemented",
            "Use a model whose heads are rotated whole");
  if (in.has("pruned_heads") && !in.at("pruned_heads").empty())
    in.fail("pruned_heads", "is not implemented", remedy);
  // Of codes that are read, whoever reads the weights says more.
  weights::stored_by(in.object(), in.where());
  for (const char* key : {"quantization", "compression_config"})
    if (in.has(key) && in.at(key).is_object() && !in.at(key).empty())
      in.fail(key, "says that the weights are quantized, which are not read",
              "Use the folder in bf16, fp16 or fp32 that the quantized one was made of");
}

// Absent and null are two things here, as in transformers.
int64_t key_value_heads(const ConfigReader& in, const Family& family, int64_t heads) {
  const bool absent = !in.object().contains("num_key_value_heads");
  return in.integer("num_key_value_heads", absent && family.num_key_value_heads > 0
                                               ? family.num_key_value_heads
                                               : heads);
}

void read_sizes(const ConfigReader& in, const Family& family, Config& config) {
  config.vocab_size = in.integer("vocab_size");
  config.hidden_size = in.integer("hidden_size");
  config.intermediate_size = in.integer("intermediate_size");
  config.num_hidden_layers = in.integer("num_hidden_layers");
  const int64_t heads = in.integer("num_attention_heads");
  config.num_attention_heads = heads;
  config.num_key_value_heads = key_value_heads(in, family, heads);
  if (!in.has("head_dim") && family.head_dim == 0 && config.hidden_size % heads != 0)
    in.fail("num_attention_heads",
            "must divide hidden_size = " + std::to_string(config.hidden_size) +
                " where no head_dim is given");
  config.head_dim =
      in.has("head_dim") || family.head_dim == 0
          ? in.integer("head_dim", std::max<int64_t>(1, config.hidden_size / heads))
          : family.head_dim;
  config.max_position_embeddings =
      in.integer("max_position_embeddings", family.max_position_embeddings);
}

void read_numbers(const ConfigReader& in, const Family& family, Config& config) {
  config.rms_norm_eps = in.positive("rms_norm_eps", family.rms_norm_eps);
  config.initializer_range = in.positive("initializer_range", 0.02);
  config.rope_theta = family.rope_theta;
  const auto scalar = [&](const char* key, double& to) {
    if (family.reads(key)) to = in.positive(key, 1.0);
  };
  scalar("embedding_multiplier", config.embedding_multiplier);
  scalar("attention_multiplier", config.attention_multiplier);
  scalar("residual_multiplier", config.residual_multiplier);
  scalar("logits_scaling", config.logits_scaling);
}

void read_flags(const ConfigReader& in, const Family& family, Config& config) {
  config.tie_word_embeddings =
      in.boolean("tie_word_embeddings", family.tie_word_embeddings);
  config.attention_bias =
      family.reads("attention_bias") && in.boolean("attention_bias", false);
  config.mlp_bias = family.reads("mlp_bias") && in.boolean("mlp_bias", false);
  config.query_key_value_bias = family.query_key_value_bias;
  config.head_norms = family.head_norms;
  config.fused_names = family.fused_names;
}

void check_shapes(const ConfigReader& in, const Config& config) {
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

ConfigReader open_config(const std::filesystem::path& path) {
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
  return {std::move(parsed), file.string()};
}

}  // namespace

Config read_model_config(const std::filesystem::path& path) {
  const ConfigReader in = open_config(path);
  const Family& family = family_of(in);
  refuse_elsewhere(in);
  refuse_other_keys(in, family);

  Config config;
  read_sizes(in, family, config);
  read_numbers(in, family, config);
  read_flags(in, family, config);
  read_rope(in, config);
  check_shapes(in, config);
  read_layers(in, family, config);
  return config;
}

void refuse_dropout(const std::filesystem::path& path) {
  const ConfigReader in = open_config(path);
  for (const std::string_view key : kDropout)
    if (const std::string name(key); in.has(name.c_str()) && in.at(name.c_str()) != 0)
      in.fail(name, "is of training, which has no dropout here",
              "Set it to 0.0 to train");
}

}  // namespace lowmem::model
