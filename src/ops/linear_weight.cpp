#include "lowmem/ops/linear_weight.h"

#include <ATen/ATen.h>

#include "lowmem/memory/scope.h"
#include "lowmem/ops/large.h"

namespace lowmem::ops {

at::Tensor LinearWeight::value(const at::Tensor& x) const {
  const auto type = x.scalar_type();
  return product_with_bias(x, converted(weight, type),
                           bias.defined() ? bias.to(type) : bias);
}

std::vector<at::Tensor> LinearWeight::tensors() const {
  std::vector<at::Tensor> all = {weight};
  if (bias.defined()) all.push_back(bias);
  return all;
}

LinearWeight LinearWeight::kept(std::span<const at::Tensor> tensors) {
  return {tensors[0], tensors.size() > 1 ? tensors[1] : at::Tensor()};
}

LinearFactor::LinearFactor(const LinearWeight& weight, at::ScalarType type)
    : factor_(converted(weight.weight, type)) {}

at::Tensor LinearFactor::by_input(const at::Tensor& dy) const {
  return product(dy, factor_);
}

at::Tensor LinearFactor::by_input(const at::Tensor& dy, int64_t first,
                                  int64_t columns) const {
  return product(dy, factor_.narrow(1, first, columns));
}

LinearGradients::LinearGradients(const LinearWeight& weight, at::ScalarType type,
                                 std::vector<bool> wanted)
    : weight_(weight), type_(type), wanted_(std::move(wanted)) {}

void LinearGradients::add(const at::Tensor& dy, const at::Tensor& x) {
  if (!wanted_[0]) return;
  const memory::Scope item(memory::Item::kGradients);
  by_weight_ = product(dy.t(), x);
}

void LinearGradients::add(const at::Tensor& dy, const at::Tensor& x, int64_t first) {
  if (!wanted_[0]) return;
  if (!by_weight_.defined()) {
    const memory::Scope item(memory::Item::kGradients);
    by_weight_ = at::empty(weight_.weight.sizes(), weight_.weight.options().dtype(type_));
  }
  at::Tensor part = by_weight_.narrow(1, first, x.size(1));
  product_into(part, dy.t(), x);
}

std::vector<at::Tensor> LinearGradients::finish(const at::Tensor& dy) {
  std::vector<at::Tensor> found(wanted_.size());
  if (by_weight_.defined()) {
    const memory::Scope item(memory::Item::kGradients);
    found[0] = converted(std::exchange(by_weight_, {}), weight_.weight.scalar_type());
  }
  if (wanted_.size() > 1 && wanted_[1]) {
    const bool half = dy.scalar_type() == at::kBFloat16;
    found[1] = dy.sum(0, /*keepdim=*/false, half ? at::kFloat : dy.scalar_type())
                   .to(weight_.bias.scalar_type());
  }
  return found;
}

}  // namespace lowmem::ops
