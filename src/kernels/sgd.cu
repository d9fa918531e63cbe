// SGD in one pass, eight elements a thread, blocks of 256. In bf16 6 bytes an element:
// the gradient read, the weight read and written; with momentum 8 more.
#include "device_writer.h"
#include "lowmem/kernels/sgd.h"

namespace lowmem::kernels::LOWMEM_DEVICE {
namespace {

// The arguments with the numbers of the step that is made.
__device__ SgdArgs at_step(SgdArgs a, const Pending& pending) {
  a.scale = scale_of(a.scale, pending);
  a.weights.noise = noise_of_step(a.weights.noise, pending);
  if (pending.step != nullptr) a.lr = static_cast<float>(pending.step->lr);
  return a;
}

// `weights`, `gradient`: of element `begin`.
template <class P, class G>
__global__ void update(SgdArgs args, const P* weights, const G* gradient, int64_t begin,
                       int64_t end, Pending pending, RoundingReport* report) {
  if (!may_write(pending)) return;
  const SgdArgs a = at_step(args, pending);
  WeightWriter<P> writer(a.weights, report);
  const bool vectors = all_aligned(weights, gradient, a.buffer) && writer.vectors();
  weights -= begin;
  gradient -= begin;
  for_own_eight(begin, end, vectors, [&](int64_t i, auto lanes) {
    const Eight p = load(weights + i, lanes), g = load(gradient + i, lanes);
    Eight step =
        eight_of([&](int k) { return a.scale * g.at[k] + a.weight_decay * p.at[k]; });
    if (a.buffer != nullptr) {
      const Eight buffer = load(a.buffer + i, lanes);
      step = eight_of([&](int k) { return a.momentum * buffer.at[k] + step.at[k]; });
      store(a.buffer + i, step, lanes);
    }
    writer.write(i, p, eight_of([&](int k) { return p.at[k] - a.lr * step.at[k]; }),
                 lanes);
  });
  writer.finish();
}

}  // namespace

void sgd(const SgdArgs& args, int64_t begin, int64_t end, const Pending& pending,
         RoundingReport* report, Stream stream) {
  with_type(args.gradient, [&]<class G>(const G* gradient) {
    with_mutable_type(args.weights, [&]<class P>(P* weights) {
      launch(update<P, G>, blocks_of_eights(end - begin), kMostThreads, stream, args,
             weights + begin, gradient + begin, begin, end, pending, report);
    });
  });
}

}  // namespace lowmem::kernels::LOWMEM_DEVICE
