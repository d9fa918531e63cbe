#include "lowmem/ops/attention.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <span>

#include "gpu_attention.h"
#include "library_attention.h"
#include "lowmem/core/error.h"
#include "lowmem/kernels/attention.h"
#include "lowmem/kernels/place.h"
#include "lowmem/memory/rehearsal.h"
#include "lowmem/ops/device.h"
#include "lowmem/ops/elements.h"
#include "lowmem/ops/linear.h"
#include "lowmem/ops/rms_norm.h"
#include "lowmem/ops/rotary.h"
#include "wanted.h"

namespace lowmem::ops {
namespace {

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

// What of a call is the same for all sequences.
struct Whole {
  const at::Tensor &q, &k, &v;
  const Spans& spans;
  double scale;
};

std::vector<Piece> pieces_of(const Whole& whole) {
  const auto& [q, k, v, spans, scale] = whole;
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
    args.scale = static_cast<float>(scale);
    args.window = spans.window;
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

at::Tensor heads_of(const Whole& whole) {
  at::Tensor out = at::empty_like(whole.q);
  for_key_heads(pieces_of(whole), whole.k.size(1),
                [&](const Piece& piece, int64_t head, float* workspace) {
                  kernels::attention(piece.args, rows_from(out, piece.first_query),
                                     workspace, head, head + 1);
                });
  return out;
}

// The gradients by q, k and v.
variable_list head_gradients(const Whole& whole, const at::Tensor& out_gradient) {
  at::Tensor dq = at::empty_like(whole.q), dk = at::empty_like(whole.k),
             dv = at::empty_like(whole.v);
  for_key_heads(pieces_of(whole), whole.k.size(1),
                [&](const Piece& piece, int64_t head, float* workspace) {
                  kernels::attention_backward(
                      piece.args, rows_from(out_gradient, piece.first_query),
                      rows_from(dq, piece.first_query), rows_from(dk, piece.first_key),
                      rows_from(dv, piece.first_key), workspace, head, head + 1);
                });
  return {dq, dk, dv};
}

// What an autograd context keeps, in this order: queries, keys, values; four tensors each
// of how queries and keys are made again; each span's mask; and `last`. Lengths are
// numbers.
constexpr size_t kMakers = 3, kMakersEach = 3, kFirstMask = kMakers + 2 * kMakersEach;

void save(AutogradContext* context, const Heads& q, const Heads& k, const at::Tensor& v,
          const Spans& spans, double scale, at::TensorList last) {
  variable_list kept;
  for (const Heads* heads : {&q, &k})
    kept.push_back((heads->raw.defined() ? heads->raw : heads->value).detach());
  kept.push_back(v);
  for (const Heads* heads : {&q, &k}) {
    const bool again = heads->raw.defined();
    kept.push_back(again ? heads->norm_weight.detach() : at::Tensor());
    kept.push_back(again ? heads->cos : at::Tensor());
    kept.push_back(again ? heads->sin : at::Tensor());
  }
  std::vector<int64_t> queries, keys;
  for (const Span& span : spans) {
    queries.push_back(span.queries);
    keys.push_back(span.keys);
    kept.push_back(span.mask);
  }
  kept.insert(kept.end(), last.begin(), last.end());
  context->save_for_backward(std::move(kept));
  auto& data = context->saved_data;
  data["queries"] = std::move(queries);
  data["keys"] = std::move(keys);
  data["window"] = spans.window;
  data["scale"] = scale;
  data["eps"] = std::vector<double>{q.norm_eps, k.norm_eps};
}

// What save() kept, as it went into attention.
struct Kept {
  explicit Kept(AutogradContext* context) : saved(context->get_saved_variables()) {
    auto& data = context->saved_data;
    const auto queries = data["queries"].toIntVector(), keys = data["keys"].toIntVector();
    for (size_t i = 0; i < keys.size(); ++i)
      spans.push_back({queries[i], keys[i], saved[kFirstMask + i]});
    spans.window = data["window"].toInt();
    scale = data["scale"].toDouble();
    const auto eps = data["eps"].toDoubleVector();
    q = made(0, eps[0]);
    k = made(1, eps[1]);
  }

  Whole whole() const { return {q, k, saved[2], spans, scale}; }
  std::span<const at::Tensor> last() const {
    return std::span(saved).subspan(kFirstMask + spans.size());
  }

  variable_list saved;
  Spans spans;
  double scale = 0;
  at::Tensor q, k;

 private:
  at::Tensor made(size_t which, double eps) const {
    const at::Tensor* maker = &saved[kMakers + which * kMakersEach];
    return maker[0].defined()
               ? Heads::normed(saved[which], maker[0], eps, maker[1], maker[2]).value
               : saved[which];
  }
};

class Attention final : public torch::autograd::Function<Attention> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q,
                            const at::Tensor& k, const at::Tensor& v, const Spans& spans,
                            double scale) {
    save(context, q, k, v, spans, scale, {});
    return heads_of({q, k, v, spans, scale});
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const Kept kept(context);
    variable_list found = head_gradients(kept.whole(), gradients[0].contiguous());
    found.resize(5);
    return found;
  }
};

class AttentionLinear final : public torch::autograd::Function<AttentionLinear> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q,
                            const at::Tensor& k, const at::Tensor& v,
                            at::TensorList tensors, const Heads& made_q,
                            const Heads& made_k, const Spans& spans, double scale) {
    save(context, made_q, made_k, v, spans, scale, tensors);
    return LinearWeight::kept({tensors.data(), tensors.size()})
        .value(heads_of({q, k, v, spans, scale}).flatten(1));
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const Kept kept(context);
    const at::ScalarType type = kept.q.scalar_type();
    const LinearWeight weight = LinearWeight::kept(kept.last());
    const at::Tensor dy = gradients[0].contiguous();
    LinearFactor factor(weight, type);
    const at::Tensor heads_gradient = factor.by_input(dy);
    factor.release();
    LinearGradients by_weight(weight, factor, type,
                              wanted_of(context, 3, kept.last().size()));
    if (by_weight.needs_input()) by_weight.add(dy, heads_of(kept.whole()).flatten(1));
    const variable_list last = by_weight.finish(dy);
    variable_list found =
        head_gradients(kept.whole(), heads_gradient.view(kept.q.sizes()));
    found.insert(found.end(), last.begin(), last.end());
    found.resize(found.size() + 4);
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
                            const Spans& spans, const AttentionRule& rule) {
  const AttentionMode mode = rule.mode;
  AttentionShape shape = shape_of(q);
  shape.window = spans.window > 0;
  check_attention(mode, shape);
  if (spans.masked && (mode == AttentionMode::kFlash || mode == AttentionMode::kCudnn))
    throw Error("memory.attention = " + std::string(word_of(mode)),
                "cannot share a query among several texts",
                "Set eval.share_query = false");
  const double scale = rule.scale_of(q);
  if (mode == AttentionMode::kCudnn) return cudnn_attention(q, k, v, spans, scale);
  const bool flash =
      mode != AttentionMode::kMath && !spans.masked && flash_obstacle(shape) == nullptr;
  return flash ? flash_attention(q, k, v, spans, scale)
               : library_attention(q, k, v, spans, {mode, scale});
}

}  // namespace

double AttentionRule::scale_of(const at::Tensor& q) const {
  return scale != 0 ? scale : 1.0 / std::sqrt(static_cast<double>(q.size(2)));
}

Heads Heads::normed(const at::Tensor& x, const at::Tensor& weight, double eps,
                    const at::Tensor& cos, const at::Tensor& sin) {
  const at::Tensor normed =
      rms_norm(x.reshape({-1, x.size(2)}), weight, eps, x.scalar_type()).view(x.sizes());
  Heads heads(cos.defined() ? rotary(normed, cos, sin) : normed);
  heads.raw = x;
  heads.norm_weight = weight;
  heads.cos = cos;
  heads.sin = sin;
  heads.norm_eps = eps;
  return heads;
}

at::Tensor attention(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const Spans& spans, AttentionRule rule) {
  return by_kernel(q, spans, rule.mode)
             ? Attention::apply(q.contiguous(), k.contiguous(), v.contiguous(), spans,
                                rule.scale_of(q))
             : others_attention(q, k, v, spans, rule);
}

at::Tensor attention_linear(const Heads& q, const Heads& k, const at::Tensor& v,
                            const Spans& spans, const LinearWeight& weight,
                            AttentionRule rule) {
  if (!by_kernel(q.value, spans, rule.mode))
    return linear(others_attention(q.value, k.value, v, spans, rule).flatten(1), weight,
                  q.value.scalar_type());
  Heads contiguous_q = q, contiguous_k = k;
  for (Heads* heads : {&contiguous_q, &contiguous_k})
    heads->value = heads->value.contiguous();
  return AttentionLinear::apply(contiguous_q.value, contiguous_k.value, v.contiguous(),
                                at::TensorList(weight.tensors()), contiguous_q,
                                contiguous_k, spans, rule.scale_of(q.value));
}

at::Tensor attention_linear(const Heads& q, const Heads& k, const at::Tensor& v,
                            const std::array<Spans, 2>& spans, const LinearWeight& weight,
                            AttentionRule rule) {
  // Split's backward is one cat, where slices would each fill a tensor of all heads.
  const auto halves_of = [](const at::Tensor& heads) {
    return heads.split(heads.size(1) / 2, 1);
  };
  const auto queries = halves_of(q.value), keys = halves_of(k.value),
             values = halves_of(v);
  std::array<at::Tensor, 2> halves;
  for (size_t half = 0; half < halves.size(); ++half)
    halves[half] = attention(queries[half], keys[half], values[half], spans[half], rule);
  return linear(at::cat(halves, 1).flatten(1), weight, q.value.scalar_type());
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
