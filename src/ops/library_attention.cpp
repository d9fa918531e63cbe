#include "library_attention.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <limits>

#include "gpu_attention.h"
#include "lowmem/memory/rehearsal.h"
#include "lowmem/ops/large.h"

namespace lowmem::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// `rows` of [count * length, heads, head_dim] as [count, heads, length, head_dim].
at::Tensor by_head(const at::Tensor& rows, int64_t count) {
  return rows.view({count, rows.size(0) / count, rows.size(1), rows.size(2)})
      .transpose(1, 2);
}

// Sequences that one call can take: some without a mask and of one length, or one.
struct Run {
  int64_t count, queries, keys;  // in all
  at::Tensor mask;
};

std::vector<Run> runs_of(const Spans& spans) {
  std::vector<Run> runs;
  for (const Span& span : spans) {
    const bool joins = !runs.empty() && !span.mask.defined() &&
                       !runs.back().mask.defined() && span.queries == span.keys &&
                       runs.back().queries == runs.back().keys &&
                       runs.back().queries == span.queries * runs.back().count;
    if (!joins) {
      runs.push_back({1, span.queries, span.keys, span.mask});
      continue;
    }
    ++runs.back().count;
    runs.back().queries += span.queries;
    runs.back().keys += span.keys;
  }
  return runs;
}

// Who sees whom where queries are the last of the keys.
at::Tensor tail_mask(int64_t queries, int64_t keys, int64_t window, c10::Device device) {
  at::Tensor mask = at::ones({queries, keys}, at::TensorOptions(at::kBool).device(device))
                        .tril_(keys - queries);
  return window > 0 ? mask.triu_(keys - queries - window + 1) : mask;
}

// q [count, heads, queries, head_dim], k and v [count, kv_heads, keys, head_dim]. Without
// a mask each query sees its own key and those before it.
at::Tensor attend(const at::Tensor& q, at::Tensor k, at::Tensor v,
                  std::optional<at::Tensor> mask, const AttentionRule& rule) {
  const int64_t group = q.size(1) / k.size(1);
  if (rule.mode == AttentionMode::kMath) {
    if (memory::rehearsing()) return formula_room(q, k, v);
    // The formula adds its mask to the scores.
    if (mask)
      mask = at::zeros(mask->sizes(), q.options())
                 .masked_fill_(mask->logical_not(),
                               -std::numeric_limits<double>::infinity());
    return std::get<0>(at::_scaled_dot_product_attention_math(
        q, k, v, mask, /*dropout_p=*/0.0, /*is_causal=*/!mask.has_value(),
        /*dropout_mask=*/std::nullopt, rule.scale, /*enable_gqa=*/group > 1));
  }
  // LibTorch's memory-efficient kernel wants a key head for each head.
  const bool expand = group > 1 && (!q.is_cpu() || memory::rehearsed_gpu() != nullptr);
  if (expand) {
    k = k.repeat_interleave(group, 1);
    v = v.repeat_interleave(group, 1);
  }
  if (memory::rehearsing()) return blocks_room(q, k, v, mask.has_value());
  return at::scaled_dot_product_attention(q, k, v, mask, /*dropout_p=*/0.0,
                                          /*is_causal=*/!mask.has_value(), rule.scale,
                                          /*enable_gqa=*/group > 1 && !expand);
}

// Some queries of each sequence of a run, and the keys that they see.
struct Part {
  int64_t query, queries, key, keys;
  bool windowed;  // some see no key before their window
};

constexpr int64_t kQueries = 512;  // of a part, but for the first

std::vector<Part> parts_of(int64_t queries, int64_t keys, int64_t window) {
  std::vector<Part> parts;
  const int64_t behind = keys - queries;
  for (int64_t at = 0; at < queries;) {
    // The first queries of a sequence see all before them.
    const int64_t most = behind == 0 && at == 0 ? window : kQueries;
    const int64_t count = std::min(most, queries - at);
    const int64_t begin = std::max<int64_t>(0, behind + at + 1 - window);
    const int64_t end = behind + at + count;
    parts.push_back({at, count, begin, end - begin, end - begin > window});
    at += count;
  }
  return parts;
}

// Attention through a window, part by part, of which the backward pass makes each again.
class Windowed final : public torch::autograd::Function<Windowed> {
 public:
  // All of them as attend() takes them.
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q,
                            const at::Tensor& k, const at::Tensor& v, int64_t window,
                            const AttentionRule& rule) {
    context->save_for_backward({q, k, v});
    auto& data = context->saved_data;
    data["window"] = window;
    data["mode"] = static_cast<int64_t>(rule.mode);
    data["scale"] = rule.scale;
    // A token's heads together, as those of a linear layer.
    at::Tensor out = at::empty({q.size(0), q.size(2), q.size(1), q.size(3)}, q.options())
                         .transpose(1, 2);
    for (const Part& part : parts_of(q.size(2), k.size(2), window))
      out.narrow(2, part.query, part.queries)
          .copy_(attend_part(part, {q, k, v}, window, rule));
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    auto& data = context->saved_data;
    const int64_t window = data["window"].toInt();
    const AttentionRule rule(static_cast<AttentionMode>(data["mode"].toInt()),
                             data["scale"].toDouble());
    // Keys are seen by several parts, whose shares are added up in fp32.
    const at::ScalarType sum_type =
        saved[0].scalar_type() == at::kBFloat16 ? at::kFloat : saved[0].scalar_type();
    const auto sums_of = [&](const at::Tensor& like) {
      return zeros(like.sizes(), like.options().dtype(sum_type));
    };
    at::Tensor dq = at::empty_like(saved[0]);
    at::Tensor dk = sums_of(saved[1]), dv = sums_of(saved[2]);
    for (const Part& part : parts_of(saved[0].size(2), saved[1].size(2), window)) {
      const at::AutoGradMode with_graph(true);
      const variable_list leaves = {
          saved[0].narrow(2, part.query, part.queries).detach().set_requires_grad(true),
          saved[1].narrow(2, part.key, part.keys).detach().set_requires_grad(true),
          saved[2].narrow(2, part.key, part.keys).detach().set_requires_grad(true)};
      const at::Tensor out = attend(leaves[0], leaves[1], leaves[2],
                                    mask_of(part, window, saved[0].device()), rule);
      const variable_list found = torch::autograd::grad(
          {out}, leaves, {gradients[0].narrow(2, part.query, part.queries)});
      const at::NoGradGuard no_graph;
      dq.narrow(2, part.query, part.queries).copy_(found[0]);
      dk.narrow(2, part.key, part.keys).add_(found[1]);
      dv.narrow(2, part.key, part.keys).add_(found[2]);
    }
    return {dq, converted(dk, saved[1].scalar_type()),
            converted(dv, saved[2].scalar_type()), at::Tensor(), at::Tensor()};
  }

 private:
  static std::optional<at::Tensor> mask_of(const Part& part, int64_t window,
                                           c10::Device device) {
    if (!part.windowed && part.queries == part.keys) return std::nullopt;
    return tail_mask(part.queries, part.keys, part.windowed ? window : 0, device);
  }

  static at::Tensor attend_part(const Part& part, const variable_list& all,
                                int64_t window, const AttentionRule& rule) {
    return attend(all[0].narrow(2, part.query, part.queries),
                  all[1].narrow(2, part.key, part.keys),
                  all[2].narrow(2, part.key, part.keys),
                  mask_of(part, window, all[0].device()), rule);
  }
};

at::Tensor attend_run(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                      const Run& run, int64_t window, const AttentionRule& rule) {
  const at::Tensor queries = by_head(q, run.count);
  const at::Tensor keys = by_head(k, run.count), values = by_head(v, run.count);
  const int64_t length = run.keys / run.count;
  at::Tensor mixed;
  if (!run.mask.defined() && window > 0 && length > window) {
    mixed = Windowed::apply(queries, keys, values, window, rule);
  } else {
    std::optional<at::Tensor> mask;
    if (run.mask.defined())
      mask = run.mask;
    else if (run.queries != run.keys)
      mask = tail_mask(run.queries, run.keys, 0, q.device());
    mixed = attend(queries, keys, values, mask, rule);
  }
  return mixed.transpose(1, 2).reshape(q.sizes());
}

}  // namespace

at::Tensor library_attention(const at::Tensor& q, const at::Tensor& k,
                             const at::Tensor& v, const Spans& spans,
                             const AttentionRule& rule) {
  const std::vector<Run> runs = runs_of(spans);
  std::vector<int64_t> queries, keys;
  for (const Run& run : runs) {
    queries.push_back(run.queries);
    keys.push_back(run.keys);
  }
  // split's backward is one cat, where slices would each fill a tensor of all rows.
  const auto q_runs = q.split_with_sizes(queries);
  const auto k_runs = k.split_with_sizes(keys);
  const auto v_runs = v.split_with_sizes(keys);
  std::vector<at::Tensor> out;
  out.reserve(runs.size());
  for (size_t i = 0; i < runs.size(); ++i)
    if (runs[i].queries > 0)
      out.push_back(
          attend_run(q_runs[i], k_runs[i], v_runs[i], runs[i], spans.window, rule));
  // No query at all: an empty result that still hangs on its inputs, whose gradients are
  // 0.
  if (out.empty()) return q + (k.slice(0, 0, 0).sum() + v.slice(0, 0, 0).sum());
  return out.size() == 1 ? out[0] : at::cat(out, 0);
}

}  // namespace lowmem::ops
