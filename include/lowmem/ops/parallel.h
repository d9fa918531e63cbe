#pragma once

#include <cstdint>
#include <functional>

namespace lowmem::ops {

// Calls f(begin, end) over [0, count), split over LibTorch's threads into pieces of at
// least `grain`. Kernels promise that the split does not change the result. An exception
// of f is thrown again here. A rehearsal calls nothing.
void parallel(int64_t count, int64_t grain,
              const std::function<void(int64_t, int64_t)>& f);

}  // namespace lowmem::ops
