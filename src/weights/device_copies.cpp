#include "device_copies.h"

#include <ATen/ATen.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <cstring>

#include "lowmem/kernels/device_memory.h"
#include "lowmem/memory/ledger.h"
#include "lowmem/memory/rehearsal.h"

namespace lowmem::weights {
namespace {

at::Tensor bytes_at(const std::byte* data, int64_t bytes, c10::Device device) {
  return at::for_blob(const_cast<std::byte*>(data), {bytes})
      .target_device(device)
      .options(at::TensorOptions(at::kByte).device(device))
      .make_tensor();
}

Room room_on_host(int64_t bytes) {
  const memory::OnHost on_host;
  return {bytes, memory::current_item()};
}

}  // namespace

PinnedMemory::PinnedMemory(int64_t bytes, c10::Device device)
    : memory_(room_on_host(bytes)), on_device_(memory_.data()) {
  if (device.is_cpu()) return;
  on_device_ = static_cast<std::byte*>(
      kernels::cuda_pin(memory_.data(), static_cast<size_t>(bytes)));
  pinned_ = true;
}

PinnedMemory::~PinnedMemory() {
  if (pinned_) kernels::cuda_unpin(memory_.data());
}

struct DeviceCopies::Streams {
  explicit Streams(c10::Device device)
      : guard(device.type()),
        in(guard.getStreamFromGlobalPool(device)),
        out(guard.getStreamFromGlobalPool(device)) {}

  static Mark end_of(c10::Stream stream) {
    auto event = std::make_shared<c10::Event>(stream.device_type());
    event->record(stream);
    return event;
  }

  c10::impl::VirtualGuardImpl guard;
  c10::Stream in, out;  // to the device, to the host
};

DeviceCopies::DeviceCopies(c10::Device device) : device_(device) {
  if (!device.is_cpu()) streams_ = std::make_unique<Streams>(device);
}

DeviceCopies::~DeviceCopies() { finish(); }

void DeviceCopies::finish() const noexcept {
  try {
    wait_for_all();
  } catch (const std::exception&) {
    // Whoever asks the device next is told.
  }
}

void DeviceCopies::wait_for_all() const {
  if (!streams_) return;
  for (const c10::Stream stream :
       {streams_->in, streams_->out, streams_->guard.getStream(device_)})
    streams_->guard.synchronizeStream(stream);
}

DeviceCopies::Mark DeviceCopies::computed() const {
  return streams_ ? Streams::end_of(streams_->guard.getStream(device_)) : nullptr;
}

void DeviceCopies::computing_waits(const Mark& mark) const {
  if (mark != nullptr) mark->block(streams_->guard.getStream(device_));
}

DeviceCopies::Mark DeviceCopies::copy(bool in, const std::byte* from, std::byte* to,
                                      int64_t bytes, const Mark& after) {
  if (memory::rehearsing()) return nullptr;
  if (!streams_) {
    std::memcpy(to, from, static_cast<size_t>(bytes));
    return nullptr;
  }
  const c10::Stream stream = in ? streams_->in : streams_->out;
  if (after != nullptr) after->block(stream);
  if (in) Streams::end_of(streams_->out)->block(stream);
  const c10::StreamGuard on(stream);
  const at::Tensor source = bytes_at(from, bytes, in ? c10::Device(c10::kCPU) : device_);
  bytes_at(to, bytes, in ? device_ : c10::Device(c10::kCPU))
      .copy_(source, /*non_blocking=*/true);
  return Streams::end_of(stream);
}

DeviceCopies::Mark DeviceCopies::to_device(const std::byte* host,
                                           std::span<std::byte> device,
                                           const Mark& after) {
  return copy(true, host, device.data(), static_cast<int64_t>(device.size()), after);
}

DeviceCopies::Mark DeviceCopies::to_host(std::span<const std::byte> device,
                                         std::byte* host, const Mark& after) {
  return copy(false, device.data(), host, static_cast<int64_t>(device.size()), after);
}

}  // namespace lowmem::weights
