#include "homes.h"

namespace lowmem::weights {
namespace {

// All weights stay on the device that computes.
class Resident final : public Home {
 public:
  using Home::Home;

 private:
  void bring(size_t, Access) override {}
  void take_back(size_t, bool) override {}
};

}  // namespace

std::unique_ptr<Home> make_resident(Table& table, c10::Device device) {
  table.allocate(device);
  return std::make_unique<Resident>(table);
}

}  // namespace lowmem::weights
