// Dropout in place, a block a row, of as many threads as it has eights, at most 256: 8
// bytes an element. Noise comes by eights of the whole matrix, so a row that begins
// within one takes two counters for each of its own.
#include "device_writer.h"
#include "lowmem/kernels/dropout.h"

namespace lowmem::kernels::LOWMEM_DEVICE {
namespace {

__global__ void leave_out(DropoutArgs a, int64_t rows) {
  for_rows_of_block(rows, [&](int64_t row) {
    float* values = a.values + row * a.stride;
    const int64_t first = a.rows[row] * a.width + a.first;
    const int within = static_cast<int>(first % kEight);
    for_eights_of_block(0, a.columns, all_aligned(values), [&](int64_t i, auto lanes) {
      const int64_t from = first + i - within;
      const Bits own = noise_of(a.noise, from);
      const Bits next = within == 0 ? own : noise_of(a.noise, from + kEight);
      const Eight x = load(values + i, lanes);
      store(values + i, eight_of([&](int k) {
              const int at = within + k;
              const uint32_t noise = at < kEight ? own.at[at] : next.at[at - kEight];
              return noise < a.left_out ? 0.0f : x.at[k] * a.scale;
            }),
            lanes);
    });
  });
}

}  // namespace

void dropout(const DropoutArgs& args, int64_t rows, Stream stream) {
  launch(leave_out, grid_of(rows), threads_for(args.columns), stream, args, rows);
}

}  // namespace lowmem::kernels::LOWMEM_DEVICE
