#include "lowmem/ops/attention.h"

#include <ATen/ATen.h>

#include <cmath>

namespace lowmem::ops {
namespace {

// `rows` of [count * length, heads, head_dim] as [count, heads, length, head_dim].
at::Tensor by_head(const at::Tensor& rows, int64_t count) {
  return rows.view({count, rows.size(0) / count, rows.size(1), rows.size(2)})
      .transpose(1, 2);
}

}  // namespace

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const std::vector<int64_t>& offsets) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(q.size(2)));
  const bool grouped = q.size(1) != k.size(1);

  // Runs of equally long sequences: their token counts, and how many sequences each
  // holds.
  std::vector<int64_t> tokens, counts;
  for (size_t i = 0; i + 1 < offsets.size(); ++i) {
    const int64_t length = offsets[i + 1] - offsets[i];
    if (!counts.empty() && tokens.back() == length * counts.back()) {
      tokens.back() += length;
      ++counts.back();
    } else {
      tokens.push_back(length);
      counts.push_back(1);
    }
  }

  // split's backward is one cat, where slices would each fill a tensor of N rows.
  const auto q_runs = q.split_with_sizes(tokens);
  const auto k_runs = k.split_with_sizes(tokens);
  const auto v_runs = v.split_with_sizes(tokens);
  std::vector<at::Tensor> out;
  out.reserve(tokens.size());
  for (size_t run = 0; run < tokens.size(); ++run) {
    const int64_t count = counts[run];
    const at::Tensor mixed = at::scaled_dot_product_attention(
        by_head(q_runs[run], count), by_head(k_runs[run], count),
        by_head(v_runs[run], count), /*attn_mask=*/{}, /*dropout_p=*/0.0,
        /*is_causal=*/true, scale, /*enable_gqa=*/grouped);
    out.push_back(mixed.transpose(1, 2).reshape({tokens[run], q.size(1), q.size(2)}));
  }
  return out.size() == 1 ? out[0] : at::cat(out, 0);
}

}  // namespace lowmem::ops
