#include "lowmem/kernels/attention.h"

#include <limits>

#include "small_product.h"

namespace lowmem::kernels {
namespace LOWMEM_ISA {
namespace {

// One head's rows of [rows, heads, head_dim], in the workspace.
template <class T>
void read_head(const T* from, int64_t rows, int64_t heads, int64_t head, int64_t head_dim,
               float* to) {
  const int64_t width = padded(head_dim);
  for (int64_t row = 0; row < rows; ++row)
    for_lanes(0, head_dim, [&](int64_t i, auto lanes) {
      store(to + row * width + i, load(from + (row * heads + head) * head_dim + i, lanes),
            AllLanes{});
    });
}

template <class T>
void write_head(const float* from, int64_t rows, int64_t heads, int64_t head,
                int64_t head_dim, T* to) {
  const int64_t width = padded(head_dim);
  for (int64_t row = 0; row < rows; ++row)
    for_lanes(0, head_dim, [&](int64_t i, auto lanes) {
      store(to + (row * heads + head) * head_dim + i, load(from + row * width + i, lanes),
            lanes);
    });
}

void clear(float* numbers, int64_t count) {
  for_lanes(0, count,
            [&](int64_t i, auto lanes) { store(numbers + i, Float16{}, lanes); });
}

// [rows, width] -> [head_dim, padded(rows)], filled up with zeros.
void transpose(const float* from, int64_t rows, int64_t head_dim, float* to) {
  const int64_t width = padded(head_dim), stride = padded(rows);
  for (int64_t i = 0; i < head_dim; ++i) {
    for (int64_t row = 0; row < rows; ++row) to[i * stride + row] = from[row * width + i];
    for (int64_t row = rows; row < stride; ++row) to[i * stride + row] = 0;
  }
}

// The workspace, cut up.
struct Scratch {
  Scratch(const AttentionArgs& a, float* from) {
    const int64_t width = padded(a.head_dim), keys = padded(a.keys);
    const auto take = [&](int64_t count) {
      float* part = from;
      from += count;
      return part;
    };
    k = take(a.keys * width);
    v = take(a.keys * width);
    k_transposed = take(a.head_dim * keys);
    v_transposed = take(a.head_dim * keys);
    dk = take(a.keys * width);
    dv = take(a.keys * width);
    q = take(a.queries * width);
    out = take(a.queries * width);
    shares = take(a.queries * keys);
    score_gradients = take(a.queries * keys);
  }
  float *k, *v, *k_transposed, *v_transposed, *dk, *dv, *q, *out, *shares,
      *score_gradients;
};

// The keys that queries [first, first + 4) can see lie before this one.
int64_t keys_seen(const AttentionArgs& a, int64_t first) {
  return a.mask == nullptr ? std::min(a.keys, a.keys - a.queries + first + 4) : a.keys;
}

// And at or behind this one, for the query itself.
int64_t keys_before(const AttentionArgs& a, int64_t query) {
  return a.mask == nullptr && a.window > 0
             ? std::max<int64_t>(0, a.keys - a.queries + query + 1 - a.window)
             : 0;
}

// The same where whole lanes begin.
int64_t first_lane(const AttentionArgs& a, int64_t query) {
  return keys_before(a, query) / kLanes * kLanes;
}

// Scores of one query become its shares of the keys. Keys it does not see get 0.
void softmax_row(const AttentionArgs& a, int64_t query, float* row) {
  constexpr float kLowest = -std::numeric_limits<float>::infinity();
  const int64_t seen = a.mask == nullptr ? a.keys - a.queries + query + 1 : a.keys;
  const int64_t first = first_lane(a, query);
  if (a.mask != nullptr)
    for (int64_t key = 0; key < a.keys; ++key)
      if (!a.mask[query * a.keys + key]) row[key] = kLowest;
  clear(row, first);
  for (int64_t key = first; key < keys_before(a, query); ++key) row[key] = kLowest;
  for (int64_t key = seen; key < padded(a.keys); ++key) row[key] = kLowest;
  LargestLanes most(kLowest);
  for (int64_t i = first; i < padded(a.keys); i += kLanes)
    most.add(load(row + i, AllLanes{}));
  // All are NaN, or none is seen: then every power below is NaN, or 0.
  const float seen_most = most.total();
  const float top = seen_most == kLowest ? 0 : seen_most;
  Float16 sums{};
  for (int64_t i = first; i < padded(a.keys); i += kLanes) {
    const Float16 power = exponential((load(row + i, AllLanes{}) - top) * a.scale);
    sums += power;
    store(row + i, power, AllLanes{});
  }
  const float total = sum(sums);
  const float inverse = total == 0 ? 0 : 1 / total;
  for (int64_t i = first; i < padded(a.keys); i += kLanes)
    store(row + i, load(row + i, AllLanes{}) * inverse, AllLanes{});
}

// scores [queries, keys] = rows [queries, width] @ columns [head_dim, keys], where
// queries see keys.
void score(const AttentionArgs& a, const float* rows, const float* columns,
           float* scores) {
  const int64_t width = padded(a.head_dim), keys = padded(a.keys);
  for (int64_t first = 0; first < a.queries; first += 4) {
    const int64_t before = first_lane(a, first);
    product({rows + first * width, width, 1}, columns + before, keys,
            scores + first * keys + before, keys, std::min<int64_t>(4, a.queries - first),
            padded(keys_seen(a, first)) - before, a.head_dim, /*add=*/false);
  }
}

// Each query's shares of the keys, of the head whose queries are in s.q.
void make_shares(const AttentionArgs& a, const Scratch& s) {
  const int64_t keys = padded(a.keys);
  score(a, s.q, s.k_transposed, s.shares);
  for (int64_t query = 0; query < a.queries; ++query)
    softmax_row(a, query, s.shares + query * keys);
}

// out [queries, width] = shares @ rows [keys, width]
void mix(const AttentionArgs& a, const float* shares, const float* rows, float* out) {
  const int64_t width = padded(a.head_dim), keys = padded(a.keys);
  for (int64_t first = 0; first < a.queries; first += 4) {
    const int64_t before = first_lane(a, first);
    product({shares + first * keys + before, keys, 1}, rows + before * width, width,
            out + first * width, width, std::min<int64_t>(4, a.queries - first), width,
            keys_seen(a, first) - before, /*add=*/false);
  }
}

// out [keys, width] += shares^T @ rows [queries, width]
void mix_back(const AttentionArgs& a, const float* shares, const float* rows,
              float* out) {
  const int64_t width = padded(a.head_dim), keys = padded(a.keys);
  if (a.mask != nullptr || a.window == 0)
    return product({shares, 1, keys}, rows, width, out, width, a.keys, width, a.queries,
                   /*add=*/true);
  const int64_t behind = a.keys - a.queries;  // keys before the first query's own
  for (int64_t key = 0; key < a.keys; key += 4) {
    const int64_t begin = std::max<int64_t>(0, key - behind);
    const int64_t end =
        std::min(a.queries, std::max<int64_t>(0, key + 3 + a.window - behind));
    if (begin < end)
      product({shares + begin * keys + key, 1, keys}, rows + begin * width, width,
              out + key * width, width, std::min<int64_t>(4, a.keys - key), width,
              end - begin, /*add=*/true);
  }
}

template <class T>
void forward(const AttentionArgs& a, T* out, float* workspace, int64_t begin,
             int64_t end) {
  const Scratch s(a, workspace);
  const int64_t group = a.heads / a.kv_heads;
  for (int64_t kv = begin; kv < end; ++kv) {
    read_head(static_cast<const T*>(a.k.data), a.keys, a.kv_heads, kv, a.head_dim, s.k);
    read_head(static_cast<const T*>(a.v.data), a.keys, a.kv_heads, kv, a.head_dim, s.v);
    transpose(s.k, a.keys, a.head_dim, s.k_transposed);
    for (int64_t head = kv * group; head < (kv + 1) * group; ++head) {
      read_head(static_cast<const T*>(a.q.data), a.queries, a.heads, head, a.head_dim,
                s.q);
      make_shares(a, s);
      mix(a, s.shares, s.v, s.out);
      write_head(s.out, a.queries, a.heads, head, a.head_dim, out);
    }
  }
}

// From the gradients by the shares, in `row`, those by the scores before scaling:
// share (gradient - sum of shares times gradients) scale.
void softmax_backward_row(const AttentionArgs& a, const float* shares, float* row) {
  Float16 sums{};
  for (int64_t i = 0; i < padded(a.keys); i += kLanes)
    sums += load(shares + i, AllLanes{}) * load(row + i, AllLanes{});
  const float mean = sum(sums);
  for (int64_t i = 0; i < padded(a.keys); i += kLanes)
    store(row + i,
          load(shares + i, AllLanes{}) * (load(row + i, AllLanes{}) - mean) * a.scale,
          AllLanes{});
}

template <class T>
void backward(const AttentionArgs& a, const T* out_gradient, T* dq, T* dk, T* dv,
              float* workspace, int64_t begin, int64_t end) {
  const Scratch s(a, workspace);
  const int64_t width = padded(a.head_dim), keys = padded(a.keys);
  const int64_t group = a.heads / a.kv_heads;
  for (int64_t kv = begin; kv < end; ++kv) {
    read_head(static_cast<const T*>(a.k.data), a.keys, a.kv_heads, kv, a.head_dim, s.k);
    read_head(static_cast<const T*>(a.v.data), a.keys, a.kv_heads, kv, a.head_dim, s.v);
    transpose(s.k, a.keys, a.head_dim, s.k_transposed);
    transpose(s.v, a.keys, a.head_dim, s.v_transposed);
    clear(s.dk, a.keys * width);
    clear(s.dv, a.keys * width);
    for (int64_t head = kv * group; head < (kv + 1) * group; ++head) {
      read_head(static_cast<const T*>(a.q.data), a.queries, a.heads, head, a.head_dim,
                s.q);
      make_shares(a, s);
      read_head(out_gradient, a.queries, a.heads, head, a.head_dim, s.out);
      clear(s.score_gradients, a.queries * keys);
      score(a, s.out, s.v_transposed, s.score_gradients);
      mix_back(a, s.shares, s.out, s.dv);
      for (int64_t query = 0; query < a.queries; ++query)
        softmax_backward_row(a, s.shares + query * keys,
                             s.score_gradients + query * keys);
      mix_back(a, s.score_gradients, s.q, s.dk);
      mix(a, s.score_gradients, s.k, s.out);
      write_head(s.out, a.queries, a.heads, head, a.head_dim, dq);
    }
    write_head(s.dk, a.keys, a.kv_heads, kv, a.head_dim, dk);
    write_head(s.dv, a.keys, a.kv_heads, kv, a.head_dim, dv);
  }
}

}  // namespace

int64_t attention_workspace(const AttentionArgs& args) {
  const int64_t width = padded(args.head_dim), keys = padded(args.keys);
  return 4 * args.keys * width + 2 * args.head_dim * keys +
         2 * args.queries * (width + keys);
}

void attention(const AttentionArgs& args, Array out, float* workspace, int64_t begin,
               int64_t end) {
  with_mutable_type(out, [&](auto* to) { forward(args, to, workspace, begin, end); });
}

void attention_backward(const AttentionArgs& args, ConstArray out_gradient, Array dq,
                        Array dk, Array dv, float* workspace, int64_t begin,
                        int64_t end) {
  with_mutable_type(dq, [&](auto* to) {
    using T = decltype(to);
    backward(args, static_cast<const std::remove_pointer_t<T>*>(out_gradient.data), to,
             static_cast<T>(dk.data), static_cast<T>(dv.data), workspace, begin, end);
  });
}

}  // namespace LOWMEM_ISA

LOWMEM_DISPATCH(int64_t, attention_workspace, (const AttentionArgs& args), (args))
LOWMEM_DISPATCH(void, attention,
                (const AttentionArgs& args, Array out, float* workspace, int64_t begin,
                 int64_t end),
                (args, out, workspace, begin, end))
LOWMEM_DISPATCH(void, attention_backward,
                (const AttentionArgs& args, ConstArray out_gradient, Array dq, Array dk,
                 Array dv, float* workspace, int64_t begin, int64_t end),
                (args, out_gradient, dq, dk, dv, workspace, begin, end))

}  // namespace lowmem::kernels
