#include "lowmem/ops/low_rank.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "dropped.h"
#include "lowmem/core/units.h"
#include "lowmem/kernels/dropout.h"
#include "lowmem/memory/rehearsal.h"
#include "lowmem/ops/device.h"
#include "lowmem/ops/elements.h"
#include "lowmem/ops/large.h"

namespace lowmem::ops {
namespace {

// Rows, or columns, that are widened at a time; whole cache lines of a column's.
int64_t slice_of(const at::Tensor& wide, int64_t elements_each) {
  constexpr int64_t kFloat = sizeof(float), kLine = 32;
  // A device is kept busy by large ones alone.
  const int64_t slice = (for_device(wide) ? 64 * kMiB : kMiB) / kFloat;
  return std::max<int64_t>(kLine,
                           slice / std::max<int64_t>(1, elements_each) / kLine * kLine);
}

template <class Use>
void for_slices(int64_t count, int64_t slice, Use&& use) {
  for (int64_t first = 0; first < count; first += slice)
    use(first, std::min(slice, count - first));
}

// Leaves out of values [n, columns] fp32, rows from `row` on and columns from `first` on.
void leave_out(at::Tensor& values, const Dropout& dropout, int64_t row, int64_t first,
               int64_t width) {
  kernels::DropoutArgs args;
  args.values = floats_of(values);
  args.stride = args.columns = values.size(1);
  args.rows = dropout.tokens.const_data_ptr<int64_t>() + row;
  args.first = first;
  args.width = width;
  constexpr double kAll = 65536;
  args.left_out = static_cast<uint32_t>(std::lround(dropout.rate * kAll));
  args.scale = static_cast<float>(kAll / (kAll - args.left_out));
  args.noise = dropout.noise;
  if (on_device(values))
    return kernels::cuda::dropout(args, values.size(0), stream_of(values));
  parallel(values.size(0), rows_of_grain(values.size(1)),
           [&](int64_t begin, int64_t end) { kernels::dropout(args, begin, end); });
}

// Rows and columns of `wide` as fp32 numbers of their own.
at::Tensor own_floats(const at::Tensor& wide) {
  at::Tensor own = at::empty(wide.sizes(), wide.options().dtype(at::kFloat));
  convert_into(own, wide);
  return own;
}

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

class ScaledRows final : public torch::autograd::Function<ScaledRows> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& a,
                            const at::Tensor& by) {
    if (context != nullptr) context->save_for_backward({a, by});
    at::Tensor scaled = at::empty(a.sizes(), a.options());
    if (!memory::rehearsing()) at::mul_out(scaled, a, by);
    return scaled;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &a = saved[0], &by = saved[1], &dy = gradients[0];
    at::Tensor by_rows = at::empty(by.sizes(), by.options());
    at::Tensor product = at::empty(a.sizes(), a.options());
    if (!memory::rehearsing()) {
      at::mul_out(product, a, dy);
      at::sum_out(by_rows, product, {1}, /*keepdim=*/true);
      at::mul_out(product, dy, by);
    }
    return {product, by_rows};
  }
};

}  // namespace

at::Tensor scaled_rows(const at::Tensor& a, const at::Tensor& by) {
  if (!at::GradMode::is_enabled())
    return ScaledRows::forward(nullptr, a.detach(), by.detach());
  return ScaledRows::apply(a, by);
}

at::Tensor LowRank::gain() const {
  return magnitude.defined() ? at::div(magnitude.detach(), norm) : at::Tensor();
}

at::Tensor norms_of_sum(const StoredMatrix& matrix, const LowRank& low_rank) {
  const at::NoGradGuard no_grad;
  const at::Tensor& a = low_rank.a;
  at::Tensor norms = at::empty({matrix.out}, a.options());
  const int64_t slice = std::min(matrix.out, slice_of(a, matrix.in));
  const at::Tensor room = at::empty({slice, matrix.in}, a.options());
  for_slices(matrix.out, slice, [&](int64_t first, int64_t rows) {
    const at::Tensor own = matrix.plain() ? matrix.numbers.narrow(0, first, rows)
                                          : matrix.rows(first, rows, at::kFloat);
    at::Tensor sum = room.narrow(0, 0, rows);
    convert_into(sum, own);
    const at::Tensor b = low_rank.b.narrow(0, first, rows).mul(low_rank.scale);
    add_product(sum, b, a);
    if (memory::rehearsing()) return;
    at::Tensor part = norms.narrow(0, first, rows);
    at::linalg_vector_norm_out(part, sum, 2, {1});
  });
  return norms;
}

at::Tensor KeptNorms::of_sum(const StoredMatrix& matrix, const LowRank& low_rank) {
  // What is recorded on a device must make them each time.
  if (for_device(low_rank.a)) return norms_of_sum(matrix, low_rank);
  const std::array<int64_t, 2> versions = {static_cast<int64_t>(low_rank.a._version()),
                                           static_cast<int64_t>(low_rank.b._version())};
  if (!norms_.defined() || versions != versions_) {
    norms_.reset();
    norms_ = norms_of_sum(matrix, low_rank);
    versions_ = versions;
  }
  at::Tensor own = at::empty(norms_.sizes(), norms_.options());
  convert_into(own, norms_);
  return own;
}

at::Tensor narrowed(const at::Tensor& wide, const at::Tensor& thin) {
  return narrowed(wide, thin, {}, 0, 0);
}

at::Tensor narrowed(const at::Tensor& wide, const at::Tensor& thin,
                    const Dropout& dropout, int64_t first, int64_t width) {
  if (wide.scalar_type() == at::kFloat && !dropout.defined()) return product(wide, thin);
  at::Tensor low = at::empty({wide.size(0), thin.size(1)}, thin.options());
  for_slices(wide.size(0), slice_of(wide, wide.size(1)), [&](int64_t row, int64_t rows) {
    at::Tensor part = low.narrow(0, row, rows);
    at::Tensor own = own_floats(wide.narrow(0, row, rows));
    if (dropout.defined()) leave_out(own, dropout, row, first, width);
    product_into(part, own, thin);
  });
  return low;
}

at::Tensor dropped(const at::Tensor& wide, const Dropout& dropout, int64_t first,
                   int64_t width) {
  at::Tensor left = at::empty(wide.sizes(), wide.options());
  for_slices(wide.size(0), slice_of(wide, wide.size(1)), [&](int64_t row, int64_t rows) {
    at::Tensor own = own_floats(wide.narrow(0, row, rows));
    leave_out(own, dropout, row, first, width);
    at::Tensor part = left.narrow(0, row, rows);
    convert_into(part, own);
  });
  return left;
}

void add_widened(at::Tensor& wide, const at::Tensor& low, const at::Tensor& thin,
                 const Widening& how) {
  for_slices(wide.size(0), slice_of(wide, wide.size(1)),
             [&](int64_t first, int64_t rows) {
               at::Tensor part = wide.narrow(0, first, rows);
               at::Tensor sum = product(low.narrow(0, first, rows), thin);
               if (how.dropout != nullptr && how.dropout->defined())
                 leave_out(sum, *how.dropout, first, how.first, how.width);
               // What add_() would widen by itself, and a rehearsal not see.
               const at::Tensor before = converted(part, at::kFloat);
               if (memory::rehearsing()) return;
               sum.mul_(how.scale).add_(before);
               part.copy_(how.gain.defined() ? sum.mul_(how.gain) : sum);
             });
}

at::Tensor by_thin(const at::Tensor& wide, const at::Tensor& low) {
  return by_thin(wide, low, {}, 0, 0);
}

at::Tensor by_thin(const at::Tensor& wide, const at::Tensor& low, const Dropout& dropout,
                   int64_t first, int64_t width) {
  if (wide.scalar_type() == at::kFloat && !dropout.defined())
    return product(wide.t(), low);
  at::Tensor found = at::empty({wide.size(1), low.size(1)}, low.options());
  for_slices(wide.size(1), slice_of(wide, wide.size(0)),
             [&](int64_t column, int64_t columns) {
               at::Tensor part = found.narrow(0, column, columns);
               at::Tensor own = own_floats(wide.narrow(1, column, columns));
               if (dropout.defined()) leave_out(own, dropout, 0, first + column, width);
               product_into(part, own.t(), low);
             });
  return found;
}

}  // namespace lowmem::ops
