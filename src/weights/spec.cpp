#include "lowmem/weights/spec.h"

#include <functional>
#include <numeric>

namespace lowmem::weights {

int64_t Spec::elements() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

}  // namespace lowmem::weights
