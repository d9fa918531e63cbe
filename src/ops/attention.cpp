#include "lowmem/ops/attention.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <limits>

#include "gpu_attention.h"
#include "lowmem/core/error.h"
#include "lowmem/kernels/attention.h"
#include "lowmem/kernels/place.h"
#include "lowmem/memory/rehearsal.h"
#include "lowmem/ops/device.h"
#include "lowmem/ops/elements.h"
#include "lowmem/ops/linear.h"
#include "wanted.h"

namespace lowmem::ops {
namespace {

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
at::Tensor tail_mask(int64_t queries, int64_t keys, c10::Device device) {
  return at::ones({queries, keys}, at::TensorOptions(at::kBool).device(device))
      .tril(keys - queries);
}

at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                  const Run& run, AttentionMode mode) {
  const double scale = 1.0 / std::sqrt(static_cast<double>(q.size(2)));
  std::optional<at::Tensor> mask;
  if (run.mask.defined())
    mask = run.mask;
  else if (run.queries != run.keys)
    mask = tail_mask(run.queries, run.keys, q.device());
  const at::Tensor queries = by_head(q, run.count);
  at::Tensor keys = by_head(k, run.count), values = by_head(v, run.count);
  const int64_t group = q.size(1) / k.size(1);
  at::Tensor mixed;
  if (memory::rehearsing() && mode == AttentionMode::kMath) {
    mixed = formula_room(queries, keys, values);
  } else if (mode == AttentionMode::kMath) {
    // The formula adds its mask to the scores.
    if (mask)
      mask = at::zeros(mask->sizes(), q.options())
                 .masked_fill_(mask->logical_not(),
                               -std::numeric_limits<double>::infinity());
    mixed = std::get<0>(at::_scaled_dot_product_attention_math(
        queries, keys, values, mask, /*dropout_p=*/0.0, /*is_causal=*/!mask.has_value(),
        /*dropout_mask=*/std::nullopt, scale, /*enable_gqa=*/group > 1));
  } else {
    // LibTorch's memory-efficient kernel wants a key head for each head.
    const bool expand = group > 1 && (!q.is_cpu() || memory::rehearsed_gpu() != nullptr);
    if (expand) {
      keys = keys.repeat_interleave(group, 1);
      values = values.repeat_interleave(group, 1);
    }
    mixed = memory::rehearsing()
                ? blocks_room(queries, keys, values)
                : at::scaled_dot_product_attention(queries, keys, values, mask,
                                                   /*dropout_p=*/0.0,
                                                   /*is_causal=*/!mask.has_value(), scale,
                                                   /*enable_gqa=*/group > 1 && !expand);
  }
  return mixed.transpose(1, 2).reshape(q.sizes());
}

at::Tensor library_attention(const at::Tensor& q, const at::Tensor& k,
                             const at::Tensor& v, const Spans& spans,
                             AttentionMode mode) {
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
      out.push_back(attend(q_runs[i], k_runs[i], v_runs[i], runs[i], mode));
  // No query at all: an empty result that still hangs on its inputs, whose gradients are
  // 0.
  if (out.empty()) return q + (k.slice(0, 0, 0).sum() + v.slice(0, 0, 0).sum());
  return out.size() == 1 ? out[0] : at::cat(out, 0);
}

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

// Up to this many keys all scores of a head lie in memory; beyond, LibTorch's blocked
// attention takes over.
constexpr int64_t kMostKeys = 512;

// Addresses of the rows from `start` on of [rows, heads, head_dim].
kernels::ConstArray rows_from(const at::Tensor& tensor, int64_t start) {
  kernels::ConstArray array = const_array_of(tensor);
  array.data = static_cast<const char*>(array.data) +
               start * tensor.size(1) * tensor.size(2) * tensor.element_size();
  return array;
}
kernels::Array rows_from(at::Tensor& tensor, int64_t start) {
  kernels::Array array = array_of(tensor);
  array.data = static_cast<char*>(array.data) +
               start * tensor.size(1) * tensor.size(2) * tensor.element_size();
  return array;
}

struct Piece {
  kernels::AttentionArgs args;
  int64_t first_query, first_key;
};

std::vector<Piece> pieces_of(const at::Tensor& q, const at::Tensor& k,
                             const at::Tensor& v, const Spans& spans) {
  std::vector<Piece> pieces;
  int64_t query = 0, key = 0;
  for (const Span& span : spans) {
    kernels::AttentionArgs args{rows_from(q, query), rows_from(k, key),
                                rows_from(v, key)};
    args.queries = span.queries;
    args.keys = span.keys;
    args.heads = q.size(1);
    args.kv_heads = k.size(1);
    args.head_dim = q.size(2);
    args.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(q.size(2))));
    args.mask = span.mask.defined() ? span.mask.const_data_ptr<bool>() : nullptr;
    pieces.push_back({args, query, key});
    query += span.queries;
    key += span.keys;
  }
  return pieces;
}

// Calls f(piece, key head, workspace) for all of them, over LibTorch's threads.
template <class F>
void for_key_heads(const std::vector<Piece>& pieces, int64_t kv_heads, F&& f) {
  int64_t most = 0;
  for (const Piece& piece : pieces)
    most = std::max(most, kernels::attention_workspace(piece.args));
  const auto count = static_cast<int64_t>(pieces.size()) * kv_heads;
  const int64_t threads = std::min<int64_t>(count, at::get_num_threads());
  at::Tensor workspace = at::empty({threads, most}, at::kFloat);
  parallel(count, 1, [&](int64_t begin, int64_t end) {
    float* floats = floats_of(workspace) + at::get_thread_num() * most;
    for (int64_t i = begin; i < end; ++i)
      f(pieces[static_cast<size_t>(i / kv_heads)], i % kv_heads, floats);
  });
}

at::Tensor heads_of(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                    const Spans& spans) {
  at::Tensor out = at::empty_like(q);
  for_key_heads(pieces_of(q, k, v, spans), k.size(1),
                [&](const Piece& piece, int64_t head, float* workspace) {
                  kernels::attention(piece.args, rows_from(out, piece.first_query),
                                     workspace, head, head + 1);
                });
  return out;
}

// The gradients by q, k and v.
variable_list head_gradients(const at::Tensor& q, const at::Tensor& k,
                             const at::Tensor& v, const Spans& spans,
                             const at::Tensor& out_gradient) {
  at::Tensor dq = at::empty_like(q), dk = at::empty_like(k), dv = at::empty_like(v);
  for_key_heads(pieces_of(q, k, v, spans), k.size(1),
                [&](const Piece& piece, int64_t head, float* workspace) {
                  kernels::attention_backward(
                      piece.args, rows_from(out_gradient, piece.first_query),
                      rows_from(dq, piece.first_query), rows_from(dk, piece.first_key),
                      rows_from(dv, piece.first_key), workspace, head, head + 1);
                });
  return {dq, dk, dv};
}

// Spans in an autograd context: lengths as numbers, masks as tensors after q, k and v.
constexpr size_t kFirstMask = 3;

// `last` are kept behind them.
void save(AutogradContext* context, const at::Tensor& q, const at::Tensor& k,
          const at::Tensor& v, const Spans& spans, at::TensorList last) {
  variable_list kept = {q, k, v};
  std::vector<int64_t> queries, keys;
  for (const Span& span : spans) {
    queries.push_back(span.queries);
    keys.push_back(span.keys);
    kept.push_back(span.mask);
  }
  kept.insert(kept.end(), last.begin(), last.end());
  context->save_for_backward(std::move(kept));
  context->saved_data["queries"] = std::move(queries);
  context->saved_data["keys"] = std::move(keys);
}

Spans saved_spans(AutogradContext* context, const variable_list& saved) {
  const auto queries = context->saved_data["queries"].toIntVector();
  const auto keys = context->saved_data["keys"].toIntVector();
  Spans spans;
  for (size_t i = 0; i < keys.size(); ++i)
    spans.push_back({queries[i], keys[i], saved[kFirstMask + i]});
  return spans;
}

class Attention final : public torch::autograd::Function<Attention> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q,
                            const at::Tensor& k, const at::Tensor& v,
                            const Spans& spans) {
    save(context, q, k, v, spans, {});
    return heads_of(q, k, v, spans);
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    variable_list found =
        head_gradients(saved[0], saved[1], saved[2], saved_spans(context, saved),
                       gradients[0].contiguous());
    found.emplace_back();
    return found;
  }
};

class AttentionLinear final : public torch::autograd::Function<AttentionLinear> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q,
                            const at::Tensor& k, const at::Tensor& v,
                            at::TensorList tensors, const Spans& spans) {
    save(context, q, k, v, spans, tensors);
    return LinearWeight::kept({tensors.data(), tensors.size()})
        .value(heads_of(q, k, v, spans).flatten(1));
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2];
    const Spans spans = saved_spans(context, saved);
    const auto kept = std::span(saved).subspan(kFirstMask + spans.size());
    const LinearWeight weight = LinearWeight::kept(kept);
    const at::Tensor dy = gradients[0].contiguous();
    const at::Tensor heads_gradient = LinearFactor(weight, q.scalar_type()).by_input(dy);
    LinearGradients by_weight(weight, q.scalar_type(),
                              wanted_of(context, kFirstMask, kept.size()));
    if (by_weight.needs_input()) by_weight.add(dy, heads_of(q, k, v, spans).flatten(1));
    const variable_list last = by_weight.finish(dy);
    variable_list found = head_gradients(q, k, v, spans, heads_gradient.view(q.sizes()));
    found.insert(found.end(), last.begin(), last.end());
    found.emplace_back();
    return found;
  }
};

bool short_enough(const Spans& spans) {
  return std::all_of(spans.begin(), spans.end(),
                     [](const Span& span) { return span.keys <= kMostKeys; });
}

AttentionShape shape_of(const at::Tensor& q) {
  return {q.device(), q.scalar_type(), q.size(2)};
}

bool by_kernel(const at::Tensor& q, const Spans& spans, AttentionMode mode) {
  const bool known =
      q.is_cpu() && (q.scalar_type() == at::kFloat || q.scalar_type() == at::kBFloat16);
  return known && memory::rehearsed_gpu() == nullptr && short_enough(spans) &&
         mode == AttentionMode::kAuto;
}

// What is not ours: LibTorch's kernels and the formula.
at::Tensor others_attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const Spans& spans, AttentionMode mode) {
  check_attention(mode, shape_of(q));
  if (spans.masked && (mode == AttentionMode::kFlash || mode == AttentionMode::kCudnn))
    throw Error("memory.attention = " + std::string(word_of(mode)),
                "cannot share a query among several texts",
                "Set eval.share_query = false");
  if (mode == AttentionMode::kCudnn) return cudnn_attention(q, k, v, spans);
  const bool flash = mode != AttentionMode::kMath && !spans.masked &&
                     flash_obstacle(shape_of(q)) == nullptr;
  return flash ? flash_attention(q, k, v, spans)
               : library_attention(q, k, v, spans, mode);
}

}  // namespace

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const Spans& spans, AttentionMode mode) {
  return by_kernel(q, spans, mode)
             ? Attention::apply(q.contiguous(), k.contiguous(), v.contiguous(), spans)
             : others_attention(q, k, v, spans, mode);
}

at::Tensor attention_linear(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                            const Spans& spans, const LinearWeight& weight,
                            AttentionMode mode) {
  if (!by_kernel(q, spans, mode))
    return linear(others_attention(q, k, v, spans, mode).flatten(1), weight,
                  q.scalar_type());
  return AttentionLinear::apply(q.contiguous(), k.contiguous(), v.contiguous(),
                                at::TensorList(weight.tensors()), spans);
}

void check_attention(AttentionMode mode, const AttentionShape& shape) {
  const char* obstacle = nullptr;
  if (mode == AttentionMode::kFlash) obstacle = flash_obstacle(shape);
  if (mode == AttentionMode::kCudnn) obstacle = cudnn_obstacle(shape);
  if (obstacle != nullptr)
    throw Error("memory.attention = " + std::string(word_of(mode)), obstacle,
                "Set memory.attention = auto, which takes another kernel there");
  // LibTorch's memory-efficient kernel reads 16 bytes at a time.
  const int64_t multiple = shape.type == at::kFloat ? 4 : 8;
  if (mode == AttentionMode::kAuto && !shape.device.is_cpu() &&
      shape.head_dim % multiple != 0)
    throw Error("memory.attention = auto",
                "has no kernel on a GPU for heads of " + std::to_string(shape.head_dim) +
                    " numbers",
                "Set memory.attention = math, the plain formula");
}

bool attention_replays(AttentionMode mode, const AttentionShape& shape) {
  if (mode == AttentionMode::kMath || mode == AttentionMode::kCudnn) return false;
  return kernels::cuda::on_cpu() || flash_obstacle(shape) == nullptr;
}

void Spans::place_on(c10::Device device) {
  std::vector<int32_t> queries = {0}, keys = {0};
  for (const Span& span : *this) {
    queries.push_back(queries.back() + static_cast<int32_t>(span.queries));
    keys.push_back(keys.back() + static_cast<int32_t>(span.keys));
    most_queries = std::max(most_queries, span.queries);
    most_keys = std::max(most_keys, span.keys);
    masked = masked || span.mask.defined();
  }
  if (device.is_cpu()) return;
  query_offsets = to_device(at::tensor(queries, at::kInt), device);
  key_offsets = to_device(at::tensor(keys, at::kInt), device);
}

}  // namespace lowmem::ops
