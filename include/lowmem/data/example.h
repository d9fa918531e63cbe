#pragma once

#include <cstdint>
#include <vector>

namespace lowmem {

constexpr int32_t kIgnoreLabel = -100;

// One sequence to learn from. labels[i] is the token to be predicted at position i, the
// one after ids[i]; kIgnoreLabel where nothing is learned.
struct Example {
  std::vector<int32_t> ids;
  std::vector<int32_t> labels;  // as many as ids
  int64_t labelled() const;
};

// What making examples of rows came across.
struct ExampleCounts {
  int64_t truncated = 0;  // rows cut at max_length
  int64_t dropped = 0;    // rows without a label left after that; not among the examples
};

}  // namespace lowmem
