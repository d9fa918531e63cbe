#include "lowmem/config/yaml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "config/support.h"
#include "lowmem/core/random.h"

namespace lowmem {
namespace {

RunConfig from_yaml(const std::string& text) {
  RunConfig config;
  apply_yaml(config, text, "test.yaml");
  return config;
}

TEST(Yaml, ReadsTheExampleOfTheDesign) {
  const RunConfig config = from_yaml(R"(
run:       { name: small, dir: runs, seed: 7, overwrite: true }
model:     { path: /models/Llama-3.2-1B, dtype: fp32, compute_dtype: bf16, train: all }
data:      { train: train.jsonl, format: hellaswag, max_length: 128, shuffle: false, limit: 9 }
train:     { epochs: 1, batch_size: 32, micro_batch_size: 4, max_steps: 5, log_every: 10 }
optimizer: { name: adamw, lr: 3.0e-6, schedule: cosine, warmup_steps: 2, clip_norm: 1 }
memory:    { activations: recompute, weights: resident, gradients: update,
             linear_cross_entropy: false, attention: math, device: cuda }
eval:      { data: val.jsonl, every: 50, batch_size: 16, bos: true, limit: 3 }
)");
  EXPECT_EQ(config.run.name, "small");
  EXPECT_EQ(config.run.seed, 7);
  EXPECT_TRUE(config.run.overwrite);
  EXPECT_EQ(config.model.path, "/models/Llama-3.2-1B");
  EXPECT_EQ(config.model.dtype, DType::kF32);
  EXPECT_EQ(config.model.compute_dtype, DType::kBF16);
  EXPECT_EQ(config.model.train, StringList{"all"});
  EXPECT_EQ(config.data.train, StringList{"train.jsonl"});
  EXPECT_EQ(config.data.format, DataFormat::kHellaSwag);
  EXPECT_FALSE(config.data.shuffle);
  EXPECT_EQ(config.train.micro_batch_size, 4);
  EXPECT_EQ(config.optimizer.name, OptimizerKind::kAdamW);
  EXPECT_EQ(config.optimizer.lr, 3e-6);
  EXPECT_EQ(config.optimizer.clip_norm, 1.0);
  EXPECT_EQ(config.optimizer.schedule, ScheduleKind::kCosine);
  EXPECT_EQ(config.memory.gradients, GradientsMode::kUpdate);
  EXPECT_EQ(config.memory.activations, ActivationsMode::kRecompute);
  EXPECT_FALSE(config.memory.linear_cross_entropy);
  EXPECT_EQ(config.memory.device, DeviceMode::kCuda);
  EXPECT_EQ(config.eval.every, Interval::every(50));
  EXPECT_EQ(config.eval.bos, BosMode::kTrue);
}

TEST(Yaml, ReadsAWordOrATextInItsPlace) {
  const auto chosen = [](const std::string& value) {
    return from_yaml("data: { chat_template: " + value + " }").data.chat_template;
  };
  EXPECT_EQ(chosen("ChatML"), OrText(ChatTemplate::kChatMl));
  EXPECT_EQ(chosen("tool_use"), OrText<ChatTemplate>::of("tool_use"));
  EXPECT_EQ(chosen("own/My.jinja"), OrText<ChatTemplate>::of("own/My.jinja"));
  RunConfig config;
  config.data.chat_template = OrText<ChatTemplate>::of("a b: c.jinja");
  EXPECT_EQ(from_yaml(to_yaml(config)), config);
}

TEST(Yaml, KeepsPathsThatAreNotUtf8) {
  RunConfig config;
  config.model.path = "od\xff/b";
  config.data.train = {"\xc3", "plain", "both\xc3\xa9\xff"};
  EXPECT_THAT(to_yaml(config), testing::HasSubstr("  path: !!binary b2T/L2I=\n"));
  EXPECT_EQ(from_yaml(to_yaml(config)), config);
  EXPECT_EQ(from_yaml("model: {path: !!binary \"b2T/L2I=\"}").model.path, "od\xff/b");
}

TEST(Yaml, KeepsDefaultsForWhatIsMissingOrCommentedOut) {
  EXPECT_EQ(from_yaml(""), RunConfig());
  EXPECT_EQ(from_yaml("# nothing\n"), RunConfig());
  EXPECT_EQ(from_yaml("run:\neval:\n  # every: never\n"), RunConfig());
  const RunConfig config = from_yaml("---\ntrain:\n  epochs: 9\n...\n");
  EXPECT_EQ(config.train.epochs, 9);
  EXPECT_EQ(config.train.batch_size, TrainConfig().batch_size);
}

TEST(Yaml, IsAppliedOverWhatTheConfigurationHolds) {
  RunConfig config;
  config.train.epochs = 7;
  config.run.seed = 1;
  apply_yaml(config, "run: {seed: 2}", "test.yaml");
  EXPECT_EQ(config.train.epochs, 7);
  EXPECT_EQ(config.run.seed, 2);
}

TEST(Yaml, TakesOneTextOrAList) {
  EXPECT_EQ(from_yaml("data:\n  train: a,b").data.train, StringList{"a,b"});
  EXPECT_EQ(from_yaml("data:\n  train: [a, 5, true]").data.train,
            (StringList{"a", "5", "true"}));
  EXPECT_EQ(from_yaml("model:\n  train:\n  - layers\n  - '*.norm.*'").model.train,
            (StringList{"layers", "*.norm.*"}));
}

TEST(Yaml, ReadsTheWordsOfBosInAnyCase) {
  EXPECT_EQ(from_yaml("eval: {bos: true}").eval.bos, BosMode::kTrue);
  EXPECT_EQ(from_yaml("eval: {bos: False}").eval.bos, BosMode::kFalse);
  EXPECT_EQ(from_yaml("eval: {bos: tokenizer}").eval.bos, BosMode::kTokenizer);
}

TEST(Yaml, ReadsNumbersAsPeopleWriteThem) {
  for (const char* text : {"1e-4", "1.0e-4", "0.0001", "1E-4", "+1e-4", ".0001"})
    EXPECT_EQ(from_yaml(std::string("optimizer: {lr: ") + text + "}").optimizer.lr, 1e-4)
        << text;
  EXPECT_EQ(from_yaml("run: {seed: -3}").run.seed, -3);
  EXPECT_EQ(from_yaml("run: {seed: 9223372036854775807}").run.seed, INT64_MAX);
  EXPECT_EQ(from_yaml("optimizer: {beta2: 0}").optimizer.beta2, 0.0);
  EXPECT_EQ(from_yaml("optimizer: {beta2: auto}").optimizer.beta2, std::nullopt);
}

TEST(Yaml, ReadsBackTheDefaults) {
  EXPECT_EQ(from_yaml(to_yaml(RunConfig())), RunConfig());
}

TEST(Yaml, ReadsBackAConfigurationWithEveryKeyChanged) {
  for (int salt = 0; salt < 12; ++salt) {
    const RunConfig config = test::changed_config(salt);
    EXPECT_EQ(from_yaml(to_yaml(config)), config) << to_yaml(config);
  }
}

TEST(Yaml, WritesEveryKeyInOrder) {
  const std::string yaml = to_yaml(RunConfig());
  size_t at = 0;
  RunConfig config;
  test::for_each_key(config, [&](const std::string& key, auto&, const char*) {
    const size_t next = yaml.find("\n  " + key.substr(key.find('.') + 1) + ": ", at);
    ASSERT_NE(next, std::string::npos) << key;
    at = next;
  });
  EXPECT_EQ(yaml.find('#'), std::string::npos);
}

TEST(Yaml, ReadsBackEveryByteOfAText) {
  RunConfig config;
  for (int byte = 0; byte < 128; ++byte) config.run.name += static_cast<char>(byte);
  EXPECT_EQ(from_yaml(to_yaml(config)), config);
  for (const char* text :
       {"~", "null", "Null", "yes", "", " ", "1", "-", "---", "...", "#", "a\r\nb",
        "\xc2\x85", "\xe2\x80\xa8", "\xef\xbb\xbf", "<<"}) {
    config.run.name = text;
    EXPECT_EQ(from_yaml(to_yaml(config)), config) << to_yaml(config);
  }
}

TEST(Yaml, WritesTheShortestNumberThatReadsBackTheSame) {
  const auto written = [](double lr) {
    RunConfig config;
    config.optimizer.lr = lr;
    const std::string yaml = to_yaml(config);
    const size_t at = yaml.find("  lr: ") + 6;
    return yaml.substr(at, yaml.find('\n', at) - at);
  };
  EXPECT_EQ(written(1e-4), "1.0e-4");
  EXPECT_EQ(written(0.1), "0.1");
  EXPECT_EQ(written(3), "3.0");
  EXPECT_EQ(written(1.0 / 3), "0.3333333333333333");
  EXPECT_EQ(written(-1e-300), "-1.0e-300");
  EXPECT_EQ(written(1e22), "1.0e+22");
}

TEST(Yaml, ReadsBackAnyFiniteDouble) {
  Random random(1);
  int count = 0;
  while (count < 2000) {
    const uint64_t bits = (uint64_t{random.next()} << 32) | random.next();
    RunConfig config;
    std::memcpy(&config.optimizer.lr, &bits, sizeof(bits));
    if (!std::isfinite(config.optimizer.lr)) continue;
    ++count;
    ASSERT_EQ(from_yaml(to_yaml(config)).optimizer.lr, config.optimizer.lr);
  }
  RunConfig config;
  config.optimizer.lr = std::numeric_limits<double>::denorm_min();
  config.optimizer.eps = std::numeric_limits<double>::max();
  EXPECT_EQ(from_yaml(to_yaml(config)), config);
}

}  // namespace
}  // namespace lowmem
