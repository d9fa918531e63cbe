#include <ATen/Parallel.h>

#include "compare.h"
#include "lowmem/memory/meter.h"

int main(int argc, char** argv) {
  // Freed blocks are used again, for both sides, as in training.
  lowmem::memory::install();
  at::set_num_threads(1);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  const at::NoGradGuard no_grad;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
