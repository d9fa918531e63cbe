#include "widened_product.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "lowmem/core/units.h"
#include "lowmem/kernels/isa.h"
#include "lowmem/memory/rehearsal.h"

namespace lowmem::ops {
namespace {

// A block of a or of b in fp32, and the part of the sums that one pass adds up.
constexpr int64_t kBlockBytes = kMiB / 4;
constexpr int64_t kMostInner = 448;
constexpr int64_t kLeast = 64;
constexpr int64_t kMost = 192;  // squared, no more floats than in a block

struct Range {
  int64_t begin, count;
};

// [0, count) in blocks of `each`.
template <class F>
void for_blocks(int64_t count, int64_t each, F&& f) {
  for (int64_t begin = 0; begin < count; begin += each)
    f(Range{begin, std::min(each, count - begin)});
}

// Rows or columns of `inner` fp32 elements that make a block.
int64_t block_of(int64_t inner, int64_t count) {
  const int64_t fit = kBlockBytes / static_cast<int64_t>(sizeof(float)) / inner;
  return std::min(count, std::clamp(fit / kLeast * kLeast, kLeast, kMost));
}

// The fp32 block of a matrix, made again only where another one is asked for.
class Widened {
 public:
  Widened(const at::Tensor& matrix, int64_t rows, int64_t columns)
      : matrix_(matrix),
        transposed_(matrix.stride(0) < matrix.stride(1)),
        room_(at::empty({rows * columns}, matrix.options().dtype(at::kFloat))) {}

  // In the order that the matrix lies in memory.
  at::Tensor block(Range rows, Range columns) {
    at::Tensor flat = room_.narrow(0, 0, rows.count * columns.count);
    at::Tensor view = transposed_ ? flat.view({columns.count, rows.count}).t()
                                  : flat.view({rows.count, columns.count});
    if (rows.begin != row_ || columns.begin != column_) {
      view.copy_(matrix_.narrow(0, rows.begin, rows.count)
                     .narrow(1, columns.begin, columns.count));
      row_ = rows.begin;
      column_ = columns.begin;
    }
    return view;
  }

 private:
  const at::Tensor& matrix_;
  const bool transposed_;
  at::Tensor room_;
  int64_t row_ = -1, column_ = -1;
};

}  // namespace

bool product_is_better_widened(const at::Tensor& a) {
#ifdef __x86_64__
  return a.is_cpu() && a.scalar_type() == at::kBFloat16 &&
         memory::rehearsed_gpu() == nullptr &&
         kernels::best_isa() != kernels::Isa::kAvx512;
#else
  return false;
#endif
}

void widened_product_into(at::Tensor& out, const at::Tensor& a, const at::Tensor& b,
                          const at::Tensor& bias) {
  const int64_t n = a.size(0), k = a.size(1), m = b.size(1);
  if (n == 0 || m == 0) return;
  if (k == 0) {
    bias.defined() ? out.copy_(bias.expand({n, m})) : out.zero_();
    return;
  }
  const int64_t inner = std::min(k, kMostInner);
  const int64_t rows = block_of(inner, n), columns = block_of(inner, m);
  Widened left(a, rows, inner), right(b, inner, columns);
  const at::Tensor sums = at::empty({rows * columns}, a.options().dtype(at::kFloat));
  if (memory::rehearsing()) return;
  for_blocks(m, columns, [&](Range column) {
    for_blocks(n, rows, [&](Range row) {
      at::Tensor sum =
          sums.narrow(0, 0, row.count * column.count).view({row.count, column.count});
      for_blocks(k, inner, [&](Range part) {
        const at::Tensor x = left.block(row, part), y = right.block(part, column);
        part.begin == 0 ? at::mm_out(sum, x, y) : sum.addmm_(x, y);
      });
      if (bias.defined()) sum.add_(bias.narrow(0, column.begin, column.count));
      out.narrow(0, row.begin, row.count)
          .narrow(1, column.begin, column.count)
          .copy_(sum);
    });
  });
}

}  // namespace lowmem::ops
