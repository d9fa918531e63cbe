#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/Device.h>

#include "lowmem/kernels/stream.h"

namespace lowmem::ops {

// Whether the kernels of kernels::cuda work on a tensor, and its numbers are unknown to
// the host until it waits for them.
bool on_device(const at::Tensor& tensor);
// The same, or it stands in for such a one in a rehearsal.
bool for_device(const at::Tensor& tensor);

// What a tensor's kernels are put on: the device's current stream.
kernels::Stream stream_of(const at::Tensor& tensor);

// A copy of a tensor of the CPU, without waiting for the device. Goes through pinned
// memory, which LibTorch reuses once the copy is done.
at::Tensor to_device(const at::Tensor& host, c10::Device device);

// Overwrites `to` likewise.
void copy_to_device(const at::Tensor& host, at::Tensor& to);

// Numbers on their way from a device to the host. Costs nothing on the CPU.
class HostCopy {
 public:
  // Puts the copy on the current stream; what the stream does later to `tensor` is not
  // seen.
  explicit HostCopy(const at::Tensor& tensor);
  ~HostCopy();
  HostCopy(HostCopy&&) noexcept;
  HostCopy& operator=(HostCopy&&) noexcept;

  // Waits for the copy, and for nothing that was put on the stream after it.
  const at::Tensor& wait();

 private:
  struct Arrival;
  at::Tensor host_;
  std::unique_ptr<Arrival> arrival_;  // null: it is there
};

}  // namespace lowmem::ops
