#pragma once

#include "lowmem/kernels/stream.h"

namespace lowmem::kernels::LOWMEM_DEVICE {

// Whether device kernels work on memory of the CPU: false but in tests, which emulate
// them to run everything above them without a GPU.
bool on_cpu();

}  // namespace lowmem::kernels::LOWMEM_DEVICE
