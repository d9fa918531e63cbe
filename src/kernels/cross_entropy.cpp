#include "lowmem/kernels/cross_entropy.h"

#include <limits>

#include "vector.h"

namespace lowmem::kernels {
namespace LOWMEM_ISA {
namespace {

// Lanes not in use become `value`.
LOWMEM_INLINE Float16 filled(Float16 x, AllLanes, float) { return x; }
LOWMEM_INLINE Float16 filled(Float16 x, SomeLanes lanes, float value) {
  for (int64_t k = lanes.count; k < kLanes; ++k) x[k] = value;
  return x;
}

template <class T>
void take_row(T* logits, int64_t columns, bool exponentials, float& largest_seen,
              float& sum_seen, float& factor) {
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  LargestLanes most(largest_seen);
  for_lanes(0, columns, [&](int64_t i, auto lanes) {
    most.add(filled(load(logits + i, lanes), lanes, kLowest));
  });
  const float top = most.total();
  DoubleSum sum;
  for_lanes(0, columns, [&](int64_t i, auto lanes) {
    const Float16 x = filled(load(logits + i, lanes), lanes, kLowest);
    const Float16 power = exponential(x - top);
    sum.add(power);
    if (exponentials) store(logits + i, power, lanes);
  });
  factor = exponential(splat(largest_seen - top))[0];
  sum_seen = static_cast<float>(sum_seen * factor + sum.total());
  largest_seen = top;
}

}  // namespace

void softmax_slice(const LogitSlice& slice, const SoftmaxRows& rows, bool exponentials,
                   int64_t begin, int64_t end) {
  with_mutable_type(slice.logits, [&](auto* logits) {
    for (int64_t row = begin; row < end; ++row) {
      auto* own = logits + row * slice.columns;
      const int64_t label = slice.labels[row] - slice.first;
      if (label >= 0 && label < slice.columns)
        rows.label_logit[row] = load(own + label, SomeLanes{1})[0];
      take_row(own, slice.columns, exponentials, rows.largest[row], rows.sum[row],
               rows.factor[row]);
    }
  });
}

void cross_entropy_gradient(const LogitSlice& slice, const float* log_sum_exp,
                            float scale, int64_t begin, int64_t end) {
  with_mutable_type(slice.logits, [&](auto* logits) {
    for (int64_t row = begin; row < end; ++row) {
      auto* own = logits + row * slice.columns;
      const int64_t label = slice.labels[row] - slice.first;
      const bool inside = label >= 0 && label < slice.columns;
      const float label_logit = inside ? load(own + label, SomeLanes{1})[0] : 0;
      for_lanes(0, slice.columns, [&](int64_t i, auto lanes) {
        const Float16 x = load(own + i, lanes) - log_sum_exp[row];
        store(own + i, scale * exponential(x), lanes);
      });
      if (!inside) continue;
      const Float16 p = exponential(splat(label_logit - log_sum_exp[row]));
      store(own + label, scale * (p - 1.0f), SomeLanes{1});
    }
  });
}

}  // namespace LOWMEM_ISA

LOWMEM_DISPATCH(void, softmax_slice,
                (const LogitSlice& slice, const SoftmaxRows& rows, bool exponentials,
                 int64_t begin, int64_t end),
                (slice, rows, exponentials, begin, end))
LOWMEM_DISPATCH(void, cross_entropy_gradient,
                (const LogitSlice& slice, const float* log_sum_exp, float scale,
                 int64_t begin, int64_t end),
                (slice, log_sum_exp, scale, begin, end))

}  // namespace lowmem::kernels
