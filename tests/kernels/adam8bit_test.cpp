// Adam with averages of 8 bits against numbers of scripts/references/adam8bit.py.
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "kernels/support.h"
#include "lowmem/kernels/adam.h"
#include "lowmem/kernels/dynamic_map.h"
#include "support/hashed.h"
#include "support/shared.h"

namespace lowmem::kernels {
namespace {

using nlohmann::json;
using test::draw, test::fnv;

json read(const std::string& name) {
  std::ifstream file(lowmem::test::fixture("training/" + name));
  return json::parse(file);
}

constexpr DynamicMap<SignedCode> kSigned;
constexpr DynamicMap<UnsignedCode> kUnsigned;

TEST(DynamicMap, IsThatOfBitsandbytesInEveryBit) {
  const json want = read("adam8bit_maps.json");
  for (size_t code = 0; code < 256; ++code) {
    const auto same = [&](float got, const char* map) {
      EXPECT_EQ(std::bit_cast<uint32_t>(got),
                std::bit_cast<uint32_t>(want[map][code].get<float>()))
          << map << ", code " << code;
    };
    same(kSigned.value[code], "signed");
    same(kUnsigned.value[code], "unsigned");
  }
}

// Tells by comparing with every level.
template <class Code>
int nearest_of_all(const DynamicMap<Code>& map, float x) {
  const auto distance = [&](int code) { return std::abs(double{map.value[code]} - x); };
  int best = 0;
  for (int code = 1; code < 256; ++code) {
    const bool nearer_to_zero =
        std::abs(map.value[code]) < std::abs(map.value[best]);  // of two as near
    if (distance(code) < distance(best) ||
        (distance(code) == distance(best) && nearer_to_zero))
      best = code;
  }
  return best;
}

TEST(DynamicMap, NearestCodeIsTheNearestOnBothSidesOfEveryMiddle) {
  const auto check = [](const auto& map, float x) {
    EXPECT_EQ(nearest_code(map, x).code, nearest_of_all(map, x)) << std::hexfloat << x;
  };
  const auto check_around = [&](const auto& map, float x) {
    float around = std::nextafter(std::nextafter(x, -2.0f), -2.0f);
    for (int k = 0; k < 5; ++k, around = std::nextafter(around, 2.0f))
      if (std::abs(around) <= 1) check(map, around);
  };
  for (int code = 0; code < 255; ++code) {
    check_around(kSigned, (kSigned.value[code] + kSigned.value[code + 1]) / 2);
    check_around(kUnsigned, (kUnsigned.value[code] + kUnsigned.value[code + 1]) / 2);
  }
  for (const float x : {0.0f, 1.0f, 1e-45f, 1e-30f, 0x1p-23f, 0x1p-24f}) {
    check(kSigned, x);
    check(kSigned, -x);
    check(kUnsigned, x);
  }
  EXPECT_EQ(nearest_code(kSigned, std::nanf("")).code, 127);
  EXPECT_EQ(nearest_code(kUnsigned, std::nanf("")).code, 0);
}

// A parameter with averages of 8 bits or, for comparison, of fp32.
struct Training {
  explicit Training(int64_t elements, const json& given, bool codes = true)
      : options(given), in_codes(codes), count(elements) {
    weights.resize(static_cast<size_t>(count));
    gradient = mean = square = weights;
    mean_codes.assign(weights.size(), 127);
    square_codes.assign(weights.size(), 0);
    mean_scales.resize(static_cast<size_t>(code_blocks(count)));
    square_scales = mean_scales;
    for (int64_t i = 0; i < count; ++i) weights[static_cast<size_t>(i)] = draw(i, 0);
  }

  void update() {
    const double b1 = options["beta1"], b2 = options["beta2"], t = ++steps;
    const double lr = options["lr"], q = b1 * b1 / b2;
    AdamArgs args;
    args.weights.data = weights.data();
    args.gradient = {gradient.data(), DType::kF32};
    args.mean.data = mean.data();
    args.mean_square.data = square.data();
    if (in_codes) {
      args.mean = {mean_codes.data(), DType::kU8, {}, mean_scales.data()};
      args.mean_square = {square_codes.data(), DType::kU8, {}, square_scales.data()};
    }
    args.mean_rate = static_cast<float>(1 - b1);
    args.beta2 = static_cast<float>(b2);
    args.square_rate = static_cast<float>(1 - b2);
    args.eps = options["eps"];
    args.step_size = static_cast<float>(lr / (1 - std::pow(b1, t)));
    args.root = static_cast<float>(std::sqrt(1 - std::pow(b2, t)));
    if (guard)
      args.most_ratio = static_cast<float>((1 - b1) * (1 - b1) / (1 - b2) *
                                           (1 - std::pow(q, t)) / (1 - q));
    args.coupled_decay = static_cast<float>(coupled);
    args.decoupled_keep = static_cast<float>(1 - lr * decoupled);
    adam(args, 0, count);
  }

  // The most that a weight has moved, in lr.
  double most_moved() const {
    double most = 0;
    for (int64_t i = 0; i < count; ++i)
      most =
          std::max(most, std::abs(double{weights[static_cast<size_t>(i)]} - draw(i, 0)));
    return most / options["lr"].get<double>();
  }
  void expect(const json& want) const {
    EXPECT_EQ(fnv(weights), want["weights"]);
    if (!in_codes) return;
    EXPECT_EQ(fnv(mean_codes), want["mean_codes"]);
    EXPECT_EQ(fnv(mean_scales), want["mean_scales"]);
    EXPECT_EQ(fnv(square_codes), want["square_codes"]);
    EXPECT_EQ(fnv(square_scales), want["square_scales"]);
  }

  json options;
  bool in_codes, guard = false;
  double coupled = 0, decoupled = 0;
  int64_t count, steps = 0;
  std::vector<float> weights, gradient, mean, square, mean_scales, square_scales;
  std::vector<uint8_t> mean_codes, square_codes;
};

// Every instruction set of this machine.
class Adam8bit : public testing::TestWithParam<Isa> {
 protected:
  const test::WithIsa chosen_{GetParam()};
};

TEST_P(Adam8bit, HasTheReferencesWeightsCodesAndScalesInEveryBit) {
  const json want = read("adam8bit.json");
  for (const auto& [name, each] : want["cases"].items()) {
    SCOPED_TRACE(name);
    Training training(want["count"], want["options"]);
    training.guard = each["guard"];
    training.coupled = each["coupled"];
    training.decoupled = each["decoupled"];
    for (int64_t step = 1; step <= want["steps"]; ++step) {
      SCOPED_TRACE(step);
      for (int64_t i = 0; i < training.count; ++i) {
        const bool none = (i >= 512 && i < 768) || (i >= 768 && i < 1024 && step >= 5);
        training.gradient[static_cast<size_t>(i)] = none ? 0 : draw(i, step);
      }
      training.update();
      training.expect(each["steps"][static_cast<size_t>(step - 1)]);
      if (HasFailure()) return;  // the rest follows from it
    }
    for (size_t k = 0; k < each["weights"].size(); ++k) {
      EXPECT_EQ(training.weights[11 * k], each["weights"][k].get<float>());
      EXPECT_EQ(training.mean_codes[11 * k], each["mean_codes"][k]);
      EXPECT_EQ(training.square_codes[11 * k], each["square_codes"][k]);
    }
    EXPECT_EQ(training.mean_scales, each["mean_scales"].get<std::vector<float>>());
    EXPECT_EQ(training.square_scales, each["square_scales"].get<std::vector<float>>());
    if (training.coupled != 0) continue;
    EXPECT_EQ(training.mean_scales[2], 0) << "of the block without a gradient";
    EXPECT_EQ(training.square_codes[600], 0);
  }
}

// A sixteenth of each block has gradients 2^13 times larger than the others.
Training hazard(const json& want, const json& each, bool codes, bool guard) {
  Training training(want["count"], want["options"], codes);
  training.guard = guard;
  for (int64_t step = 1; step <= each["steps"]; ++step) {
    for (int64_t i = 0; i < training.count; ++i)
      training.gradient[static_cast<size_t>(i)] = draw(i, step) * (i % 16 == 0 ? 8192.0f
                                                                   : step > 10 ? 0.0f
                                                                               : 1.0f);
    training.update();
  }
  return training;
}

TEST_P(Adam8bit, GuardKeepsMovesWithinThoseOfFp32WhereTheRuleAloneMovesFar) {
  const json want = read("adam8bit_hazard.json");
  for (const std::string steps : {"30", "100"}) {
    SCOPED_TRACE(steps);
    const auto run = [&](const std::string& kind) {
      const json& each = want["cases"][kind + "_" + steps];
      Training training = hazard(want, each, kind != "fp32", kind == "guarded");
      training.expect(each["last"]);
      EXPECT_NEAR(training.most_moved(), each["most_moved_lr"].get<double>(),
                  1e-3 * each["most_moved_lr"].get<double>());
      return training.most_moved();
    };
    const double exact = run("fp32");
    EXPECT_GT(run("plain"), 1000 * exact);
    EXPECT_LT(run("guarded"), 2 * exact);
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, Adam8bit, testing::ValuesIn(test::isas()),
                         [](const auto& given) {
                           return std::string(isa_name(given.param));
                         });

}  // namespace
}  // namespace lowmem::kernels
