// What config.json may say: both forms, and defaults.
#include "model/small_config.h"

namespace lowmem::model {
namespace {

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

// In whichever spelling, and in both where they agree.
TEST(ModelConfig, ThetaIsReadWhereItStands) {
  const json own = {{"rope_type", "default"}, {"rope_theta", 20000.0}};
  EXPECT_EQ(read({{"rope_theta", nullptr}, {"rope_parameters", own}}).rope_theta,
            20000.0);
  EXPECT_EQ(read({{"rope_theta", 20000.0}, {"rope_parameters", own}}).rope_theta,
            20000.0);
  EXPECT_EQ(read({{"rope_theta", 7.0}, {"rope_parameters", llama3()}}).rope_theta, 7.0);
  EXPECT_EQ(read({{"rope_parameters", json::object()}, {"rope_scaling", json::object()}}),
            read(json::object()));
  json rope = llama3();
  rope["rope_theta"] = 7000.0;
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    json both = {{"rope_theta", nullptr},
                 {"rope_scaling", llama3()},
                 {"rope_parameters", llama3()}};
    both[key] = rope;
    EXPECT_EQ(read(both).rope_theta, 7000.0) << key;
  }
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

TEST(ModelConfig, EqualRopeMayStandInBothPlaces) {
  json rope = llama3();
  rope["rope_theta"] = 500000.0;
  EXPECT_EQ(rope_of(read({{"rope_scaling", rope}, {"rope_parameters", rope}})),
            rope_of(read({{"rope_scaling", rope}})));
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
