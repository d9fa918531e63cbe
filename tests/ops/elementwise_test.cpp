// Norm, rotary embedding, linear and squared norm against their formulas.
#include <ATen/Parallel.h>

#include <limits>

#include "lowmem/ops/elements.h"
#include "lowmem/ops/linear.h"
#include "lowmem/ops/rms_norm.h"
#include "lowmem/ops/rotary.h"
#include "ops/gradients.h"

namespace lowmem::ops {
namespace {

using test::expect_close, test::normal, test::relative_difference, test::Tensors;

class RmsNorm : public testing::TestWithParam<std::tuple<int64_t, int64_t, double>> {
 protected:
  const int64_t rows_ = std::get<0>(GetParam()), columns_ = std::get<1>(GetParam());
  const double eps_ = std::get<2>(GetParam());
  const Tensors inputs_{normal({rows_, columns_}, 1, at::kDouble) * 3,
                        normal({columns_}, 2, at::kDouble)};

  at::Tensor formula(const Tensors& in) const {
    const Tensors exact = test::cast(in, at::kDouble);
    return exact[0] / (exact[0].square().mean(-1, true) + eps_).sqrt() * exact[1];
  }
};

TEST_P(RmsNorm, EqualsItsFormulaForEveryType) {
  for (const auto in : {at::kFloat, at::kBFloat16})
    for (const auto by : {at::kFloat, at::kBFloat16})
      for (const auto out : {at::kFloat, at::kBFloat16}) {
        const at::Tensor x = inputs_[0].to(in), weight = inputs_[1].to(by);
        const at::Tensor got = rms_norm(x, weight, eps_, out);
        EXPECT_EQ(got.scalar_type(), out);
        expect_close(got, formula({x, weight}), out == at::kFloat ? 1e-6 : 4e-3);
      }
}

TEST_P(RmsNorm, GradientsAreThoseOfTheFormula) {
  test::expect_gradients_of(
      [&](const Tensors& in) { return rms_norm(in[0], in[1], eps_, at::kFloat); },
      [&](const Tensors& in) { return formula(in); }, inputs_);
}

TEST_P(RmsNorm, GradientsHaveTheirInputsTypes) {
  for (const auto x : {at::kFloat, at::kBFloat16})
    for (const auto weight : {at::kFloat, at::kBFloat16})
      for (const auto out : {at::kFloat, at::kBFloat16}) {
        const Tensors in{inputs_[0].to(x), inputs_[1].to(weight)};
        const Tensors got = test::gradients(
            [&](const Tensors& all) { return rms_norm(all[0], all[1], eps_, out); }, in);
        const Tensors want =
            test::gradients([&](const Tensors& all) { return formula(all); },
                            test::cast(in, at::kDouble));
        for (size_t i = 0; i < in.size(); ++i) expect_close(got[i], want[i], 0.01);
      }
}

INSTANTIATE_TEST_SUITE_P(Ops, RmsNorm,
                         testing::Combine(testing::Values(0, 1, 6, 39),
                                          testing::Values(3, 16, 29),
                                          testing::Values(1e-5, 0.5)));

TEST(RmsNormOfAll, IsTheSameForAnyNumberOfThreads) {
  const int before = at::get_num_threads();
  const Tensors in{normal({117, 1003}, 1), normal({1003}, 2)};
  std::vector<Tensors> got;
  for (const int threads : {1, 2}) {
    at::set_num_threads(threads);
    const auto f = [](const Tensors& all) {
      return rms_norm(all[0], all[1], 1e-5, at::kFloat);
    };
    got.push_back(test::gradients(f, in));
    got.back().push_back(f(in));
  }
  at::set_num_threads(before);
  for (size_t i = 0; i < got[0].size(); ++i)
    EXPECT_TRUE(at::equal(got[0][i], got[1][i])) << i;
}

class Rotary : public testing::TestWithParam<std::tuple<int64_t, int64_t>> {};

TEST_P(Rotary, TurnsEachPairByItsAngle) {
  const auto [tokens, half] = GetParam();
  const at::Tensor x = normal({tokens, 3, 2 * half}, 1, at::kDouble);
  const at::Tensor angle = (normal({tokens, half}, 2, at::kDouble) * 3).to(at::kFloat);
  const at::Tensor exact = angle.to(at::kDouble);
  // As complex numbers: element i is the real part, element i + half the imaginary one.
  const auto formula = [&](const Tensors& in) {
    const auto halves = in[0].to(at::kDouble).chunk(2, -1);
    const at::Tensor turned = at::complex(halves[0], halves[1]) *
                              at::polar(at::ones_like(exact), exact).unsqueeze(1);
    return at::cat({at::real(turned), at::imag(turned)}, -1);
  };
  const auto turn = [&](const Tensors& in) {
    return rotary(in[0], angle.cos(), angle.sin());
  };
  for (const auto& [dtype, tolerance] :
       {std::pair{at::kFloat, 1e-6}, {at::kBFloat16, 4e-3}}) {
    const Tensors in{x.to(dtype)};
    EXPECT_EQ(turn(in).scalar_type(), dtype);
    expect_close(turn(in), formula(in), tolerance);
    expect_close(test::gradients(turn, in)[0],
                 test::gradients(formula, test::cast(in, at::kDouble))[0], 2 * tolerance);
  }
  test::expect_gradients_of(turn, formula, {x});
}

INSTANTIATE_TEST_SUITE_P(Ops, Rotary,
                         testing::Combine(testing::Values(0, 1, 5),
                                          testing::Values(1, 4, 16, 19)));

TEST(RotaryOfViews, CountsByItsNumbers) {
  const at::Tensor x = normal({3, 8, 5}, 1).transpose(1, 2), angle = normal({3, 4}, 2);
  EXPECT_FALSE(x.is_contiguous());
  EXPECT_TRUE(at::equal(rotary(x, angle.cos(), angle.sin()),
                        rotary(x.contiguous(), angle.cos(), angle.sin())));
}

TEST(Linear, ComputesInTheGivenTypeAndKeepsTheWeightsTypeForItsGradient) {
  const Tensors exact{normal({6, 10}, 1, at::kDouble), normal({4, 10}, 2, at::kDouble),
                      normal({4}, 3, at::kDouble)};
  const auto formula = [](const Tensors& in) { return in[0].mm(in[1].t()) + in[2]; };
  for (const auto type : {at::kFloat, at::kBFloat16})
    for (const auto compute : {at::kFloat, at::kBFloat16}) {
      Tensors in = test::cast(exact, type);
      in[0] = exact[0].to(at::kFloat);
      const auto f = [&](const Tensors& all) {
        return linear(all[0], {all[1], all[2]}, compute);
      };
      EXPECT_EQ(f(in).scalar_type(), compute);
      const bool fp32 = type == at::kFloat && compute == at::kFloat;
      expect_close(f(in), formula(exact), fp32 ? 1e-6 : 0.02);
      const Tensors got = test::gradients(f, in), want = test::gradients(formula, exact);
      for (size_t i = 0; i < in.size(); ++i)
        expect_close(got[i], want[i], fp32 ? 1e-6 : 0.02);
    }
  test::expect_finite_differences(formula, exact);
  EXPECT_LE(relative_difference(linear(exact[0], {exact[1], {}}, at::kDouble),
                                exact[0].mm(exact[1].t())),
            1e-14);
}

TEST(SquaredNorm, IsTheSameForAnyNumberOfThreadsAndEqualsTheSum) {
  const int before = at::get_num_threads();
  for (const auto dtype : {at::kFloat, at::kBFloat16})
    for (const int64_t count : {0, 1, 32768, 32769, 300001}) {
      const at::Tensor x = normal({count}, 1, dtype);
      at::set_num_threads(1);
      const double one = squared_norm(x);
      at::set_num_threads(2);
      const double two = squared_norm(x);
      at::set_num_threads(before);
      EXPECT_EQ(one, two);
      const double want = x.to(at::kDouble).square().sum().item<double>();
      EXPECT_NEAR(one, want, 1e-7 * want);
    }
}

TEST(SquaredNorm, IsTheSameOfParts) {
  for (const auto dtype : {at::kFloat, at::kBFloat16})
    for (const int64_t count : {1, 32768, 100001})
      for (const int64_t part : {1000, 32768, 40000, 200000}) {
        const at::Tensor x = normal({count}, 1, dtype);
        SquaredNorm parts;
        for (int64_t at = 0; at < count; at += part)
          parts.add(x.slice(0, at, std::min(count, at + part)));
        EXPECT_EQ(parts.total(), squared_norm(x)) << count << " by " << part;
      }
  EXPECT_EQ(SquaredNorm().total(), 0);
}

TEST(SquaredNorm, OfAnythingNotFiniteIsNotFinite) {
  for (const auto dtype : {at::kFloat, at::kBFloat16})
    for (const float bad : {std::numeric_limits<float>::infinity(),
                            std::numeric_limits<float>::quiet_NaN()})
      for (const int64_t place : {0, 32767, 32768, 70000}) {
        at::Tensor x = normal({70001}, 1, dtype);
        x[place].fill_(bad);
        EXPECT_FALSE(std::isfinite(squared_norm(x))) << place;
      }
}

}  // namespace
}  // namespace lowmem::ops
