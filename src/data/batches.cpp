#include "lowmem/data/batches.h"

#include <algorithm>
#include <numeric>
#include <string>
#include <utility>

#include "lowmem/core/error.h"
#include "lowmem/core/random.h"

namespace lowmem {
namespace {

constexpr uint64_t kStream = uint64_t{0x73687566} << 32;  // "shuf": plus the epoch

}  // namespace

Batches::Batches(int64_t rows, int64_t batch_size, bool shuffle, uint64_t seed)
    : rows_(rows), batch_size_(batch_size), shuffle_(shuffle), seed_(seed) {
  order_epoch();
}

// Fisher-Yates over the rows in file order, with a random stream an epoch.
void Batches::order_epoch() {
  order_.resize(static_cast<size_t>(rows_));
  std::iota(order_.begin(), order_.end(), int64_t{0});
  if (!shuffle_) return;
  Random random(seed_, kStream + static_cast<uint64_t>(cursor_.epoch));
  for (size_t i = order_.size(); i > 1; --i)
    std::swap(order_[i - 1], order_[random.below(static_cast<uint32_t>(i))]);
}

std::vector<int64_t> Batches::next() {
  if (cursor_.offset == rows_) {
    cursor_ = {cursor_.epoch + 1, 0};
    order_epoch();
  }
  const int64_t end = std::min(rows_, cursor_.offset + batch_size_);
  std::vector<int64_t> batch(order_.begin() + cursor_.offset, order_.begin() + end);
  cursor_.offset = end;
  return batch;
}

int64_t Batches::steps_per_epoch() const {
  return (rows_ + batch_size_ - 1) / batch_size_;
}

void Batches::seek(Cursor cursor) {
  if (cursor.epoch < 0 || cursor.offset < 0 || cursor.offset > rows_)
    throw Error("row " + std::to_string(cursor.offset) + " of epoch " +
                    std::to_string(cursor.epoch),
                "is no place in epochs of " + std::to_string(rows_) + " rows",
                "Go on with the training data that the run began with");
  cursor_ = cursor;
  order_epoch();
}

}  // namespace lowmem
