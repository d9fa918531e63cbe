#pragma once

#include <c10/core/Device.h>

#include <functional>
#include <memory>

namespace lowmem::ops {

// Work of a device that is recorded once and replayed: the same operations on the same
// addresses. Memory that the work asks for belongs to its graph and to all others, which
// share it, since they run one after another: what it makes must be copied to tensors
// from outside. Those must live as long as the graph.
class DeviceGraph {
 public:
  virtual ~DeviceGraph() = default;

  // Records what `work` puts on the current stream, without running it. The same work
  // must have run before, so that nothing is made for good while it is recorded. Throws
  // what `work` throws, and Error where the device refuses.
  static std::unique_ptr<DeviceGraph> record(c10::Device device,
                                             const std::function<void()>& work);

  virtual void replay() = 0;
};

}  // namespace lowmem::ops
