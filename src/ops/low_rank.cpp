#include "lowmem/ops/low_rank.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lowmem/core/units.h"
#include "lowmem/memory/rehearsal.h"
#include "lowmem/ops/device.h"
#include "lowmem/ops/large.h"

namespace lowmem::ops {
namespace {

// Rows, or columns, that are widened at a time; whole cache lines of a column's.
int64_t slice_of(const at::Tensor& wide, int64_t elements_each) {
  constexpr int64_t kFloat = sizeof(float), kLine = 32;
  // A device is kept busy by large ones alone.
  const int64_t slice = (on_device(wide) ? 64 * kMiB : kMiB) / kFloat;
  return std::max<int64_t>(kLine,
                           slice / std::max<int64_t>(1, elements_each) / kLine * kLine);
}

template <class Use>
void for_slices(int64_t count, int64_t slice, Use&& use) {
  for (int64_t first = 0; first < count; first += slice)
    use(first, std::min(slice, count - first));
}

}  // namespace

at::Tensor narrowed(const at::Tensor& wide, const at::Tensor& thin) {
  if (wide.scalar_type() == at::kFloat) return product(wide, thin);
  at::Tensor low = at::empty({wide.size(0), thin.size(1)}, thin.options());
  for_slices(
      wide.size(0), slice_of(wide, wide.size(1)), [&](int64_t first, int64_t rows) {
        at::Tensor part = low.narrow(0, first, rows);
        product_into(part, converted(wide.narrow(0, first, rows), at::kFloat), thin);
      });
  return low;
}

void add_widened(at::Tensor& wide, const at::Tensor& low, const at::Tensor& thin,
                 double scale) {
  for_slices(wide.size(0), slice_of(wide, wide.size(1)),
             [&](int64_t first, int64_t rows) {
               at::Tensor part = wide.narrow(0, first, rows);
               at::Tensor sum = product(low.narrow(0, first, rows), thin);
               // What add_() would widen by itself, and a rehearsal not see.
               const at::Tensor before = converted(part, at::kFloat);
               if (!memory::rehearsing()) part.copy_(sum.mul_(scale).add_(before));
             });
}

at::Tensor by_thin(const at::Tensor& wide, const at::Tensor& low) {
  if (wide.scalar_type() == at::kFloat) return product(wide.t(), low);
  at::Tensor found = at::empty({wide.size(1), low.size(1)}, low.options());
  for_slices(wide.size(1), slice_of(wide, wide.size(0)),
             [&](int64_t first, int64_t columns) {
               at::Tensor part = found.narrow(0, first, columns);
               product_into(
                   part, converted(wide.narrow(1, first, columns), at::kFloat).t(), low);
             });
  return found;
}

}  // namespace lowmem::ops
