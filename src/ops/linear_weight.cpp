#include "lowmem/ops/linear_weight.h"

#include <ATen/ATen.h>

#include "lowmem/memory/rehearsal.h"
#include "lowmem/memory/scope.h"
#include "lowmem/ops/large.h"

namespace lowmem::ops {
namespace {

// Of a low-rank pair's tensors: A, B and their scale, the last ones.
constexpr size_t kLowRank = 3;
bool has_bias(size_t tensors) { return tensors == 2 || tensors == 2 + kLowRank; }

}  // namespace

at::Tensor LinearWeight::value(const at::Tensor& x) const {
  const auto type = x.scalar_type();
  at::Tensor y = product_with_bias(x, converted(weight, type),
                                   bias.defined() ? bias.to(type) : bias);
  if (low_rank.defined())
    add_widened(y, narrowed(x, low_rank.a.t()), low_rank.b.t(), low_rank.scale);
  return y;
}

std::vector<at::Tensor> LinearWeight::tensors() const {
  std::vector<at::Tensor> all = {weight};
  if (bias.defined()) all.push_back(bias);
  if (low_rank.defined())
    all.insert(all.end(),
               {low_rank.a, low_rank.b, at::scalar_tensor(low_rank.scale, at::kDouble)});
  return all;
}

LinearWeight LinearWeight::kept(std::span<const at::Tensor> tensors) {
  LinearWeight weight{tensors[0], {}, {}};
  if (has_bias(tensors.size())) weight.bias = tensors[1];
  if (tensors.size() > 2) {
    const auto low_rank = tensors.last(kLowRank);
    weight.low_rank = {low_rank[0], low_rank[1], low_rank[2].item<double>()};
  }
  return weight;
}

LinearFactor::LinearFactor(const LinearWeight& weight, at::ScalarType type)
    : factor_(converted(weight.weight, type)), low_rank_(weight.low_rank) {}

void LinearFactor::add_low_rank(at::Tensor& dx, const at::Tensor& dy,
                                const at::Tensor& a) const {
  if (!low_.defined()) low_ = narrowed(dy, low_rank_.b);
  add_widened(dx, low_, a, low_rank_.scale);
}

at::Tensor LinearFactor::by_input(const at::Tensor& dy) const {
  at::Tensor dx = product(dy, factor_);
  if (low_rank_.defined()) add_low_rank(dx, dy, low_rank_.a);
  return dx;
}

at::Tensor LinearFactor::by_input(const at::Tensor& dy, int64_t first,
                                  int64_t columns) const {
  at::Tensor dx = product(dy, factor_.narrow(1, first, columns));
  if (low_rank_.defined()) add_low_rank(dx, dy, low_rank_.a.narrow(1, first, columns));
  return dx;
}

LinearGradients::LinearGradients(const LinearWeight& weight, at::ScalarType type,
                                 std::vector<bool> wanted)
    : weight_(weight), type_(type), wanted_(std::move(wanted)) {}

bool LinearGradients::wants_low_rank() const {
  return weight_.low_rank.defined() && wanted_[wanted_.size() - kLowRank];
}

// Of columns of the input from `first` on.
void LinearGradients::add_low_rank(const at::Tensor& dy, const at::Tensor& x,
                                   int64_t first) {
  const LowRank& pair = weight_.low_rank;
  const at::Tensor a = pair.a.narrow(1, first, x.size(1));
  if (!low_gradient_.defined()) {
    low_gradient_ = narrowed(dy, pair.b);
    if (!memory::rehearsing()) low_gradient_.mul_(pair.scale);
    low_ = zeros(low_gradient_.sizes(), low_gradient_.options());
    const memory::Scope item(memory::Item::kGradients);
    by_a_ = at::empty(pair.a.sizes(), pair.a.options());
  }
  add_to(low_, narrowed(x, a.t()));
  at::Tensor part = by_a_.narrow(1, first, x.size(1));
  convert_into(part, by_thin(x, low_gradient_).t());
}

void LinearGradients::add(const at::Tensor& dy, const at::Tensor& x) {
  if (wants_low_rank()) add_low_rank(dy, x, 0);
  if (!wanted_[0]) return;
  const memory::Scope item(memory::Item::kGradients);
  by_weight_ = product(dy.t(), x);
}

void LinearGradients::add(const at::Tensor& dy, const at::Tensor& x, int64_t first) {
  if (wants_low_rank()) add_low_rank(dy, x, first);
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
  if (wants_low_rank()) {
    const memory::Scope item(memory::Item::kGradients);
    at::Tensor by_b = by_thin(dy, low_);
    if (!memory::rehearsing()) by_b.mul_(weight_.low_rank.scale);
    const size_t at = found.size() - kLowRank;
    found[at] = std::exchange(by_a_, {});
    found[at + 1] = by_b;
  }
  if (weight_.bias.defined() && wanted_[1]) {
    const bool half = dy.scalar_type() == at::kBFloat16;
    found[1] = dy.sum(0, /*keepdim=*/false, half ? at::kFloat : dy.scalar_type())
                   .to(weight_.bias.scalar_type());
  }
  return found;
}

}  // namespace lowmem::ops
