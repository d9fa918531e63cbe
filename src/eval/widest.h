#pragma once

#include <cstdint>

#include "lowmem/ops/rehearsal.h"

namespace lowmem::eval {

// Of the batches of an evaluation a rehearsal runs only those that are larger than every
// one before: the others need no more memory.
class Widest {
 public:
  bool left_out(int64_t tokens) {
    if (!ops::rehearsing()) return false;
    if (tokens <= most_) return true;
    most_ = tokens;
    return false;
  }

 private:
  int64_t most_ = 0;
};

}  // namespace lowmem::eval
