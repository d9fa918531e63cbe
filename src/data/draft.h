#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lowmem/config/choices.h"
#include "lowmem/data/example.h"

namespace lowmem {

// A sequence being put together from its beginning.
class Draft {
 public:
  void add(int32_t id, bool learned) {
    ids_.push_back(id);
    learned_.push_back(learned);
  }
  // Learned are those from number `from` on.
  void add(std::span<const int32_t> ids, size_t from) {
    for (size_t i = 0; i < ids.size(); ++i) add(ids[i], i >= from);
  }
  const std::vector<int32_t>& ids() const { return ids_; }

  // The token before a learned one predicts it; the first token has none.
  Example finish() &&;

 private:
  std::vector<int32_t> ids_;
  std::vector<bool> learned_;
};

// How many tokens of `whole` are those of its beginning alone. Where the two are cut
// differently around the end of the beginning, those before that place.
size_t tokens_of_beginning(std::span<const int32_t> beginning,
                           std::span<const int32_t> whole);

// Appends what `mode`, which is not kAuto, leaves of an example of more than `max_length`
// tokens, and every other example as it is; but nothing without a label. Adds to
// `counts`.
void add_cut(Example whole, int64_t max_length, LongMode mode,
             std::vector<Example>& examples, ExampleCounts& counts);

}  // namespace lowmem
