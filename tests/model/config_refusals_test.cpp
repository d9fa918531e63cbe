// What config.json may not say: every refusal names the file and the key.
#include "model/small_config.h"

namespace lowmem::model {
namespace {

using testing::HasSubstr, testing::StartsWith;

struct Refusal {
  const char* name;
  json changes;
  const char* key;  // what the error names after the file
};

// GoogleTest would print the bytes.
void PrintTo(const Refusal& refusal, std::ostream* out) { *out << refusal.changes; }

json with(json rope, const char* key, const json& value) {
  if (value.is_null())
    rope.erase(key);
  else
    rope[key] = value;
  return {{"rope_scaling", rope}};
}

class Refused : public testing::TestWithParam<Refusal> {};

TEST_P(Refused, NamesTheFileAndTheKey) {
  const Error error = test::error_of([&] { read(GetParam().changes); });
  EXPECT_THAT(error.thing(), HasSubstr(std::string("config.json ") + GetParam().key))
      << error.what();
}

INSTANTIATE_TEST_SUITE_P(
    ModelConfig, Refused,
    testing::Values(
        Refusal{"ModelType", {{"model_type", "gemma2"}}, "model_type = \"gemma2\""},
        Refusal{"AnotherFamilysArchitecture",
                {{"model_type", "mistral"}},
                "architectures = [\"LlamaForCausalLM\"]"},
        Refusal{"ModelTypeThatIsNoText", {{"model_type", 1}}, "model_type = 1"},
        Refusal{"Architecture",
                {{"architectures", {"LlamaForSequenceClassification"}}},
                "architectures = "},
        Refusal{"HiddenAct", {{"hidden_act", "gelu"}}, "hidden_act = \"gelu\""},
        Refusal{
            "UnknownKey", {{"residual_multiplier", 0.5}}, "residual_multiplier = 0.5"},
        Refusal{"Quantization",
                {{"quantization_config", {{"bits", 4}}}},
                "quantization_config"},
        Refusal{"QuantizationOfMlx", {{"quantization", {{"bits", 4}}}}, "quantization"},
        Refusal{"PartialRotary",
                {{"partial_rotary_factor", 0.5}},
                "partial_rotary_factor = 0.5"},
        Refusal{"PrunedHeads", {{"pruned_heads", {{"0", {1}}}}}, "pruned_heads"},
        Refusal{"InterleavedRope", {{"rope_interleaved", true}}, "rope_interleaved"},
        Refusal{"TextForABoolean", {{"mlp_bias", "yes"}}, "mlp_bias = \"yes\""}),
    [](const auto& given) { return std::string(given.param.name); });

INSTANTIATE_TEST_SUITE_P(
    ModelConfigRope, Refused,
    testing::Values(
        Refusal{"Yarn", with(linear(), "rope_type", "yarn"),
                "rope_scaling rope_type = \"yarn\""},
        Refusal{"UnknownType",
                {{"rope_scaling", {{"type", "dynamic"}, {"factor", 2}}}},
                "rope_scaling type = \"dynamic\""},
        Refusal{"UnknownKey", with(linear(), "beta_fast", 32),
                "rope_scaling beta_fast = 32"},
        Refusal{"NoFactor", with(linear(), "factor", nullptr), "rope_scaling factor"},
        Refusal{"ZeroFactor", with(linear(), "factor", 0), "rope_scaling factor = 0"},
        Refusal{"NoLowFactor", with(llama3(), "low_freq_factor", nullptr),
                "rope_scaling low_freq_factor"},
        Refusal{"NoOriginalLength",
                with(llama3(), "original_max_position_embeddings", nullptr),
                "rope_scaling original_max_position_embeddings"},
        Refusal{"EqualFactors", with(llama3(), "high_freq_factor", 1.5),
                "rope_scaling high_freq_factor = 1.5"},
        Refusal{"NoObject", {{"rope_scaling", 2}}, "rope_scaling = 2"},
        Refusal{"NegativeTheta", {{"rope_theta", -1}}, "rope_theta = -1"},
        Refusal{"PartialRotary",
                {{"rope_parameters", {{"partial_rotary_factor", 0.5}}}},
                "rope_parameters partial_rotary_factor = 0.5"},
        Refusal{"TwoThetas",
                {{"rope_parameters", {{"rope_theta", 20000.0}}}},
                "rope_parameters rope_theta = 20000.0"},
        Refusal{"AThetaOfTheScaling", with(linear(), "rope_theta", 20000.0),
                "rope_scaling rope_theta = 20000.0"},
        Refusal{"TwoTypes", with(linear(), "type", "llama3"),
                "rope_scaling type = \"llama3\""},
        Refusal{"TwoThatDiffer",
                {{"rope_scaling", linear()}, {"rope_parameters", llama3()}},
                "rope_scaling"}),
    [](const auto& given) { return std::string(given.param.name); });

INSTANTIATE_TEST_SUITE_P(
    ModelConfigShape, Refused,
    testing::Values(
        Refusal{"HeadsThatDoNotDivideTheSize",
                {{"num_attention_heads", 3}, {"num_key_value_heads", 3}},
                "num_attention_heads = 3"},
        Refusal{"KeyHeadsThatDoNotDivideHeads",
                {{"num_key_value_heads", 3}},
                "num_key_value_heads = 3"},
        Refusal{"AKeyOfAnotherFamily", {{"sliding_window", 512}}, "sliding_window = 512"},
        Refusal{"LayersWithoutRotaryElsewhere",
                {{"no_rope_layers", {1, 0}}},
                "no_rope_layers = [1,0]"},
        Refusal{"WindowOfNoTokens", merged(mistral(), {{"sliding_window", 0}}),
                "sliding_window = 0"},
        Refusal{"BiasThatMistralLacks", merged(mistral(), {{"attention_bias", true}}),
                "attention_bias = true"},
        Refusal{"LayerTypesThatAreShort",
                merged(qwen2(), {{"layer_types", {"full_attention"}}}), "layer_types"},
        Refusal{
            "LayerTypesWithoutAWindow",
            merged(qwen2(), {{"layer_types", {"full_attention", "sliding_attention"}}}),
            "layer_types"},
        Refusal{
            "ChunkedLayers",
            merged(qwen3(), {{"layer_types", {"full_attention", "chunked_attention"}}}),
            "layer_types"},
        Refusal{"RotaryFlagsOfOtherNumbers",
                merged(smollm3(), {{"no_rope_layers", {1, 2}}}), "no_rope_layers"},
        Refusal{"NegativeScalar",
                merged(family("granite", "GraniteForCausalLM"),
                       {{"residual_multiplier", -1}}),
                "residual_multiplier = -1"},
        Refusal{"LongRope",
                merged(family("phi3", "Phi3ForCausalLM"),
                       {{"rope_scaling", {{"type", "longrope"}}}}),
                "rope_scaling type = \"longrope\""},
        Refusal{
            "PartialRotaryOfPhi",
            merged(family("phi3", "Phi3ForCausalLM"), {{"partial_rotary_factor", 0.75}}),
            "partial_rotary_factor = 0.75"},
        Refusal{"NotCausal", {{"is_causal", false}}, "is_causal = false"},
        Refusal{"Experts", {{"num_local_experts", 8}}, "num_local_experts = 8"},
        Refusal{"OddHeadDim", {{"head_dim", 7}}, "head_dim = 7"},
        Refusal{"HugeMatrix",
                {{"vocab_size", int64_t{1} << 31}, {"hidden_size", int64_t{1} << 31}},
                "hidden_size"},
        Refusal{"ManyLayers", {{"num_hidden_layers", 100001}}, "num_hidden_layers"},
        Refusal{"ZeroEps", {{"rms_norm_eps", 0}}, "rms_norm_eps = 0"}),
    [](const auto& given) { return std::string(given.param.name); });

TEST(ModelConfig, SaysOfQuantizedWeightsWhatToUseInstead) {
  const Error error = test::error_of([] {
    read({{"quantization_config", {{"quant_method", "gptq"}, {"bits", 4}}}});
  });
  EXPECT_THAT(error.problem(), HasSubstr("quant_method = \"gptq\""));
  EXPECT_THAT(error.remedy(), HasSubstr("that the folder was made of"));
}

// Which what does not train never asks of.
TEST(ModelConfig, RefusesDropoutInTrainingAlone) {
  for (const char* key : {"attention_dropout", "resid_pdrop", "embd_pdrop"}) {
    json config = base();
    config[key] = 0.1;
    const test::TempFolder folder;
    test::write_text(folder / "config.json", config.dump());
    EXPECT_EQ(read_model_config(folder.path()), read(json::object())) << key;
    const Error error = test::error_of([&] { refuse_dropout(folder.path()); });
    EXPECT_THAT(error.thing(), HasSubstr(std::string("config.json ") + key + " = 0.1"));
    EXPECT_THAT(error.remedy(), HasSubstr("0.0"));
    config[key] = 0.0;
    test::write_text(folder / "config.json", config.dump());
    refuse_dropout(folder.path());
  }
}

constexpr const char* kSizes[] = {"vocab_size", "hidden_size", "intermediate_size",
                                  "num_hidden_layers", "num_attention_heads"};

TEST(ModelConfig, RefusesASizeThatIsNoPositiveWholeNumber) {
  const json wrong[] = {0,
                        -1,
                        32.0,
                        1e30,
                        "32",
                        true,
                        json::array({32}),
                        int64_t{1} << 32,
                        std::numeric_limits<uint64_t>::max()};
  for (const std::string key : kSizes)
    for (const json& value : wrong) {
      const Error error = test::error_of([&] { read({{key, value}}); });
      EXPECT_THAT(error.thing(), HasSubstr("config.json " + key + " = " + value.dump()));
    }
  for (const std::string key :
       {"num_key_value_heads", "head_dim", "max_position_embeddings"})
    EXPECT_THAT(test::error_of([&] {
                  read({{key, 0}});
                }).thing(),
                HasSubstr(key + " = 0"));
}

TEST(ModelConfig, NamesAMissingSize) {
  for (const std::string key : kSizes) {
    const Error error = test::error_of([&] { read({{key, nullptr}}); });
    EXPECT_THAT(error.thing(), HasSubstr("config.json " + key));
    EXPECT_EQ(error.problem(), "is missing");
  }
}

TEST(ModelConfig, RefusesAFileThatIsMissingOrNoObject) {
  const test::TempFolder folder;
  const std::string path = (folder / "config.json").string();
  const auto thing = [&] {
    return test::error_of([&] { read_model_config(folder.path()); }).thing();
  };
  EXPECT_THAT(thing(), StartsWith(path));
  for (const char* text : {"", "[1]", "3", "{\"a\": ", "\xff"}) {
    test::write_text(path, text);
    EXPECT_THAT(thing(), StartsWith(path)) << text;
  }
}

}  // namespace
}  // namespace lowmem::model
