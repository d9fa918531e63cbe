#include "lowmem/weights/table.h"

#include <ATen/ATen.h>

#include "lowmem/memory/scope.h"
#include "lowmem/ops/dtype.h"
#include "lowmem/ops/large.h"

namespace lowmem::weights {

int64_t StateSpec::bytes() const {
  int64_t elements = 1;
  for (const int64_t size : shape) elements *= size;
  return elements * static_cast<int64_t>(c10::elementSize(type));
}

void keep_zeros(Weight& weight, const StateSpec& state) {
  if (weight.beside.contains(state.name)) return;
  const memory::Scope item(memory::Item::kOptimizerState);
  weight.beside.emplace(
      state.name, ops::zeros(state.shape,
                             at::TensorOptions(state.type).device(weight.here.device())));
}

Table::Table(std::vector<Spec> specs, DType format) {
  for (Spec& spec : specs) {
    Weight& weight = weights_.emplace_back();
    weight.index = static_cast<uint32_t>(weights_.size() - 1);
    weight.format = spec.type.value_or(format);
    if (groups_.size() <= spec.group) groups_.resize(spec.group + 1);
    groups_[spec.group].push_back(&weight);
    by_name_[spec.name] = &weight;
    weight.spec = std::move(spec);
  }
}

Weight* Table::find(const std::string& name) {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

const Weight* Table::find(const std::string& name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

Weight& Table::at(const std::string& name) { return *by_name_.at(name); }

int64_t Table::bytes() const {
  int64_t total = 0;
  for (const Weight& weight : weights_) total += weight.bytes();
  return total;
}

int64_t Table::trained_elements() const {
  int64_t total = 0;
  for (const Weight& weight : weights_)
    if (weight.trained) total += weight.spec.elements();
  return total;
}

bool Table::trains(size_t group) const {
  for (const Weight* weight : groups_[group])
    if (weight->trained) return true;
  return false;
}

int64_t Table::beside_bytes() const {
  int64_t total = 0;
  for (const Weight& weight : weights_)
    for (const auto& [name, tensor] : weight.beside)
      total += static_cast<int64_t>(tensor.nbytes());
  return total;
}

void Table::allocate(c10::Device device) {
  for (Weight& weight : weights_)
    if (!weight.here.defined()) allocate(weight, device);
}

void Table::allocate(Weight& weight, c10::Device device) {
  const memory::Scope item(memory::Item::kWeights);
  weight.here =
      at::empty(weight.spec.shape,
                at::TensorOptions(ops::scalar_type(weight.format)).device(device));
}

}  // namespace lowmem::weights
