#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace lowmem::eval {

// Rows that are evaluated together.
struct Batch {
  size_t begin = 0, end = 0;
};

// Rows in their order, as many together as fit: at most `most_rows`, with at most
// `most_tokens` by `tokens(row)`, but at least one.
template <class Tokens>
std::vector<Batch> batches_of(size_t rows, size_t most_rows, int64_t most_tokens,
                              const Tokens& tokens) {
  std::vector<Batch> batches;
  int64_t total = 0;
  for (size_t row = 0; row < rows; ++row) {
    const int64_t more = tokens(row);
    const bool joins = !batches.empty() && row - batches.back().begin < most_rows &&
                       total + more <= most_tokens;
    if (!joins) {
      batches.push_back({row, row});
      total = 0;
    }
    batches.back().end = row + 1;
    total += more;
  }
  return batches;
}

// The few batches that measure most, by any of the measures of a row, which add up: the
// others need no more memory.
template <class... Measure>
std::vector<Batch> largest(const std::vector<Batch>& batches,
                           const Measure&... measures) {
  std::vector<Batch> chosen;
  const auto choose = [&](const auto& measure) {
    const auto total = [&](const Batch& batch) {
      int64_t sum = 0;
      for (size_t row = batch.begin; row < batch.end; ++row) sum += measure(row);
      return sum;
    };
    const auto most = std::max_element(
        batches.begin(), batches.end(),
        [&](const Batch& a, const Batch& b) { return total(a) < total(b); });
    const bool known = most == batches.end() ||
                       std::any_of(chosen.begin(), chosen.end(), [&](const Batch& other) {
                         return other.begin == most->begin;
                       });
    if (!known) chosen.push_back(*most);
  };
  (choose(measures), ...);
  return chosen;
}

}  // namespace lowmem::eval
