#include "lowmem/kernels/dropout.h"

#include "noise.h"
#include "vector.h"
#include "weight_writer.h"

namespace lowmem::kernels {
namespace LOWMEM_ISA {

void dropout(const DropoutArgs& args, int64_t begin, int64_t end) {
  NoiseStream noise(args.noise);
  for (int64_t row = begin; row < end; ++row) {
    const int64_t first = args.rows[row] * args.width + args.first;
    float* values = args.values + row * args.stride - first;
    for_pieces(first, first + args.columns, [&](int64_t from, int64_t to) {
      noise.fill(from, to - from);
      for_lanes(from, to, [&](int64_t i, auto lanes) {
        // The highest bit is set where the noise is below, and the element left out.
        const Word16 below = to_words(noise.at(i, lanes)) - args.left_out;
        const Word16 kept = (below >> 31) - 1;
        const Float16 value = load(values + i, lanes) * args.scale;
        store(values + i, as_floats(as_words(value) & kept), lanes);
      });
    });
  }
}

}  // namespace LOWMEM_ISA

LOWMEM_DISPATCH(void, dropout, (const DropoutArgs& args, int64_t begin, int64_t end),
                (args, begin, end))

}  // namespace lowmem::kernels
