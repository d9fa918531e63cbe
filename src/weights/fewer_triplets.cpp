#include "fewer_triplets.h"

#include <ATen/ATen.h>

namespace lowmem::weights {

FewerTriplets::FewerTriplets(const Spec& spec, const std::vector<bool>& left)
    : shape_(spec.shape), dim_(spec.name.ends_with(".lora_B") ? 1 : 0) {
  std::vector<int64_t> places;
  for (size_t k = 0; k < left.size(); ++k)
    if (left[k]) places.push_back(static_cast<int64_t>(k));
  index_ = at::tensor(places, at::kLong);
}

std::vector<int64_t> FewerTriplets::shape() const {
  std::vector<int64_t> shape = shape_;
  shape[static_cast<size_t>(dim_)] = index_.numel();
  return shape;
}

at::Tensor FewerTriplets::taken_from(const at::Tensor& all) const {
  return all.detach().index_select(dim_, index_).contiguous();
}

at::Tensor FewerTriplets::put_among_zeros(const at::Tensor& fewer) const {
  return at::zeros(shape_, fewer.options()).index_copy_(dim_, index_, fewer);
}

}  // namespace lowmem::weights
