#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "lowmem/ops/low_rank.h"

namespace lowmem::ops {

// What a linear layer multiplies by, in whatever form it is stored: y = x @ W.T + bias.
// The operations that end in a product know W by this alone, so that a form which is
// cast, quantized or a sum is written here once.
//
// Today: numbers in any type, cast to the operand's for one product only, where equal
// types cost nothing; and a low-rank pair beside them.
struct LinearWeight {
  at::Tensor weight;      // [out, in]
  at::Tensor bias = {};   // [out] or undefined
  LowRank low_rank = {};  // or undefined

  int64_t out() const { return weight.size(0); }

  // x [N, in] -> [N, out], in x's type.
  at::Tensor value(const at::Tensor& x) const;

  // All that may want a gradient, in the order in which LinearGradients gives them. An
  // autograd function takes them as its last arguments that are tensors, and keeps them
  // last; kept() makes the weight of them again.
  std::vector<at::Tensor> tensors() const;
  static LinearWeight kept(std::span<const at::Tensor> tensors);
};

// W as the factor of gradients by the input, in their type: its cast, if it takes one,
// lives as long as this. All calls are for the same dy.
class LinearFactor {
 public:
  LinearFactor(const LinearWeight& weight, at::ScalarType type);
  // dy [N, out] -> [N, in].
  at::Tensor by_input(const at::Tensor& dy) const;
  // Of `columns` columns of the input from `first` on: -> [N, columns].
  at::Tensor by_input(const at::Tensor& dy, int64_t first, int64_t columns) const;

 private:
  void add_low_rank(at::Tensor& dx, const at::Tensor& dy, const at::Tensor& a) const;

  at::Tensor factor_;  // [out, in]
  LowRank low_rank_;
  mutable at::Tensor low_;  // [N, rank], dy @ B, from the first call on
};

// The gradients by LinearWeight::tensors(), added up over slices of the input's columns.
class LinearGradients {
 public:
  // `wanted`: which of tensors(). `type`: that of the arithmetic.
  LinearGradients(const LinearWeight& weight, at::ScalarType type,
                  std::vector<bool> wanted);
  // Whether the input's numbers are needed at all.
  bool needs_input() const { return wanted_[0] || wants_low_rank(); }
  // For the output's gradient dy [N, out] and the input x [N, in].
  void add(const at::Tensor& dy, const at::Tensor& x);
  // And for columns of the input from `first` on, x [N, columns]; each once.
  void add(const at::Tensor& dy, const at::Tensor& x, int64_t first);
  // In the types of tensors(); undefined where not wanted.
  std::vector<at::Tensor> finish(const at::Tensor& dy);

 private:
  bool wants_low_rank() const;
  void add_low_rank(const at::Tensor& dy, const at::Tensor& x, int64_t first);

  const LinearWeight& weight_;
  at::ScalarType type_;
  std::vector<bool> wanted_;
  at::Tensor by_weight_;
  at::Tensor by_a_;                // [rank, in]
  at::Tensor low_, low_gradient_;  // [N, rank]: x @ A.T; dy @ B, times the scale
};

}  // namespace lowmem::ops
