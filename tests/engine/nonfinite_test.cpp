// A loss or a gradient that is not finite is seen before a parameter is written.
#include <gmock/gmock.h>

#include <limits>

#include "support/training.h"

namespace lowmem::engine {
namespace {

using nlohmann::json;
using test::copy_of, test::fixture, test::Policies, test::State, test::Trainer;
using testing::ElementsAre, testing::IsEmpty;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

Trainer trainer_of(const char* model, const Policies& policies, double clip_norm) {
  OptimizerConfig config;
  config.name = OptimizerKind::kAdamW;
  config.lr = 0.01;
  config.clip_norm = clip_norm;
  return {test::load_model(fixture(model)), {"all"}, config, policies};
}

std::vector<MicroBatch> batch_of(const Trainer& trainer, size_t number,
                                 size_t micro_batch = 3) {
  static const json batches = read_json(fixture("training/batches.json"));
  return test::micro_batches(*trainer.llama, batches[number], micro_batch);
}

at::Tensor weight_of(Trainer& trainer, const char* name) {
  return trainer.llama->named_parameters()[name].detach();
}

TEST(Nonfinite, ALossThatIsNotFiniteChangesNothing) {
  for (const Policies& policies : test::every_policy())
    for (const double clip_norm : {0.0, 1.0}) {
      Trainer trainer = trainer_of("models/llama32_tiny", policies, clip_norm);
      trainer.update(batch_of(trainer, 0), 0);
      weight_of(trainer, "model.norm.weight")[3] = kInfinity;
      const State before = copy_of(trainer);
      const StepResult result = trainer.update(batch_of(trainer, 1), 1);
      EXPECT_FALSE(result.finite_loss());
      for (const auto& [name, weight] : copy_of(trainer))
        EXPECT_TRUE(at::equal(weight, before.at(name))) << name;
      for (const weights::Weight& weight : trainer.home->table().all())
        EXPECT_EQ(weight.updates, weight.trained ? 1 : 0) << weight.name();
      // And the next step goes on as if nothing had been.
      weight_of(trainer, "model.norm.weight")[3] = 1;
      EXPECT_TRUE(trainer.update(batch_of(trainer, 2), 2).finite_loss());
    }
}

// A head 1e22 times as large behind a norm 1e-22 times as small: the same loss, but the
// norm's gradient has squares beyond fp32.
TEST(Nonfinite, OneGradientOfABackwardPassIsLeftOutByEveryPolicy) {
  for (const size_t micro_batch : {8, 3}) {
    State first;
    for (const Policies& policies : test::every_policy()) {
      Trainer trainer = trainer_of("models/llama2_tiny", policies, 0);
      const auto scale = [&](double factor) {
        test::change(trainer, "lm_head.weight", [&](at::Tensor& w) { w.mul_(factor); });
        test::change(trainer, "model.norm.weight",
                     [&](at::Tensor& w) { w.div_(factor); });
      };
      scale(1e22);
      const State before = copy_of(trainer);
      const StepResult result = trainer.update(batch_of(trainer, 0, micro_batch), 0);
      EXPECT_TRUE(result.finite_loss());
      EXPECT_TRUE(std::isfinite(result.gradients.norm));
      EXPECT_THAT(result.gradients.nonfinite, ElementsAre("model.norm.weight"));
      const State after = copy_of(trainer);
      for (const auto& [name, weight] : after) {
        EXPECT_EQ(at::equal(weight, before.at(name)), name == "model.norm.weight")
            << name;
        EXPECT_TRUE(first.empty() || at::equal(weight, first.at(name))) << name;
      }
      if (first.empty()) first = after;
      // Nothing of it is left for the next step.
      scale(1e-22);
      const StepResult next = trainer.update(batch_of(trainer, 1, micro_batch), 1);
      EXPECT_THAT(next.gradients.nonfinite, IsEmpty());
    }
  }
}

// Says of one parameter that its gradient is not finite.
struct OverflowingOptimizer final : optim::Optimizer {
  using Optimizer::Optimizer;
  std::vector<std::string> seen;
  std::vector<weights::StateSpec> rule_states(const weights::Weight&) const override {
    return {};
  }
  optim::UpdateResult apply(weights::Weight& weight, const optim::Passes&,
                            const optim::StepInfo&) override {
    seen.push_back(weight.name());
    const bool broken = weight.name() == "model.layers.1.self_attn.o_proj.weight";
    return {broken ? static_cast<double>(kInfinity) : 4.0, {}};
  }
};

// A gradient policy alone, in a step of one micro-batch.
struct OneStep {
  std::unique_ptr<model::Llama> llama = test::load_model(fixture("models/llama32_tiny"));
  std::unique_ptr<weights::Home> home = test::home_of(*llama);
  OverflowingOptimizer optimizer{RuleNumbers{}, 1};
  std::unique_ptr<Gradients> gradients;

  OneStep(GradientsMode mode, double clip_norm) {
    weights::select(llama->table(), {"layers"});
    gradients = std::make_unique<Gradients>(mode, optimizer, *home, clip_norm);
    gradients->begin({}, 1);
  }

  // All passes, of gradients that `change` may alter.
  GradientReport run(
      const std::function<void(const weights::Weight&, at::Tensor&)>& change = nullptr) {
    for (const GradientPass& pass : gradients->passes()) {
      gradients->enter(pass);
      for (weights::Weight& weight : llama->table().all()) {
        if (!weight.trained) continue;
        at::Tensor gradient = at::ones_like(weight.here);
        if (change) change(weight, gradient);
        gradients->take(weight, gradient);
      }
      goes_on = gradients->finish();
      if (!goes_on) break;
    }
    return gradients->report()->wait();
  }
  bool goes_on = true;
};

TEST(Nonfinite, AGradientThatIsNotFiniteIsNamedAndItsParameterLeftAlone) {
  for (const auto mode : {GradientsMode::kAccumulate, GradientsMode::kUpdate}) {
    OneStep step(mode, 0);
    const GradientReport report = step.run();
    EXPECT_THAT(report.nonfinite, ElementsAre("model.layers.1.self_attn.o_proj.weight"));
    EXPECT_DOUBLE_EQ(report.norm,
                     2 * std::sqrt(static_cast<double>(step.optimizer.seen.size() - 1)));
    for (const weights::Weight& weight : step.llama->table().all())
      EXPECT_EQ(weight.updates, weight.trained && weight.name() != report.nonfinite[0]);
  }
}

TEST(Nonfinite, ClippingWithANormThatIsNotFiniteUpdatesNothing) {
  for (const auto mode : {GradientsMode::kAccumulate, GradientsMode::kUpdate}) {
    OneStep step(mode, 1.0);
    const GradientReport report =
        step.run([](const weights::Weight& weight, at::Tensor& gradient) {
          if (weight.name().ends_with("1.mlp.up_proj.weight")) gradient.view(-1)[5] = NAN;
        });
    EXPECT_FALSE(step.goes_on);
    EXPECT_THAT(report.nonfinite, ElementsAre("model.layers.1.mlp.up_proj.weight"));
    EXPECT_TRUE(std::isfinite(report.norm));
    EXPECT_THAT(step.optimizer.seen, IsEmpty());
  }
}

}  // namespace
}  // namespace lowmem::engine
