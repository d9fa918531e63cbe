#pragma once

#include <cstdint>
#include <vector>

namespace lowmem {

// The order in which rows are visited. Each epoch takes every row once, shuffled as a
// function of (seed, epoch) alone; its last batch may be smaller.
class Batches {
 public:
  struct Cursor {
    int64_t epoch = 0;
    int64_t offset = 0;  // rows of the epoch already taken
  };

  // `rows` and `batch_size` > 0. Unshuffled, the rows come in file order.
  Batches(int64_t rows, int64_t batch_size, bool shuffle, uint64_t seed);

  // Indices of the next batch's rows. An epoch begins with the call that takes its first
  // batch: after the last one the cursor stands at the end of the epoch before.
  std::vector<int64_t> next();
  int64_t steps_per_epoch() const;
  int64_t epoch() const { return cursor_.epoch; }
  Cursor cursor() const { return cursor_; }
  // Goes on from there, exactly. Throws Error for a place that no epoch has.
  void seek(Cursor cursor);

 private:
  void order_epoch();

  int64_t rows_, batch_size_;
  bool shuffle_;
  uint64_t seed_;
  Cursor cursor_;
  std::vector<int64_t> order_;
};

}  // namespace lowmem
