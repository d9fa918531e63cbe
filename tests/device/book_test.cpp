// A step's numbers on the device lie at one address, or a replayed launch would read and
// write those of the step in which it was recorded.
#include <set>

#include "device/device.h"
#include "lowmem/engine/gradients.h"
#include "support/tensors.h"

namespace lowmem::engine {
namespace {

// Writes down where an update finds its numbers.
struct Watching final : optim::Optimizer {
  using Optimizer::Optimizer;
  std::map<std::string, std::set<const void*>> seen;

  int64_t state_bytes(const at::Tensor&) const override { return 0; }
  optim::UpdateResult apply(optim::ParamSlot&, const at::Tensor&,
                            const optim::StepInfo&) override {
    return {};
  }
  void apply_on_device(optim::ParamSlot& slot, const at::Tensor&,
                       const optim::DeviceUpdate& update) override {
    seen[slot.name + " squared norm"].insert(update.squared_norm.const_data_ptr());
    seen["scale"].insert(update.scale.const_data_ptr());
    seen["rounding"].insert(update.rounding.const_data_ptr());
    seen["step numbers"].insert(update.step_numbers.const_data_ptr());
  }
};

TEST(DeviceBook, KeepsEachNumberAtOneAddress) {
  const test::DeviceScope scope;
  model::ModelOptions options;
  options.device = test::device();
  const auto llama = test::load_model(test::fixture("models/llama32_tiny"), options);
  Parameters parameters(*llama, {"layers"});
  Watching optimizer(OptimizerConfig{}, 1);
  const auto gradients = make_gradients(GradientsMode::kUpdate, optimizer, 0);
  gradients->open(parameters);
  for (int64_t step = 0; step < 3; ++step) {
    gradients->begin({step, 0.1, 1, step == 1}, 1);
    gradients->guard(
        at::zeros({}, at::TensorOptions(at::kDouble).device(test::device())));
    for (optim::ParamSlot& slot : parameters.slots())
      gradients->receive(slot, at::ones_like(slot.param));
    gradients->end()->wait();
  }
  EXPECT_EQ(optimizer.seen.size(), parameters.slots().size() + 3);
  for (const auto& [name, places] : optimizer.seen) EXPECT_EQ(places.size(), 1) << name;
}

}  // namespace
}  // namespace lowmem::engine
