#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

// Products with the two thin matrices of a low-rank adapter, in fp32 whatever the other
// operand's type: of that a slice at a time is widened, so that nothing of its size is
// made. Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models".
namespace lowmem::ops {

// What is added to a linear layer's matrix: W + scale * B @ A.
struct LowRank {
  at::Tensor a;      // [rank, in] fp32
  at::Tensor b;      // [out, rank] fp32
  double scale = 0;  // alpha / rank, or alpha / sqrt(rank)

  bool defined() const { return a.defined(); }
};

// wide [n, k] of any type @ thin [k, rank] -> [n, rank] fp32
at::Tensor narrowed(const at::Tensor& wide, const at::Tensor& thin);

// wide [n, k] += scale * low [n, rank] @ thin [rank, k], rounded once to its type.
void add_widened(at::Tensor& wide, const at::Tensor& low, const at::Tensor& thin,
                 double scale);

// wide [n, k].T @ low [n, rank] -> [k, rank] fp32: the gradient of a thin matrix.
at::Tensor by_thin(const at::Tensor& wide, const at::Tensor& low);

}  // namespace lowmem::ops
