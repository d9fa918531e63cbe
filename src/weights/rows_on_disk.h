#pragma once

#include <cstdint>
#include <functional>
#include <span>

#include "lowmem/ops/matrix_rows.h"
#include "lowmem/weights/working_file.h"

namespace lowmem::weights {

// Rows of a matrix that lies in the file from `offset` on; `like` has its shape and type.
ops::MatrixRows rows_in(WorkingFile& file, int64_t offset, const at::Tensor& like);

// All of so many bytes from `offset` on, in order, through the memory of `room`.
void read_through(WorkingFile& file, int64_t offset, int64_t bytes, const Room& room,
                  const std::function<void(std::span<const std::byte>)>& use);
void write_through(WorkingFile& file, int64_t offset, int64_t bytes, const Room& room,
                   const std::function<void(int64_t, std::span<std::byte>)>& fill);

}  // namespace lowmem::weights
