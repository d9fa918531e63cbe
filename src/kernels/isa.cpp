#include "lowmem/kernels/isa.h"

#include <atomic>

namespace lowmem::kernels {
namespace {

std::atomic<Isa>& chosen() {
  static std::atomic<Isa> value = best_isa();
  return value;
}

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::kPortable:
      return "portable";
    case Isa::kAvx2:
      return "avx2";
    case Isa::kAvx512:
      return "avx512";
  }
  return "";
}

Isa best_isa() {
#ifdef __x86_64__
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl"))
    return Isa::kAvx512;
  if (__builtin_cpu_supports("avx2")) return Isa::kAvx2;
#endif
  return Isa::kPortable;
}

Isa isa() { return chosen().load(std::memory_order_relaxed); }

void use_isa(Isa isa) { chosen() = isa; }

}  // namespace lowmem::kernels
