#include "lowmem/config/overrides.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>

#include "config/support.h"
#include "lowmem/config/help.h"
#include "lowmem/config/yaml.h"

namespace lowmem {
namespace {

using testing::HasSubstr;

RunConfig with(const std::string& assignment) {
  RunConfig config;
  apply_override(config, assignment);
  return config;
}

std::string problem_with(const std::string& assignment) {
  RunConfig config;
  const std::string message =
      test::error_of([&] { apply_override(config, assignment); }).what();
  EXPECT_EQ(config, RunConfig());
  return message;
}

TEST(Overrides, SetAKeyOfEachType) {
  EXPECT_EQ(with("optimizer.lr=3e-5").optimizer.lr, 3e-5);
  EXPECT_EQ(with("optimizer.beta2=auto").optimizer.beta2, std::nullopt);
  EXPECT_EQ(with("optimizer.beta2=0.5").optimizer.beta2, 0.5);
  EXPECT_EQ(with("optimizer.name=sgd").optimizer.name, OptimizerKind::kSgd);
  EXPECT_EQ(with("run.seed=-1").run.seed, -1);
  EXPECT_EQ(with("run.overwrite=true").run.overwrite, true);
  EXPECT_EQ(with("model.path=/a b/c=d").model.path, "/a b/c=d");
  EXPECT_EQ(with("eval.every=20").eval.every, Interval::every(20));
  EXPECT_EQ(with("eval.bos=true").eval.bos, BosMode::kTrue);
}

TEST(Overrides, GiveAKeyOneValue) {
  const auto of = [](const std::vector<std::string>& texts) {
    std::vector<Assignment> assignments;
    for (const std::string& text : texts) assignments.push_back(assignment_of(text));
    RunConfig config;
    set_keys(config, assignments);
    return config;
  };
  EXPECT_EQ(of({"train.epochs=8", "optimizer.lr=3e-5", "train.epochs = 8"}),
            of({"optimizer.lr=3e-5", "train.epochs=8"}));
  EXPECT_EQ(of({"optimizer.lr=1e-4", "data.train=a", "optimizer.lr=2e-4"}),
            of({"data.train=a", "optimizer.lr=2e-4"}));
}

TEST(Overrides, ChangeNothingElse) {
  RunConfig expected;
  expected.train.epochs = 8;
  EXPECT_EQ(with("train.epochs=8"), expected);
}

TEST(Overrides, TakeTextsLiterally) {
  for (const char* text : {"null", "a # b", "a: b", "*", "&x", "!y", "{z", "- q", "5"})
    EXPECT_EQ(with(std::string("model.path=") + text).model.path, text);
  EXPECT_EQ(with("eval.data=").eval.data, StringList{});
  EXPECT_EQ(with("run.dir=").run.dir, "");
  EXPECT_EQ(with("model.path=\"[a]\"").model.path, "[a]");
  EXPECT_EQ(with("model.path='it''s'").model.path, "it's");
}

TEST(Overrides, TakeListsWithOrWithoutBrackets) {
  EXPECT_EQ(with("data.train=a").data.train, StringList{"a"});
  EXPECT_EQ(with("data.train=a,b").data.train, (StringList{"a", "b"}));
  EXPECT_EQ(with("data.train=a, b").data.train, (StringList{"a", "b"}));
  EXPECT_EQ(with("data.train=[a, b]").data.train, (StringList{"a", "b"}));
  EXPECT_EQ(with("data.train=[\"a,b\", c]").data.train, (StringList{"a,b", "c"}));
  EXPECT_EQ(with("data.train=\"a,b\"").data.train, StringList{"a,b"});
  EXPECT_EQ(with("model.train=*.mlp.*,*.norm.*").model.train,
            (StringList{"*.mlp.*", "*.norm.*"}));
  EXPECT_EQ(with("data.train=").data.train, StringList{});
  EXPECT_EQ(with("data.train=[]").data.train, StringList{});
}

TEST(Overrides, SetEveryKeyToWhatTheSavedFileShows) {
  // The value of each key as to_yaml() writes it, given as an override, is that value.
  const RunConfig wanted = test::changed_config(3);
  RunConfig config;
  const std::string yaml = to_yaml(wanted);
  size_t at = 0;
  for (const KeyInfo& key : config_keys()) {
    const std::string label = "\n  " + key.name.substr(key.name.find('.') + 1) + ": ";
    at = yaml.find(label, at) + label.size();
    const std::string text = yaml.substr(at, yaml.find('\n', at) - at);
    const std::string assignment = key.name + "=" + text;
    ASSERT_NO_THROW(apply_override(config, assignment)) << assignment;
  }
  EXPECT_EQ(config, wanted);
}

TEST(Overrides, RefuseUnknownKeysWithTheNearest) {
  EXPECT_EQ(problem_with("lr=1"),
            "lr=1: unknown key lr.\n       The nearest key is optimizer.lr.");
  EXPECT_THAT(problem_with("train.lr=1"), HasSubstr("The nearest key is optimizer.lr."));
  EXPECT_THAT(problem_with("modle.path=1"), HasSubstr("The nearest key is model.path."));
  EXPECT_THAT(problem_with("dat.train=x"), HasSubstr("The nearest key is data.train."));
  EXPECT_THAT(problem_with("dat.trian=x"), HasSubstr("The nearest key is data.train."));
  EXPECT_THAT(problem_with("optimzer.name=sgd"),
              HasSubstr("The nearest key is optimizer.name."));
  EXPECT_THAT(problem_with("optimizer=sgd"), HasSubstr("is a section, not a key"));
  EXPECT_THAT(problem_with("optimizer.lr"), HasSubstr("is not of the form"));
  EXPECT_THAT(problem_with("=1"), HasSubstr("is not of the form"));
  EXPECT_THAT(problem_with(""), HasSubstr("is not of the form"));
}

TEST(Overrides, RefuseWrongTypes) {
  EXPECT_THAT(
      problem_with("optimizer.lr=fast"),
      testing::StartsWith("optimizer.lr=fast: expected a number, found \"fast\"."));
  EXPECT_THAT(problem_with("optimizer.lr=nan"), HasSubstr("expected a finite number"));
  EXPECT_THAT(problem_with("optimizer.lr="), HasSubstr("expected a number"));
  EXPECT_THAT(problem_with("optimizer.lr=[1]"), HasSubstr("found a list"));
  EXPECT_THAT(problem_with("train.epochs=3x"), HasSubstr("expected an integer"));
  EXPECT_THAT(problem_with("data.train=[a"), HasSubstr("not a valid YAML list"));
  EXPECT_THAT(problem_with("run.name=\"a"), HasSubstr("quoted text"));
}

TEST(ShortFlags, StandForKeysThatExist) {
  const std::vector<KeyInfo> keys = config_keys();
  for (const ShortFlag& flag : kShortFlags) {
    EXPECT_TRUE(flag.flag.starts_with("--"));
    EXPECT_TRUE(std::any_of(keys.begin(), keys.end(), [&](const KeyInfo& key) {
      return key.name == flag.key;
    })) << flag.key;
  }
  EXPECT_EQ(std::size(kShortFlags), 8u);
}

}  // namespace
}  // namespace lowmem
