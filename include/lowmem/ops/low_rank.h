#pragma once

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>

#include "lowmem/kernels/elements.h"
#include "lowmem/ops/stored_matrix.h"

// Products with the two thin matrices of a low-rank adapter, in fp32 whatever the other
// operand's type: of that a slice at a time is widened, so that nothing of its size is
// made. Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models".
namespace lowmem::ops {

// What a training step leaves out of an adapter's input (kernels/dropout.h).
struct Dropout {
  double rate = 0;  // the share
  kernels::Noise noise;
  at::Tensor tokens;  // [n] int64 beside the input: each row's place in the batch

  bool defined() const { return tokens.defined(); }
};

// What is added to a linear layer's matrix: W + scale * B @ A. With a magnitude, each row
// of that sum has this norm: Liu et al. 2024, "DoRA: Weight-Decomposed Low-Rank
// Adaptation".
struct LowRank {
  at::Tensor a;               // [rank, in] fp32
  at::Tensor b;               // [out, rank] fp32
  double scale = 0;           // alpha / rank, or alpha / sqrt(rank)
  at::Tensor magnitude = {};  // [out] fp32, or undefined
  at::Tensor norm = {};       // [out] fp32, with it: each row's, a constant
  // Or undefined. With a magnitude it is of all that changes the layer, as in PEFT:
  // W x + (gain - 1) * W x' + gain * scale * B @ A x', where x' is what is left of x.
  Dropout dropout = {};

  bool defined() const { return a.defined(); }
  // What each column of the output is multiplied by: magnitude / norm.
  at::Tensor gain() const;
};

// Each row of a [rank, in] times its number of by [rank, 1], all fp32; with gradients by
// both where they are wanted. AdaLoRA's A, as a pair has it.
at::Tensor scaled_rows(const at::Tensor& a, const at::Tensor& by);

// The norms of the rows of W + scale * B @ A, [out] fp32, a slice of rows at a time.
at::Tensor norms_of_sum(const StoredMatrix& matrix, const LowRank& low_rank);

// The same of a matrix that does not change, made anew only where A or B has changed: a
// step that goes through a layer several times makes them once. Each answer is a tensor
// of its own, since whoever keeps one may take its memory away for a while.
class KeptNorms {
 public:
  at::Tensor of_sum(const StoredMatrix& matrix, const LowRank& low_rank);

 private:
  at::Tensor norms_;                            // [out] fp32
  std::array<int64_t, 2> versions_ = {-1, -1};  // autograd's, of A and B
};

// wide [n, k] of any type @ thin [k, rank] -> [n, rank] fp32
at::Tensor narrowed(const at::Tensor& wide, const at::Tensor& thin);
// The same of what dropout leaves of the columns from `first` on of an input `width`
// wide.
at::Tensor narrowed(const at::Tensor& wide, const at::Tensor& thin,
                    const Dropout& dropout, int64_t first, int64_t width);

// wide [n, k] += scale * low [n, rank] @ thin [rank, k], rounded once to its type. With
// `gain` [k] fp32 the sum is multiplied by it, with dropout what is added is left out as
// in narrowed().
struct Widening {
  double scale = 1;
  at::Tensor gain = {};
  const Dropout* dropout = nullptr;
  int64_t first = 0, width = 0;
};
void add_widened(at::Tensor& wide, const at::Tensor& low, const at::Tensor& thin,
                 const Widening& how);

// wide [n, k].T @ low [n, rank] -> [k, rank] fp32: the gradient of a thin matrix.
at::Tensor by_thin(const at::Tensor& wide, const at::Tensor& low);
at::Tensor by_thin(const at::Tensor& wide, const at::Tensor& low, const Dropout& dropout,
                   int64_t first, int64_t width);

}  // namespace lowmem::ops
