// A gradient that is not finite leaves no trace.
#include <limits>

#include "optim/support.h"

namespace lowmem::optim {
namespace {

using weights::Weight;

using test::config_of, test::normal, test::slot_of;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

Weight copy_of(const Weight& slot) {
  Weight copy = slot_of(slot.here, slot.index);
  for (const auto& [name, tensor] : slot.beside) copy.beside[name] = tensor.clone();
  copy.updates = slot.updates;
  return copy;
}

class Nonfinite : public testing::TestWithParam<
                      std::tuple<const char*, at::ScalarType, RoundingMode>> {
 protected:
  std::vector<OptimizerConfig> configs() const {
    OptimizerConfig config = config_of(std::get<const char*>(GetParam()));
    config.rounding = std::get<RoundingMode>(GetParam());
    return test::with_each_state(config);
  }
  const at::ScalarType dtype_ = std::get<at::ScalarType>(GetParam());
};

TEST_P(Nonfinite, GradientChangesNeitherParameterNorStateNorCounterNorVersion) {
  for (const OptimizerConfig& config : configs())
    for (const std::vector<int64_t>& shape : {std::vector<int64_t>{35, 1001}, {35001}}) {
      auto optimizer = test::rule(config, 1);
      Weight slot = slot_of(normal(shape, 1, dtype_));
      for (int64_t i = 0; i < 2; ++i)
        optimizer->update(slot, normal(shape, 2, dtype_), {i, 0.01, 1});
      const Weight before = copy_of(slot);
      EXPECT_EQ(before.updates, 2);
      const auto version = slot.here._version();
      const int64_t last = slot.here.numel() - 1;
      for (const auto type : {at::kFloat, dtype_})
        for (const float bad : {kNan, kInfinity, -kInfinity})
          for (const int64_t place : {int64_t{0}, last / 2, last}) {
            at::Tensor gradient = normal(shape, 3, type);
            gradient.view(-1)[place].fill_(bad);
            const UpdateResult result = optimizer->update(slot, gradient, {2, 0.01, 0.5});
            EXPECT_FALSE(result.finite()) << bad << " at " << place;
            test::expect_same(slot, before);
            EXPECT_EQ(slot.here._version(), version);
          }
      EXPECT_TRUE(optimizer->update(slot, normal(shape, 3), {2, 0.01, 1}).finite());
      EXPECT_FALSE(at::equal(slot.here, before.here));
      EXPECT_EQ(slot.updates, 3);
      EXPECT_GT(slot.here._version(), version);
    }
}

TEST_P(Nonfinite, FirstGradientLeavesTheNextUpdatesAsTheyWouldHaveBeen) {
  for (const OptimizerConfig& config : configs()) {
    auto optimizer = test::rule(config, 1);
    const at::Tensor start = normal({5, 7}, 1, dtype_);
    Weight spared = slot_of(start), hit = slot_of(start);
    at::Tensor bad = normal({5, 7}, 2);
    bad[4][6].fill_(kNan);
    EXPECT_FALSE(optimizer->update(hit, bad, {0, 0.01, 1}).finite());
    EXPECT_TRUE(at::equal(hit.here, start));
    for (int64_t i = 1; i < 4; ++i)
      for (Weight* slot : {&spared, &hit})
        optimizer->update(*slot, normal({5, 7}, static_cast<uint64_t>(i)), {i, 0.01, 1});
    test::expect_same(hit, spared);
  }
}

TEST_P(Nonfinite, AHugeGradientIsRefusedOrLeavesEverythingFinite) {
  // Squares that fit in fp32 though not their sum, squares that do not, and the largest.
  for (const float huge : {1.5e19f, 1e20f, 1e25f, 3e38f})
    for (const OptimizerConfig& config : configs())
      for (const int64_t columns : {1, 70}) {
        SCOPED_TRACE(std::to_string(huge) + " in " + std::to_string(columns));
        auto optimizer = test::rule(config, 1);
        const at::Tensor start = normal({50, 70}, 1, dtype_);
        at::Tensor gradient = normal({50, 70}, 2);
        gradient.narrow(1, 0, columns).fill_(huge);
        Weight slot = slot_of(start);
        const UpdateResult result = optimizer->update(slot, gradient, {0, 1e-30, 1});
        EXPECT_EQ(slot.updates, result.finite() ? 1 : 0);
        EXPECT_TRUE(result.finite() || at::equal(slot.here, start));
        EXPECT_TRUE(slot.here.isfinite().all().item<bool>());
        for (const auto& [name, tensor] : slot.beside)
          EXPECT_TRUE(tensor.isfinite().all().item<bool>()) << name;
      }
}

INSTANTIATE_TEST_SUITE_P(Optimizers, Nonfinite,
                         testing::Combine(testing::ValuesIn(test::kRules),
                                          testing::Values(at::kFloat, at::kBFloat16),
                                          testing::ValuesIn(test::kRoundings)),
                         [](const auto& given) {
                           return std::string(std::get<0>(given.param)) + "_" +
                                  at::toString(std::get<1>(given.param)) + "_" +
                                  std::string(word_of(std::get<2>(given.param)));
                         });

}  // namespace
}  // namespace lowmem::optim
