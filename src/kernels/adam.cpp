#include "lowmem/kernels/adam.h"

#include "weight_writer.h"

namespace lowmem::kernels {
namespace LOWMEM_ISA {
namespace {

template <class StateType>
RoundingReport adam_with(const AdamArgs& a, int64_t begin, int64_t end) {
  return with_type(a.gradient, [&](const auto* gradient) {
    return with_mutable_type(a.weights, [&](const auto* weights) {
      return with_writer(a.weights, [&](auto& writer) {
        StateStream<StateType> mean(a.mean), square(a.mean_square);
        for_pieces(begin, end, [&](int64_t first, int64_t last) {
          writer.begin_piece(first, last);
          mean.begin_piece(first, last);
          square.begin_piece(first, last);
          for_lanes(first, last, [&](int64_t i, auto lanes) {
            const Float16 p = load(weights + i, lanes);
            const Float16 g = a.scale * load(gradient + i, lanes) + a.coupled_decay * p;
            Float16 m = mean.read(i, lanes);
            m = m + a.mean_rate * (g - m);
            const Float16 v = a.beta2 * square.read(i, lanes) + a.square_rate * g * g;
            mean.write(i, m, lanes);
            square.write(i, v, lanes);
            const Float16 denominator = square_root(v) / a.root + a.eps;
            writer.write(i, p, p * a.decoupled_keep - a.step_size * (m / denominator),
                         lanes);
          });
        });
      });
    });
  });
}

}  // namespace

RoundingReport adam(const AdamArgs& args, int64_t begin, int64_t end) {
  return args.mean.dtype == DType::kF32 ? adam_with<float>(args, begin, end)
                                        : adam_with<Bf16>(args, begin, end);
}

}  // namespace LOWMEM_ISA

LOWMEM_DISPATCH(RoundingReport, adam, (const AdamArgs& args, int64_t begin, int64_t end),
                (args, begin, end))

}  // namespace lowmem::kernels
