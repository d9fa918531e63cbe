// Adam and AdamW in one pass, eight elements a thread, blocks of 256. In bf16 with fp32
// state 22 bytes an element: the gradient read, weight, m and v read and written; with
// bf16 state 14.
#include "device_writer.h"
#include "lowmem/kernels/adam.h"

namespace lowmem::kernels::LOWMEM_DEVICE {
namespace {

template <class P, class G, class S>
__global__ void update(AdamArgs a, const P* weights, const G* gradient, S* mean,
                       S* square, int64_t count, Pending pending,
                       RoundingReport* report) {
  if (!may_write(pending)) return;
  const float scale = scale_of(a.scale, pending);
  WeightWriter<P> writer(a.weights, report);
  const bool vectors = all_aligned(weights, gradient, mean, square) && writer.vectors();
  for_eights_of_grid(count, vectors, [&](int64_t i, auto lanes) {
    const Eight p = load(weights + i, lanes), raw = load(gradient + i, lanes);
    const Eight old_mean = load(mean + i, lanes), old_square = load(square + i, lanes);
    const Eight g =
        eight_of([&](int k) { return scale * raw.at[k] + a.coupled_decay * p.at[k]; });
    const Eight m = eight_of(
        [&](int k) { return old_mean.at[k] + a.mean_rate * (g.at[k] - old_mean.at[k]); });
    const Eight v = eight_of([&](int k) {
      return a.beta2 * old_square.at[k] + a.square_rate * g.at[k] * g.at[k];
    });
    write_state(a.mean, mean, i, m, lanes);
    write_state(a.mean_square, square, i, v, lanes);
    writer.write(i, p, eight_of([&](int k) {
                   const float denominator = sqrtf(v.at[k]) / a.root + a.eps;
                   return p.at[k] * a.decoupled_keep -
                          a.step_size * (m.at[k] / denominator);
                 }),
                 lanes);
  });
  writer.finish();
}

}  // namespace

void adam(const AdamArgs& args, int64_t count, const Pending& pending,
          RoundingReport* report, Stream stream) {
  with_type(args.gradient, [&]<class G>(const G* gradient) {
    with_mutable_type(args.weights, [&]<class P>(P* weights) {
      with_mutable_type(args.mean, [&]<class S>(S* mean) {
        launch(update<P, G, S>, grid_for_eights(count), kMostThreads, stream, args,
               weights, gradient, mean, static_cast<S*>(args.mean_square.data), count,
               pending, report);
      });
    });
  });
}

}  // namespace lowmem::kernels::LOWMEM_DEVICE
