#include "lowmem/ops/parallel.h"

// In this file alone: LibTorch's headers run loops on one thread, without a word, where
// they are compiled without OpenMP.
#if !defined(_OPENMP) && !defined(__clang_analyzer__)
#error "compile this file with OpenMP"
#endif
#include <ATen/Parallel.h>

#include "lowmem/memory/rehearsal.h"

namespace lowmem::ops {

void parallel(int64_t count, int64_t grain,
              const std::function<void(int64_t, int64_t)>& f) {
  if (memory::rehearsing()) return;
  at::parallel_for(0, count, grain, f);
}

}  // namespace lowmem::ops
