#pragma once

// The device that tests of this folder compare with the CPU. They are built twice: as
// device_emulated_test, where kernels run in the emulation on memory of the CPU, and as
// device_gpu_test, which needs a GPU.

#include <ATen/ATen.h>

namespace lowmem::test {

c10::Device device();

// While one lives, operations take the device's way. On a GPU it is the tensors' place
// that decides.
class DeviceScope {
 public:
  DeviceScope();
  ~DeviceScope();
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;
};

// A copy on the device, with a gradient of its own where `tensor` asks for one.
inline at::Tensor on_device(const at::Tensor& tensor) {
  if (!tensor.defined()) return {};
  return tensor.detach().clone().to(device()).requires_grad_(tensor.requires_grad());
}

// How far fp32 results of the device may be from the CPU's, of the largest: sums are
// added up in another order, and on a GPU products are another library's.
inline double tolerance() { return device().is_cpu() ? 2e-6 : 2e-5; }

}  // namespace lowmem::test
