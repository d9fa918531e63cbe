#include "lowmem/ops/elements.h"

#include <ATen/ATen.h>

#include <atomic>
#include <numeric>

#include "lowmem/kernels/norm.h"
#include "lowmem/memory/rehearsal.h"
#include "lowmem/ops/dtype.h"

namespace lowmem::ops {
namespace {

DType checked_dtype(const at::Tensor& tensor) {
  TORCH_INTERNAL_ASSERT(tensor.is_contiguous());
  TORCH_INTERNAL_ASSERT(tensor.scalar_type() == at::kFloat ||
                        tensor.scalar_type() == at::kBFloat16);
  return dtype_of(tensor);
}

// Adds the squares of elements [begin, end) to a sum: one sum a piece of fixed size,
// these added up in order.
double add_squares(double sum, const kernels::ConstArray& elements, int64_t begin,
                   int64_t end) {
  std::vector<double> sums(static_cast<size_t>((end - begin + kGrain - 1) / kGrain));
  parallel(static_cast<int64_t>(sums.size()), 1, [&](int64_t first, int64_t last) {
    for (int64_t piece = first; piece < last; ++piece)
      sums[static_cast<size_t>(piece)] = kernels::squared_norm(
          elements, begin + piece * kGrain, std::min(end, begin + (piece + 1) * kGrain));
  });
  return std::accumulate(sums.begin(), sums.end(), sum);
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
  return add_squares(0, const_array_of(tensor), 0, tensor.numel());
}

void SquaredNorm::add(const at::Tensor& part) {
  const kernels::ConstArray elements = const_array_of(part);
  if (!held_.defined()) held_ = at::empty({kGrain}, part.options());
  const at::Tensor flat = part.view({-1});
  const auto hold = [&](int64_t begin, int64_t end) {
    if (!memory::rehearsing())
      held_.slice(0, count_, count_ + end - begin).copy_(flat.slice(0, begin, end));
    count_ += end - begin;
  };
  int64_t at = 0;
  if (count_ > 0) {
    at = std::min(part.numel(), kGrain - count_);
    hold(0, at);
    if (count_ < kGrain) return;
    sum_ = add_squares(sum_, const_array_of(held_), 0, kGrain);
    count_ = 0;
  }
  const int64_t whole = (part.numel() - at) / kGrain * kGrain;
  sum_ = add_squares(sum_, elements, at, at + whole);
  if (at + whole < part.numel()) hold(at + whole, part.numel());
}

double SquaredNorm::total() const {
  return count_ == 0 ? sum_ : add_squares(sum_, const_array_of(held_), 0, count_);
}

}  // namespace lowmem::ops
