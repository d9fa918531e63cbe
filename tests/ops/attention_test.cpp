// Attention against its formula, in float64 and by finite differences.
#include "lowmem/ops/attention.h"

#include <limits>

#include "lowmem/core/error.h"
#include "lowmem/memory/meter.h"
#include "ops/gpu_attention.h"
#include "ops/gradients.h"

namespace lowmem::ops {
namespace {

using test::expect_close, test::expect_finite_differences, test::normal, test::Tensors;

// Softmax written out, sequence by sequence and head by head.
at::Tensor formula(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                   const Spans& spans, double scale = 0) {
  const int64_t heads = q.size(1), group = heads / k.size(1);
  if (scale == 0) scale = 1 / std::sqrt(static_cast<double>(q.size(2)));
  std::vector<at::Tensor> rows;
  int64_t query = 0, key = 0;
  for (const Span& span : spans) {
    std::vector<at::Tensor> by_head;
    const at::Tensor index = at::arange(span.keys);
    const at::Tensor place =
        index.narrow(0, span.keys - span.queries, span.queries).unsqueeze(1);
    at::Tensor seen = span.mask.defined() ? span.mask : index.unsqueeze(0) <= place;
    if (!span.mask.defined() && spans.window > 0)
      seen = seen.logical_and(place - index.unsqueeze(0) < spans.window);
    for (int64_t head = 0; head < heads; ++head) {
      const auto own = [&](const at::Tensor& all, int64_t from, int64_t count,
                           int64_t which) {
        return all.narrow(0, from, count).select(1, which);
      };
      const at::Tensor scores =
          own(q, query, span.queries, head)
              .mm(own(k, key, span.keys, head / group).t())
              .mul(scale)
              .masked_fill(~seen, -std::numeric_limits<double>::infinity());
      by_head.push_back(scores.softmax(1).mm(own(v, key, span.keys, head / group)));
    }
    rows.push_back(at::stack(by_head, 1));
    query += span.queries;
    key += span.keys;
  }
  return at::cat(rows);
}

// Sequences without a mask.
Spans causal(const std::vector<int64_t>& lengths) {
  Spans spans;
  for (const int64_t length : lengths) spans.push_back({length, length, {}});
  return spans;
}

Spans windowed(Spans spans, int64_t window) {
  spans.window = window;
  return spans;
}

// Some of a sequence's tokens: each sees its own key and those before it.
Span some(const std::vector<int64_t>& tokens, int64_t keys) {
  const at::Tensor rows = at::tensor(tokens, at::kLong);
  return {rows.size(0), keys, at::arange(keys).unsqueeze(0) <= rows.unsqueeze(1)};
}

// A trunk and two branches that see it and themselves only.
Span tree(int64_t trunk, int64_t first, int64_t second) {
  const int64_t keys = trunk + first + second;
  at::Tensor mask = at::ones({keys, keys}, at::kBool).tril();
  mask.slice(0, trunk + first).slice(1, trunk, trunk + first).fill_(false);
  return {keys, keys, mask};
}

struct Case {
  const char* name;
  Spans spans;
};

std::vector<Case> cases() {
  const Span none{0, 4, at::zeros({0, 4}, at::kBool)};
  return {
      {"OneSequence", causal({9})},
      {"UnequalLengths", causal({3, 5, 2})},
      {"LengthOne", causal({1, 4, 1, 1})},
      {"RunsOfEqualLengths", causal({3, 3, 3, 2, 2, 3})},
      {"ALengthThatEqualsARunsTokens", causal({2, 2, 4})},
      {"Masks", {tree(3, 2, 1), tree(1, 2, 2)}},
      {"MasksBetweenRuns", {{3, 3, {}}, {3, 3, {}}, tree(1, 1, 1), {3, 3, {}}}},
      {"FewerQueriesThanKeys", {some({1, 4}, 5), some({0, 1, 2}, 3), some({6}, 7)}},
      {"PartialBetweenRuns", {{2, 2, {}}, {2, 2, {}}, some({1}, 2), some({0}, 1)}},
      {"ASequenceWithoutQueries", {some({1}, 2), none, some({2, 3}, 4)}},
      {"FirstAndLastWithoutQueries", {none, some({0, 3}, 4), none}},
      {"NoQueryAtAll", {none, none}},
      {"AWindow", windowed(causal({9}), 3)},
      {"AWindowOfTwoKeys", windowed(causal({5, 2, 1}), 2)},
      {"AWindowShorterThanSome", windowed(causal({3, 5, 5, 2, 7}), 4)},
      {"AWindowOverTheLastTokens", windowed({{2, 7, {}}, {3, 4, {}}, {4, 4, {}}}, 3)},
  };
}

class Attention : public testing::TestWithParam<std::tuple<Case, int64_t>> {
 protected:
  const Spans& spans() const { return std::get<Case>(GetParam()).spans; }
  Tensors inputs(int64_t heads, int64_t head_dim) const {
    int64_t queries = 0, keys = 0;
    for (const Span& span : spans()) queries += span.queries, keys += span.keys;
    const int64_t kv_heads = std::get<int64_t>(GetParam());
    // Numbers that all types have.
    return test::cast(test::cast({normal({queries, heads, head_dim}, 1) * 2,
                                  normal({keys, kv_heads, head_dim}, 2),
                                  normal({keys, kv_heads, head_dim}, 3)},
                                 at::kBFloat16),
                      at::kDouble);
  }
  at::Tensor operation(const Tensors& in) const {
    return attention(in[0], in[1], in[2], spans());
  }
  at::Tensor exact(const Tensors& in) const {
    return formula(in[0], in[1], in[2], spans());
  }
};

TEST_P(Attention, EqualsTheFormula) {
  const Tensors all = inputs(4, 8);
  const at::Tensor want = exact(all);
  for (const auto& [dtype, tolerance] :
       {std::pair{at::kDouble, 1e-12}, {at::kFloat, 2e-6}, {at::kBFloat16, 0.03}}) {
    const at::Tensor got = operation(test::cast(all, dtype));
    EXPECT_EQ(got.scalar_type(), dtype);
    expect_close(got, want, tolerance);
  }
}

TEST_P(Attention, GradientsAreThoseOfTheFormulaAndOfFiniteDifferences) {
  const Tensors all = inputs(4, 2);
  const auto f = [&](const Tensors& in) { return operation(in); };
  const auto g = [&](const Tensors& in) { return exact(in); };
  expect_finite_differences(f, all);
  const Tensors want = test::gradients(g, all);
  // Differences of shares nearly cancel in the gradients of keys.
  for (const auto& [dtype, tolerance] :
       {std::pair{at::kDouble, 1e-12}, {at::kFloat, 5e-6}, {at::kBFloat16, 0.04}}) {
    const Tensors got = test::gradients(f, test::cast(all, dtype));
    for (size_t i = 0; i < all.size(); ++i) {
      SCOPED_TRACE(std::string(at::toString(dtype)) + ", input " + std::to_string(i));
      expect_close(got[i], want[i], tolerance);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ops, Attention,
                         testing::Combine(testing::ValuesIn(cases()),
                                          testing::Values<int64_t>(4, 2, 1)),
                         [](const auto& given) {
                           return std::get<0>(given.param).name +
                                  std::to_string(std::get<1>(given.param)) + "KeyHeads";
                         });

TEST(AttentionOfSequences, LongerOnesEqualTheFormulaToo) {
  for (const Spans& spans : {causal({65, 33, 1, 17}), causal({515, 40}),
                             Spans{tree(31, 20, 9), some({3, 60}, 66)}})
    for (const int64_t head_dim : {5, 16, 64}) {
      SCOPED_TRACE(head_dim);
      int64_t queries = 0, keys = 0;
      for (const Span& span : spans) queries += span.queries, keys += span.keys;
      const Tensors all{normal({queries, 4, head_dim}, 1), normal({keys, 2, head_dim}, 2),
                        normal({keys, 2, head_dim}, 3)};
      const auto f = [&](const Tensors& in) {
        return attention(in[0], in[1], in[2], spans);
      };
      const auto g = [&](const Tensors& in) {
        return formula(in[0], in[1], in[2], spans);
      };
      const Tensors exact = test::cast(all, at::kDouble);
      expect_close(f(all), g(exact), 2e-6);
      const Tensors got = test::gradients(f, all), want = test::gradients(g, exact);
      for (size_t i = 0; i < all.size(); ++i) expect_close(got[i], want[i], 5e-6);
    }
}

// Longer than our kernel takes, shorter, and of both lengths around a part's end.
TEST(AttentionThroughAWindow, EqualsTheFormulaForAnyLength) {
  for (const auto& [lengths, window] :
       {std::pair{std::vector<int64_t>{65, 33, 1, 17}, int64_t{16}},
        {{200}, 33},
        {{700, 12}, 100},
        {{1100}, 64},
        {{600, 600}, 599},
        {{1030}, 513}})
    for (const AttentionMode mode : {AttentionMode::kAuto, AttentionMode::kMath}) {
      SCOPED_TRACE(std::to_string(lengths[0]) + " through " + std::to_string(window));
      const Spans spans = windowed(causal(lengths), window);
      int64_t tokens = 0;
      for (const int64_t length : lengths) tokens += length;
      const Tensors all{normal({tokens, 4, 8}, 1), normal({tokens, 2, 8}, 2),
                        normal({tokens, 2, 8}, 3)};
      const auto f = [&](const Tensors& in) {
        return attention(in[0], in[1], in[2], spans, {mode, 0.3});
      };
      const auto g = [&](const Tensors& in) {
        return formula(in[0], in[1], in[2], spans, 0.3);
      };
      const Tensors exact = test::cast(all, at::kDouble);
      expect_close(f(all), g(exact), 2e-6);
      const Tensors want = test::gradients(g, exact);
      for (const auto& [dtype, tolerance] :
           {std::pair{at::kFloat, 5e-6}, {at::kBFloat16, 0.04}}) {
        const Tensors got = test::gradients(f, test::cast(all, dtype));
        for (size_t i = 0; i < all.size(); ++i) expect_close(got[i], want[i], tolerance);
      }
    }
}

TEST(AttentionThroughAWindow, OfOneKeyIsItsValue) {
  for (const int64_t tokens : {9, 600}) {
    const at::Tensor q = normal({tokens, 4, 8}, 1), k = normal({tokens, 2, 8}, 2),
                     v = normal({tokens, 2, 8}, 3);
    expect_close(attention(q, k, v, windowed(causal({tokens}), 1)),
                 v.repeat_interleave(2, 1), 1e-6);
  }
}

TEST(AttentionThroughAWindow, SeesNothingBeforeIt) {
  for (const auto& [tokens, window] : {std::pair<int64_t, int64_t>{40, 7}, {700, 50}}) {
    const at::Tensor q = normal({tokens, 4, 8}, 1), k = normal({tokens, 2, 8}, 2),
                     v = normal({tokens, 2, 8}, 3);
    const Spans spans = windowed(causal({tokens}), window);
    at::Tensor other = v.clone();
    other.select(0, 9).fill_(1e9);
    const at::Tensor first = attention(q, k, v, spans),
                     second = attention(q, k, other, spans);
    EXPECT_TRUE(at::equal(first.slice(0, 0, 9), second.slice(0, 0, 9)));
    EXPECT_TRUE(at::equal(first.slice(0, 9 + window), second.slice(0, 9 + window)));
    EXPECT_FALSE(at::equal(first[9 + window - 1], second[9 + window - 1]));
  }
}

// The scores of some are multiplied by another number.
TEST(AttentionOfSequences, HasTheScaleItIsGiven) {
  const Spans spans = causal({9, 4});
  const Tensors all{normal({13, 4, 8}, 1, at::kDouble),
                    normal({13, 2, 8}, 2, at::kDouble),
                    normal({13, 2, 8}, 3, at::kDouble)};
  const at::Tensor want = formula(all[0], all[1], all[2], spans, 0.05);
  EXPECT_GT(test::relative_difference(want, formula(all[0], all[1], all[2], spans)),
            0.01);
  for (const AttentionMode mode : {AttentionMode::kAuto, AttentionMode::kMath})
    for (const auto& [dtype, tolerance] :
         {std::pair{at::kDouble, 1e-12}, {at::kFloat, 2e-6}}) {
      const Tensors in = test::cast(all, dtype);
      expect_close(attention(in[0], in[1], in[2], spans, {mode, 0.05}), want, tolerance);
    }
}

// Queries and keys through a norm each, and then turned: what Qwen3 does.
struct Normed {
  Spans spans;
  at::Tensor angles;
  bool rotary;

  at::Tensor operation(const Tensors& in) const {
    const auto heads = [&](size_t i, size_t norm) {
      return rotary ? Heads::normed(in[i], in[norm], 1e-3, angles.cos(), angles.sin())
                    : Heads::normed(in[i], in[norm], 1e-3, {}, {});
    };
    return attention_linear(heads(0, 3), heads(1, 4), in[2], spans, {in[5], in[6]});
  }
  at::Tensor formula_of(const Tensors& in) const {
    const auto heads = [&](size_t i, size_t norm) {
      const at::Tensor x = in[i];
      const at::Tensor h = x * (x.square().mean(-1, true) + 1e-3).rsqrt() * in[norm];
      if (!rotary) return h;
      const at::Tensor cos = angles.to(h.scalar_type()).cos().unsqueeze(1),
                       sin = angles.to(h.scalar_type()).sin().unsqueeze(1);
      const auto halves = h.chunk(2, -1);
      return at::cat(
          {halves[0] * cos - halves[1] * sin, halves[1] * cos + halves[0] * sin}, -1);
    };
    return formula(heads(0, 3), heads(1, 4), in[2], spans).flatten(1).mm(in[5].t()) +
           in[6];
  }
};

TEST(AttentionOfNormedHeads, HasTheGradientsOfItsFormula) {
  for (const bool rotary : {true, false})
    for (const int64_t window : {0, 3}) {
      SCOPED_TRACE(rotary);
      const Normed normed{windowed(causal({5, 1, 3}), window), normal({9, 2}, 8), rotary};
      const auto draw = [](at::IntArrayRef shape, uint64_t seed) {
        return normal(shape, seed, at::kDouble);
      };
      const Tensors all{draw({9, 4, 4}, 1), draw({9, 2, 4}, 2), draw({9, 2, 4}, 3),
                        draw({4}, 4),       draw({4}, 5),       draw({3, 16}, 6),
                        draw({3}, 7)};
      const auto f = [&](const Tensors& in) { return normed.operation(in); };
      const auto g = [&](const Tensors& in) { return normed.formula_of(in); };
      test::expect_finite_differences(g, all);
      const Tensors floats = test::cast(all, at::kFloat);
      const Tensors exact = test::cast(floats, at::kDouble);
      expect_close(f(floats), g(exact), 2e-6);
      const Tensors got = test::gradients(f, floats), want = test::gradients(g, exact);
      for (size_t i = 0; i < all.size(); ++i) {
        SCOPED_TRACE(i);
        expect_close(got[i], want[i], 5e-6);
      }
    }
}

// Beside values, and what a linear layer gives, nothing of their size is kept.
TEST(AttentionOfNormedHeads, KeepsWhatWentIntoTheNormsAlone) {
  memory::install();
  constexpr int64_t kTokens = 256, kBytes = kTokens * 4 * 64 * 4;  // of queries
  const Spans spans = causal({kTokens});
  const auto leaf = [](at::IntArrayRef shape, uint64_t seed) {
    return normal(shape, seed).requires_grad_();
  };
  const at::Tensor x = leaf({kTokens, 4, 64}, 1), k = leaf({kTokens, 4, 64}, 2),
                   v = leaf({kTokens, 4, 64}, 3), w = leaf({64}, 4),
                   o = leaf({8, 256}, 5), angles = normal({kTokens, 32}, 6);
  const int64_t before = memory::device_ledger().current();
  const at::Tensor out = attention_linear(
      Heads::normed(x, w, 1e-5, angles.cos(), angles.sin()),
      Heads::normed(k, w, 1e-5, angles.cos(), angles.sin()), v, spans, {o, {}});
  const int64_t kept = memory::device_ledger().current() - before;
  EXPECT_LT(kept, kBytes);  // the output and the angles: half of it
}

TEST(AttentionOfSequences, NoneSeesAnother) {
  const at::Tensor q = normal({9, 4, 8}, 1), k = normal({9, 2, 8}, 2),
                   v = normal({9, 2, 8}, 3);
  const Spans spans = causal({3, 3, 3});
  const at::Tensor first = attention(q, k, v, spans);
  at::Tensor other = v.clone();
  other.slice(0, 3, 6).fill_(std::numeric_limits<float>::quiet_NaN());
  const at::Tensor second = attention(q, k, other, spans);
  EXPECT_TRUE(at::equal(second.slice(0, 0, 3), first.slice(0, 0, 3)));
  EXPECT_TRUE(at::equal(second.slice(0, 6), first.slice(0, 6)));
  EXPECT_TRUE(second.slice(0, 3, 6).isnan().all().item<bool>());
}

// Queries of the last tokens alone, without a mask, and with the mask that says the same.
TEST(AttentionOfTheLastTokens, NeedsNoMask) {
  const at::Tensor mask = at::ones({3, 7}, at::kBool).tril(4);
  for (const auto dtype : {at::kFloat, at::kBFloat16}) {
    const at::Tensor q = normal({5, 4, 8}, 1, dtype), k = normal({12, 2, 8}, 2, dtype),
                     v = normal({12, 2, 8}, 3, dtype);
    const Spans tail = {{2, 5, {}}, {3, 7, {}}};
    const Spans masked = {{2, 5, at::ones({2, 5}, at::kBool).tril(3)}, {3, 7, mask}};
    const at::Tensor want =
        formula(q.to(at::kDouble), k.to(at::kDouble), v.to(at::kDouble), tail);
    for (const Spans& spans : {tail, masked})
      for (const AttentionMode mode : {AttentionMode::kAuto, AttentionMode::kMath})
        EXPECT_LE(test::relative_difference(attention(q, k, v, spans, mode), want),
                  dtype == at::kFloat ? 1e-6 : 0x1p-7);
  }
}

// What surrounds cuDNN's kernel, here around LibTorch's for the CPU: sequences of several
// lengths in buckets, queries of their last tokens alone, and their gradients.
TEST(PaddedAttention, IsAttentionOfEachSequence) {
  const PaddedKernel kernel = [](const at::Tensor& q, const at::Tensor& k,
                                 const at::Tensor& v) {
    EXPECT_EQ(q.size(2) % 64, 0);
    return at::scaled_dot_product_attention(q, k, v, {}, 0.0, /*is_causal=*/true,
                                            std::nullopt, /*enable_gqa=*/true);
  };
  const Spans spans = {{70, 70, {}}, {3, 9, {}}, {64, 64, {}}, {0, 5, {}}, {65, 90, {}}};
  const auto leaf = [](at::IntArrayRef shape, uint64_t seed) {
    return normal(shape, seed, at::kDouble).requires_grad_();
  };
  std::vector<at::Tensor> results[2];
  for (const bool padded : {false, true}) {
    const at::Tensor q = leaf({202, 4, 8}, 1), k = leaf({238, 2, 8}, 2),
                     v = leaf({238, 2, 8}, 3);
    const at::Tensor out =
        padded ? padded_attention(q, k, v, spans, kernel) : formula(q, k, v, spans);
    (out * normal(out.sizes(), 4, at::kDouble)).sum().backward();
    results[padded ? 1 : 0] = {out.detach(), q.grad(), k.grad(), v.grad()};
  }
  for (size_t i = 0; i < results[0].size(); ++i)
    EXPECT_LE(test::relative_difference(results[1][i], results[0][i]), 1e-12) << i;
}

TEST(AttentionModes, OfAGpuAreRefusedOnTheCpu) {
  const at::Tensor q = normal({3, 2, 8}, 1);
  for (const AttentionMode mode : {AttentionMode::kFlash, AttentionMode::kCudnn})
    EXPECT_THROW(attention(q, q, q, causal({3}), mode), Error);
}

}  // namespace
}  // namespace lowmem::ops
