// What config.json may say: both forms, defaults, and every refusal.
#include "lowmem/model/config.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "io/error_of.h"
#include "io/temp_folder.h"
#include "lowmem/core/files.h"
#include "support/shared.h"

namespace lowmem::model {
namespace {

using nlohmann::json;
using testing::HasSubstr, testing::StartsWith;

json base() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"model_type", "llama"},
          {"hidden_act", "silu"},
          {"vocab_size", 320},
          {"hidden_size", 32},
          {"intermediate_size", 88},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"rope_theta", 500000.0}};
}

// The config of `base` with `changes` merged in; null takes a key out.
Config read(const json& changes) {
  const test::TempFolder folder;
  json config = base();
  config.merge_patch(changes);
  test::write_text(folder / "config.json", config.dump());
  return read_model_config(folder.path());
}

auto rope_of(const Config& config) {
  return std::make_tuple(config.rope_theta, config.rope_scaling, config.rope_factor,
                         config.rope_low_freq_factor, config.rope_high_freq_factor,
                         config.rope_original_max_position_embeddings);
}

TEST(ModelConfig, ReadsEverySize) {
  const Config config = read({{"head_dim", 16},
                              {"max_position_embeddings", 512},
                              {"rms_norm_eps", 1e-5},
                              {"initializer_range", 0.05},
                              {"tie_word_embeddings", true},
                              {"attention_bias", true},
                              {"mlp_bias", true}});
  EXPECT_EQ(config.vocab_size, 320);
  EXPECT_EQ(config.hidden_size, 32);
  EXPECT_EQ(config.intermediate_size, 88);
  EXPECT_EQ(config.num_hidden_layers, 2);
  EXPECT_EQ(config.num_attention_heads, 4);
  EXPECT_EQ(config.num_key_value_heads, 2);
  EXPECT_EQ(config.head_dim, 16);
  EXPECT_EQ(config.max_position_embeddings, 512);
  EXPECT_EQ(config.rms_norm_eps, 1e-5);
  EXPECT_EQ(config.initializer_range, 0.05);
  EXPECT_EQ(config.rope_theta, 500000.0);
  EXPECT_EQ(config.rope_scaling, RopeScaling::kNone);
  EXPECT_TRUE(config.tie_word_embeddings);
  EXPECT_TRUE(config.attention_bias);
  EXPECT_TRUE(config.mlp_bias);
}

TEST(ModelConfig, HasTheDefaultsOfTransformers) {
  const Config config = read({{"num_key_value_heads", nullptr}, {"rope_theta", nullptr}});
  EXPECT_EQ(config.num_key_value_heads, 4);
  EXPECT_EQ(config.head_dim, 8);
  EXPECT_EQ(config.max_position_embeddings, 2048);
  EXPECT_EQ(config.rms_norm_eps, 1e-6);
  EXPECT_EQ(config.initializer_range, 0.02);
  EXPECT_EQ(config.rope_theta, 10000.0);
  EXPECT_EQ(config.rope_scaling, RopeScaling::kNone);
  EXPECT_FALSE(config.tie_word_embeddings);
  EXPECT_FALSE(config.attention_bias);
  EXPECT_FALSE(config.mlp_bias);
}

TEST(ModelConfig, IgnoresWhatDoesNotChangeTheModel) {
  const Config config = read({{"use_cache", true},
                              {"bos_token_id", 1},
                              {"eos_token_id", {1, 2}},
                              {"torch_dtype", "bfloat16"},
                              {"attention_dropout", 0.0},
                              {"pretraining_tp", 2},
                              {"pruned_heads", json::object()},
                              {"_name_or_path", "a/b"}});
  EXPECT_EQ(config.hidden_size, 32);
}

TEST(ModelConfig, ANullKeyCountsAsAbsent) {
  json config = base();
  config["head_dim"] = nullptr;
  config["rope_scaling"] = nullptr;
  config["an_unknown_key"] = nullptr;
  const test::TempFolder folder;
  test::write_text(folder / "config.json", config.dump());
  EXPECT_EQ(read_model_config(folder / "config.json").head_dim, 8);
}

json linear() { return {{"rope_type", "linear"}, {"factor", 2.5}}; }
json llama3() {
  return {{"rope_type", "llama3"},
          {"factor", 8.0},
          {"low_freq_factor", 1.5},
          {"high_freq_factor", 5.0},
          {"original_max_position_embeddings", 64}};
}

TEST(ModelConfig, ReadsLinearScaling) {
  const Config config = read({{"rope_scaling", linear()}});
  EXPECT_EQ(config.rope_scaling, RopeScaling::kLinear);
  EXPECT_EQ(config.rope_factor, 2.5);
}

TEST(ModelConfig, ReadsLlama3Scaling) {
  const Config config = read({{"rope_scaling", llama3()}});
  EXPECT_EQ(rope_of(config),
            std::make_tuple(500000.0, RopeScaling::kLlama3, 8.0, 1.5, 5.0, 64));
}

TEST(ModelConfig, BothFormsOfRopeAreEqual) {
  for (json rope : {json{{"rope_type", "default"}}, linear(), llama3()}) {
    const Config old = read({{"rope_scaling", rope}});
    json typed = rope;
    typed["type"] = typed["rope_type"];
    typed.erase("rope_type");
    EXPECT_EQ(rope_of(read({{"rope_scaling", typed}})), rope_of(old));
    rope["rope_theta"] = 500000.0;
    EXPECT_EQ(rope_of(read({{"rope_theta", nullptr}, {"rope_parameters", rope}})),
              rope_of(old));
  }
}

// transformers 5 reads its own; 4's keys may still be there.
TEST(ModelConfig, TheNewSpellingsThetaCounts) {
  const Config config =
      read({{"rope_theta", 10.0},
            {"rope_parameters", {{"rope_type", "default"}, {"rope_theta", 20000.0}}}});
  EXPECT_EQ(config.rope_theta, 20000.0);
  EXPECT_EQ(read({{"rope_parameters", json::object()}, {"rope_scaling", json::object()}}),
            read(json::object()));
  json rope = llama3();
  rope["rope_theta"] = 7000.0;
  EXPECT_EQ(read({{"rope_scaling", llama3()}, {"rope_parameters", rope}}).rope_theta,
            7000.0);
}

TEST(ModelConfig, AnOriginalLengthAtTheTopCounts) {
  EXPECT_EQ(read({{"rope_scaling", llama3()}, {"original_max_position_embeddings", 128}})
                .rope_original_max_position_embeddings,
            128);
}

TEST(ModelConfig, AKeyThatAsksForNothingIsNoReasonToRefuse) {
  const json nothing = {{"an_unknown_flag", false},
                        {"an_unknown_number", 0},
                        {"an_unknown_real", 0.0},
                        {"an_unknown_list", json::array()},
                        {"an_unknown_object", json::object()},
                        {"an_unknown_text", ""},
                        {"residual_multiplier", 1.0},
                        {"logits_scaling", 1},
                        {"use_sliding_window", false},
                        {"sliding_window", 4096},
                        {"max_window_layers", 28},
                        {"layer_types", {"full_attention", "full_attention"}},
                        {"no_rope_layers", {1, 1}},
                        {"partial_rotary_factor", 1.0},
                        {"resid_pdrop", 0.0},
                        {"is_causal", true},
                        {"auto_map", {{"AutoModel", "x.Y"}}}};
  EXPECT_EQ(read(nothing), read(json::object()));
}

json family(const char* model_type, const char* architecture) {
  return {{"model_type", model_type}, {"architectures", {architecture}}};
}
json merged(json base, const json& changes) {
  base.update(changes);
  return base;
}
json mistral() { return family("mistral", "MistralForCausalLM"); }
json qwen2() { return family("qwen2", "Qwen2ForCausalLM"); }
json qwen3() { return family("qwen3", "Qwen3ForCausalLM"); }
json smollm3() { return family("smollm3", "SmolLM3ForCausalLM"); }

// Absent and null are two things, which merge_patch cannot tell apart.
Config read_whole(json config) {
  const test::TempFolder folder;
  json whole = base();
  whole.update(config);
  test::write_text(folder / "config.json", whole.dump());
  return read_model_config(folder.path());
}

TEST(Families, AreNamedByTheirArchitectureWhereTheTypeIsMissing) {
  json config = mistral();
  config["model_type"] = nullptr;
  EXPECT_EQ(read_whole(config), read_whole(mistral()));
}

TEST(Families, MistralsWindowIsThatOfItsFirstReleaseWhereTheKeyIsMissing) {
  const Config absent = read_whole(mistral());
  EXPECT_EQ(absent.sliding_window, 4096);
  EXPECT_TRUE(absent.layer(0).window && absent.layer(1).window);
  const Config null = read_whole(merged(mistral(), {{"sliding_window", nullptr}}));
  EXPECT_EQ(null.sliding_window, 0);
  EXPECT_FALSE(null.layer(0).window);
}

TEST(Families, AWindowThatNoTextIsLongerThanIsNone) {
  const auto window = [](int64_t positions) {
    return read_whole(merged(mistral(), {{"sliding_window", 100},
                                         {"max_position_embeddings", positions}}))
        .sliding_window;
  };
  EXPECT_EQ(window(101), 100);
  EXPECT_EQ(window(100), 0);
}

TEST(Families, QwensWindowIsUsedWhereItIsAskedFor) {
  const json window = {{"sliding_window", 8}, {"max_window_layers", 1}};
  for (const json& qwen : {qwen2(), qwen3()}) {
    const Config unused = read_whole(merged(qwen, window));
    EXPECT_EQ(unused.sliding_window, 0);
    const Config upper =
        read_whole(merged(merged(qwen, window), {{"use_sliding_window", true}}));
    EXPECT_EQ(upper.sliding_window, 8);
    EXPECT_FALSE(upper.layer(0).window);
    EXPECT_TRUE(upper.layer(1).window);
    const Config named = read_whole(
        merged(qwen, {{"sliding_window", 8},
                      {"use_sliding_window", true},
                      {"layer_types", {"sliding_attention", "full_attention"}}}));
    EXPECT_TRUE(named.layer(0).window);
    EXPECT_FALSE(named.layer(1).window);
  }
}

TEST(Families, HaveTheirOwnDefaults) {
  const Config qwen = read_whole(qwen3());
  EXPECT_EQ(qwen.head_dim, 128);
  EXPECT_TRUE(qwen.head_norms);
  EXPECT_FALSE(qwen.query_key_value_bias);
  EXPECT_TRUE(read_whole(qwen2()).query_key_value_bias);
  const Config phi = read_whole(family("phi3", "Phi3ForCausalLM"));
  EXPECT_TRUE(phi.fused_names);
  EXPECT_EQ(phi.rms_norm_eps, 1e-5);
  EXPECT_EQ(phi.sliding_window, 0);
  const Config granite = read_whole(family("granite", "GraniteForCausalLM"));
  EXPECT_EQ(granite.attention_multiplier, 1.0);  // and not 1 / sqrt(head_dim)
  json without_theta = smollm3();
  without_theta["rope_theta"] = nullptr;
  const Config smol = read_whole(merged(without_theta, {{"num_hidden_layers", 5}}));
  EXPECT_EQ(smol.rope_theta, 2e6);
  EXPECT_TRUE(smol.tie_word_embeddings);
  for (int64_t i = 0; i < 5; ++i) EXPECT_EQ(smol.layer(i).rotary, i != 3) << i;
}

TEST(ModelConfig, EqualRopeMayStandInBothPlaces) {
  json rope = llama3();
  rope["rope_theta"] = 500000.0;
  EXPECT_EQ(rope_of(read({{"rope_scaling", rope}, {"rope_parameters", rope}})),
            rope_of(read({{"rope_scaling", rope}})));
}

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
        Refusal{"Dropout", {{"attention_dropout", 0.1}}, "attention_dropout = 0.1"},
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

TEST(WeightSpecs, CountTheParametersOfEachForm) {
  Config config = read(json::object());
  const int64_t block = 2 * 32 + 32 * 32 + 2 * 16 * 32 + 32 * 32 + 3 * 88 * 32;
  EXPECT_EQ(parameter_count(config), 2 * 320 * 32 + 2 * block + 32);
  config.tie_word_embeddings = true;
  EXPECT_EQ(parameter_count(config), 320 * 32 + 2 * block + 32);
  config.attention_bias = config.mlp_bias = true;
  EXPECT_EQ(parameter_count(config),
            320 * 32 + 2 * (block + 32 + 16 + 16 + 32 + 88 + 88 + 32) + 32);
}

}  // namespace
}  // namespace lowmem::model
