// config.json: what no Llama has, and what this program does not compute.
#include "bad_input/damaged.h"

namespace lowmem::test {
namespace {

using nlohmann::json;

constexpr const char* kFile = "model/config.json";

Damage config(const std::string& name, std::function<void(json&)> edit,
              const std::string& key, const std::string& problem) {
  return damaged_json(name, kFile, std::move(edit), "config.json " + key, problem);
}

Damage key(const std::string& name, const std::string& key, const json& value,
           const std::string& problem) {
  return config(
      name, [=](json& j) { j[key] = value; }, key + " = ", problem);
}

// Each key of rope_scaling over a llama3 scaling that is in order.
Damage rope(const std::string& name, const json& changes, const std::string& key,
            const std::string& problem) {
  const auto edit = [changes](json& j) {
    j["rope_scaling"] = {{"rope_type", "llama3"},
                         {"factor", 32.0},
                         {"low_freq_factor", 1.0},
                         {"high_freq_factor", 4.0},
                         {"original_max_position_embeddings", 64}};
    j["rope_scaling"].merge_patch(changes);
  };
  return config(name, edit, key, problem);
}

std::vector<Damage> damaged_configs() {
  const std::string whole = "must be a whole number from 1";
  const std::string positive = "must be a positive number";
  const std::string unknown = "is not implemented";
  return {
      {"ConfigMissing",
       [](const Inputs& inputs) {
         inputs.remove(kFile);
         return Arguments();
       },
       kFile, "cannot be read (No such file or directory)"},
      {"ConfigIsAPipe",
       [](const Inputs& inputs) {
         inputs.make_pipe(kFile);
         return Arguments();
       },
       kFile, "is a pipe, device or socket"},
      damaged_file("ConfigEmpty", kFile, "", "config.json line 1", "is not valid JSON"),
      damaged_file("ConfigIsAList", kFile, "[]", "config.json", "is not a JSON object"),
      damaged_file("ConfigIsBinary", kFile,
                   std::string("\x7F"
                               "ELF\0\1",
                               6),
                   "config.json", "holds a NUL byte"),
      damaged_file("ConfigNotUtf8", kFile, "{\"model_type\": \"\xFF\"}",
                   "config.json line 1", "is not valid JSON"),
      damaged_file("ConfigOfBrackets", kFile, "{\"x\":" + std::string(30'000, '['),
                   "config.json", "is nested deeper than 64"),
      damaged_file("ConfigOfADeepList", kFile,
                   "{\"architectures\":" + std::string(20'000, '[') +
                       std::string(20'000, ']') + "}",
                   "config.json", "is nested deeper than 64"),
      damaged_file("NumberBeyondDouble", kFile, "{\"vocab_size\": 1e999}", "config.json",
                   "holds a number that no computer number can hold"),
      key("OtherModelType", "model_type", "gemma3", unknown),
      config(
          "AFamilyAndTheArchitectureOfAnother",
          [](json& j) { j["model_type"] = "mistral"; }, "architectures",
          "is not [\"Mistral"),
      key("OtherArchitecture", "architectures", {"GPT2LMHeadModel"}, "is not [\"Llama"),
      key("OtherActivation", "hidden_act", "gelu", unknown),
      key("UnknownSetting", "query_scale", 2, "is not a setting this program knows"),
      config(
          "VocabularyMissing", [](json& j) { j.erase("vocab_size"); }, "vocab_size",
          "is missing"),
      config(
          "HiddenSizeNull", [](json& j) { j["hidden_size"] = nullptr; }, "hidden_size",
          "is missing"),
      key("VocabularyZero", "vocab_size", 0, whole),
      key("HiddenSizeNegative", "hidden_size", -32, whole),
      key("LayersAreText", "num_hidden_layers", "2", whole),
      key("LayersFractional", "num_hidden_layers", 2.5, whole),
      key("LayersAboveAll", "num_hidden_layers", 100001, "is more than 100,000"),
      key("VocabularyIs2To62", "vocab_size", int64_t{1} << 62, whole),
      key("VocabularyIs2To64", "vocab_size", UINT64_MAX, whole),
      key("HiddenSizeIs1e300", "hidden_size", 1e300, whole),
      config(
          "MatrixAboveAll",
          [](json& j) { j["vocab_size"] = j["hidden_size"] = int64_t{1} << 30; },
          "hidden_size", "more than 10^13 elements"),
      key("KeyHeadsDoNotDivide", "num_key_value_heads", 3, "must divide num_attention"),
      config(
          "HeadsDoNotDivideHidden",
          [](json& j) {
            j.erase("head_dim");
            j["num_attention_heads"] = j["num_key_value_heads"] = 3;
          },
          "num_attention_heads", "must divide hidden_size = 32"),
      key("HeadDimOdd", "head_dim", 7, "must be even"),
      key("EpsZero", "rms_norm_eps", 0, positive),
      key("EpsIs1e300", "rms_norm_eps", 1e300, positive),
      key("ThetaIs1e300", "rope_theta", 1e300, positive),
      key("BiasIsText", "attention_bias", "no", "must be true or false"),
      key("Dropout", "attention_dropout", 0.1, "is of training, which has no dropout"),
      config(
          "Quantized",
          [](json& j) {
            j["quantization_config"] = {{"bits", 4}};
          },
          "quantization_config", "neither load_in_4bit nor load_in_8bit"),
      config(
          "QuantizedToFp4",
          [](json& j) {
            j["quantization_config"] = {{"load_in_4bit", true}};
          },
          "quantization_config", "bnb_4bit_quant_type = fp4"),
      config(
          "QuantizedInAnUnknownWay",
          [](json& j) {
            j["quantization_config"] = {{"quant_method", 7}};
          },
          "quantization_config", "quant_method = 7"),
      config(
          "QuantizedIsAList",
          [](json& j) {
            j["quantization_config"] = {1, 2};
          },
          "quantization_config", "is not an object"),
      config(
          "TwoThetas",
          [](json& j) {
            j["rope_parameters"] = {{"rope_theta", 12345.0}};
          },
          "rope_parameters rope_theta", "contradicts another rope_theta"),
      key("PartlyRotated", "partial_rotary_factor", 0.5, "other than 1"),
      key("RopeIsText", "rope_scaling", "llama3", "must be an object"),
      rope("RopeYarn", {{"rope_type", "yarn"}}, "rope_scaling rope_type = \"yarn\"",
           "is a rotary scaling this program does not implement"),
      rope("RopeFactorNegative", {{"factor", -8}}, "rope_scaling factor = -8", positive),
      rope("RopeFactorsEqual", {{"high_freq_factor", 1.0}},
           "rope_scaling high_freq_factor", "must be larger than low_freq_factor"),
      config(
          "RopeTwice",
          [](json& j) {
            j["rope_scaling"] = {{"rope_type", "linear"}, {"factor", 2}};
            j["rope_parameters"] = {{"rope_type", "linear"}, {"factor", 4}};
          },
          "rope_scaling", "contradicts rope_parameters"),
      damaged_json(
          "OnePosition", kFile, [](json& j) { j["max_position_embeddings"] = 1; },
          "data.train", "has no row to train on"),
      config(
          "EosIsText", [](json& j) { j["eos_token_id"] = "</s>"; }, "eos_token_id",
          "is not an integer"),
      {"ModelIsAFile",
       [](const Inputs& inputs) { return Arguments{"model.path=" + inputs.at(kFile)}; },
       kFile, "is a file"},
      wrong_arguments("ModelMissing", {"model.path=/nowhere"}, "/nowhere",
                      "cannot be read"),
      {"ModelPathTooLong",
       [](const Inputs&) { return Arguments{"model.path=/" + std::string(5000, 'x')}; },
       "/xxx", "File name too long", Damage::Command::kEvaluate},
      wrong_arguments("ModelPathNotGiven", {"model.path="}, "model.path", "is not given"),
  };
}
LOWMEM_DAMAGES(ModelConfig, damaged_configs());

}  // namespace
}  // namespace lowmem::test
