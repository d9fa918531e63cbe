// Operations against their formulas, and their gradients against finite differences.
#include <ATen/Parallel.h>

#include <cmath>
#include <functional>

#include "lowmem/ops/attention.h"
#include "lowmem/ops/elements.h"
#include "lowmem/ops/linear.h"
#include "lowmem/ops/rms_norm.h"
#include "lowmem/ops/rotary.h"
#include "lowmem/ops/swiglu.h"
#include "support/tensors.h"

namespace lowmem::ops {
namespace {

using test::normal, test::relative_difference;
using Tensors = std::vector<at::Tensor>;
using Function = std::function<at::Tensor(const Tensors&)>;

// A number that depends on every output, for gradients.
at::Tensor mixed(const at::Tensor& out) {
  return (out.to(at::kDouble) * normal(out.sizes(), 99, at::kDouble)).sum();
}

Tensors gradients(const Function& f, const Tensors& inputs, at::ScalarType dtype) {
  Tensors leaves;
  for (const at::Tensor& input : inputs)
    leaves.push_back(input.to(dtype).detach().clone().requires_grad_());
  mixed(f(leaves)).backward();
  Tensors found;
  for (const at::Tensor& leaf : leaves) found.push_back(leaf.grad());
  return found;
}

// Central differences in float64 over every element of every input.
void expect_gradients(const Function& f, const Tensors& inputs) {
  const Tensors got = gradients(f, inputs, at::kDouble);
  constexpr double kStep = 1e-5;
  for (size_t i = 0; i < inputs.size(); ++i) {
    Tensors moved = inputs;
    moved[i] = inputs[i].clone();
    const at::Tensor flat = moved[i].view(-1);
    at::Tensor want = at::empty({flat.numel()}, at::kDouble);
    for (int64_t k = 0; k < flat.numel(); ++k) {
      const double x = flat[k].item<double>();
      flat[k].fill_(x + kStep);
      const double above = mixed(f(moved)).item<double>();
      flat[k].fill_(x - kStep);
      const double below = mixed(f(moved)).item<double>();
      flat[k].fill_(x);
      want[k].fill_((above - below) / (2 * kStep));
    }
    EXPECT_LE(relative_difference(got[i].view(-1), want), 1e-7) << "input " << i;
  }
}

// For an operation that computes in fp32: its gradients against the formula's in float64.
void expect_gradients_of(const Function& f, const Function& formula,
                         const Tensors& inputs) {
  const Tensors got = gradients(f, inputs, at::kFloat);
  const Tensors want = gradients(formula, inputs, at::kDouble);
  for (size_t i = 0; i < inputs.size(); ++i)
    EXPECT_LE(relative_difference(got[i], want[i]), 1e-6) << "input " << i;
}

// Token by token and head by head.
at::Tensor naive_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const std::vector<int64_t>& offsets) {
  const int64_t heads = q.size(1), group = heads / k.size(1);
  const double scale = 1 / std::sqrt(static_cast<double>(q.size(2)));
  at::Tensor out = at::empty_like(q);
  for (size_t s = 0; s + 1 < offsets.size(); ++s)
    for (int64_t token = offsets[s]; token < offsets[s + 1]; ++token)
      for (int64_t head = 0; head < heads; ++head) {
        const auto seen = [&](const at::Tensor& all) {
          return all.slice(0, offsets[s], token + 1).select(1, head / group);
        };
        const at::Tensor share = (seen(k).mv(q[token][head]) * scale).softmax(0);
        out[token][head].copy_(seen(v).t().mv(share));
      }
  return out;
}

struct Lengths {
  const char* name;
  std::vector<int64_t> offsets;
};

class Attention : public testing::TestWithParam<std::tuple<Lengths, int64_t>> {};

TEST_P(Attention, EqualsTheNaiveFormula) {
  const auto& [lengths, kv_heads] = GetParam();
  const int64_t tokens = lengths.offsets.back();
  const at::Tensor q = normal({tokens, 4, 8}, 1, at::kDouble) * 2;
  const at::Tensor k = normal({tokens, kv_heads, 8}, 2, at::kDouble);
  const at::Tensor v = normal({tokens, kv_heads, 8}, 3, at::kDouble);
  const at::Tensor want = naive_attention(q, k, v, lengths.offsets);
  EXPECT_LE(relative_difference(attention(q, k, v, lengths.offsets), want), 1e-12);
  for (const auto& [dtype, tolerance] :
       {std::pair{at::kFloat, 2e-6}, {at::kBFloat16, 0.03}}) {
    const at::Tensor got =
        attention(q.to(dtype), k.to(dtype), v.to(dtype), lengths.offsets);
    EXPECT_EQ(got.scalar_type(), dtype);
    EXPECT_LE(relative_difference(got, want), tolerance) << dtype;
  }
}

TEST_P(Attention, GradientsAreThoseOfFiniteDifferences) {
  const auto& [lengths, kv_heads] = GetParam();
  const int64_t tokens = lengths.offsets.back();
  expect_gradients(
      [&](const Tensors& in) { return attention(in[0], in[1], in[2], lengths.offsets); },
      {normal({tokens, 4, 2}, 1, at::kDouble),
       normal({tokens, kv_heads, 2}, 2, at::kDouble),
       normal({tokens, kv_heads, 2}, 3, at::kDouble)});
}

INSTANTIATE_TEST_SUITE_P(
    Ops, Attention,
    testing::Combine(
        testing::Values(Lengths{"OneSequence", {0, 9}},
                        Lengths{"UnequalLengths", {0, 3, 8, 10}},
                        Lengths{"LengthOne", {0, 1, 5, 6, 7}},
                        Lengths{"RunsOfEqualLengths", {0, 3, 6, 9, 11, 13, 16}},
                        Lengths{"ALengthThatEqualsARunsTokens", {0, 2, 4, 8}}),
        testing::Values<int64_t>(4, 2, 1)),
    [](const auto& given) {
      return std::get<0>(given.param).name + std::to_string(std::get<1>(given.param)) +
             "KeyHeads";
    });

TEST(RmsNorm, EqualsItsFormulaForEveryType) {
  const at::Tensor x = normal({6, 16}, 1, at::kDouble) * 3;
  const at::Tensor weight = normal({16}, 2, at::kDouble);
  for (const double eps : {1e-5, 0.5}) {
    const auto formula = [&](const at::Tensor& in, const at::Tensor& by) {
      const at::Tensor a = in.to(at::kDouble);
      return a / (a.square().mean(-1, true) + eps).sqrt() * by.to(at::kDouble);
    };
    for (const auto in : {at::kFloat, at::kBFloat16})
      for (const auto by : {at::kFloat, at::kBFloat16})
        for (const auto out : {at::kFloat, at::kBFloat16}) {
          const at::Tensor got = rms_norm(x.to(in), weight.to(by), eps, out);
          EXPECT_EQ(got.scalar_type(), out);
          EXPECT_LE(relative_difference(got, formula(x.to(in), weight.to(by))),
                    out == at::kFloat ? 1e-6 : 4e-3);
        }
    expect_gradients_of(
        [&](const Tensors& in) { return rms_norm(in[0], in[1], eps, at::kFloat); },
        [&](const Tensors& in) { return formula(in[0], in[1]); }, {x, weight});
  }
}

TEST(Rotary, TurnsEachPairByItsAngle) {
  const at::Tensor x = normal({5, 3, 8}, 1, at::kDouble);
  const at::Tensor angle = (normal({5, 4}, 2, at::kDouble) * 3).to(at::kFloat);
  const at::Tensor exact = angle.to(at::kDouble);
  // As complex numbers: element i is the real part, element i + 4 the imaginary one.
  const auto formula = [&](const at::Tensor& in) {
    const auto halves = in.to(at::kDouble).chunk(2, -1);
    const at::Tensor turned = at::complex(halves[0], halves[1]) *
                              at::polar(at::ones_like(exact), exact).unsqueeze(1);
    return at::cat({at::real(turned), at::imag(turned)}, -1);
  };
  const auto turn = [&](const at::Tensor& in) {
    return rotary(in, angle.cos(), angle.sin());
  };
  EXPECT_LE(relative_difference(turn(x.to(at::kFloat)), formula(x)), 1e-6);
  const at::Tensor rounded = x.to(at::kBFloat16);
  EXPECT_EQ(turn(rounded).scalar_type(), at::kBFloat16);
  EXPECT_LE(relative_difference(turn(rounded), formula(rounded)), 4e-3);
  expect_gradients_of([&](const Tensors& in) { return turn(in[0]); },
                      [&](const Tensors& in) { return formula(in[0]); }, {x});
}

TEST(Swiglu, EqualsItsFormula) {
  const at::Tensor gate = normal({6, 10}, 1, at::kDouble) * 4;
  const at::Tensor up = normal({6, 10}, 2, at::kDouble);
  const at::Tensor want = gate / (1 + (-gate).exp()) * up;
  EXPECT_LE(relative_difference(swiglu(gate, up), want), 1e-14);
  EXPECT_LE(relative_difference(swiglu(gate.to(at::kFloat), up.to(at::kFloat)), want),
            1e-6);
  EXPECT_LE(
      relative_difference(swiglu(gate.to(at::kBFloat16), up.to(at::kBFloat16)), want),
      0.02);
  expect_gradients([](const Tensors& in) { return swiglu(in[0], in[1]); }, {gate, up});
}

TEST(Linear, ComputesInTheGivenTypeAndKeepsTheWeightsTypeForItsGradient) {
  const at::Tensor x = normal({6, 10}, 1, at::kDouble);
  const at::Tensor weight = normal({4, 10}, 2, at::kDouble),
                   bias = normal({4}, 3, at::kDouble);
  const at::Tensor want = x.mm(weight.t()) + bias;
  for (const auto type : {at::kFloat, at::kBFloat16})
    for (const auto compute : {at::kFloat, at::kBFloat16}) {
      const at::Tensor w = weight.to(type).requires_grad_();
      const at::Tensor got = linear(x.to(at::kFloat), w, bias.to(type), compute);
      EXPECT_EQ(got.scalar_type(), compute);
      const bool exact = type == at::kFloat && compute == at::kFloat;
      EXPECT_LE(relative_difference(got, want), exact ? 1e-6 : 0.02);
      mixed(got).backward();
      EXPECT_EQ(w.grad().scalar_type(), type);
    }
  expect_gradients(
      [](const Tensors& in) { return linear(in[0], in[1], in[2], at::kDouble); },
      {x, weight, bias});
  EXPECT_LE(relative_difference(linear(x, weight, {}, at::kDouble), x.mm(weight.t())),
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
      EXPECT_NEAR(one, want, 1e-12 * want);
    }
}

}  // namespace
}  // namespace lowmem::ops
