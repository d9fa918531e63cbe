#pragma once

#include <cstdint>

namespace lowmem::memory {

// Puts the counting allocator in LibTorch's place.
void install_allocator();
// Gives freed blocks that were kept for the next tensors back to the system.
void trim_blocks();

// What the process holds beside tensors: measured where few of them are about, and what
// oneDNN and threads will add.
void measure_program();
int64_t measured_program();
constexpr int64_t kProgramGrowth = int64_t{32} << 20;

}  // namespace lowmem::memory
