#pragma once

#include "lowmem/memory/arena.h"

namespace lowmem::memory {

// A rehearsal's: addresses for more than any machine has, of which next to none is
// written.
Arena& addresses();

}  // namespace lowmem::memory
