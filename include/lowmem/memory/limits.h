#pragma once

#include <cstdint>

// What the system can give this process: it hands out addresses beyond that and kills the
// process when they are written.
namespace lowmem::memory {

// The machine's memory and swap, or the smallest share of it that a control group this
// process is in may have (a container, a batch job). In bytes, read once.
int64_t machine_bytes();

// The addresses that the process may have (`ulimit -v`, `ulimit -d`), in bytes; INT64_MAX
// where they are not limited.
int64_t address_limit();

// Whether the process can still get what libraries ask for beside tensors (compiled
// kernels, packed matrices), some of which crash where they get none: a tensor that
// leaves less is refused instead. 2 us.
bool has_reserve();
// Throws Error where it cannot: tensors of a small model may be too small to be asked for
// it one by one.
void require_reserve();

// What this process alone keeps resident: without libraries and mapped files. 3 us.
int64_t private_bytes();

// What the machine can still give without killing anything, swap included. 30 us.
int64_t available_bytes();

}  // namespace lowmem::memory
