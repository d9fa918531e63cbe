#pragma once

#include "lowmem/memory/ledger.h"

namespace lowmem::memory {

// Where a tensor of the CPU that is made now is counted.
Ledger& ledger_of_cpu_tensors();
// A GPU's, whether there is one or not.
Ledger& gpu_ledger();

}  // namespace lowmem::memory
