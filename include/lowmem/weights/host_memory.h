#pragma once

#include <c10/core/Device.h>

#include <map>
#include <memory>
#include <vector>

#include "lowmem/weights/store.h"

namespace lowmem::weights {

class DeviceCopies;
class PinnedMemory;

// The host's memory as a store for a GPU: locked at its place, read and written on a
// stream for each direction while the GPU computes on its own. The host waits for
// neither. A request waits for what was put on the computing stream before it, and a read
// for the writes before it; wait() makes the computing stream wait.
//
// Where the device is the CPU, as in tests and rehearsals, copies are done at once.
class HostMemory final : public Store {
 public:
  explicit HostMemory(c10::Device device);
  // Waits for all copies.
  ~HostMemory() override;

  int64_t extend(int64_t bytes) override;
  Ticket read(int64_t offset, std::span<std::byte> to) override;
  Ticket write(int64_t offset, std::span<const std::byte> from) override;
  void wait(Ticket ticket) override;
  void forget(Ticket ticket) override;

  // gather() reads the rows from where they lie.
  ops::MatrixRows rows(int64_t offset, const at::Tensor& like) override;
  void read_through(int64_t offset, int64_t bytes, const Room& room,
                    const std::function<void(std::span<const std::byte>)>& use) override;
  void write_through(
      int64_t offset, int64_t bytes, const Room& room,
      const std::function<void(int64_t, std::span<std::byte>)>& fill) override;

  Traffic traffic() const override { return traffic_; }
  std::string where() const override { return "in the host's memory"; }

 private:
  // Memory of one extend().
  struct Region {
    int64_t begin, end;
    std::unique_ptr<PinnedMemory> memory;
  };
  const Region& region_of(int64_t offset) const;
  std::byte* host(int64_t offset) const;
  // Calls copy(host, begin, bytes) for each region that a range lies in.
  template <class Copy>
  void each_part(int64_t offset, int64_t bytes, Copy&& copy) const;

  c10::Device device_;
  std::vector<Region> regions_;  // by offset
  std::unique_ptr<DeviceCopies> copies_;
  struct UnderWay;
  std::unique_ptr<UnderWay> under_way_;
  Traffic traffic_;
};

}  // namespace lowmem::weights
