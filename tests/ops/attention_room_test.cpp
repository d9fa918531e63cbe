// What attention takes in a rehearsal against what LibTorch's takes, counted, on whatever
// CPU this is: with AMX keys and values are packed, and with AVX-512 oneDNN multiplies.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <gtest/gtest.h>
#include <torch/csrc/autograd/autograd.h>

#include <array>

#include "lowmem/memory/meter.h"
#include "lowmem/memory/rehearsal.h"
#include "ops/gpu_attention.h"

namespace lowmem::ops {
namespace {

// q [count, heads, queries, head_dim], k and v with `kv_heads` and `keys`.
struct Problem {
  int64_t count, heads, kv_heads, queries, keys, head_dim;
  at::ScalarType type;

  std::string text() const {
    std::string all = at::toString(type);
    for (const int64_t size : {count, heads, kv_heads, queries, keys, head_dim})
      all += " " + std::to_string(size);
    return all;
  }
  // And the gradient of the result, all as a linear layer gives them: a token's heads
  // together.
  std::array<at::Tensor, 4> tensors() const {
    const auto of = [&](int64_t length, int64_t of_heads) {
      return at::zeros({count, length, of_heads, head_dim}, type).transpose(1, 2);
    };
    return {of(queries, heads).requires_grad_(), of(keys, kv_heads).requires_grad_(),
            of(keys, kv_heads).requires_grad_(), of(queries, heads)};
  }
};

// Bytes: at the most in each pass, and what the first leaves for the second.
struct Taken {
  int64_t forward = 0, kept = 0, backward = 0;
};

class AttentionRoom : public testing::Test {
 protected:
  static void SetUpTestSuite() { memory::install(); }
  ~AttentionRoom() override { at::set_num_threads(before_); }

  static Taken taken(const Problem& problem) {
    // Queries that are the last of the keys need a mask.
    std::optional<at::Tensor> mask;
    const int64_t behind = problem.keys - problem.queries;
    if (behind > 0)
      mask = at::ones({problem.queries, problem.keys}, at::kBool).tril(behind);
    memory::Ledger& ledger = memory::device_ledger();
    const auto& [q, k, v, gradient] = problem.tensors();
    Taken found;
    ledger.reset_peaks();
    int64_t before = ledger.current();
    const at::Tensor out = attend(q, k, v, mask);
    found.forward = ledger.peak() - before;
    found.kept = ledger.current() - before;
    ledger.reset_peaks();
    before = ledger.current();
    torch::autograd::grad({out}, {q, k, v}, {gradient}, /*retain_graph=*/true);
    found.backward = ledger.peak() - before;
    return found;
  }
  static Taken rehearsed(const Problem& problem) {
    const memory::Rehearsal rehearsal;
    return taken(problem);
  }

 private:
  static at::Tensor attend(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                           const std::optional<at::Tensor>& mask) {
    const bool grouped = q.size(1) != k.size(1);
    if (memory::rehearsing()) return blocks_room(q, k, v, mask.has_value());
    return at::scaled_dot_product_attention(q, k, v, mask, 0.0, !mask.has_value(), 0.3,
                                            grouped);
  }

  int before_ = at::get_num_threads();
};

// Lengths around the kernel's limits, and heads around oneDNN's.
std::vector<Problem> problems() {
  std::vector<Problem> all;
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    for (const int64_t length : {63, 64, 65, 200, 512, 513, 768, 1000, 2000})
      for (const int64_t head_dim : {32, 64, 80, 96, 128})
        all.push_back({1, 2, 1, length, length, head_dim, type});
    for (const int64_t head_dim : {31, 64})
      for (const int64_t count : {1, 3})
        for (const auto& [heads, kv_heads] : {std::pair{4, 4}, {8, 2}, {9, 3}, {1, 1}})
          for (const int64_t length : {65, 513})
            all.push_back({count, heads, kv_heads, length, length, head_dim, type});
    for (const auto& [queries, keys] :
         {std::pair{512, 768}, {100, 613}, {40, 140}, {63, 513}, {1, 600}, {800, 1100}})
      all.push_back({1, 4, 2, queries, keys, 64, type});
  }
  return all;
}

TEST_F(AttentionRoom, OfBlocksIsWhatTheKernelTakes) {
  at::set_num_threads(1);
  for (const Problem& problem : problems()) {
    SCOPED_TRACE(problem.text());
    const Taken room = rehearsed(problem), real = taken(problem);
    EXPECT_EQ(room.forward, real.forward);
    EXPECT_EQ(room.kept, real.kept);
    EXPECT_EQ(room.backward, real.backward);
  }
}

// Threads that work at once each take something for the backward pass, and how many do at
// the peak is chance: one at least.
TEST_F(AttentionRoom, OfBlocksIsThatOfAllThreadsAtOnce) {
  const std::vector<Problem> all = problems();
  for (const int threads : {2, 4}) {
    at::set_num_threads(threads);
    for (size_t i = 0; i < all.size(); i += 3) {
      const Problem& problem = all[i];
      SCOPED_TRACE(problem.text() + " with threads: " + std::to_string(threads));
      const Taken room = rehearsed(problem), real = taken(problem);
      EXPECT_EQ(room.forward, real.forward);
      EXPECT_EQ(room.kept, real.kept);
      EXPECT_LE(real.backward, room.backward);
      EXPECT_GT(real.backward, room.backward / 2);
    }
  }
}

}  // namespace
}  // namespace lowmem::ops
