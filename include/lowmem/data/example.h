#pragma once

#include <cstdint>
#include <string>
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
  int64_t rows = 0;            // that were read
  int64_t truncated = 0;       // rows cut at max_length
  int64_t split = 0;           // rows made into several examples
  int64_t too_long = 0;        // rows left out for being longer
  int64_t dropped = 0;         // rows without a label left; not among the examples
  int64_t dropped_pieces = 0;  // pieces of split rows without a label; likewise
};

// Rows that were left out.
struct BadRows {
  int64_t count = 0;
  std::string first;  // where the first is and what is wrong with it
};

}  // namespace lowmem
