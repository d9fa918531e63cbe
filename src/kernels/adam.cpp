#include "lowmem/kernels/adam.h"

#include "code_stream.h"

namespace lowmem::kernels {
namespace LOWMEM_ISA {
namespace {

// v, and what it lost when it became 0 in 8 bits, where m says that it did.
template <class T>
LOWMEM_INLINE Float16 regained(Float16 v, Float16 m, Float16 old, int64_t i,
                               const StateStream<T>& square, const AdamArgs& a) {
  if constexpr (kIsCode<T>) {
    const Word16 was_lost = above(m * m, a.most_ratio * v) & ~above(old, Float16{});
    const Float16 most = splat(a.beta2 * square.most_lost(i));
    return v + as_floats(as_words(most) & was_lost);
  }
  return v;
}

template <class Mean, class Square>
RoundingReport adam_with(const AdamArgs& a, int64_t begin, int64_t end) {
  return with_type(a.gradient, [&](const auto* gradient) {
    return with_mutable_type(a.weights, [&](const auto* weights) {
      return with_writer(a.weights, [&](auto& writer) {
        StateStream<Mean> mean(a.mean);
        StateStream<Square> square(a.mean_square);
        for_pieces(begin, end, [&](int64_t first, int64_t last) {
          writer.begin_piece(first, last);
          mean.begin_piece(first, last);
          square.begin_piece(first, last);
          for_lanes(first, last, [&](int64_t i, auto lanes) {
            const Float16 p = load(weights + i, lanes);
            const Float16 g = a.scale * load(gradient + i, lanes) + a.coupled_decay * p;
            Float16 m = mean.read(i, lanes);
            m = m + a.mean_rate * (g - m);
            const Float16 old = square.read(i, lanes);
            const Float16 v =
                regained(a.beta2 * old + a.square_rate * g * g, m, old, i, square, a);
            mean.write(i, m, lanes);
            square.write(i, v, lanes);
            const Float16 denominator = square_root(v) / a.root + a.eps;
            writer.write(i, p, p * a.decoupled_keep - a.step_size * (m / denominator),
                         lanes);
          });
          mean.end_piece(first, last);
          square.end_piece(first, last);
        });
      });
    });
  });
}

}  // namespace

RoundingReport adam(const AdamArgs& args, int64_t begin, int64_t end) {
  return with_averages(args.mean, args.mean_square, [&]<class M, class S>(M*, S*) {
    return adam_with<M, S>(args, begin, end);
  });
}

}  // namespace LOWMEM_ISA

LOWMEM_DISPATCH(RoundingReport, adam, (const AdamArgs& args, int64_t begin, int64_t end),
                (args, begin, end))

}  // namespace lowmem::kernels
