#include "lowmem/ops/device.h"

#include <ATen/ATen.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "lowmem/kernels/place.h"
#include "lowmem/memory/rehearsal.h"

namespace lowmem::ops {

bool on_device(const at::Tensor& tensor) {
  return !tensor.is_cpu() || kernels::cuda::on_cpu();
}

bool for_device(const at::Tensor& tensor) {
  return on_device(tensor) || memory::rehearsed_gpu() != nullptr;
}

kernels::Stream stream_of(const at::Tensor& tensor) {
  if (tensor.is_cpu()) return nullptr;
  const c10::impl::VirtualGuardImpl device(tensor.device().type());
  return device.getStreamNativeHandle(device.getStream(tensor.device()));
}

at::Tensor to_device(const at::Tensor& host, c10::Device device) {
  if (device.is_cpu()) return host;
  return host.pin_memory().to(device, /*non_blocking=*/true);
}

void copy_to_device(const at::Tensor& host, at::Tensor& to) {
  to.copy_(to.is_cpu() ? host : host.pin_memory(), /*non_blocking=*/true);
}

struct HostCopy::Arrival {
  explicit Arrival(c10::Device device) : event(device.type()) {
    const c10::impl::VirtualGuardImpl guard(device.type());
    event.record(guard.getStream(device));
  }
  c10::Event event;
};

HostCopy::HostCopy(const at::Tensor& tensor) {
  if (tensor.is_cpu()) {
    host_ = tensor.clone();
    return;
  }
  host_ = at::empty(tensor.sizes(),
                    at::TensorOptions(tensor.scalar_type()).pinned_memory(true));
  host_.copy_(tensor, /*non_blocking=*/true);
  arrival_ = std::make_unique<Arrival>(tensor.device());
}
HostCopy::~HostCopy() = default;
HostCopy::HostCopy(HostCopy&&) noexcept = default;
HostCopy& HostCopy::operator=(HostCopy&&) noexcept = default;

const at::Tensor& HostCopy::wait() {
  if (arrival_) arrival_->event.synchronize();
  arrival_.reset();
  return host_;
}

}  // namespace lowmem::ops
