#include "lowmem/config/run_config.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "config/support.h"
#include "lowmem/config/rules.h"

namespace lowmem {
namespace {

TEST(RunConfig, HasTheKeysOfTheContract) {
  std::set<std::string> keys;
  RunConfig config;
  test::for_each_key(config, [&](const std::string& key, auto&, const char*) {
    EXPECT_TRUE(keys.insert(key).second) << key << " is visited twice";
  });
  for (const char* key : {"run.name",
                          "run.dir",
                          "run.seed",
                          "run.overwrite",
                          "model.path",
                          "model.dtype",
                          "model.compute_dtype",
                          "model.train",
                          "data.train",
                          "data.format",
                          "data.max_length",
                          "data.shuffle",
                          "data.limit",
                          "train.epochs",
                          "train.batch_size",
                          "train.micro_batch_size",
                          "train.max_steps",
                          "train.log_every",
                          "train.save_every",
                          "optimizer.name",
                          "optimizer.lr",
                          "optimizer.schedule",
                          "optimizer.warmup_steps",
                          "optimizer.clip_norm",
                          "memory.activations",
                          "memory.weights",
                          "memory.gradients",
                          "memory.linear_cross_entropy",
                          "memory.attention",
                          "memory.device",
                          "eval.data",
                          "eval.every",
                          "eval.batch_size",
                          "eval.bos",
                          "eval.limit"})
    EXPECT_TRUE(keys.count(key)) << key;
}

TEST(RunConfig, DiffersFromItsDefaultsInEachKeyThatEqualitySees) {
  // Each key changed alone makes the configuration unequal: none is left out of visit()'s
  // counterpart, operator==.
  std::set<std::string> keys;
  RunConfig defaults;
  test::for_each_key(defaults, [&](const std::string& key, auto& value, const char*) {
    if (test::can_change(value)) keys.insert(key);
  });
  EXPECT_GT(keys.size(), 30u);
  for (const std::string& changed : keys) {
    RunConfig config;
    test::for_each_key(config, [&](const std::string& key, auto& value, const char*) {
      if (key == changed) test::change(value, 5);
    });
    EXPECT_FALSE(config == defaults) << changed;
  }
}

TEST(RunConfig, DocumentsEachKeyInOneLine) {
  RunConfig config;
  const auto check = [](const std::string& name, const std::string& doc) {
    EXPECT_GT(doc.size(), 5u) << name;
    EXPECT_LE(doc.size(), 64u) << name << " is too wide for --help";
    EXPECT_EQ(doc.find('\n'), std::string::npos) << name;
    EXPECT_NE(doc.back(), '.') << name;
  };
  config.visit([&](const char* name, auto&, const char* doc) { check(name, doc); });
  test::for_each_key(
      config, [&](const std::string& key, auto&, const char* doc) { check(key, doc); });
}

TEST(Choices, HaveWordsThatDifferAndNameTheirValues) {
  RunConfig config;
  test::for_each_key(config, [](const std::string& key, auto& value, const char*) {
    using Value = std::remove_reference_t<decltype(value)>;
    if constexpr (ChoiceEnum<Value>) {
      std::set<std::string_view> words;
      for (const auto& choice : choices(value)) {
        EXPECT_TRUE(words.insert(choice.word).second) << key << " " << choice.word;
        EXPECT_EQ(word_of(choice.value), choice.word) << key;
      }
    }
  });
  EXPECT_EQ(word_of(DType::kF16), "");
}

TEST(OptimizerDefaults, AreThoseOfEachRule) {
  OptimizerConfig adamw{.name = OptimizerKind::kAdamW};
  resolve_defaults(adamw);
  EXPECT_EQ(adamw.beta2, 0.999);
  EXPECT_EQ(adamw.eps, 1e-8);
  EXPECT_EQ(adamw.weight_decay, 0.01);

  OptimizerConfig adafactor{.name = OptimizerKind::kAdafactor};
  resolve_defaults(adafactor);
  EXPECT_EQ(adafactor.beta2, 0.99);
  EXPECT_EQ(adafactor.eps, 1e-30);
  EXPECT_EQ(adafactor.weight_decay, 0.0);
}

TEST(OptimizerDefaults, KeepNumbersThatWereGiven) {
  OptimizerConfig adam{.name = OptimizerKind::kAdam, .beta2 = 0.0, .weight_decay = 0.5};
  resolve_defaults(adam);
  EXPECT_EQ(adam.beta2, 0.0);
  EXPECT_EQ(adam.weight_decay, 0.5);
}

TEST(OptimizerDefaults, LeaveAutoWhatTheRuleDoesNotRead) {
  OptimizerConfig sgd{.name = OptimizerKind::kSgd};
  resolve_defaults(sgd);
  EXPECT_EQ(sgd.beta2, std::nullopt);
  EXPECT_EQ(sgd.eps, std::nullopt);
  EXPECT_EQ(sgd.weight_decay, 0.0);
}

}  // namespace
}  // namespace lowmem
