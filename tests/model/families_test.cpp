// What the families say otherwise in their config.json.
#include "model/small_config.h"

namespace lowmem::model {
namespace {

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

}  // namespace
}  // namespace lowmem::model
