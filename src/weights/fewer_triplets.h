#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "lowmem/weights/spec.h"

// What an adapter's folder holds of AdaLoRA's triplets: tensors of those that are left.
namespace lowmem::weights {

// A weight of a triplet as a folder has it, rows of A or E or columns of B, and as the
// table has it, with zeros for those that are gone.
class FewerTriplets {
 public:
  FewerTriplets(const Spec& spec, const std::vector<bool>& left);
  std::vector<int64_t> shape() const;
  at::Tensor taken_from(const at::Tensor& all) const;
  at::Tensor put_among_zeros(const at::Tensor& fewer) const;

 private:
  std::vector<int64_t> shape_;
  int64_t dim_;
  at::Tensor index_;  // of those that are left, int64
};

}  // namespace lowmem::weights
