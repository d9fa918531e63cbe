#pragma once

#include <cstdint>
#include <functional>

namespace lowmem::ops {

// Calls f(begin, end) over [0, count), split over LibTorch's threads into pieces of at
// least `grain`. Kernels promise that the split does not change the result. An exception
// of f is thrown again here. A rehearsal calls nothing.
void parallel(int64_t count, int64_t grain,
              const std::function<void(int64_t, int64_t)>& f);

// Makes LibTorch's number of threads the one that OpenMP gives: where it is asked for
// more than it may have (OMP_THREAD_LIMIT, OMP_DYNAMIC, OMP_MAX_ACTIVE_LEVELS), oneDNN
// leaves the missing ones' share of a product undone, without a word. Nor more than the
// system gives (`ulimit -u`, addresses for their stacks). Before the first tensor is
// computed; warns where there are fewer threads than asked for. Throws Error where
// OMP_STACKSIZE is too little.
void settle_threads();

}  // namespace lowmem::ops
