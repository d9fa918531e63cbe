#include "lowmem/weights/spec.h"

#include <functional>
#include <numeric>

namespace lowmem::weights {

int64_t Spec::elements() const {
  return std::accumulate(shape.begin(), shape.end(), int64_t{1}, std::multiplies<>());
}

std::vector<int64_t> Spec::file_shape() const {
  std::vector<int64_t> whole = shape;
  if (!joined.empty()) whole.front() = joined_rows;
  return whole;
}

}  // namespace lowmem::weights
