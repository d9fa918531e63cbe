#include "lowmem/core/version.h"

namespace lowmem {

const char* version() { return LOWMEM_VERSION; }

}  // namespace lowmem
