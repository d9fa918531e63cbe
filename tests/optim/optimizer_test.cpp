// Update rules against torch.optim and against themselves.

#include <ATen/Parallel.h>

#include <cmath>
#include <numeric>

#include "lowmem/memory/meter.h"
#include "optim/support.h"

namespace lowmem::optim {
namespace {

using weights::Weight;

using nlohmann::json;
using test::config_of, test::normal, test::reference, test::relative_difference,
    test::slot_of, test::tensor_of;

class Rule : public testing::TestWithParam<const char*> {
 protected:
  const OptimizerConfig config = config_of(GetParam());
};

TEST_P(Rule, FollowsTheFloat64ReferenceForTenUpdates) {
  for (const char* kind : {"matrix", "vector"}) {
    const json& want = reference()["optimizers"][GetParam()]["float64"][kind];
    auto optimizer = test::rule(config, 1);
    Weight slot = slot_of(tensor_of(reference()["start"][kind]).to(at::kFloat));
    for (int64_t i = 0; i < 10; ++i) {
      const auto at = static_cast<size_t>(i);
      const at::Tensor gradient =
          tensor_of(reference()["gradients"][kind][at]).to(at::kFloat);
      optimizer->update(slot, gradient, {i, config.lr, 1});
      EXPECT_LE(relative_difference(slot.here, tensor_of(want[at])), 1e-6)
          << kind << ", update " << i;
    }
    EXPECT_EQ(slot.updates, 10);
  }
}

TEST_P(Rule, StochasticRoundingOfBfloatWeightsIsRightOnAverage) {
  constexpr int64_t kSeeds = 2000, kUpdates = 10;
  for (const char* kind : {"matrix", "vector"}) {
    const at::Tensor start = tensor_of(reference()["start"][kind]).to(at::kBFloat16);
    std::vector<at::Tensor> gradients;
    for (const json& gradient : reference()["gradients"][kind])
      gradients.push_back(tensor_of(gradient).to(at::kFloat));

    Weight exact = slot_of(start.to(at::kFloat));
    auto without_noise = test::rule(config, 0);
    at::Tensor unit = at::zeros_like(exact.here);  // the largest step between two bf16
    for (int64_t i = 0; i < kUpdates; ++i) {
      without_noise->update(exact, gradients[static_cast<size_t>(i)], {i, config.lr, 1});
      const at::Tensor largest = exact.here.abs() * 1.1 + 0.05;
      unit = at::maximum(unit, at::exp2(largest.log2().floor() - 7));
    }
    at::Tensor sum = at::zeros_like(start, at::kDouble);
    for (int64_t seed = 0; seed < kSeeds; ++seed) {
      auto optimizer = test::rule(config, static_cast<uint64_t>(seed));
      Weight slot = slot_of(start);
      for (int64_t i = 0; i < kUpdates; ++i)
        optimizer->update(slot, gradients[static_cast<size_t>(i)], {i, config.lr, 1});
      sum += slot.here.to(at::kDouble);
    }
    // Each rounding errs by at most half a unit in standard deviation.
    const at::Tensor deviation =
        unit * (0.5 * std::sqrt(static_cast<double>(kUpdates) / kSeeds));
    const at::Tensor error = (sum / kSeeds - exact.here).abs() / deviation;
    EXPECT_LE(error.max().item<double>(), 5) << kind;
  }
}

TEST_P(Rule, StochasticRoundingIsAFunctionOfSeedStepAndParameter) {
  const at::Tensor start = normal({40, 50}, 1, at::kBFloat16),
                   gradient = normal({40, 50}, 2);
  const auto after = [&](uint64_t seed, int64_t step, uint32_t index) {
    Weight slot = slot_of(start, index);
    test::rule(config, seed)->update(slot, gradient, {step, config.lr, 1});
    return slot.here;
  };
  const at::Tensor first = after(5, 0, 3);
  EXPECT_TRUE(at::equal(after(5, 0, 3), first));
  EXPECT_FALSE(at::equal(after(6, 0, 3), first));
  EXPECT_FALSE(at::equal(after(5, 1, 3), first));
  EXPECT_FALSE(at::equal(after(5, 0, 4), first));
}

TEST_P(Rule, RoundingToNearestDoesNotDependOnTheSeed) {
  OptimizerConfig nearest = config;
  nearest.rounding = RoundingMode::kNearest;
  const at::Tensor start = normal({40, 50}, 1, at::kBFloat16),
                   gradient = normal({40, 50}, 2);
  Weight a = slot_of(start), b = slot_of(start), exact = slot_of(start.to(at::kFloat));
  test::rule(nearest, 1)->update(a, gradient, {0, 0.1, 1});
  test::rule(nearest, 2)->update(b, gradient, {0, 0.1, 1});
  test::rule(nearest, 1)->update(exact, gradient, {0, 0.1, 1});
  EXPECT_TRUE(at::equal(a.here, b.here));
  EXPECT_TRUE(at::equal(a.here, exact.here.to(at::kBFloat16)));
}

TEST_P(Rule, IsTheSameForAnyNumberOfThreads) {
  const int before = at::get_num_threads();
  for (const RoundingMode rounding : test::kRoundings)
    for (OptimizerConfig each : test::with_each_state(config)) {
      each.rounding = rounding;
      for (const std::vector<int64_t>& shape :
           {std::vector<int64_t>{67, 4099}, {1031, 129}, {150001}})
        for (const auto dtype : {at::kFloat, at::kBFloat16}) {
          SCOPED_TRACE(word_of(rounding));
          const at::Tensor start = normal(shape, 1, dtype);
          std::vector<Weight> slots;
          std::vector<UpdateResult> results;
          for (const int threads : {1, 2}) {
            at::set_num_threads(threads);
            slots.push_back(slot_of(start));
            auto optimizer = test::rule(each, 9);
            for (int64_t i = 0; i < 2; ++i)
              results.push_back(optimizer->update(
                  slots.back(), normal(shape, 2 + static_cast<uint64_t>(i), dtype),
                  {i, 0.01, 1, /*report_rounding=*/true}));
          }
          at::set_num_threads(before);
          test::expect_same(slots[0], slots[1]);
          EXPECT_FALSE(at::equal(slots[0].here, start));
          for (size_t i = 0; i < 2; ++i) {
            EXPECT_EQ(results[i].squared_norm, results[2 + i].squared_norm);
            EXPECT_EQ(results[i].rounding.lost, results[2 + i].rounding.lost);
          }
        }
    }
}

TEST_P(Rule, KeepsTheBytesThatItsRowSays) {
  OptimizerConfig plain = config;
  plain.momentum = 0;
  std::vector<OptimizerConfig> all = test::with_each_state(config);
  all.push_back(plain);
  for (OptimizerConfig& each : all)
    for (const RoundingMode rounding : test::kRoundings)
      for (const std::vector<int64_t>& shape :
           {std::vector<int64_t>{5, 7}, {7}, {64, 128}})
        for (const auto dtype : {at::kFloat, at::kBFloat16}) {
          // Averages of a small weight are no codes.
          if (each.state_dtype == StateType::kInt8 && shape[0] < 64) continue;
          each.rounding = rounding;
          auto optimizer = test::rule(each, 1);
          Weight slot = slot_of(normal(shape, 1, dtype));
          optimizer.optimizer->prepare(slot);
          int64_t kept = 0;
          for (const auto& [name, tensor] : slot.beside)
            kept += static_cast<int64_t>(tensor.storage().nbytes());
          const double an_element =
              state_bytes(each) +
              static_cast<double>(rounding_bytes(rounding, slot.format));
          double want = an_element * static_cast<double>(slot.here.numel());
          // Of a matrix a number a row and a column; of a vector one an element.
          if (rule_of(each.name).whole_matrix)
            want += 4 * static_cast<double>(
                            std::accumulate(shape.begin(), shape.end(), int64_t{0}));
          EXPECT_EQ(static_cast<double>(kept), want) << word_of(rounding);
        }
}

TEST_P(Rule, UpdatesWithoutATemporaryAsLargeAsTheParameter) {
  memory::install();
  for (const RoundingMode rounding : test::kRoundings)
    for (OptimizerConfig each : test::with_each_state(config))
      for (const auto dtype : {at::kFloat, at::kBFloat16}) {
        each.rounding = rounding;
        auto optimizer = test::rule(each, 1);
        Weight slot = slot_of(normal({512, 1024}, 1, dtype));
        const at::Tensor gradient = normal({512, 1024}, 2, dtype);
        optimizer->update(slot, gradient, {0, 0.01, 1});  // makes the state
        memory::device_ledger().reset_peaks();
        const int64_t before = memory::device_ledger().current();
        optimizer->update(slot, gradient, {1, 0.01, 1, /*report_rounding=*/true});
        EXPECT_LE(memory::device_ledger().peak() - before,
                  static_cast<int64_t>(slot.here.nbytes()) / 16)
            << word_of(rounding);
      }
}

TEST_P(Rule, GivesTheGradientsOwnSquaredNorm) {
  const at::Tensor gradient = normal({50, 70}, 2);
  const double want = gradient.to(at::kDouble).square().sum().item<double>();
  for (const float scale : {1.0f, 0.01f}) {
    Weight slot = slot_of(normal({50, 70}, 1));
    const UpdateResult result =
        test::rule(config, 1)->update(slot, gradient, {0, 0.01, scale});
    EXPECT_NEAR(result.squared_norm, want, 1e-6 * want);
  }
}

TEST_P(Rule, ScaleIsThatOfTheGradient) {
  const at::Tensor start = normal({5, 7}, 1), gradient = normal({5, 7}, 2);
  Weight scaled = slot_of(start), smaller = slot_of(start);
  auto optimizer = test::rule(config, 1);
  optimizer->update(scaled, gradient, {0, 0.01, 0.25});
  optimizer->update(smaller, gradient * 0.25, {0, 0.01, 1});
  EXPECT_TRUE(at::equal(scaled.here, smaller.here));
}

TEST_P(Rule, ABfloatOrTransposedGradientCountsByItsNumbers) {
  const at::Tensor start = normal({5, 7}, 1),
                   gradient = normal({7, 5}, 2, at::kBFloat16).t();
  Weight a = slot_of(start), b = slot_of(start);
  auto optimizer = test::rule(config, 1);
  optimizer->update(a, gradient, {0, 0.01, 1});
  optimizer->update(b, gradient.to(at::kFloat).contiguous(), {0, 0.01, 1});
  EXPECT_TRUE(at::equal(a.here, b.here));
}

INSTANTIATE_TEST_SUITE_P(Optimizers, Rule, testing::ValuesIn(test::kRules),
                         [](const auto& given) { return std::string(given.param); });

TEST(Adafactor, AMatrixWithoutGradientStaysAsItIs) {
  const OptimizerConfig config = config_of("adafactor");
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    auto optimizer = test::rule(config, 1);
    const at::Tensor start = normal({5, 7}, 1, dtype);
    Weight slot = slot_of(start);
    optimizer->update(slot, at::zeros({5, 7}), {0, 0.01, 1});
    EXPECT_TRUE(at::equal(slot.here, start));
    for (const auto& [name, tensor] : slot.beside)
      EXPECT_TRUE(tensor.eq(0).all().item<bool>()) << name;
    optimizer->update(slot, normal({5, 7}, 2), {1, 0.01, 1});
    EXPECT_TRUE(slot.here.isfinite().all().item<bool>());
    EXPECT_FALSE(at::equal(slot.here, start));
  }
}

TEST(Adafactor, AnUpdateHasTheGivenShareOfTheWeightsNorm) {
  auto optimizer = test::rule(config_of("adafactor"), 1);
  const at::Tensor start = normal({50, 70}, 1);
  Weight slot = slot_of(start);
  optimizer->update(slot, normal({50, 70}, 2), {0, 0.01, 1});
  const double moved = (slot.here - start).norm().item<double>();
  EXPECT_NEAR(moved / start.norm().item<double>(), 0.01, 1e-6);
}

// The floor is in the root mean square of an element: torch.optim.Adafactor's eps2.
TEST(Adafactor, WeightOfZerosMovesByItsFloor) {
  const at::Tensor gradient = normal({5, 7}, 3);
  const auto moved = [&](double floor, const at::Tensor& start) {
    OptimizerConfig config{.name = OptimizerKind::kAdafactor, .scale_floor = floor};
    auto optimizer = test::rule(config, 1);
    Weight slot = slot_of(start);
    optimizer->update(slot, gradient, {0, 0.5, 1});
    return (slot.here - start).norm().item<double>();
  };
  const at::Tensor zeros = at::zeros({5, 7}), ones = at::ones({5, 7});
  EXPECT_EQ(moved(0, zeros), 0);
  EXPECT_NEAR(moved(1e-3, zeros), 0.5 * 1e-3 * std::sqrt(35.0), 1e-9);
  EXPECT_NEAR(moved(1e-3, ones), 0.5 * std::sqrt(35.0), 1e-5);
  EXPECT_NEAR(moved(2, ones), 0.5 * 2 * std::sqrt(35.0), 1e-5);
}

}  // namespace
}  // namespace lowmem::optim
