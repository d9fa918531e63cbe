#include "lowmem/kernels/rotary.h"

#include "vector.h"

namespace lowmem::kernels {
namespace LOWMEM_ISA {

void rotary(const RotaryArgs& a, Array y, int64_t begin, int64_t end) {
  const int64_t half = a.head_dim / 2;
  with_mutable_type(y, [&](auto* out) {
    const auto* x = static_cast<decltype(out)>(const_cast<void*>(a.x.data));
    for (int64_t token = begin; token < end; ++token)
      for (int64_t head = 0; head < a.heads; ++head) {
        const int64_t start = (token * a.heads + head) * a.head_dim;
        for_lanes(0, half, [&](int64_t i, auto lanes) {
          const Float16 low = load(x + start + i, lanes);
          const Float16 high = load(x + start + half + i, lanes);
          const Float16 c = load(a.cos + token * half + i, lanes);
          Float16 s = load(a.sin + token * half + i, lanes);
          if (a.inverse) s = -s;
          store(out + start + i, low * c - high * s, lanes);
          store(out + start + half + i, high * c + low * s, lanes);
        });
      }
  });
}

}  // namespace LOWMEM_ISA

LOWMEM_DISPATCH(void, rotary,
                (const RotaryArgs& args, Array y, int64_t begin, int64_t end),
                (args, y, begin, end))

}  // namespace lowmem::kernels
