// Loss curves against transformers with torch.optim (and the seed's Adafactor rule in
// PyTorch), through tests/fixtures/training.
#include "support/training.h"

#include "lowmem/engine/step.h"
#include "lowmem/optim/schedule.h"

namespace lowmem::engine {
namespace {

using nlohmann::json;
using test::fixture;

// Trains as the curve's file says and compares every step with it.
void expect_curve(const std::string& name, size_t micro_batch, double tolerance) {
  const json curve = read_json(fixture("training") / (name + ".json"));
  const json batches = read_json(fixture("training/batches.json"));
  const auto type = [&](const char* key) {
    return curve.at(key) == "fp32" || curve.at(key) == "float32" ? at::kFloat
                                                                 : at::kBFloat16;
  };
  OptimizerConfig config = test::optimizer_config(curve);
  config.clip_norm = curve.at("clip_norm").get<double>();
  test::Trainer trainer(
      test::load_model(fixture("models") / curve.at("model").get<std::string>(),
                       {type("dtype"), type("compute_dtype")}),
      {curve.at("train").get<std::string>()}, config, {});
  const optim::Schedule schedule(config, 20);

  const json& losses = curve.at("loss");
  for (size_t i = 0; i < losses.size(); ++i) {
    const auto batch = test::micro_batches(*trainer.llama, batches[i], micro_batch);
    const auto number = static_cast<int64_t>(i);
    EXPECT_NEAR(schedule.at(number), curve.at("lr")[i].get<double>(), 1e-12);
    const StepResult result = trainer.step.run(batch, {number, schedule.at(number), 1});
    const double want = losses[i].get<double>();
    EXPECT_NEAR(result.loss_sum / static_cast<double>(result.labelled), want,
                tolerance * want)
        << "loss of step " << i;
    const double norm = curve.at("grad_norm")[i].get<double>();
    EXPECT_NEAR(result.grad_norm, norm, 20 * tolerance * norm) << "norm of step " << i;
  }
  for (const auto& [parameter, want] : curve.at("parameters").items()) {
    const at::Tensor weight = trainer.llama->named_parameters()[parameter].detach();
    const double norm = want.at("norm").get<double>();
    EXPECT_NEAR(weight.to(at::kDouble).norm().item<double>(), norm, tolerance * norm)
        << parameter;
  }
}

class LossCurve : public testing::TestWithParam<const char*> {};

TEST_P(LossCurve, EqualsTheReferenceAtEveryStep) { expect_curve(GetParam(), 8, 1e-4); }

TEST_P(LossCurve, IsTheSameForMicroBatches) {
  for (const size_t size : {size_t{1}, size_t{3}}) expect_curve(GetParam(), size, 1e-4);
}

INSTANTIATE_TEST_SUITE_P(
    Optimizers, LossCurve,
    testing::Values("llama2_tiny_layers_adam", "llama2_tiny_layers_adamw",
                    "llama2_tiny_layers_sgd", "llama2_tiny_layers_adafactor",
                    "llama2_tiny_all_adam", "llama2_tiny_all_adamw",
                    "llama2_tiny_all_sgd", "llama2_tiny_all_adafactor",
                    "llama32_tiny_layers_adam", "llama32_tiny_layers_adamw",
                    "llama32_tiny_layers_sgd", "llama32_tiny_layers_adafactor",
                    "llama32_tiny_all_adam", "llama32_tiny_all_adamw",
                    "llama32_tiny_all_sgd", "llama32_tiny_all_adafactor", "clip_norm",
                    "schedule_linear", "schedule_cosine"),
    [](const auto& given) { return std::string(given.param); });

TEST(MixedPrecision, StaysCloseToAutocast) { expect_curve("mixed_precision", 8, 5e-3); }

}  // namespace
}  // namespace lowmem::engine
