#include <ATen/ATen.h>

#include <map>

#include "gpu_attention.h"
#include "lowmem/ops/device.h"

namespace lowmem::ops {

// Sequences by padded length: which row of the packed tensors each place takes.
struct PaddedSpans {
  struct Bucket {
    int64_t count, length;
    at::Tensor queries, keys;  // [count * length]; places beyond a sequence take its last
  };
  std::vector<Bucket> buckets;
  at::Tensor order;  // [queries in all] among the buckets' places, end to end
};

namespace {

constexpr int64_t kStep = 64;

// Sequences are causal, so what follows one's end is seen by nobody. Queries lie where
// their keys do.
std::shared_ptr<const PaddedSpans> pad(const Spans& spans, c10::Device device) {
  struct Places {
    int64_t count = 0;
    std::vector<int64_t> queries, keys;
  };
  std::map<int64_t, Places> by_length;
  int64_t query = 0, key = 0;
  for (const Span& span : spans) {
    const int64_t length = (span.keys + kStep - 1) / kStep * kStep;
    Places& places = by_length[length];
    const auto start = static_cast<size_t>(length * places.count++);
    const int64_t last = std::max<int64_t>(0, query + span.queries - 1);
    places.queries.resize(start + static_cast<size_t>(length), last);
    places.keys.resize(start + static_cast<size_t>(length), key + span.keys - 1);
    const int64_t first = span.keys - span.queries;
    for (int64_t i = 0; i < span.keys; ++i) {
      const size_t place = start + static_cast<size_t>(i);
      places.keys[place] = key + i;
      if (i >= first) places.queries[place] = query + i - first;
    }
    query += span.queries;
    key += span.keys;
  }
  auto padded = std::make_shared<PaddedSpans>();
  std::vector<int64_t> order(static_cast<size_t>(query));
  std::map<int64_t, int64_t> next;  // place of each bucket's next sequence
  int64_t end = 0;
  for (const auto& [length, places] : by_length) {
    padded->buckets.push_back({places.count, length,
                               to_device(at::tensor(places.queries, at::kLong), device),
                               to_device(at::tensor(places.keys, at::kLong), device)});
    next[length] = end;
    end += places.count * length;
  }
  query = 0;
  for (const Span& span : spans) {
    const int64_t length = (span.keys + kStep - 1) / kStep * kStep;
    const int64_t start = next[length] + span.keys - span.queries;
    for (int64_t i = 0; i < span.queries; ++i)
      order[static_cast<size_t>(query + i)] = start + i;
    query += span.queries;
    next[length] += length;
  }
  padded->order = to_device(at::tensor(order, at::kLong), device);
  return padded;
}

}  // namespace

at::Tensor padded_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const Spans& spans, const PaddedKernel& kernel) {
  if (!spans.padded) spans.padded = pad(spans, q.device());
  std::vector<at::Tensor> outs;
  for (const auto& bucket : spans.padded->buckets) {
    if (bucket.length == 0) continue;
    const auto batch = [&](const at::Tensor& rows, const at::Tensor& index) {
      return rows.index_select(0, index)
          .view({bucket.count, bucket.length, rows.size(1), rows.size(2)})
          .transpose(1, 2);
    };
    const at::Tensor out =
        kernel(batch(q, bucket.queries), batch(k, bucket.keys), batch(v, bucket.keys));
    outs.push_back(out.transpose(1, 2).reshape({-1, q.size(1), q.size(2)}));
  }
  if (outs.empty()) return q + (k.slice(0, 0, 0).sum() + v.slice(0, 0, 0).sum());
  return at::cat(outs).index_select(0, spans.padded->order);
}

const char* cudnn_obstacle(const AttentionShape& shape) {
  if (shape.device.is_cpu()) return "needs a GPU";
  if (shape.type != at::kBFloat16) return "needs model.compute_dtype = bf16";
  if (shape.head_dim % 8 != 0 || shape.head_dim > 128)
    return "needs heads of a multiple of 8 numbers, at most 128";
  if (shape.window) return "has no kernel for a model that looks through a window";
  return nullptr;
}

at::Tensor cudnn_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const Spans& spans, double scale) {
  return padded_attention(
      q, k, v, spans,
      [&](const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values) {
        return std::get<0>(at::_scaled_dot_product_cudnn_attention(
            queries, keys, values, /*attn_bias=*/std::nullopt,
            /*compute_log_sumexp=*/at::GradMode::is_enabled(), /*dropout_p=*/0.0,
            /*is_causal=*/true, /*return_debug_mask=*/false, scale));
      });
}

}  // namespace lowmem::ops
