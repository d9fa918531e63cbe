#pragma once

#include "lowmem/weights/store.h"

namespace lowmem::weights {

// Rows of a matrix that lies in a store from `offset` on: slices, of which the next is on
// its way while one is looked at. `like` has its shape and type; they come to `device`.
class RowsInStore : public ops::RowSource {
 public:
  RowsInStore(Store& store, int64_t offset, const at::Tensor& like, c10::Device device);
  // Nothing may be read into memory that is no more.
  ~RowsInStore() override;
  RowsInStore(const RowsInStore&) = delete;
  RowsInStore& operator=(const RowsInStore&) = delete;

  at::Tensor slice(int64_t begin, int64_t end) override;

 protected:
  // Of a row's first byte, from the matrix' beginning.
  int64_t sector_of(int64_t row) const;

  Store& store_;
  const int64_t offset_;
  const at::ScalarType type_;
  const c10::Device device_;
  const int64_t rows_, columns_, row_bytes_;

 private:
  // Some rows, whole sectors of them.
  struct Part {
    Room room;
    int64_t begin = 0, end = 0;
    Store::Ticket ticket = 0;
  };
  void start(int64_t begin, int64_t end);

  Part now_, next_;
};

// In a file: rows are read as they lie there, each once however often it is asked for.
class RowsInFile final : public RowsInStore {
 public:
  using RowsInStore::RowsInStore;
  at::Tensor gather(const at::Tensor& ids) override;
};

}  // namespace lowmem::weights
