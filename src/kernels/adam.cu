// Adam and AdamW in one pass, eight elements a thread, blocks of 256. In bf16 with fp32
// state 22 bytes an element: the gradient read, weight, m and v read and written; with
// bf16 state 14.
#include "device_writer.h"
#include "lowmem/kernels/adam.h"

namespace lowmem::kernels::LOWMEM_DEVICE {
namespace {

// The arguments with the numbers of the step that is made.
__device__ AdamArgs at_step(AdamArgs a, const Pending& pending) {
  a.scale = scale_of(a.scale, pending);
  a.weights.noise = noise_of_step(a.weights.noise, pending);
  a.mean.noise = noise_of_step(a.mean.noise, pending);
  a.mean_square.noise = noise_of_step(a.mean_square.noise, pending);
  if (pending.step == nullptr) return a;
  a.step_size = pending.step->step_size;
  a.root = pending.step->root;
  a.decoupled_keep = pending.step->decoupled_keep;
  return a;
}

template <class P, class G, class S>
__global__ void update(AdamArgs args, const P* weights, const G* gradient, S* mean,
                       S* square, int64_t count, Pending pending,
                       RoundingReport* report) {
  if (!may_write(pending)) return;
  const AdamArgs a = at_step(args, pending);
  WeightWriter<P> writer(a.weights, report);
  const bool vectors = all_aligned(weights, gradient, mean, square) && writer.vectors();
  for_own_eight(count, vectors, [&](int64_t i, auto lanes) {
    const Eight p = load(weights + i, lanes), raw = load(gradient + i, lanes);
    const Eight old_mean = load(mean + i, lanes), old_square = load(square + i, lanes);
    const Eight g =
        eight_of([&](int k) { return a.scale * raw.at[k] + a.coupled_decay * p.at[k]; });
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
        launch(update<P, G, S>, blocks_of_eights(count), kMostThreads, stream, args,
               weights, gradient, mean, static_cast<S*>(args.mean_square.data), count,
               pending, report);
      });
    });
  });
}

}  // namespace lowmem::kernels::LOWMEM_DEVICE
