#include "lowmem/engine/weights.h"

namespace lowmem::engine {
namespace {

// All weights stay on the device.
class Resident final : public Weights {
 public:
  void acquire(size_t) override {}
  void release(size_t) override {}
};

}  // namespace

std::unique_ptr<Weights> make_weights(WeightsMode mode) {
  switch (mode) {
    case WeightsMode::kResident:
      return std::make_unique<Resident>();
  }
  return nullptr;
}

}  // namespace lowmem::engine
