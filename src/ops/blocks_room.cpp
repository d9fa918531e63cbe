// What LibTorch's attention by blocks takes on the CPU, for rehearsals. Its sizes are
// those of PyTorch 2.11, aten/src/ATen/native/cpu/FlashAttentionKernel.cpp.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/native/CPUBlas.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <array>
#include <map>

#include "gpu_attention.h"
#include "lowmem/memory/ledger.h"
#include "lowmem/memory/rehearsal.h"

namespace lowmem::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

int64_t divided_up(int64_t number, int64_t by) { return (number + by - 1) / by; }
int64_t even(int64_t number) { return number + number % 2; }

// Queries of a block, by those that there are.
int64_t full_rows(int64_t queries) {
  return queries >= 768 ? 256 : queries >= 192 ? 64 : 32;
}
constexpr int64_t kFullColumns = 512;  // keys of a block

// A call: q [count, heads, queries, head_dim], k and v [count, kv_heads, keys, head_dim].
struct Call {
  Call(const at::Tensor& q, const at::Tensor& k)
      : type(q.scalar_type()),
        count(q.size(0)),
        heads(q.size(1)),
        kv_heads(k.size(1)),
        queries(q.size(2)),
        keys(k.size(2)),
        head_dim(q.size(3)) {}

  bool narrow() const { return type != at::kFloat; }
  int64_t bytes_of(int64_t numbers) const {
    return numbers * static_cast<int64_t>(elementSize(type));
  }

  at::ScalarType type;
  int64_t count, heads, kv_heads, queries, keys, head_dim;
  int64_t threads = at::get_num_threads();
  int64_t rows = std::min(full_rows(queries), queries);
  int64_t columns = std::min(kFullColumns, keys);
};

// Whether keys and values are laid out anew, for AMX: where there is some, and each is
// read often enough by a thread.
bool packs(const Call& call, bool causal) {
  if (!call.narrow() || memory::rehearsed_gpu() != nullptr ||
      !at::native::cpublas::could_pack(call.type))
    return false;
  constexpr int64_t kLeast = 64, kTimes = 4;
  if (call.keys < kLeast || call.queries < kLeast) return false;
  const int64_t blocks = divided_up(
      call.count * call.heads * divided_up(call.queries, call.rows), call.threads);
  const int64_t seen = causal ? std::min(call.queries, call.keys) : call.keys;
  return blocks * call.rows * seen >= kTimes * call.count * call.kv_heads * call.keys;
}

// Bytes beside the results: a thread's scores, sums and output, and what is packed.
int64_t forward_scratch(const Call& call, bool causal) {
  const int64_t block = call.rows * call.columns;
  const int64_t floats =
      call.threads * (block + 2 * call.rows + call.rows * call.head_dim);
  const int64_t bytes = 4 * floats;
  if (!call.narrow()) return bytes;
  if (!packs(call, causal)) return bytes + call.bytes_of(call.threads * block);
  const int64_t width = even(call.head_dim), columns = even(call.columns);
  const int64_t full = (call.keys - 1) / call.columns;
  const int64_t padded = full * columns + even(call.keys - full * call.columns);
  const int64_t packed =
      call.count * call.kv_heads * (width * call.keys + padded * call.head_dim);
  const int64_t transposed = call.threads * call.columns * call.head_dim;
  const int64_t queries = width == call.head_dim ? 0 : call.threads * call.rows * width;
  return bytes + call.bytes_of(call.threads * call.rows * columns + packed + transposed +
                               queries);
}

// Threads that get some of the key heads.
int64_t working_threads(const Call& call) {
  const int64_t items = call.count * call.kv_heads;
  return divided_up(items, divided_up(items, call.threads));
}

// Bytes beside the gradients: a thread's weights and their gradients, and sums of those
// that work.
int64_t backward_scratch(const Call& call) {
  const int64_t numbers = call.threads * 2 * call.rows * call.columns;
  return 4 * (numbers + working_threads(call) * call.rows) +
         (call.narrow() ? call.bytes_of(numbers) : 0);
}

// [count, heads, length, head_dim] as the kernel lays it out: a token's heads together.
at::Tensor by_token(const at::Tensor& like) {
  return at::empty({like.size(0), like.size(2), like.size(1), like.size(3)},
                   like.options())
      .transpose(1, 2);
}

// What a backward pass goes by.
struct Saved {
  at::Tensor q, k, out, log_sum_exp, gradient;

  // One head's, as long as asked for.
  Saved one_head(int64_t queries, int64_t keys) const {
    const auto of = [](const at::Tensor& all, int64_t length) {
      return all.narrow(0, 0, 1).narrow(1, 0, 1).narrow(2, 0, length);
    };
    return {of(q, queries), of(k, keys), of(out, queries), of(log_sum_exp, queries),
            of(gradient, queries)};
  }
};

// The gradient with a token's heads together, where it has to be laid out so.
int64_t copied_gradient(const Saved& saved) {
  return saved.gradient.transpose(1, 2).is_contiguous()
             ? 0
             : Call(saved.q, saved.k).bytes_of(saved.gradient.numel());
}

// The most that oneDNN takes for one of the products of a backward pass. Counted while
// they are computed, for nothing else tells.
int64_t taken_by_products(const Saved& saved) {
  const at::NoGradGuard no_graph;
  memory::Ledger& ledger = memory::device_ledger();
  ledger.take_peak();
  const int64_t before = ledger.current();
  at::_scaled_dot_product_flash_attention_for_cpu_backward(
      saved.gradient, saved.q, saved.k, saved.k, saved.out, saved.log_sum_exp,
      /*dropout_p=*/0.0, /*is_causal=*/false, /*attn_mask=*/std::nullopt, /*scale=*/0.5);
  const Call call(saved.q, saved.k);
  const int64_t gradients = call.bytes_of(saved.q.numel() + 2 * saved.k.numel());
  return ledger.take_peak() - before - gradients - copied_gradient(saved) -
         backward_scratch(call);
}

bool multiplies_with_onednn() {
  static const bool found = [] {
    const at::Tensor some = at::zeros({1, 1, 32, 32}, at::kBFloat16);
    const at::Tensor sums = at::zeros({1, 1, 32}, at::kFloat);
    return taken_by_products({some, some, some, sums, some}) > 0;
  }();
  return found;
}

// Bytes that oneDNN takes for one thread's products. It sizes them for all threads, and
// all may hold theirs at once; how many do is chance. One head's blocks of each size are
// computed to know, once.
int64_t onednn_scratch(const Saved& saved) {
  const Call call(saved.q, saved.k);
  if (!call.narrow() || memory::rehearsed_gpu() != nullptr || !multiplies_with_onednn())
    return 0;
  // As few as have the blocks of all.
  const int64_t full = full_rows(call.queries);
  const int64_t fewest = full == 256 ? 768 : full == 64 ? 192 : 32;
  const int64_t queries = std::min(call.queries, fewest + call.queries % full);
  const int64_t keys = std::min(call.keys, kFullColumns + call.keys % kFullColumns);
  static std::map<std::array<int64_t, 6>, int64_t> known;
  const std::array<int64_t, 6> key = {
      queries, keys, call.head_dim, saved.q.stride(2), saved.k.stride(2), call.threads};
  const auto found = known.find(key);
  if (found != known.end()) return found->second;
  return known[key] = taken_by_products(saved.one_head(queries, keys));
}

at::Tensor room_of(int64_t bytes) { return at::empty({bytes}, at::kByte); }

class Blocks final : public torch::autograd::Function<Blocks> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& q,
                            const at::Tensor& k, const at::Tensor& v, bool masked) {
    // What is added to the scores.
    at::Tensor mask;
    if (masked) mask = at::empty({q.size(2), k.size(2)}, q.options());
    at::Tensor out = by_token(q);
    const at::Tensor log_sum_exp =
        at::empty({q.size(0), q.size(1), q.size(2)}, at::kFloat);
    const at::Tensor scratch = room_of(forward_scratch(Call(q, k), /*causal=*/!masked));
    context->save_for_backward({q, k, v, out, log_sum_exp, mask});
    return out;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const Saved all{saved[0], saved[1], saved[3], saved[4], gradients[0]};
    const Call call(all.q, all.k);
    const int64_t products = working_threads(call) * onednn_scratch(all);
    variable_list found = {by_token(all.q), by_token(all.k), by_token(all.k),
                           at::Tensor()};
    const at::Tensor scratch =
        room_of(copied_gradient(all) + backward_scratch(call) + products);
    return found;
  }
};

}  // namespace

at::Tensor blocks_room(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                       bool masked) {
  return Blocks::apply(q, k, v, masked);
}

}  // namespace lowmem::ops
