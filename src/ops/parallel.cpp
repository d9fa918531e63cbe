#include "lowmem/ops/parallel.h"

// In this file alone: LibTorch's headers run loops on one thread, without a word, where
// they are compiled without OpenMP.
#if !defined(_OPENMP) && !defined(__clang_analyzer__)
#error "compile this file with OpenMP"
#endif
#include <ATen/Parallel.h>

#include <string>

#include "lowmem/core/log.h"
#include "lowmem/memory/rehearsal.h"

// Of OpenMP, whose header clang-tidy has not.
extern "C" {
int omp_get_num_threads();
void omp_set_dynamic(int);
int omp_get_max_active_levels();
void omp_set_max_active_levels(int);
}

namespace lowmem::ops {
namespace {

int team_of([[maybe_unused]] int asked) {
  int size = 1;
#pragma omp parallel num_threads(asked)
  {
#pragma omp single
    size = omp_get_num_threads();
  }
  return size;
}

}  // namespace

void settle_threads() {
  // Teams of changing size, and none at all: neither can be computed with.
  omp_set_dynamic(0);
  if (omp_get_max_active_levels() < 1) omp_set_max_active_levels(1);
  const int asked = at::get_num_threads(), given = team_of(asked);
  if (given >= asked) return;
  log::warn("OpenMP gives " + std::to_string(given) + " of " + std::to_string(asked) +
            " threads (OMP_THREAD_LIMIT): computing with " + std::to_string(given));
  at::set_num_threads(given);
}

void parallel(int64_t count, int64_t grain,
              const std::function<void(int64_t, int64_t)>& f) {
  if (memory::rehearsing()) return;
  at::parallel_for(0, count, grain, f);
}

}  // namespace lowmem::ops
