#pragma once

// Gradients of operations against those of formulas, and of formulas against finite
// differences.

#include <cmath>
#include <functional>
#include <vector>

#include "support/tensors.h"

namespace lowmem::ops::test {

using lowmem::test::normal, lowmem::test::relative_difference;
using Tensors = std::vector<at::Tensor>;
using Function = std::function<at::Tensor(const Tensors&)>;

// A number that depends on every output, for gradients.
inline at::Tensor mixed(const at::Tensor& out) {
  return (out.to(at::kDouble) * normal(out.sizes(), 99, at::kDouble)).sum();
}

// Those of `f` at `inputs`, each in its own type. Every input must get one.
inline Tensors gradients(const Function& f, const Tensors& inputs) {
  Tensors leaves;
  for (const at::Tensor& input : inputs)
    leaves.push_back(input.detach().clone().requires_grad_());
  mixed(f(leaves)).backward();
  Tensors found;
  for (size_t i = 0; i < leaves.size(); ++i) {
    EXPECT_TRUE(leaves[i].grad().defined()) << "input " << i;
    found.push_back(leaves[i].grad().defined() ? leaves[i].grad()
                                               : at::zeros_like(inputs[i]));
    EXPECT_EQ(found[i].scalar_type(), inputs[i].scalar_type()) << "input " << i;
    EXPECT_EQ(found[i].sizes(), inputs[i].sizes()) << "input " << i;
  }
  return found;
}

inline Tensors cast(const Tensors& inputs, at::ScalarType dtype) {
  Tensors all;
  for (const at::Tensor& input : inputs) all.push_back(input.to(dtype));
  return all;
}

// Where all of `want` is 0, all of `got` must be; nothing equals nothing.
inline void expect_close(const at::Tensor& got, const at::Tensor& want,
                         double tolerance) {
  ASSERT_EQ(got.sizes(), want.sizes());
  if (want.numel() == 0) return;
  if (want.abs().max().item<double>() == 0)
    EXPECT_EQ(got.abs().max().item<double>(), 0);
  else
    EXPECT_LE(relative_difference(got, want), tolerance);
}

// Central differences in float64 over every element of every input.
inline void expect_finite_differences(const Function& f, const Tensors& inputs) {
  const Tensors got = gradients(f, inputs);
  constexpr double kStep = 1e-5;
  for (size_t i = 0; i < inputs.size(); ++i) {
    SCOPED_TRACE("input " + std::to_string(i));
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
    expect_close(got[i].reshape(-1), want, 1e-7);
  }
}

// For an operation that computes in fp32: its gradients against the formula's in float64,
// whose own are those of finite differences.
inline void expect_gradients_of(const Function& f, const Function& formula,
                                const Tensors& inputs) {
  expect_finite_differences(formula, inputs);
  const Tensors got = gradients(f, cast(inputs, at::kFloat));
  // At the same numbers.
  const Tensors want = gradients(formula, cast(cast(inputs, at::kFloat), at::kDouble));
  for (size_t i = 0; i < inputs.size(); ++i) {
    SCOPED_TRACE("input " + std::to_string(i));
    expect_close(got[i], want[i], 1e-6);
  }
}

}  // namespace lowmem::ops::test
