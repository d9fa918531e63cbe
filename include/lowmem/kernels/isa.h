#pragma once

namespace lowmem::kernels {

// The instruction sets that the vector loops are compiled for. All of them give the same
// bits: sixteen lanes, the same order of operations, no contraction.
enum class Isa { kPortable, kAvx2, kAvx512 };

// "portable", "avx2", "avx512".
const char* isa_name(Isa isa);

// The best one that this build has and this machine offers.
Isa best_isa();

// The one that kernels use: best_isa() unless told otherwise.
Isa isa();

// For tests and benchmarks. `isa` must not be above best_isa().
void use_isa(Isa isa);

}  // namespace lowmem::kernels
