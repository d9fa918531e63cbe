#include "lowmem/ops/elements.h"

#include <ATen/ATen.h>

#include <atomic>
#include <numeric>

#include "lowmem/kernels/norm.h"
#include "lowmem/ops/dtype.h"

namespace lowmem::ops {
namespace {

DType checked_dtype(const at::Tensor& tensor) {
  TORCH_INTERNAL_ASSERT(tensor.is_contiguous());
  TORCH_INTERNAL_ASSERT(tensor.scalar_type() == at::kFloat ||
                        tensor.scalar_type() == at::kBFloat16);
  return dtype_of(tensor);
}

}  // namespace

kernels::ParamView weights_of(at::Tensor& tensor) {
  const DType dtype = checked_dtype(tensor);
  kernels::ParamView weights;
  weights.data = tensor.mutable_data_ptr();
  weights.dtype = dtype;
  return weights;
}

kernels::Array array_of(at::Tensor& tensor) {
  const DType dtype = checked_dtype(tensor);
  return {tensor.mutable_data_ptr(), dtype};
}

kernels::ConstArray const_array_of(const at::Tensor& tensor) {
  return {tensor.const_data_ptr(), checked_dtype(tensor)};
}

float* floats_of(at::Tensor& tensor) { return tensor.mutable_data_ptr<float>(); }

kernels::Bf16* bf16_of(at::Tensor& tensor) {
  TORCH_INTERNAL_ASSERT(checked_dtype(tensor) == DType::kBF16);
  return static_cast<kernels::Bf16*>(tensor.mutable_data_ptr());
}

kernels::RoundingReport parallel_update(
    int64_t count, int64_t grain,
    const std::function<kernels::RoundingReport(int64_t, int64_t)>& f) {
  std::atomic<int64_t> updates = 0, lost = 0;
  parallel(count, grain, [&](int64_t begin, int64_t end) {
    const kernels::RoundingReport report = f(begin, end);
    updates += report.updates;
    lost += report.lost;
  });
  return {updates, lost};
}

double squared_norm(const at::Tensor& tensor) {
  const kernels::ConstArray elements = const_array_of(tensor);
  const int64_t count = tensor.numel();
  // One sum a piece of fixed size, added up in order.
  std::vector<double> sums(static_cast<size_t>((count + kGrain - 1) / kGrain));
  parallel(static_cast<int64_t>(sums.size()), 1, [&](int64_t begin, int64_t end) {
    for (int64_t piece = begin; piece < end; ++piece)
      sums[static_cast<size_t>(piece)] = kernels::squared_norm(
          elements, piece * kGrain, std::min(count, (piece + 1) * kGrain));
  });
  return std::accumulate(sums.begin(), sums.end(), 0.0);
}

}  // namespace lowmem::ops
