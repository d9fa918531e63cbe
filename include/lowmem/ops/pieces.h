#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

namespace lowmem::ops {

// The bytes of a tensor in host memory, in order. On the CPU one piece, the tensor's own
// memory; of a tensor on a device, copies of at most kPieceBytes one after another.
inline constexpr int64_t kPieceBytes = int64_t{16} << 20;

// The tensor must be contiguous; waits for the device.
void read_pieces(const at::Tensor& tensor,
                 const std::function<void(std::span<const std::byte>)>& use);

// Writes all of the tensor: `fill(offset, piece)` gives its bytes from `offset` on.
void write_pieces(at::Tensor& tensor,
                  const std::function<void(int64_t, std::span<std::byte>)>& fill);

}  // namespace lowmem::ops
