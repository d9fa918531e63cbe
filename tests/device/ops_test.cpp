// Operations and their gradients, on the device and on the CPU.
#include <torch/csrc/autograd/autograd.h>

#include "device/device.h"
#include "lowmem/loss/linear_cross_entropy.h"
#include "lowmem/ops/attention.h"
#include "lowmem/ops/embedding.h"
#include "lowmem/ops/linear.h"
#include "lowmem/ops/rms_norm.h"
#include "lowmem/ops/rotary.h"
#include "lowmem/ops/swiglu_linear.h"
#include "support/tensors.h"

namespace lowmem::ops {
namespace {

using test::normal, test::relative_difference;
using Inputs = std::vector<at::Tensor>;

class DeviceOps : public testing::TestWithParam<at::ScalarType> {
 protected:
  static at::ScalarType type() { return GetParam(); }
  static double tolerance() { return type() == at::kFloat ? test::tolerance() : 0x1p-7; }
  static at::Tensor weight(at::IntArrayRef shape, uint64_t seed) {
    return normal(shape, seed, type()).requires_grad_();
  }

  // f's result and the gradients by all inputs that ask for one are the CPU's.
  static void expect_same(const Inputs& inputs,
                          const std::function<at::Tensor(const Inputs&)>& f) {
    const Inputs want = results(inputs, f);
    Inputs there;
    for (const at::Tensor& input : inputs) there.push_back(test::on_device(input));
    const test::DeviceScope scope;
    const Inputs got = results(there, f);
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < got.size(); ++i)
      EXPECT_LE(relative_difference(got[i].cpu(), want[i]), tolerance()) << i;
  }

 private:
  static Inputs results(const Inputs& inputs,
                        const std::function<at::Tensor(const Inputs&)>& f) {
    Inputs fresh;
    for (const at::Tensor& input : inputs)
      fresh.push_back(input.detach().clone().requires_grad_(input.requires_grad()));
    const at::Tensor out = f(fresh);
    torch::autograd::backward(
        {out}, {normal(out.sizes(), 99, out.scalar_type()).to(out.device())});
    Inputs all = {out.detach()};
    for (const at::Tensor& input : fresh)
      if (input.requires_grad()) all.push_back(input.grad());
    return all;
  }
};

TEST_P(DeviceOps, RmsNormIsTheCpus) {
  for (const auto& [rows, columns] : {std::pair{7, 40}, {33, 256}, {1, 17}})
    expect_same({weight({rows, columns}, 1), weight({columns}, 2)},
                [](const Inputs& in) { return rms_norm(in[0], in[1], 1e-5, type()); });
}

TEST_P(DeviceOps, RotaryIsTheCpus) {
  const at::Tensor angles = normal({11, 8}, 3);
  expect_same({weight({11, 3, 16}, 1), angles.cos(), angles.sin()},
              [](const Inputs& in) { return rotary(in[0], in[1], in[2]); });
}

TEST_P(DeviceOps, SwigluLinearIsTheCpus) {
  expect_same(
      {weight({9, 72}, 1), weight({9, 72}, 2), weight({24, 72}, 3)},
      [](const Inputs& in) {
        return swiglu_linear(in[0].clone(), in[1].clone(), {in[2], {}}, Output::kValue);
      });
}

TEST_P(DeviceOps, LinearBehindANormIsTheCpus) {
  expect_same({weight({9, 32}, 1), weight({32}, 2), weight({24, 32}, 3), weight({24}, 4)},
              [](const Inputs& in) {
                return linear(LinearInput::norm(in[0], in[1], 1e-5, type()),
                              {in[2], in[3]}, type());
              });
}

TEST_P(DeviceOps, TheLossAndItsGradientsAreTheCpus) {
  constexpr int64_t kRows = 19, kClasses = 301, kColumns = 40;
  const at::Tensor hidden = normal({kRows, kColumns}, 1, type());
  const at::Tensor weight = normal({kClasses, kColumns}, 2, type());
  const at::Tensor labels = normal({kRows}, 3).mul_(1e3).abs_().to(at::kLong) % kClasses;
  for (const loss::LossOptions& options :
       {loss::LossOptions{true, 3000}, {true, 8 << 20}, {false, 0}}) {
    const auto run = [&](const at::Tensor& h, const at::Tensor& w, const at::Tensor& l) {
      const loss::LossRequest request{h, w, l, 0.25f};
      const loss::Loss found = loss::linear_cross_entropy(request, true, options);
      return Inputs{found.sum, found.log_sum_exp, found.hidden_gradient,
                    loss::head_gradient(request, found.log_sum_exp, options),
                    loss::label_log_probabilities(h, w, l, options)};
    };
    const Inputs want = run(hidden, weight, labels);
    const test::DeviceScope scope;
    const Inputs got =
        run(test::on_device(hidden), test::on_device(weight), test::on_device(labels));
    for (size_t i = 0; i < got.size(); ++i)
      EXPECT_LE(relative_difference(got[i].cpu(), want[i]), tolerance()) << i;
  }
}

TEST_P(DeviceOps, EmbeddingGradientsAreAddedUpAsOnTheCpu) {
  const std::vector<int64_t> first = {5, 0, 5, 5, 29}, second = {0, 7};
  const at::Tensor table = normal({30, 24}, 1, type());
  const at::Tensor a = normal({8, 24}, 2, type()), b = normal({2, 24}, 3, type());
  at::Tensor want = table.clone();
  add_embedding_gradient(want, {{first, a}, {second, b}});
  EXPECT_GT(relative_difference(want, table), 0.1);
  const test::DeviceScope scope;
  at::Tensor got = test::on_device(table);
  add_embedding_gradient(got,
                         {{first, test::on_device(a)}, {second, test::on_device(b)}});
  EXPECT_TRUE(at::equal(got.cpu(), want));
}

INSTANTIATE_TEST_SUITE_P(Types, DeviceOps, testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& given) {
                           return std::string(given.param == at::kFloat ? "Fp32"
                                                                        : "Bf16");
                         });

}  // namespace
}  // namespace lowmem::ops
