#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

#include "lowmem/ops/low_rank.h"
#include "lowmem/ops/stored_matrix.h"

namespace lowmem::ops {

// What a linear layer multiplies by, in whatever form it is stored: y = x @ W.T + bias.
// The operations that end in a product know W by this alone, so that a form which is
// cast, quantized or a sum is written here once.
//
// Today: numbers in any type, cast to the operand's for one product only, where equal
// types cost nothing; or codes (ops/stored_matrix.h), which want no gradient; and a
// low-rank pair beside either.
struct LinearWeight {
  StoredMatrix matrix;    // [out, in]
  at::Tensor bias = {};   // [out] or undefined
  LowRank low_rank = {};  // or undefined

  int64_t out() const { return matrix.out; }

  // x [N, in] -> [N, out], in x's type.
  at::Tensor value(const at::Tensor& x) const;

  // Everything, as tensors. An autograd function takes them as its last arguments that
  // are tensors, and keeps them last; kept() makes the weight of them again. Gradients
  // are wanted of the first ones at most.
  std::vector<at::Tensor> tensors() const;
  static LinearWeight kept(std::span<const at::Tensor> tensors);
};

// W as the factor of gradients by the input, in their type: its cast, if it takes one,
// lives from the first by_input() to release(). All calls are for the same dy.
class LinearFactor {
 public:
  LinearFactor(const LinearWeight& weight, at::ScalarType type);
  // dy [N, out] -> [N, in].
  at::Tensor by_input(const at::Tensor& dy) const;
  // Of `columns` columns of the input from `first` on: -> [N, columns].
  at::Tensor by_input(const at::Tensor& dy, int64_t first, int64_t columns) const;
  // Lets go of what by_input() alone needs.
  void release() {
    factor_.reset();
    scaled_.reset();
  }
  // dy, times the gain, @ B of the low-rank pair: [N, rank].
  const at::Tensor& low(const at::Tensor& dy) const;

 private:
  const LinearWeight& weight_;
  at::ScalarType type_;
  at::Tensor gain_;            // [out], or undefined
  mutable at::Tensor factor_;  // [out, in], of numbers, from the first call on
  mutable at::Tensor scaled_;  // [N, out], dy times the gain, likewise
  mutable at::Tensor low_;
};

// The gradients by LinearWeight::tensors(), added up over slices of the input's columns.
class LinearGradients {
 public:
  // `wanted`: which of tensors(). `type`: that of the arithmetic.
  LinearGradients(const LinearWeight& weight, const LinearFactor& factor,
                  at::ScalarType type, std::vector<bool> wanted);
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
  void add_magnitude(const at::Tensor& dy, const at::Tensor& x, int64_t first);

  const LinearWeight& weight_;
  const LinearFactor& factor_;
  at::ScalarType type_;
  std::vector<bool> wanted_;
  at::Tensor by_weight_;
  at::Tensor by_a_;          // [rank, in]
  at::Tensor by_magnitude_;  // [out], times the norm
  at::Tensor low_;           // [N, rank], x @ A.T
};

}  // namespace lowmem::ops
