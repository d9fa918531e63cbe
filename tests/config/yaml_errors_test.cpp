#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "config/support.h"
#include "lowmem/config/yaml.h"
#include "lowmem/core/random.h"

namespace lowmem {
namespace {

using testing::AllOf;
using testing::HasSubstr;

// The whole message of what is wrong with `text`; the configuration must stay as it was.
std::string problem_with(const std::string& text) {
  RunConfig config;
  config.run.seed = 99;
  const RunConfig before = config;
  const std::string message =
      test::error_of([&] { apply_yaml(config, text, "lowmem.yaml"); }).what();
  EXPECT_EQ(config, before);
  return message;
}

TEST(YamlErrors, NameTheLineTheUnknownKeyAndTheNearestOne) {
  const Error error = test::error_of([] {
    RunConfig config;
    apply_yaml(config, "run:\n  name: a\n\noptimizer:\n  learning_rate: 1\n",
               "lowmem.yaml");
  });
  EXPECT_EQ(error.thing(), "lowmem.yaml line 5");
  EXPECT_EQ(error.problem(), "unknown key optimizer.learning_rate");
  EXPECT_EQ(error.remedy(), "The nearest key is optimizer.lr");
}

TEST(YamlErrors, BytesThatAreNotUtf8AreRefusedWithTheirLine) {
  const std::string message =
      problem_with("run:\n  name: Gr\u00f6\u00dfe\n  dir: \"a\xff\"\n");
  EXPECT_THAT(message, HasSubstr("lowmem.yaml line 3: is not UTF-8"));
}

struct Misnamed {
  const char* yaml;
  const char* nearest;
};

class NearestKey : public testing::TestWithParam<Misnamed> {};

TEST_P(NearestKey, IsFoundInAnySection) {
  EXPECT_THAT(problem_with(GetParam().yaml),
              HasSubstr(std::string("The nearest key is ") + GetParam().nearest + "."));
}

INSTANTIATE_TEST_SUITE_P(
    Keys, NearestKey,
    testing::Values(Misnamed{"train: {lr: 1}", "optimizer.lr"},
                    Misnamed{"lr: 1", "optimizer.lr"},
                    Misnamed{"optimiser: {lr: 1}", "optimizer"},
                    Misnamed{"training: {epochs: 1}", "train"},
                    Misnamed{"train: {epoch: 1}", "train.epochs"},
                    Misnamed{"train: {num_train_epochs: 1}", "train.epochs"},
                    Misnamed{"num_train_epochs: 1", "train.epochs"},
                    Misnamed{"per_device_train_batch_size: 1", "train.batch_size"},
                    Misnamed{"data: {batch_size: 1}", "train.batch_size"},
                    Misnamed{"eval: {batchsize: 1}", "eval.batch_size"},
                    Misnamed{"data: {max_seq_length: 1}", "data.max_length"},
                    Misnamed{"model: {paht: x}", "model.path"},
                    Misnamed{"optimizer: {decay: 0}", "optimizer.weight_decay"},
                    Misnamed{"run: {device: cpu}", "memory.device"}));

TEST(YamlErrors, ListTheKeysOfTheSectionWhenNoneIsNear) {
  EXPECT_THAT(problem_with("run: {zzzzzzzzzz: 1}"),
              HasSubstr("The keys of run are name, dir, seed, overwrite, tensorboard."));
  EXPECT_THAT(problem_with("zzzzzzzzzz: 1"), HasSubstr("lowmem-train --help"));
  EXPECT_THAT(problem_with(std::string(500, 'z') + ": 1"), HasSubstr("zzz..."));
}

struct Mistake {
  const char* yaml;
  const char* message;  // its beginning
};

class YamlMistake : public testing::TestWithParam<Mistake> {};

TEST_P(YamlMistake, IsRefusedByLineAndKey) {
  EXPECT_THAT(problem_with(GetParam().yaml), testing::StartsWith(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    Types, YamlMistake,
    testing::Values(
        Mistake{"\noptimizer:\n  lr: fast",
                "lowmem.yaml line 3: optimizer.lr: expected a number, found \"fast\"."},
        Mistake{
            "optimizer: {lr: \"1e-4\"}",
            "lowmem.yaml line 1: optimizer.lr: expected a number, found the quoted text "
            "\"1e-4\"."},
        Mistake{"optimizer: {lr: }",
                "lowmem.yaml line 1: optimizer.lr: expected a number, found nothing."},
        Mistake{"optimizer: {lr: [1]}",
                "lowmem.yaml line 1: optimizer.lr: expected a number, found a list."},
        Mistake{"optimizer: {lr: 1e-4x}",
                "lowmem.yaml line 1: optimizer.lr: expected a number, found \"1e-4x\"."},
        Mistake{"optimizer: {lr: 0x10}",
                "lowmem.yaml line 1: optimizer.lr: expected a number, found \"0x10\"."},
        Mistake{"optimizer: {lr: .nan}",
                "lowmem.yaml line 1: optimizer.lr: expected a finite number"},
        Mistake{"optimizer: {lr: nan}",
                "lowmem.yaml line 1: optimizer.lr: expected a finite number"},
        Mistake{"optimizer: {lr: -inf}",
                "lowmem.yaml line 1: optimizer.lr: expected a finite number"},
        Mistake{"optimizer: {lr: -.INF}",
                "lowmem.yaml line 1: optimizer.lr: expected a finite number"},
        Mistake{"optimizer: {eps: .inf}",
                "lowmem.yaml line 1: optimizer.eps: expected a finite number"},
        Mistake{
            "optimizer: {lr: 1e999}",
            "lowmem.yaml line 1: optimizer.lr: expected a number that a double can hold"},
        Mistake{"optimizer: {beta2: none}",
                "lowmem.yaml line 1: optimizer.beta2: expected a number or auto, found "
                "\"none\"."},
        Mistake{"run: {seed: 9223372036854775808}",
                "lowmem.yaml line 1: run.seed: expected an integer of at most 64 bits"},
        Mistake{"run: {seed: 1.0}",
                "lowmem.yaml line 1: run.seed: expected an integer, found \"1.0\"."},
        Mistake{"run: {seed: 1e3}", "lowmem.yaml line 1: run.seed: expected an integer"},
        Mistake{"run: {seed: +-1}", "lowmem.yaml line 1: run.seed: expected an integer"},
        Mistake{
            "run: {overwrite: 1}",
            "lowmem.yaml line 1: run.overwrite: expected true or false, found \"1\"."},
        Mistake{"run: {overwrite: \"true\"}",
                "lowmem.yaml line 1: run.overwrite: expected true or false"},
        Mistake{"run: {name: [a]}",
                "lowmem.yaml line 1: run.name: expected one text, found a list."},
        Mistake{"run: {name: null}",
                "lowmem.yaml line 1: run.name: expected a text, found nothing."},
        Mistake{"run:\n  name:\n    first: a",
                "lowmem.yaml line 2: run.name: expected one text, found keys below it."},
        Mistake{"data: {train: {a: b}}",
                "lowmem.yaml line 1: data.train: expected a text or a list of texts"},
        Mistake{
            "data:\n  train:\n  - a\n  - [b]",
            "lowmem.yaml line 2: data.train: expected texts in the list, found a list."},
        Mistake{"optimizer: {name: adamx}",
                "lowmem.yaml line 1: optimizer.name: expected adam | adamw | adafactor | "
                "sgd, "
                "found \"adamx\".\n       The nearest is adam."},
        Mistake{"memory: {weights: streamed}",
                "lowmem.yaml line 1: memory.weights: expected resident | host | disk, "
                "found \"streamed\"."},
        Mistake{
            "eval: {every: 0}",
            "lowmem.yaml line 1: eval.every: expected epoch, never or a number of steps"},
        Mistake{"eval: {every: daily}",
                "lowmem.yaml line 1: eval.every: expected epoch, never or a number of "
                "steps"}));

INSTANTIATE_TEST_SUITE_P(
    Structure, YamlMistake,
    testing::Values(
        Mistake{"\n5", "lowmem.yaml line 2: expected sections with keys."},
        Mistake{"run:5\nseed:6", "lowmem.yaml line 1: expected sections with keys."},
        Mistake{"[run]", "lowmem.yaml line 1: expected sections with keys."},
        Mistake{"run: 5", "lowmem.yaml line 1: run is a section"},
        Mistake{"\nrun: [1]", "lowmem.yaml line 2: run is a section"},
        Mistake{"run:\n  seed: 1\n  seed: 2",
                "lowmem.yaml line 3: the key seed is given twice."},
        Mistake{"run: {seed: 1}\ndata:\nrun: {name: a}",
                "lowmem.yaml line 3: the key run is given twice."},
        Mistake{"run: {[a]: 1}", "lowmem.yaml line 1: a key is not a name."},
        Mistake{"run: {: 1}", "lowmem.yaml line 1: a key is not a name."},
        Mistake{"run: {seed: 1}\n---\nrun: {seed: 2}",
                "lowmem.yaml line 2: a second YAML document begins."},
        Mistake{"\"run\"\n\"data\"", "lowmem.yaml line 2: does not continue"},
        Mistake{"run: &a {seed: 1}",
                "lowmem.yaml line 1: anchors (&) and aliases (*) are not supported."},
        Mistake{"run:\n  seed: &a 1\n",
                "lowmem.yaml line 2: anchors (&) and aliases (*) are not supported."},
        Mistake{"run: {seed: !!int 1}",
                "lowmem.yaml line 1: tags (!) are not supported."},
        Mistake{"model:\n  train: *.mlp.*",
                "lowmem.yaml line 2: a text that begins with * is not in quotes."},
        Mistake{"run:\n\tseed: 1", "lowmem.yaml line 2: is indented with a tab."},
        Mistake{"run: {seed: 1", "lowmem.yaml line 1: is not valid YAML."},
        Mistake{"run:\n  name: \"a", "lowmem.yaml line 2: is not valid YAML."},
        Mistake{"run:\n  name: \"a\\\"\n  seed: 1\n",
                "lowmem.yaml line 2: begins a quoted text that nothing ends."},
        Mistake{"\xEF\xBB\xBFrun:\n  name: 'a''\n",
                "lowmem.yaml line 2: begins a quoted text that nothing ends."},
        Mistake{"run:\n  seed: 1\n name: a", "lowmem.yaml line 3: is not valid YAML."},
        Mistake{"run: {seed: 1}\n}", "lowmem.yaml line 2: is not valid YAML."}));

TEST(YamlErrors, StopAtDeepNestingWithoutCrashing) {
  constexpr int kDepth = 200'000;
  std::string text;
  for (const char* level : {"[", "{", "- ", "? ", "{a: [", "[[{"}) {
    text.clear();
    for (int i = 0; i < kDepth; ++i) text += level;
    EXPECT_THAT(problem_with(text), HasSubstr("lowmem.yaml line 1: is nested too deeply"))
        << level;
  }
}

TEST(YamlErrors, ShowTheUsersTextCutAndWithoutControlCharacters) {
  const std::string message =
      problem_with("optimizer: {lr: \"\\e[31m" + std::string(1000, 'x') + "\"}");
  EXPECT_THAT(message, AllOf(HasSubstr("\"?[31mxxx"), HasSubstr("...\"")));
  EXPECT_LT(message.size(), 300u);
  EXPECT_EQ(message.find('\x1b'), std::string::npos);
}

TEST(YamlErrors, BytesThatAreNotBase64AreNamed) {
  for (const char* text : {"b2T/L2I", "", "b2T*L2I=", "\"\""})
    EXPECT_THAT(problem_with(std::string("model:\n  path: !!binary ") + text + "\n"),
                HasSubstr("lowmem.yaml line 2: is not the base64"))
        << text;
}

TEST(YamlErrors, AreTheOnlyOutcomeOfDamagedFilesBesidesAConfiguration) {
  Random random(7);
  const std::string good = to_yaml(test::changed_config());
  static constexpr char kBytes[] = "{}[]:,-?&*!|>%@`\"'#\\ \n\t\r09aE.~\x04\xff";
  int refused = 0;
  for (int round = 0; round < 2000; ++round) {
    std::string text = good;
    for (uint32_t edits = 1 + random.below(4); edits > 0; --edits) {
      const size_t at = random.below(static_cast<uint32_t>(text.size()));
      const char byte = kBytes[random.below(sizeof(kBytes) - 1)];
      switch (random.below(4)) {
        case 0:
          text[at] = byte;
          break;
        case 1:
          text.insert(at, 1 + random.below(3), byte);
          break;
        case 2:
          text.erase(at, 1 + random.below(8));
          break;
        default:
          text.resize(at + 1);
      }
    }
    RunConfig config;
    try {
      apply_yaml(config, text, "lowmem.yaml");
    } catch (const Error&) {
      ++refused;
      continue;
    }
    RunConfig again;
    apply_yaml(again, to_yaml(config), "lowmem.yaml");
    ASSERT_EQ(again, config) << text;
  }
  EXPECT_GT(refused, 500);
}

TEST(LoadConfig, ReadsAFileAndNamesItInErrors) {
  const auto path = std::filesystem::path(testing::TempDir()) / "lowmem_config_test.yaml";
  std::ofstream(path) << "run:\n  seed: 5\n";
  EXPECT_EQ(load_config(path).run.seed, 5);
  std::ofstream(path) << "run:\n  sede: 5\n";
  EXPECT_EQ(test::error_of([&] { load_config(path); }).thing(),
            path.string() + " line 2");
  std::ofstream(path) << std::string((1 << 20) + 1, '#');
  EXPECT_EQ(test::error_of([&] { load_config(path); }).thing(), path.string());
  std::filesystem::remove(path);
  EXPECT_EQ(test::error_of([&] { load_config(path); }).thing(), path.string());
  EXPECT_EQ(test::error_of([&] { load_config(path.parent_path()); }).thing(),
            path.parent_path().string());
}

}  // namespace
}  // namespace lowmem
