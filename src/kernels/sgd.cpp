#include "lowmem/kernels/sgd.h"

#include "weight_writer.h"

namespace lowmem::kernels {
namespace LOWMEM_ISA {

RoundingReport sgd(const SgdArgs& a, int64_t begin, int64_t end) {
  return with_type(a.gradient, [&](const auto* gradient) {
    return with_mutable_type(a.weights, [&](const auto* weights) {
      return with_writer(a.weights, [&](auto& writer) {
        for_pieces(begin, end, [&](int64_t first, int64_t last) {
          writer.begin_piece(first, last);
          for_lanes(first, last, [&](int64_t i, auto lanes) {
            const Float16 p = load(weights + i, lanes);
            Float16 step = a.scale * load(gradient + i, lanes) + a.weight_decay * p;
            if (a.buffer != nullptr) {
              step = a.momentum * load(a.buffer + i, lanes) + step;
              store(a.buffer + i, step, lanes);
            }
            writer.write(i, p, p - a.lr * step, lanes);
          });
        });
      });
    });
  });
}

}  // namespace LOWMEM_ISA

LOWMEM_DISPATCH(RoundingReport, sgd, (const SgdArgs& args, int64_t begin, int64_t end),
                (args, begin, end))

}  // namespace lowmem::kernels
