#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>

namespace lowmem::ops {

// Where the rows of a matrix [R, C] come from that is not in memory as a whole.
class RowSource {
 public:
  virtual ~RowSource() = default;
  // Rows [begin, end), [end - begin, C], contiguous. They are there until the next call.
  // Ascending slices of one size cost least: the next one is on its way meanwhile.
  virtual at::Tensor slice(int64_t begin, int64_t end) = 0;
  // What begin must be a multiple of, and end unless it is R; 0: anything will do.
  virtual int64_t step() const { return 0; }
  // A copy of the rows `ids` [N] int64, [N, C], where they are computed with. Each in
  // [0, R). A bug where a source has none.
  virtual at::Tensor gather(const at::Tensor& ids);
};

// A matrix whose users see some of its rows at a time: a tensor, or the matrix that rows
// are brought of as they are asked for. Copies share it. Named as at::Tensor's.
class MatrixRows {
 public:
  MatrixRows() = default;
  MatrixRows(at::Tensor whole) : shape_(std::move(whole)) {}  // NOLINT: a tensor is one
  // `shape`: of the matrix, whose memory is not looked at.
  MatrixRows(at::Tensor shape, std::shared_ptr<RowSource> source)
      : shape_(std::move(shape)), source_(std::move(source)) {}

  int64_t size(int64_t dimension) const { return shape_.size(dimension); }
  at::IntArrayRef sizes() const { return shape_.sizes(); }
  at::ScalarType scalar_type() const { return shape_.scalar_type(); }
  int64_t element_size() const { return shape_.element_size(); }
  at::TensorOptions options() const { return shape_.options(); }

  // The tensor, where it is one, of any number of dimensions; else a bug.
  const at::Tensor& whole() const;
  bool is_whole() const { return source_ == nullptr; }

  const std::shared_ptr<RowSource>& source() const { return source_; }

  int64_t step() const { return source_ ? source_->step() : 0; }
  at::Tensor slice(int64_t begin, int64_t end) const;
  at::Tensor index_select(const at::Tensor& ids) const;

 private:
  at::Tensor shape_;
  std::shared_ptr<RowSource> source_;  // null: shape_ is the matrix
};

}  // namespace lowmem::ops
