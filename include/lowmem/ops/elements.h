#pragma once

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <functional>

#include "lowmem/kernels/elements.h"
#include "lowmem/ops/parallel.h"

namespace lowmem::ops {

// Tensors as kernels see them. Contiguous fp32 or bf16; anything else is a bug.
kernels::ParamView weights_of(at::Tensor& tensor);
kernels::Array array_of(at::Tensor& tensor);
kernels::ConstArray const_array_of(const at::Tensor& tensor);
float* floats_of(at::Tensor& tensor);
kernels::Bf16* bf16_of(at::Tensor& tensor);

// parallel() for updates: returns the sum of what f returns.
kernels::RoundingReport parallel_update(
    int64_t count, int64_t grain,
    const std::function<kernels::RoundingReport(int64_t, int64_t)>& f);

// Elements that are worth a thread's while.
constexpr int64_t kGrain = 32768;
inline int64_t rows_of_grain(int64_t columns) {
  return std::max<int64_t>(1, kGrain / std::max<int64_t>(1, columns));
}

// Sum of squares of all elements, in double, the same for any number of threads. On the
// CPU.
double squared_norm(const at::Tensor& tensor);

// The same of elements that come a part at a time, by a bit.
class SquaredNorm {
 public:
  // The next ones: contiguous, all parts of one type.
  void add(const at::Tensor& part);
  double total() const;

 private:
  double sum_ = 0;
  at::Tensor held_;  // elements of a piece that is not whole yet
  int64_t count_ = 0;
};

}  // namespace lowmem::ops
