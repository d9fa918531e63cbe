#include "lowmem/ops/large.h"

#include <ATen/ATen.h>

#include "lowmem/memory/rehearsal.h"
#include "widened_product.h"

namespace lowmem::ops {

namespace {

// Small products are computed all the same where the CPU stands for itself: oneDNN takes
// some hundred KiB for one, which only a small model notices.
bool left_out(int64_t rows, int64_t inner, int64_t columns) {
  constexpr int64_t kSmall = int64_t{1} << 27;
  return memory::rehearsed_gpu() != nullptr ||
         (memory::rehearsing() && rows * inner * columns > kSmall);
}
bool left_out(const at::Tensor& a, const at::Tensor& b) {
  return left_out(a.size(0), a.size(1), b.size(1));
}

}  // namespace

at::Tensor product(const at::Tensor& a, const at::Tensor& b) {
  const bool widened = product_is_better_widened(a);
  if (!widened && !left_out(a, b)) return at::mm(a, b);
  at::Tensor out = at::empty({a.size(0), b.size(1)}, a.options());
  if (widened) product_into(out, a, b);
  return out;
}

void product_into(at::Tensor& out, const at::Tensor& a, const at::Tensor& b) {
  if (product_is_better_widened(a))
    widened_product_into(out, a, b, {});
  else if (!left_out(a, b))
    at::mm_out(out, a, b);
}

void add_product(at::Tensor& sum, const at::Tensor& a, const at::Tensor& b) {
  if (!left_out(a, b)) sum.addmm_(a, b);
}

at::Tensor product_with_bias(const at::Tensor& x, const at::Tensor& weight,
                             const at::Tensor& bias) {
  const bool widened = product_is_better_widened(x);
  if (!widened && !left_out(x.size(0), x.size(1), weight.size(0)))
    return at::linear(x, weight, bias);
  at::Tensor out = at::empty({x.size(0), weight.size(0)}, x.options());
  if (widened) widened_product_into(out, x, weight.t(), bias);
  return out;
}

at::Tensor converted(const at::Tensor& tensor, at::ScalarType type) {
  if (memory::rehearsing() && tensor.scalar_type() != type)
    return at::empty(tensor.sizes(), tensor.options().dtype(type));
  return tensor.to(type);
}

void convert_into(at::Tensor& to, const at::Tensor& from) {
  if (!memory::rehearsing()) to.copy_(from);
}

at::Tensor zeros(at::IntArrayRef shape, const at::TensorOptions& options) {
  return memory::rehearsing() ? at::empty(shape, options) : at::zeros(shape, options);
}

void add_to(at::Tensor& to, const at::Tensor& from) {
  if (!memory::rehearsing()) to.add_(from);
}

}  // namespace lowmem::ops
