// Softmax over a slice of the vocabulary. A block a row, of as many threads as it has
// eights, at most 256. The statistics need a row's largest logit before its exponentials:
// logits are read twice, the second time from the level 2 cache, where the rows in flight
// fit. From memory that is 2 bytes an element in bf16, 4 with exponentials written. The
// gradient is one pass in place, 4 bytes.
#include "device_eights.h"
#include "device_exponential.h"
#include "lowmem/kernels/cross_entropy.h"

namespace lowmem::kernels::LOWMEM_DEVICE {
namespace {

template <class T>
__global__ void take_slice(LogitSlice slice, T* logits, SoftmaxRows seen,
                           bool exponentials, int64_t rows) {
  for_rows_of_block(rows, [&](int64_t row) {
    T* own = logits + row * slice.columns;
    const bool vectors = all_aligned(own);
    const int64_t label = slice.labels[row] - slice.first;
    if (threadIdx.x == 0 && label >= 0 && label < slice.columns)
      seen.label_logit[row] = to_float(own[label]);  // before it is overwritten
    const float before = seen.largest[row];
    float most = before;
    for_eights_of_block(0, slice.columns, vectors, [&](int64_t i, auto lanes) {
      const Eight x = load(own + i, lanes);
      for_each(lanes, [&](int k) { most = larger(most, x.at[k]); });
    });
    const float top = block_largest(most);
    double sum_of_thread = 0;
    for_eights_of_block(0, slice.columns, vectors, [&](int64_t i, auto lanes) {
      const Eight x = load(own + i, lanes);
      const Eight power = eight_of(
          [&](int k) { return in_use(k, lanes) ? exponential(x.at[k] - top) : 0.0f; });
      sum_of_thread += sum(power);
      if (exponentials) store(own + i, power, lanes);
    });
    const double sum_of_slice = block_sum(sum_of_thread);
    if (threadIdx.x != 0) return;
    const float factor = exponential(before - top);
    seen.factor[row] = factor;
    seen.sum[row] = static_cast<float>(seen.sum[row] * factor + sum_of_slice);
    seen.largest[row] = top;
  });
}

template <class T>
__global__ void gradient(LogitSlice slice, T* logits, const float* log_sum_exp,
                         float scale, int64_t rows) {
  for_rows_of_block(rows, [&](int64_t row) {
    T* own = logits + row * slice.columns;
    const int64_t label = slice.labels[row] - slice.first;
    const float log_sum = log_sum_exp[row];
    for_eights_of_block(0, slice.columns, all_aligned(own), [&](int64_t i, auto lanes) {
      const Eight x = load(own + i, lanes);
      store(own + i, eight_of([&](int k) {
              const float p = exponential(x.at[k] - log_sum);
              return scale * (i + k == label ? p - 1.0f : p);
            }),
            lanes);
    });
  });
}

}  // namespace

void softmax_slice(const LogitSlice& slice, const SoftmaxRows& rows, bool exponentials,
                   int64_t count, Stream stream) {
  with_mutable_type(slice.logits, [&]<class T>(T* logits) {
    launch(take_slice<T>, grid_of(count), threads_for(slice.columns), stream, slice,
           logits, rows, exponentials, count);
  });
}

void cross_entropy_gradient(const LogitSlice& slice, const float* log_sum_exp,
                            float scale, int64_t count, Stream stream) {
  with_mutable_type(slice.logits, [&]<class T>(T* logits) {
    launch(gradient<T>, grid_of(count), threads_for(slice.columns), stream, slice, logits,
           log_sum_exp, scale, count);
  });
}

}  // namespace lowmem::kernels::LOWMEM_DEVICE
