#include "rows_in_store.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <utility>

namespace lowmem::weights {
namespace {

constexpr int64_t kSector = DirectFile::kAlignment;

}  // namespace

RowsInStore::RowsInStore(Store& store, int64_t offset, const at::Tensor& like,
                         c10::Device device)
    : store_(store),
      offset_(offset),
      type_(like.scalar_type()),
      device_(device),
      rows_(like.size(0)),
      columns_(like.size(1)),
      row_bytes_(columns_ * like.element_size()) {}

RowsInStore::~RowsInStore() {
  try {
    store_.wait(next_.ticket);
  } catch (const std::exception&) {
    // Whoever reads next is told.
  }
}

int64_t RowsInStore::sector_of(int64_t row) const {
  return row * row_bytes_ / kSector * kSector;
}

at::Tensor RowsInStore::slice(int64_t begin, int64_t end) {
  if (next_.begin != begin || next_.end != end) start(begin, end);
  std::swap(now_, next_);
  store_.wait(std::exchange(now_.ticket, 0));
  next_.begin = next_.end = 0;
  if (end < rows_) start(end, std::min(rows_, end + (end - begin)));
  return now_.room.tensor(begin * row_bytes_ - sector_of(begin), {end - begin, columns_},
                          type_);
}

void RowsInStore::start(int64_t begin, int64_t end) {
  store_.wait(std::exchange(next_.ticket, 0));
  const int64_t bytes = whole_sectors(end * row_bytes_) - sector_of(begin);
  if (next_.room.bytes() < bytes)
    next_.room = Room(whole_sectors((end - begin) * row_bytes_ + kSector),
                      memory::current_item(), device_);
  next_.begin = begin;
  next_.end = end;
  next_.ticket = store_.read(offset_ + sector_of(begin), next_.room.span(0, bytes));
}

}  // namespace lowmem::weights
