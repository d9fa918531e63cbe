#pragma once

#include <c10/core/Device.h>
#include <c10/core/Event.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "lowmem/weights/store.h"

namespace lowmem::weights {

// Memory of the host that a GPU copies from and to by itself, counted as the host's.
class PinnedMemory {
 public:
  PinnedMemory(int64_t bytes, c10::Device device);
  ~PinnedMemory();
  PinnedMemory(const PinnedMemory&) = delete;
  PinnedMemory& operator=(const PinnedMemory&) = delete;

  int64_t bytes() const { return memory_.bytes(); }
  std::byte* host() const { return memory_.data(); }
  // Its address on the device, which reads it over the bus.
  std::byte* on_device() const { return on_device_; }
  std::span<std::byte> span(int64_t bytes) const { return memory_.span(0, bytes); }

 private:
  Room memory_;
  std::byte* on_device_ = nullptr;
  bool pinned_ = false;
};

// Copies between the host's memory and a GPU's on a stream for each direction, beside the
// one that computes; the host waits for none. Where the device is the CPU they are done
// at once; in a rehearsal nothing moves.
class DeviceCopies {
 public:
  // A place in a stream's work; null: it is reached.
  using Mark = std::shared_ptr<c10::Event>;

  explicit DeviceCopies(c10::Device device);
  ~DeviceCopies();  // waits for all
  DeviceCopies(const DeviceCopies&) = delete;
  DeviceCopies& operator=(const DeviceCopies&) = delete;

  // All that has been put on the stream that computes.
  Mark computed() const;
  // The end of a copy that begins after `after`. One to the device begins after all that
  // were asked for to the host: of the same bytes here, or from the same memory there.
  Mark to_device(const std::byte* host, std::span<std::byte> device, const Mark& after);
  Mark to_host(std::span<const std::byte> device, std::byte* host, const Mark& after);

  // What is computed from here on comes after it.
  void computing_waits(const Mark& mark) const;
  static bool is_reached(const Mark& mark) { return mark == nullptr || mark->query(); }
  // The host waits.
  static void wait(const Mark& mark) {
    if (mark != nullptr) mark->synchronize();
  }
  void wait_for_all() const;
  // The same for a destructor: a device that has failed does nothing any more.
  void finish() const noexcept;

 private:
  struct Streams;
  Mark copy(bool in, const std::byte* from, std::byte* to, int64_t bytes,
            const Mark& after);

  c10::Device device_;
  std::unique_ptr<Streams> streams_;  // null: the device is the CPU
};

}  // namespace lowmem::weights
