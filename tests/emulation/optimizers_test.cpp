// SGD and Adam on the device: the CPU's weights, states and reports, bit for bit.
#include "emulation/optimizers.h"

#include <cfloat>
#include <cmath>
#include <limits>

#include "support/optimizer_args.h"

namespace lowmem::kernels {
namespace {

using test::Numbers, test::Parameter;

// Types of weights and gradient, and how weights are rounded.
class EmulatedUpdate : public testing::TestWithParam<std::tuple<DType, Rounding, DType>> {
 protected:
  // `rule(parameter, gradient, states, report, on_device)` updates all of a parameter.
  using Rule = std::function<void(Parameter&, const ConstArray&, std::vector<Numbers>&,
                                  RoundingReport*, bool on_device)>;
  static void expect_same(DType state, const Rule& rule) {
    const auto [dtype, rounding, gradient_type] = GetParam();
    for (const int64_t count : test::lengths())
      for (const int64_t shift : test::kShifts) {
        SCOPED_TRACE(std::to_string(count) + " from " + std::to_string(shift));
        const Numbers gradient(count, gradient_type, shift, 3);
        const auto run = [&, dtype = dtype, rounding = rounding](bool on_device) {
          Parameter parameter(count, dtype, shift, rounding);
          std::vector<Numbers> states;
          states.emplace_back(count, state, shift, 4, 0.0f, 1.0f);
          states.emplace_back(count, state, shift, 5, 0.0f, 1.0f);
          RoundingReport report{100, 10};
          rule(parameter, gradient.read_only(), states, &report, on_device);
          return parameter.bytes() + states[0].bytes() + states[1].bytes() +
                 test::bytes_of(report);
        };
        const std::string want = run(false);
        EXPECT_TRUE(test::for_all_launches([&] { return run(true); }) == want);
      }
  }
};

TEST_P(EmulatedUpdate, SgdGivesTheBitsOfTheCpu) {
  for (const bool momentum : {false, true})
    expect_same(DType::kF32, [&](Parameter& parameter, const ConstArray& gradient,
                                 std::vector<Numbers>& states, RoundingReport* report,
                                 bool on_device) {
      const SgdArgs args = test::sgd_args(parameter.weights, gradient,
                                          momentum ? states[0].as<float>() : nullptr);
      if (on_device)
        emulated::sgd(args, 0, parameter.count(), {}, report, nullptr);
      else
        *report += sgd(args, 0, parameter.count());
    });
}

TEST_P(EmulatedUpdate, AdamGivesTheBitsOfTheCpu) {
  for (const DType state : test::kTypes)
    expect_same(
        state, [&](Parameter& parameter, const ConstArray& gradient,
                   std::vector<Numbers>& states, RoundingReport* report, bool on_device) {
          const AdamArgs args = test::adam_args(parameter.weights, gradient,
                                                states[0].array(), states[1].array());
          if (on_device)
            emulated::adam(args, 0, parameter.count(), {}, report, nullptr);
          else
            *report += adam(args, 0, parameter.count());
        });
}

TEST_P(EmulatedUpdate, AdamWithCodesGivesTheBitsOfTheCpu) {
  const auto [dtype, rounding, gradient_type] = GetParam();
  for (const int64_t count : test::lengths())
    for (const int64_t shift : test::kShifts) {
      SCOPED_TRACE(std::to_string(count) + " from " + std::to_string(shift));
      const Numbers gradient(count, gradient_type, shift, 3);
      const auto run = [&, dtype = dtype, rounding = rounding](bool on_device) {
        Parameter parameter(count, dtype, shift, rounding);
        test::Averages<Numbers> averages(count, DType::kU8, shift);
        RoundingReport report{100, 10};
        const AdamArgs args = averages.args(parameter.weights, gradient.read_only());
        for (int step = 0; step < 2; ++step)
          if (on_device)
            emulated::adam(args, 0, count, {}, &report, nullptr);
          else
            report += adam(args, 0, count);
        return parameter.bytes() + averages.bytes() + test::bytes_of(report);
      };
      const std::string want = run(false);
      EXPECT_TRUE(test::for_all_launches([&] { return run(true); }) == want);
    }
}

TEST_P(EmulatedUpdate, DoesNotDependOnHowElementsCome) {
  const auto [dtype, rounding, gradient_type] = GetParam();
  constexpr int64_t kCount = 9 * kCodeBlock + 41;
  const Numbers gradient(kCount, gradient_type, 0, 3);
  const auto run = [&, dtype = dtype, rounding = rounding](int64_t together) {
    Parameter by_sgd(kCount, dtype, 0, rounding), by_adam(kCount, dtype, 0, rounding);
    Numbers buffer(kCount, DType::kF32, 0, 4, 0.0f, 1.0f);
    test::Averages<Numbers> averages(kCount, DType::kU8, 0);
    RoundingReport report;
    const SgdArgs sgd =
        test::sgd_args(by_sgd.weights, gradient.read_only(), buffer.as<float>());
    const AdamArgs adam = averages.args(by_adam.weights, gradient.read_only());
    for (int64_t at = 0; at < kCount; at += together) {
      const int64_t end = std::min(kCount, at + together);
      emulated::sgd(sgd, at, end, {}, &report, nullptr);
      emulated::adam(adam, at, end, {}, &report, nullptr);
    }
    return by_sgd.bytes() + buffer.bytes() + by_adam.bytes() + averages.bytes() +
           test::bytes_of(report);
  };
  const std::string whole = run(kCount);
  for (const int64_t blocks : {1, 2, 5}) EXPECT_TRUE(run(blocks * kCodeBlock) == whole);
}

TEST_P(EmulatedUpdate, ScaleOnTheDeviceMultipliesThatOfTheArguments) {
  const auto [dtype, rounding, gradient_type] = GetParam();
  constexpr int64_t kCount = 100;
  const Numbers gradient(kCount, gradient_type, 0, 3);
  const float pending_scale = 0.375f;
  Parameter got(kCount, dtype, 0, rounding), want(kCount, dtype, 0, rounding);
  SgdArgs args{.weights = got.weights, .gradient = gradient.read_only(), .lr = 0.1f};
  args.scale = 0.6f;
  emulated::sgd(args, 0, kCount, {.scale = &pending_scale}, nullptr, nullptr);
  args.weights = want.weights;
  args.weights.report = false;
  args.scale = 0.6f * 0.375f;
  sgd(args, 0, kCount);
  EXPECT_TRUE(got.bytes() == want.bytes());
}

TEST_P(EmulatedUpdate, NothingIsWrittenWhereTheSquaredNormIsBeyondFp32) {
  const auto [dtype, rounding, gradient_type] = GetParam();
  constexpr int64_t kCount = 100;
  const Numbers gradient(kCount, gradient_type, 0, 3);
  for (const double norm : {1.0, double{FLT_MAX}, std::nextafter(double{FLT_MAX}, 1e39),
                            1e300, std::numeric_limits<double>::infinity(),
                            std::numeric_limits<double>::quiet_NaN()}) {
    SCOPED_TRACE(norm);
    const bool allowed = norm <= FLT_MAX;
    Parameter parameter(kCount, dtype, 0, rounding);
    std::vector<Numbers> states;
    for (const uint64_t seed : {4, 5})
      states.emplace_back(kCount, DType::kF32, 0, seed, 0.0f, 1.0f);
    Parameter second(kCount, dtype, 0, rounding);
    test::Averages<Numbers> codes(kCount, DType::kU8, 0);
    const auto bytes = [&] {
      return parameter.bytes() + states[0].bytes() + states[1].bytes();
    };
    const auto bytes_of_codes = [&] { return second.bytes() + codes.bytes(); };
    const std::string codes_before = bytes_of_codes();
    const std::string before = bytes();
    RoundingReport report;
    const Pending pending{.squared_norm = &norm};
    emulated::sgd(
        test::sgd_args(parameter.weights, gradient.read_only(), states[0].as<float>()), 0,
        kCount, pending, &report, nullptr);
    emulated::adam(test::adam_args(parameter.weights, gradient.read_only(),
                                   states[0].array(), states[1].array()),
                   0, kCount, pending, &report, nullptr);
    emulated::adam(codes.args(second.weights, gradient.read_only()), 0, kCount, pending,
                   &report, nullptr);
    EXPECT_EQ(bytes() == before, !allowed);
    EXPECT_EQ(bytes_of_codes() == codes_before, !allowed);
    EXPECT_EQ(report.updates == 0, !allowed || dtype == DType::kF32);
  }
}

INSTANTIATE_TEST_SUITE_P(Kernels, EmulatedUpdate, test::every_parameter(),
                         test::name_of_parameter);

}  // namespace
}  // namespace lowmem::kernels
