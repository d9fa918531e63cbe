#include "lowmem/ops/pieces.h"

#include <ATen/ATen.h>

#include <algorithm>

namespace lowmem::ops {
namespace {

// [bytes] uint8, the tensor's own memory.
at::Tensor bytes_of(const at::Tensor& tensor) {
  TORCH_INTERNAL_ASSERT(tensor.is_contiguous());
  return tensor.detach().view({-1}).view(at::kByte);
}

void for_each_piece(const at::Tensor& bytes,
                    const std::function<void(int64_t, const at::Tensor&)>& use) {
  const int64_t all = bytes.numel();
  for (int64_t at = 0; at < all; at += kPieceBytes)
    use(at, bytes.narrow(0, at, std::min(kPieceBytes, all - at)));
}

}  // namespace

void read_pieces(const at::Tensor& tensor,
                 const std::function<void(std::span<const std::byte>)>& use) {
  const at::NoGradGuard no_grad;
  const auto give = [&](const at::Tensor& host) {
    use({static_cast<const std::byte*>(host.const_data_ptr()), host.nbytes()});
  };
  if (tensor.is_cpu()) return give(tensor);
  for_each_piece(bytes_of(tensor),
                 [&](int64_t, const at::Tensor& piece) { give(piece.cpu()); });
}

void write_pieces(at::Tensor& tensor,
                  const std::function<void(int64_t, std::span<std::byte>)>& fill) {
  const at::NoGradGuard no_grad;
  const auto take = [&](int64_t offset, at::Tensor& host) {
    fill(offset, {static_cast<std::byte*>(host.mutable_data_ptr()), host.nbytes()});
  };
  if (tensor.is_cpu()) return take(0, tensor);
  for_each_piece(bytes_of(tensor), [&](int64_t offset, const at::Tensor& piece) {
    at::Tensor host = at::empty({piece.numel()}, at::kByte);
    take(offset, host);
    piece.copy_(host);
  });
}

}  // namespace lowmem::ops
