// Apart from all other code, so that tests can put their own in its place.
#include "lowmem/kernels/place.h"

namespace lowmem::kernels::LOWMEM_DEVICE {

bool on_cpu() { return false; }

}  // namespace lowmem::kernels::LOWMEM_DEVICE
