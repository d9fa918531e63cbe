#include "lowmem/data/example.h"

#include <algorithm>

namespace lowmem {

int64_t Example::labelled() const {
  return std::count_if(labels.begin(), labels.end(),
                       [](int32_t label) { return label != kIgnoreLabel; });
}

}  // namespace lowmem
