// Adam and AdamW in one pass, eight elements a thread, blocks of 256. In bf16 with fp32
// state 22 bytes an element: the gradient read, weight, m and v read and written; with
// bf16 state 14, with state of 8 bits 10.
#include "device_codes.h"
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
  a.most_ratio = pending.step->most_ratio;
  a.decoupled_keep = pending.step->decoupled_keep;
  return a;
}

// v, and what it lost when it became 0 in 8 bits, where m says that it did.
template <class T>
__device__ float regained(float v, float m, float old, int64_t i,
                          const StateStream<T>& square, const AdamArgs& a) {
  if constexpr (kIsCode<T>)
    if (m * m > a.most_ratio * v && !(old > 0)) return v + a.beta2 * square.most_lost(i);
  return v;
}

// `weights`, `gradient`: of element `begin`.
template <class P, class G, class M, class S>
__global__ void update(AdamArgs args, const P* weights, const G* gradient, int64_t begin,
                       int64_t end, Pending pending, RoundingReport* report) {
  if (!may_write(pending)) return;
  const AdamArgs a = at_step(args, pending);
  WeightWriter<P> writer(a.weights, report);
  StateStream<M> mean(a.mean);
  StateStream<S> square(a.mean_square);
  const bool vectors = all_aligned(weights, gradient) && writer.vectors() &&
                       mean.vectors() && square.vectors();
  weights -= begin;
  gradient -= begin;
  for_own_eight(begin, end, vectors, [&](int64_t i, auto lanes) {
    const Eight p = load(weights + i, lanes), raw = load(gradient + i, lanes);
    const Eight old_mean = mean.read(i, lanes), old_square = square.read(i, lanes);
    const Eight g =
        eight_of([&](int k) { return a.scale * raw.at[k] + a.coupled_decay * p.at[k]; });
    const Eight m = eight_of(
        [&](int k) { return old_mean.at[k] + a.mean_rate * (g.at[k] - old_mean.at[k]); });
    const Eight v = eight_of([&](int k) {
      const float old = old_square.at[k];
      return regained(a.beta2 * old + a.square_rate * g.at[k] * g.at[k], m.at[k], old, i,
                      square, a);
    });
    mean.write(i, m, lanes);
    square.write(i, v, lanes);
    writer.write(i, p, eight_of([&](int k) {
                   const float denominator = sqrtf(v.at[k]) / a.root + a.eps;
                   return p.at[k] * a.decoupled_keep -
                          a.step_size * (m.at[k] / denominator);
                 }),
                 lanes);
  });
  mean.finish(begin, end);
  square.finish(begin, end);
  writer.finish();
}

}  // namespace

void adam(const AdamArgs& args, int64_t begin, int64_t end, const Pending& pending,
          RoundingReport* report, Stream stream) {
  with_type(args.gradient, [&]<class G>(const G* gradient) {
    with_mutable_type(args.weights, [&]<class P>(P* weights) {
      with_averages(args.mean, args.mean_square, [&]<class M, class S>(M*, S*) {
        launch(update<P, G, M, S>, blocks_of_eights(end - begin), kMostThreads, stream,
               args, weights + begin, gradient + begin, begin, end, pending, report);
      });
    });
  });
}

}  // namespace lowmem::kernels::LOWMEM_DEVICE
