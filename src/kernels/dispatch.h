#pragma once

// A vector kernel's source is compiled once for each instruction set, each time into the
// namespace LOWMEM_ISA. LOWMEM_DISPATCH, at its end, defines the public function that
// picks one at run time:
//
//   LOWMEM_DISPATCH(double, squared_norm, (const ConstArray& g, int64_t n), (g, n))

#include "lowmem/kernels/isa.h"

#ifndef LOWMEM_ISA
#define LOWMEM_ISA portable  // for tools that read a file on its own
#define LOWMEM_ISA_PORTABLE
#endif

#if !defined(LOWMEM_ISA_PORTABLE)
#define LOWMEM_DISPATCH(Result, name, parameters, arguments)
#elif defined(__x86_64__)
#define LOWMEM_DISPATCH(Result, name, parameters, arguments) \
  namespace avx2 {                                           \
  Result name parameters;                                    \
  }                                                          \
  namespace avx512 {                                         \
  Result name parameters;                                    \
  }                                                          \
  Result name parameters {                                   \
    switch (isa()) {                                         \
      case Isa::kAvx512:                                     \
        return avx512::name arguments;                       \
      case Isa::kAvx2:                                       \
        return avx2::name arguments;                         \
      case Isa::kPortable:                                   \
        break;                                               \
    }                                                        \
    return portable::name arguments;                         \
  }
#else
#define LOWMEM_DISPATCH(Result, name, parameters, arguments) \
  Result name parameters { return portable::name arguments; }
#endif
