#include "lowmem/ops/embedding.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <numeric>

#include "lowmem/kernels/embedding.h"
#include "lowmem/ops/device.h"
#include "lowmem/ops/elements.h"

namespace lowmem::ops {
namespace {

// Tokens sorted by id, in their order where ids are equal.
struct ById {
  explicit ById(const std::vector<EmbeddedTokens>& parts) {
    std::vector<int64_t> all;
    for (const EmbeddedTokens& part : parts)
      all.insert(all.end(), part.ids.begin(), part.ids.end());
    order.resize(all.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return all[static_cast<size_t>(a)] < all[static_cast<size_t>(b)];
    });
    for (size_t i = 0; i < order.size(); ++i) {
      const int64_t id = all[static_cast<size_t>(order[i])];
      if (ids.empty() || ids.back() != id) {
        ids.push_back(id);
        offsets.push_back(static_cast<int64_t>(i));
      }
    }
    offsets.push_back(static_cast<int64_t>(order.size()));
  }

  std::vector<int64_t> ids;      // all different
  std::vector<int64_t> offsets;  // of each id's tokens in `order`
  std::vector<int64_t> order;    // of all tokens
};

// The gradients of all tokens, [N, D].
at::Tensor joined(const std::vector<EmbeddedTokens>& parts) {
  std::vector<at::Tensor> own;
  for (const EmbeddedTokens& part : parts)
    own.push_back(part.gradient.narrow(0, 0, static_cast<int64_t>(part.ids.size())));
  return own.size() == 1 ? own[0].contiguous() : at::cat(own);
}

void add_on_device(at::Tensor& table, const std::vector<EmbeddedTokens>& parts) {
  const ById sorted(parts);
  const auto there = [&](const std::vector<int64_t>& numbers) {
    return to_device(at::tensor(numbers, at::kLong), table.device());
  };
  const at::Tensor ids = there(sorted.ids), offsets = there(sorted.offsets);
  const at::Tensor order = there(sorted.order), gradient = joined(parts);
  kernels::cuda::embedding_gradient(
      {const_array_of(gradient), gradient.size(1),
       static_cast<int64_t>(sorted.ids.size()), ids.const_data_ptr<int64_t>(),
       offsets.const_data_ptr<int64_t>(), order.const_data_ptr<int64_t>()},
      array_of(table), stream_of(table));
}

}  // namespace

void add_embedding_gradient(at::Tensor& table, std::vector<EmbeddedTokens> parts) {
  if (on_device(table)) return add_on_device(table, parts);
  std::vector<int64_t> all;
  for (const EmbeddedTokens& part : parts)
    all.insert(all.end(), part.ids.begin(), part.ids.end());
  const auto [ids, place] = at::_unique(at::tensor(all, at::kLong), /*sorted=*/true,
                                        /*return_inverse=*/true);
  const at::Tensor rows = table.index_select(0, ids).to(at::kFloat);
  int64_t start = 0;
  for (EmbeddedTokens& part : parts) {
    const auto tokens = static_cast<int64_t>(part.ids.size());
    rows.index_add_(0, place.narrow(0, start, tokens),
                    std::exchange(part.gradient, {}).narrow(0, 0, tokens).to(at::kFloat));
    start += tokens;
  }
  table.index_copy_(0, ids, rows.to(table.scalar_type()));
}

}  // namespace lowmem::ops
