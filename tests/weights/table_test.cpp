// The table of weights: groups, what is selected of it, and leases on it.
#include "lowmem/weights/table.h"

#include <gmock/gmock.h>

#include "io/error_of.h"
#include "lowmem/weights/home.h"
#include "lowmem/weights/selection.h"
#include "support/tensors.h"

namespace lowmem::weights {
namespace {

using test::fixture;
using testing::ElementsAre;

std::unique_ptr<model::Llama> tiny() {
  return test::load_model(fixture("models/llama32_tiny"));
}

TEST(Table, IsInFileOrderByGroup) {
  for (const char* name : {"llama2_tiny", "llama32_tiny", "llama_bias_tiny"}) {
    const auto llama = test::load_model(fixture("models") / name);
    Table& table = llama->table();
    EXPECT_EQ(table.groups(), llama->blocks().size() + 2);
    uint32_t index = 0;
    for (size_t group = 0; group < table.groups(); ++group)
      for (const Weight* weight : table.group(group)) {
        EXPECT_EQ(weight->index, index++);
        EXPECT_EQ(weight->spec.group, group);
        EXPECT_EQ(&table.at(weight->name()), weight);
        EXPECT_EQ(weight->bytes(), static_cast<int64_t>(weight->here.nbytes()));
      }
    EXPECT_EQ(index, table.all().size());
    EXPECT_EQ(table.find("nothing"), nullptr);
  }
}

// The noise of rounding is a function of a weight's place: that of the modules' order.
TEST(Table, HasTheModulesParametersInTheirOrder) {
  const auto llama = test::load_model(fixture("models/llama_bias_tiny"));
  auto weight = llama->table().all().begin();
  for (const auto& item : llama->named_parameters()) {
    EXPECT_EQ(weight->name(), item.key());
    EXPECT_TRUE(weight->here.is_same(item.value()));
    ++weight;
  }
  EXPECT_EQ(weight, llama->table().all().end());
}

TEST(Selection, RefusesAPatternThatMatchesNothingByName) {
  const auto llama = tiny();
  const Error error = test::error_of([&] {
    select(llama->table(), {"layers", "model.layers.9.*"});
  });
  EXPECT_EQ(error.thing(), "model.train = model.layers.9.*");
}

TEST(Selection, HoldsThoseOfAllPatternsOnce) {
  const auto llama = tiny();
  select(llama->table(), {"model.layers.0.*", "*.mlp.*", "model.norm.weight"});
  int64_t elements = 0, count = 0;
  for (const Weight& weight : llama->table().all()) {
    EXPECT_EQ(weight.here.requires_grad(), weight.trained) << weight.name();
    if (!weight.trained) continue;
    elements += weight.here.numel();
    ++count;
  }
  EXPECT_EQ(llama->table().trained_elements(), elements);
  EXPECT_EQ(count, 9 + 3 + 1);
  EXPECT_FALSE(llama->table().trains(0));
  EXPECT_TRUE(llama->table().trains(2));
}

TEST(Patterns, AStarStandsForAnyText) {
  EXPECT_TRUE(matches("a", "a"));
  EXPECT_TRUE(matches("*", ""));
  EXPECT_TRUE(matches("a*b*c", "abbc"));
  EXPECT_TRUE(matches("*ab", "aab"));
  EXPECT_TRUE(matches("a**", "a"));
  EXPECT_FALSE(matches("", "a"));
  EXPECT_FALSE(matches("a", "ab"));
  EXPECT_FALSE(matches("*b", "abc"));
  EXPECT_FALSE(matches("a.b", "axb"));
  EXPECT_FALSE(matches("ab*", "a"));
}

// What a home is told.
class Told final : public Home {
 public:
  using Home::Home;
  std::vector<std::string> words;

 private:
  void bring(size_t group, Access access) override {
    words.push_back((access == Access::kWrite ? "bring to write " : "bring ") +
                    std::to_string(group));
  }
  void take_back(size_t group, bool written) override {
    words.push_back((written ? "written " : "read ") + std::to_string(group));
  }
};

TEST(Lease, BringsAGroupOnceHoweverOftenItIsBorrowed) {
  const auto llama = tiny();
  Told home(llama->table());
  {
    const Lease first = home.borrow(1, Access::kRead);
    const Lease again = home.borrow(1, Access::kRead);
    Lease other = home.borrow(2, Access::kRead);
    const Lease moved = std::move(other);
  }
  EXPECT_THAT(home.words, ElementsAre("bring 1", "bring 2", "read 2", "read 1"));
}

TEST(Lease, TellsWhetherAnyOfThemWrote) {
  const auto llama = tiny();
  Told home(llama->table());
  {
    const Lease reading = home.borrow(1, Access::kRead);
    const Lease writing = home.borrow(1, Access::kWrite);
  }
  { const Lease reading = home.borrow(1, Access::kRead); }
  EXPECT_THAT(home.words, ElementsAre("bring 1", "bring to write 1", "written 1",
                                      "bring 1", "read 1"));
}

}  // namespace
}  // namespace lowmem::weights
