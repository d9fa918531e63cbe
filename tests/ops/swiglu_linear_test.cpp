// (silu(gate) * up) @ weight.T + bias against its formula.
#include "lowmem/ops/swiglu_linear.h"

#include "ops/gradients.h"

namespace lowmem::ops {
namespace {

using test::expect_close, test::normal, test::relative_difference, test::Tensors;

at::Tensor formula(const Tensors& in) {
  const Tensors exact = test::cast(in, at::kDouble);
  const at::Tensor y = exact[0] / (1 + (-exact[0]).exp()) * exact[1];
  const at::Tensor out = y.mm(exact[2].t());
  return in.size() == 4 ? out + exact[3] : out;
}

// The operation overwrites gate and up, so it is given copies.
at::Tensor operation(const Tensors& in, Output output = Output::kValue) {
  return swiglu_linear(in[0].clone(), in[1].clone(),
                       {in[2], in.size() == 4 ? in[3] : at::Tensor()}, output);
}

struct Sizes {
  int64_t rows, inner, out;
};

class SwigluLinear : public testing::TestWithParam<std::tuple<Sizes, bool>> {
 protected:
  // gate, up, weight and, where there is one, bias.
  Tensors inputs() const {
    const auto& [sizes, bias] = GetParam();
    const auto [rows, inner, out] = sizes;
    Tensors all{normal({rows, inner}, 1, at::kDouble) * 3,
                normal({rows, inner}, 2, at::kDouble),
                normal({out, inner}, 3, at::kDouble)};
    if (bias) all.push_back(normal({out}, 4, at::kDouble));
    return all;
  }
};

TEST_P(SwigluLinear, EqualsTheFormula) {
  for (const auto& [dtype, tolerance] :
       {std::pair{at::kFloat, 1e-6}, {at::kBFloat16, 0.02}}) {
    const Tensors in = test::cast(inputs(), dtype);
    const at::Tensor got = operation(in);
    EXPECT_EQ(got.scalar_type(), dtype);
    expect_close(got, formula(in), tolerance);
    // Without a graph as well, where gate and up serve as room.
    const at::NoGradGuard no_grad;
    EXPECT_TRUE(at::equal(operation(in), got));
  }
}

TEST_P(SwigluLinear, GradientsAreThoseOfTheFormula) {
  test::expect_gradients_of([](const Tensors& in) { return operation(in); }, formula,
                            inputs());
}

TEST_P(SwigluLinear, BfloatGradientsAreCloseToTheFormulas) {
  const Tensors in = test::cast(inputs(), at::kBFloat16);
  const Tensors got =
      test::gradients([](const Tensors& all) { return operation(all); }, in);
  const Tensors want = test::gradients(formula, test::cast(in, at::kDouble));
  for (size_t i = 0; i < in.size(); ++i) {
    SCOPED_TRACE("input " + std::to_string(i));
    expect_close(got[i], want[i], 0.02);
  }
}

TEST_P(SwigluLinear, TheGraphAloneGivesTheSameGradients) {
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const Tensors in = test::cast(inputs(), dtype);
    const auto with = [&](Output output) {
      return test::gradients([&](const Tensors& all) { return operation(all, output); },
                             in);
    };
    const Tensors value = with(Output::kValue), graph = with(Output::kGraph);
    for (size_t i = 0; i < in.size(); ++i)
      EXPECT_TRUE(at::equal(value[i], graph[i])) << "input " << i;
  }
}

TEST_P(SwigluLinear, Fp32WeightsWithBfloatNumbersGetFp32Gradients) {
  const Tensors exact = inputs();
  Tensors in = test::cast(exact, at::kFloat);
  in[0] = in[0].to(at::kBFloat16);
  in[1] = in[1].to(at::kBFloat16);
  EXPECT_EQ(operation(in).scalar_type(), at::kBFloat16);
  expect_close(operation(in), formula(in), 0.02);
  // gradients() checks that each has its input's type.
  const Tensors got =
      test::gradients([](const Tensors& all) { return operation(all); }, in);
  const Tensors want = test::gradients(formula, test::cast(in, at::kDouble));
  for (size_t i = 0; i < in.size(); ++i) {
    SCOPED_TRACE("input " + std::to_string(i));
    expect_close(got[i], want[i], 0.02);
  }
}

std::string name_of(const testing::TestParamInfo<SwigluLinear::ParamType>& given) {
  const auto& [sizes, bias] = given.param;
  return std::to_string(sizes.rows) + "Rows" + std::to_string(sizes.inner) + "To" +
         std::to_string(sizes.out) + (bias ? "WithBias" : "");
}

INSTANTIATE_TEST_SUITE_P(
    Ops, SwigluLinear,
    testing::Combine(testing::Values(Sizes{6, 16, 5}, Sizes{6, 10, 5}, Sizes{6, 7, 3},
                                     Sizes{5, 4, 3}, Sizes{5, 3, 4}, Sizes{5, 2, 4},
                                     Sizes{5, 1, 2}, Sizes{1, 33, 5}, Sizes{1, 1, 1},
                                     Sizes{0, 10, 5}, Sizes{0, 3, 5}),
                     testing::Bool()),
    name_of);

TEST(SwigluLinearOwnership, FrozenWeightsGetNoGradientAndTheOthersTheSame) {
  const Tensors in{normal({6, 10}, 1), normal({6, 10}, 2), normal({5, 10}, 3),
                   normal({5}, 4)};
  const Tensors all =
      test::gradients([](const Tensors& each) { return operation(each); }, in);
  const Tensors some = test::gradients(
      [&](const Tensors& each) {
        return operation({each[0], each[1], in[2], in[3]});
      },
      {in[0], in[1]});
  for (size_t i = 0; i < some.size(); ++i) EXPECT_TRUE(at::equal(some[i], all[i])) << i;
  const Tensors bias = test::gradients(
      [&](const Tensors& each) {
        return operation({in[0], in[1], in[2], each[0]});
      },
      {in[3]});
  EXPECT_TRUE(at::equal(bias[0], all[3]));
}

TEST(SwigluLinearOwnership, BackwardPutsTheGradientsInThePlaceOfGateAndUp) {
  const Tensors in{normal({6, 10}, 1), normal({6, 10}, 2), normal({5, 10}, 3)};
  const Tensors want =
      test::gradients([](const Tensors& all) { return operation(all); }, in);
  // Results of other operations, as in a model.
  const at::Tensor leaf = at::cat({in[0], in[1]}, 1).requires_grad_();
  const at::Tensor gate = leaf.narrow(1, 0, 10).contiguous(),
                   up = leaf.narrow(1, 10, 10).contiguous();
  test::mixed(swiglu_linear(gate, up, {in[2], {}}, Output::kValue)).backward();
  EXPECT_TRUE(at::equal(gate.detach(), want[0]));
  EXPECT_TRUE(at::equal(up.detach(), want[1]));
  EXPECT_TRUE(at::equal(leaf.grad(), at::cat({want[0], want[1]}, 1)));
}

}  // namespace
}  // namespace lowmem::ops
