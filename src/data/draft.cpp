#include "data/draft.h"

#include <algorithm>
#include <utility>

namespace lowmem {
namespace {

// Pieces of `max_length` tokens. The label of a piece's last position is the token that
// the next begins with; the last token of all is predicted, and need not be read.
void add_pieces(const Example& whole, size_t max_length, std::vector<Example>& examples,
                ExampleCounts& counts) {
  const auto piece_of = [](const std::vector<int32_t>& all, size_t from, size_t to) {
    return std::vector<int32_t>(all.begin() + static_cast<std::ptrdiff_t>(from),
                                all.begin() + static_cast<std::ptrdiff_t>(to));
  };
  ++counts.split;
  const size_t end = whole.ids.size() - 1;
  for (size_t at = 0; at < end; at += max_length) {
    const size_t to = std::min(end, at + max_length);
    Example piece{piece_of(whole.ids, at, to), piece_of(whole.labels, at, to)};
    if (piece.labelled() == 0)
      ++counts.dropped_pieces;
    else
      examples.push_back(std::move(piece));
  }
}

}  // namespace

Example Draft::finish() && {
  Example example{std::move(ids_), {}};
  example.labels.assign(example.ids.size(), kIgnoreLabel);
  for (size_t i = 1; i < example.ids.size(); ++i)
    if (learned_[i]) example.labels[i - 1] = example.ids[i];
  return example;
}

size_t tokens_of_beginning(std::span<const int32_t> beginning,
                           std::span<const int32_t> whole) {
  const auto differ =
      std::mismatch(beginning.begin(), beginning.end(), whole.begin(), whole.end());
  return static_cast<size_t>(differ.first - beginning.begin());
}

void add_cut(Example whole, int64_t max_length, LongMode mode,
             std::vector<Example>& examples, ExampleCounts& counts) {
  const auto longest = static_cast<size_t>(max_length);
  const bool long_row = whole.ids.size() > longest;
  if (long_row && mode == LongMode::kDrop) {
    ++counts.too_long;
    return;
  }
  if (long_row && mode == LongMode::kTruncate) {
    ++counts.truncated;
    whole.ids.resize(longest);
    whole.labels.resize(longest);
    whole.labels.back() = kIgnoreLabel;  // the token it predicts is gone
  }
  if (whole.labelled() == 0)
    ++counts.dropped;
  else if (long_row && mode == LongMode::kSplit)
    add_pieces(whole, longest, examples, counts);
  else
    examples.push_back(std::move(whole));
}

}  // namespace lowmem
