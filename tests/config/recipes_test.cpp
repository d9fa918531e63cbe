// Every file of configs/, as a user would copy it.
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>

#include "lowmem/config/comparison.h"
#include "lowmem/config/rules.h"
#include "lowmem/config/validate.h"
#include "lowmem/config/yaml.h"
#include "lowmem/core/files.h"

namespace lowmem {
namespace {

using testing::ContainsRegex, testing::ElementsAre, testing::HasSubstr,
    testing::StartsWith;

const std::filesystem::path kFolder =
    std::filesystem::path(LOWMEM_FIXTURES) / "../../configs";

std::vector<std::string> names() {
  std::vector<std::string> found;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder))
    found.push_back(entry.path().stem().string());
  std::sort(found.begin(), found.end());
  return found;
}

RunConfig recipe(const std::string& name) {
  return load_config(kFolder / (name + ".yaml"));
}

// What turning one switch changes.
std::vector<std::string> changed_by(const std::string& name, const std::string& base) {
  RunConfig before = recipe(base), after = recipe(name);
  return compare({before, after}).keys;
}

class Recipe : public testing::TestWithParam<std::string> {};

TEST_P(Recipe, LoadsAndIsValid) {
  RunConfig config = recipe(GetParam());
  EXPECT_NO_THROW(validate(config, Purpose::kTrain));
  EXPECT_NO_THROW(resolve_defaults(config.optimizer));
  EXPECT_FALSE(config.model.path.empty());
  EXPECT_FALSE(config.data.train.empty());
  EXPECT_FALSE(config.eval.data.empty());
}

// So that no two of them meet in one folder: the demo's are named without `demo_`.
TEST_P(Recipe, NamesItsRunAfterItself) {
  std::string name = GetParam();
  if (name.starts_with("demo_")) name.erase(0, 5);
  EXPECT_EQ(recipe(GetParam()).run.name, name);
}

TEST_P(Recipe, SaysWhatItNeedsAndWhatToChange) {
  const std::string text = read_file(kFolder / (GetParam() + ".yaml"));
  const std::string comment = text.substr(0, text.find("\nrun:"));
  EXPECT_THAT(comment, StartsWith("# "));
  EXPECT_THAT(comment, HasSubstr("\n# Memory: "));
  EXPECT_THAT(comment, ContainsRegex("(Change|To try): "));
}

INSTANTIATE_TEST_SUITE_P(Configs, Recipe, testing::ValuesIn(names()),
                         [](const auto& test) { return test.param; });

TEST(SwitchRecipes, TurnOneSwitchEach) {
  EXPECT_THAT(changed_by("switch_bf16", "switch_none"), ElementsAre("model.dtype"));
  EXPECT_THAT(changed_by("switch_stochastic_rounding", "switch_bf16"),
              ElementsAre("optimizer.rounding"));
  EXPECT_THAT(changed_by("switch_adafactor", "switch_none"),
              ElementsAre("optimizer.name", "optimizer.lr"));
  EXPECT_THAT(changed_by("switch_recompute", "switch_none"),
              ElementsAre("memory.activations"));
  EXPECT_THAT(changed_by("switch_update", "switch_none"),
              ElementsAre("memory.gradients"));
  EXPECT_THAT(changed_by("switch_linear_cross_entropy", "switch_none"),
              ElementsAre("memory.linear_cross_entropy"));
}

}  // namespace
}  // namespace lowmem
