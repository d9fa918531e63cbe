#pragma once

#include "lowmem/ops/low_rank.h"

namespace lowmem::ops {

// What dropout leaves of the columns from `first` on of an input `width` wide, in their
// type.
at::Tensor dropped(const at::Tensor& wide, const Dropout& dropout, int64_t first,
                   int64_t width);

}  // namespace lowmem::ops
