// A step's numbers on the device lie at one address, or a replayed launch would read and
// write those of the step in which it was recorded.
#include <set>

#include "device/device.h"
#include "lowmem/engine/gradients.h"
#include "lowmem/weights/selection.h"
#include "support/tensors.h"

namespace lowmem::engine {
namespace {

// Writes down where an update finds its numbers.
struct Watching final : optim::Optimizer {
  using Optimizer::Optimizer;
  std::map<std::string, std::set<const void*>> seen;

  std::vector<weights::StateSpec> rule_states(const weights::Weight&) const override {
    return {};
  }
  optim::UpdateResult apply(weights::Weight&, const optim::Passes&,
                            const optim::StepInfo&) override {
    return {};
  }
  void apply_on_device(weights::Weight& weight, const optim::Passes&,
                       const optim::DeviceUpdate& update) override {
    seen[weight.name() + " squared norm"].insert(update.squared_norm.const_data_ptr());
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
  const auto home = test::home_of(*llama);
  weights::select(llama->table(), {"layers"});
  Watching optimizer(RuleNumbers{}, 1);
  Gradients gradients(GradientsMode::kUpdate, optimizer, *home, 0);
  size_t trained = 0;
  for (int64_t step = 0; step < 3; ++step) {
    gradients.begin({step, 0.1, 1, step == 1}, 1);
    gradients.enter(gradients.passes().front());
    gradients.guard(at::zeros({}, at::TensorOptions(at::kDouble).device(test::device())));
    trained = 0;
    for (weights::Weight& weight : llama->table().all())
      if (weight.trained) {
        gradients.take(weight, at::ones_like(weight.here));
        ++trained;
      }
    gradients.finish();
    gradients.report()->wait();
  }
  EXPECT_EQ(optimizer.seen.size(), trained + 3);
  for (const auto& [name, places] : optimizer.seen) EXPECT_EQ(places.size(), 1) << name;
}

}  // namespace
}  // namespace lowmem::engine
