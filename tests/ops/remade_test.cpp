// Products whose input is made again for the backward pass: the same gradients as keeping
// it.
#include "gradients.h"
#include "lowmem/ops/attention.h"
#include "lowmem/ops/linear.h"
#include "lowmem/ops/rms_norm.h"

namespace lowmem::ops::test {
namespace {

at::Tensor formula_of_norm(const at::Tensor& x, const at::Tensor& weight) {
  return x / (x.square().mean(-1, true) + 1e-5).sqrt() * weight;
}

// hidden [6, 10], norm weight [10], two matrices over the same norm, a bias.
Tensors norm_problem() {
  return {normal({6, 10}, 1, at::kDouble), normal({10}, 2, at::kDouble),
          normal({7, 10}, 3, at::kDouble), normal({5, 10}, 4, at::kDouble),
          normal({7}, 5, at::kDouble)};
}

TEST(LinearOfNorm, GradientsAreThoseOfTheFormula) {
  const auto remade = [](const Tensors& in) {
    const LinearInput x = LinearInput::norm(in[0], in[1], 1e-5, at::kFloat);
    return at::cat(
        {linear(x, {in[2], in[4]}, at::kFloat), linear(x, {in[3], {}}, at::kFloat)}, 1);
  };
  const auto formula = [](const Tensors& in) {
    const at::Tensor x = formula_of_norm(in[0], in[1]);
    return at::cat({x.mm(in[2].t()) + in[4], x.mm(in[3].t())}, 1);
  };
  expect_finite_differences(formula, norm_problem());
  const Tensors got = gradients(remade, cast(norm_problem(), at::kFloat));
  const Tensors want = gradients(formula, norm_problem());
  for (size_t i = 0; i < want.size(); ++i) expect_close(got[i], want[i], 2e-6);
}

TEST(LinearOfNorm, GivesTheBitsOfALinearThatKeepsItsInput) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const Tensors inputs = cast(norm_problem(), dtype);
    const auto run = [&](bool again) {
      return gradients(
          [&](const Tensors& in) {
            const LinearInput x = again
                                      ? LinearInput::norm(in[0], in[1], 1e-5, dtype)
                                      : LinearInput(rms_norm(in[0], in[1], 1e-5, dtype));
            return at::cat(
                {linear(x, {in[2], in[4]}, dtype), linear(x, {in[3], {}}, dtype)}, 1);
          },
          inputs);
    };
    const Tensors remade = run(true), kept = run(false);
    for (size_t i = 0; i < kept.size(); ++i)
      EXPECT_TRUE(at::equal(remade[i], kept[i])) << dtype << ", input " << i;
  }
}

TEST(AttentionLinear, GivesTheBitsOfAttentionAndALinearAfterIt) {
  const at::Tensor mask = at::ones({3, 4}, at::kBool).tril(1);
  const Spans spans = {{5, 5, {}}, {3, 4, mask}, {0, 2, {}}};
  for (const auto dtype : {at::kFloat, at::kBFloat16})
    for (const bool biased : {false, true}) {
      const Tensors inputs =
          cast({normal({8, 4, 8}, 1), normal({11, 2, 8}, 2), normal({11, 2, 8}, 3),
                normal({6, 32}, 4), normal({6}, 5)},
               dtype);
      const auto bias = [&](const Tensors& in) { return biased ? in[4] : at::Tensor(); };
      const auto kept = [&](const Tensors& in) {
        at::Tensor out = linear(attention(in[0], in[1], in[2], spans).flatten(1),
                                {in[3], bias(in)}, dtype);
        return biased ? out : out + 0 * in[4];
      };
      const auto remade = [&](const Tensors& in) {
        at::Tensor out = attention_linear(in[0], in[1], in[2], spans, {in[3], bias(in)});
        return biased ? out : out + 0 * in[4];
      };
      EXPECT_TRUE(at::equal(remade(inputs), kept(inputs)));
      const Tensors got = gradients(remade, inputs), want = gradients(kept, inputs);
      for (size_t i = 0; i < want.size(); ++i)
        EXPECT_TRUE(at::equal(got[i], want[i])) << dtype << ", input " << i;
    }
}

// Beyond the kernel's sequences LibTorch's attention does the same.
TEST(AttentionLinear, OfALongSequenceEqualsTheFormulaToo) {
  constexpr int64_t kTokens = 600;
  const Spans spans = {{kTokens, kTokens, {}}};
  const Tensors inputs = {
      normal({kTokens, 2, 8}, 1, at::kDouble), normal({kTokens, 1, 8}, 2, at::kDouble),
      normal({kTokens, 1, 8}, 3, at::kDouble), normal({3, 16}, 4, at::kDouble)};
  const auto run = [&](const Tensors& in) {
    return attention_linear(in[0], in[1], in[2], spans, {in[3], {}});
  };
  const auto formula = [&](const Tensors& in) {
    const at::Tensor k = in[1].expand({kTokens, 2, 8}), v = in[2].expand({kTokens, 2, 8});
    const at::Tensor scores =
        at::einsum("qhd,khd->hqk", {in[0], k}) / std::sqrt(8.0) +
        at::full({kTokens, kTokens}, -INFINITY, at::kDouble).triu(1);
    return at::einsum("hqk,khd->qhd", {scores.softmax(-1), v}).flatten(1).mm(in[3].t());
  };
  const Tensors got = gradients(run, cast(inputs, at::kFloat));
  const Tensors want = gradients(formula, inputs);
  for (size_t i = 0; i < want.size(); ++i) expect_close(got[i], want[i], 1e-5);
  expect_close(run(cast(inputs, at::kFloat)), formula(inputs), 1e-5);
}

}  // namespace
}  // namespace lowmem::ops::test
