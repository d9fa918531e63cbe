#include "lowmem/ops/matrix_rows.h"

#include <ATen/ATen.h>

namespace lowmem::ops {

at::Tensor RowSource::gather(const at::Tensor&) {
  TORCH_INTERNAL_ASSERT(false, "rows that pass in order alone");
}

const at::Tensor& MatrixRows::whole() const {
  TORCH_INTERNAL_ASSERT(is_whole());
  return shape_;
}

at::Tensor MatrixRows::slice(int64_t begin, int64_t end) const {
  return source_ ? source_->slice(begin, end) : shape_.slice(0, begin, end);
}

at::Tensor MatrixRows::index_select(const at::Tensor& ids) const {
  return source_ ? source_->gather(ids) : shape_.index_select(0, ids);
}

}  // namespace lowmem::ops
