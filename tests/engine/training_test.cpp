// Loss curves against transformers with torch.optim (and the Adafactor rule of
// usamec/lowmem_finetuning in PyTorch), through tests/fixtures/training.
#include "support/training.h"

#include "lowmem/engine/step.h"
#include "lowmem/optim/schedule.h"

namespace lowmem::engine {
namespace {

using nlohmann::json;
using test::fixture;

// Trains as the curve's file says and compares every step with it.
void expect_curve(const std::string& name, size_t micro_batch, double tolerance,
                  const test::Policies& policies = {}) {
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
      {curve.at("train").get<std::string>()}, config, policies);
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
    EXPECT_NEAR(result.gradients.norm, norm, 20 * tolerance * norm)
        << "norm of step " << i;
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

std::vector<std::string> curves_of_families() {
  std::vector<std::string> names;
  for (const char* family : {"llama_smollm2", "mistral_window", "mistral", "qwen2",
                             "qwen2_window", "qwen3", "granite", "smollm3", "phi3"})
    for (const char* rule : {"adamw", "sgd"})
      names.push_back("family_" + std::string(family) + "_" + rule);
  return names;
}

class FamilyCurve : public testing::TestWithParam<std::string> {};

TEST_P(FamilyCurve, EqualsTheReferenceAtEveryStep) {
  expect_curve(GetParam(), 8, 1e-4);
  expect_curve(GetParam(), 3, 1e-4,
               {ActivationsMode::kRecompute, GradientsMode::kUpdate});
}

INSTANTIATE_TEST_SUITE_P(Families, FamilyCurve, testing::ValuesIn(curves_of_families()),
                         [](const auto& given) { return given.param; });

// torch.nn.utils.clip_grad_norm_ and a step, with two backward passes that keep no
// gradient.
TEST(ClippingInTwoPasses, EqualsTheReferenceAtEveryStep) {
  for (const size_t size : {size_t{8}, size_t{3}})
    expect_curve("clip_norm", size, 1e-4,
                 {ActivationsMode::kRecompute, GradientsMode::kUpdate});
}

// 30 steps of a batch of 8, cut in several ways.
TEST(MicroBatches, GiveTheSameLossesAndWeights) {
  const json batches = read_json(fixture("training/batches.json"));
  std::vector<double> first_losses;
  test::State first_weights;
  for (const size_t size : {8, 1, 2, 3}) {
    OptimizerConfig config;
    config.name = OptimizerKind::kAdam;
    config.lr = 1e-3;
    test::Trainer trainer(test::load_model(fixture("models/llama32_tiny")), {"all"},
                          config, {ActivationsMode::kRecompute, GradientsMode::kUpdate});
    std::vector<double> losses;
    for (int64_t step = 0; step < 30; ++step)
      losses.push_back(
          trainer
              .update(test::micro_batches(*trainer.llama,
                                          batches[static_cast<size_t>(step) % 20], size),
                      step)
              .loss_sum);
    const test::State weights = test::copy_of(*trainer.llama);
    if (first_losses.empty()) {
      first_losses = losses;
      first_weights = weights;
    }
    for (size_t i = 0; i < losses.size(); ++i)
      EXPECT_NEAR(losses[i], first_losses[i], 1e-5 * first_losses[i])
          << "step " << i << " by " << size;
    for (const auto& [name, weight] : weights)
      EXPECT_LE(test::relative_difference(weight, first_weights.at(name)), 1e-5) << name;
  }
}

// Two gradients of bf16 weights whose sum bf16 cannot hold.
TEST(MicroBatches, AddUpInFp32) {
  struct Keep final : optim::Optimizer {
    using Optimizer::Optimizer;
    at::Tensor seen;
    std::vector<weights::StateSpec> rule_states(const weights::Weight&) const override {
      return {};
    }
    optim::UpdateResult apply(weights::Weight&, const optim::Passes& passes,
                              const optim::StepInfo&) override {
      seen = passes.gradient().whole().clone();
      return {};
    }
  };
  for (const auto mode : {GradientsMode::kAccumulate, GradientsMode::kUpdate}) {
    Keep optimizer(RuleNumbers{}, 1);
    weights::Table table({{.name = "weight", .shape = {2, 2}}}, DType::kBF16);
    const auto home = weights::make_home({}, table);
    weights::select(table, {"all"});
    Gradients gradients(mode, optimizer, *home, 0);
    gradients.begin({}, 3);
    gradients.enter(gradients.passes().front());
    for (const double share : {1.0, 0x1p-12, 0x1p-12})
      gradients.take(table.at("weight"), at::full({2, 2}, share, at::kBFloat16));
    EXPECT_TRUE(gradients.finish());
    EXPECT_EQ(optimizer.seen.scalar_type(), at::kFloat);
    EXPECT_EQ(optimizer.seen[0][0].item<float>(), 1.0f + 0x1p-11f);
  }
}

// The gradients differ in their last bits; with other noise half of all weights would.
TEST(MicroBatches, DoNotChangeTheRoundingNoise) {
  const json batches = read_json(fixture("training/batches.json"));
  test::State first;
  for (const size_t size : {8, 2}) {
    OptimizerConfig config;
    config.name = OptimizerKind::kAdafactor;
    config.lr = 1e-3;
    test::Trainer trainer(
        test::load_model(fixture("models/llama32_tiny"), {at::kBFloat16, at::kBFloat16}),
        {"layers"}, config, {ActivationsMode::kRecompute, GradientsMode::kUpdate});
    const test::State start = test::copy_of(*trainer.llama);
    trainer.update(test::micro_batches(*trainer.llama, batches[0], size), 0);
    const test::State weights = test::copy_of(*trainer.llama);
    if (first.empty()) {
      first = weights;
      continue;
    }
    const char* name = "model.layers.0.mlp.up_proj.weight";
    const auto share = [&](const at::Tensor& same) {
      return same.to(at::kDouble).mean().item<double>();
    };
    EXPECT_LT(share(weights.at(name) == start.at(name)), 0.95);
    EXPECT_GT(share(weights.at(name) == first.at(name)), 0.97);
  }
}

TEST(LinearCrossEntropy, OnAndOffGiveTheSameCurve) {
  const json batches = read_json(fixture("training/batches.json"));
  std::vector<double> curves[2];
  for (const bool chunked : {true, false}) {
    OptimizerConfig config;
    config.lr = 1e-3;
    loss::LossOptions options{chunked, 4096};
    test::Trainer trainer(test::load_model(fixture("models/llama32_tiny")), {"all"},
                          config, {}, options);
    for (int64_t step = 0; step < 20; ++step)
      curves[chunked].push_back(
          trainer
              .update(test::micro_batches(*trainer.llama,
                                          batches[static_cast<size_t>(step)], 8),
                      step)
              .loss_sum);
  }
  for (size_t i = 0; i < 20; ++i)
    EXPECT_NEAR(curves[1][i], curves[0][i], 1e-6 * curves[0][i]) << "step " << i;
}

TEST(MixedPrecision, StaysCloseToAutocast) { expect_curve("mixed_precision", 8, 5e-3); }

}  // namespace
}  // namespace lowmem::engine
