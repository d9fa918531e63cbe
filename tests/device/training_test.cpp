// Whole training on the device: the CPU's loss curves, and the same bits for every
// policy.
#include "support/training.h"

#include <gmock/gmock.h>

#include "device/device.h"

namespace lowmem::engine {
namespace {

using nlohmann::json;
using test::Policies, test::State;
using testing::ElementsAre, testing::IsEmpty;

struct Curve {
  std::vector<double> losses, norms;
  State weights;
  std::vector<StepResult> results;
  GraphCounts graphs;
};

struct Recipe {
  std::string model = "llama32_tiny";
  model::ModelOptions options;
  std::vector<std::string> train = {"all"};
  OptimizerConfig optimizer;
  Policies policies;
  size_t micro_batch = 8;
  int64_t multiple = 0;  // of tokens
  int64_t steps = 10;
  size_t batches = 100;  // that come in turn, at most
  loss::LossOptions loss;
};

// `spoil` may change the model before the first step.
Curve run(Recipe recipe, const std::function<void(test::Trainer&)>& spoil = {}) {
  static const json batches = read_json(test::fixture("training/batches.json"));
  test::Trainer trainer(
      test::load_model(test::fixture("models/" + recipe.model), recipe.options),
      recipe.train, recipe.optimizer, recipe.policies, recipe.loss);
  if (spoil) spoil(trainer);
  Curve found;
  for (int64_t i = 0; i < recipe.steps; ++i) {
    const json& batch =
        batches[static_cast<size_t>(i) % std::min(recipe.batches, batches.size())];
    const auto parts =
        test::micro_batches(*trainer.llama, batch, recipe.micro_batch, recipe.multiple);
    found.results.push_back(trainer.step.run(parts, {i, trainer.lr, 1, true}));
    const StepResult& result = found.results.back();
    found.losses.push_back(result.loss_sum / static_cast<double>(result.labelled));
    found.norms.push_back(result.gradients.norm);
  }
  found.weights = test::copy_of(trainer);
  found.graphs = trainer.activations->graphs();
  return found;
}

Curve run_on_device(Recipe recipe,
                    const std::function<void(test::Trainer&)>& spoil = {}) {
  const test::DeviceScope scope;
  recipe.options.device = test::device();
  return run(std::move(recipe), spoil);
}

OptimizerConfig optimizer(OptimizerKind kind, double lr) {
  OptimizerConfig config;
  config.name = kind;
  config.lr = lr;
  return config;
}

class DeviceFamily : public testing::TestWithParam<const char*> {
 protected:
  static Recipe recipe(at::ScalarType type) {
    Recipe recipe;
    recipe.model = "../families/" + std::string(GetParam());
    recipe.options = {type, type};
    recipe.optimizer = optimizer(OptimizerKind::kAdamW, 1e-3);
    recipe.steps = 4;
    return recipe;
  }
};

TEST_P(DeviceFamily, FollowsTheCpusCurve) {
  const Curve want = run(recipe(at::kFloat)), got = run_on_device(recipe(at::kFloat));
  for (size_t i = 0; i < want.losses.size(); ++i) {
    EXPECT_NEAR(got.losses[i], want.losses[i], 1e-4 * want.losses[i]) << "step " << i;
    EXPECT_NEAR(got.norms[i], want.norms[i], 1e-3 * want.norms[i]) << "step " << i;
  }
}

TEST_P(DeviceFamily, GivesTheSameBitsForEveryPolicyAndForReplayedGraphs) {
  Recipe base = recipe(at::kBFloat16);
  base.multiple = 32;
  base.batches = 2;
  base.steps = 6;
  const Curve want = run_on_device(base);
  std::vector<Policies> all = test::every_policy(c10::kCUDA);
  all.push_back({ActivationsMode::kRecompute, GradientsMode::kUpdate, GraphsMode::kAuto});
  for (const Policies& policies : all) {
    Recipe other = base;
    other.policies = policies;
    const Curve got = run_on_device(other);
    EXPECT_EQ(got.losses, want.losses);
    for (const auto& [name, weight] : want.weights)
      EXPECT_TRUE(at::equal(got.weights.at(name), weight)) << name;
    if (policies.graphs == GraphsMode::kAuto) {
      EXPECT_GT(got.graphs.replayed, 0);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Families, DeviceFamily,
                         testing::Values("mistral_window", "qwen2_window", "qwen3",
                                         "granite", "smollm3", "phi3"),
                         [](const auto& given) { return std::string(given.param); });

class DeviceTraining : public testing::TestWithParam<OptimizerKind> {
 protected:
  static Recipe recipe() {
    Recipe recipe;
    recipe.optimizer =
        optimizer(GetParam(), GetParam() == OptimizerKind::kSgd ? 0.1 : 1e-3);
    if (GetParam() == OptimizerKind::kSgd) recipe.optimizer.momentum = 0.9;
    return recipe;
  }
};

TEST_P(DeviceTraining, FollowsTheCpusCurveInFp32) {
  const Curve want = run(recipe()), got = run_on_device(recipe());
  EXPECT_LT(want.losses.back(), want.losses.front());
  for (size_t i = 0; i < want.losses.size(); ++i) {
    EXPECT_NEAR(got.losses[i], want.losses[i], 1e-4 * want.losses[i]) << "step " << i;
    EXPECT_NEAR(got.norms[i], want.norms[i], 1e-3 * want.norms[i]) << "step " << i;
  }
}

TEST_P(DeviceTraining, FollowsTheCpusCurveInBf16) {
  Recipe wanted = recipe();
  wanted.options = {at::kBFloat16, at::kBFloat16};
  const Curve want = run(wanted), got = run_on_device(wanted);
  for (size_t i = 0; i < want.losses.size(); ++i) {
    EXPECT_NEAR(got.losses[i], want.losses[i], 0.02 * want.losses[i]) << "step " << i;
    const auto& of_cpu = want.results[i].gradients.rounding;
    const auto& of_device = got.results[i].gradients.rounding;
    EXPECT_GT(of_cpu.updates, 0);
    EXPECT_NEAR(static_cast<double>(of_device.updates),
                static_cast<double>(of_cpu.updates),
                0.02 * static_cast<double>(of_cpu.updates));
    EXPECT_NEAR(static_cast<double>(of_device.lost), static_cast<double>(of_cpu.lost),
                0.05 * static_cast<double>(of_cpu.updates));
  }
}

TEST_P(DeviceTraining, GivesTheSameBitsForEveryPolicy) {
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    Recipe base = recipe();
    base.options = {type, type};
    base.steps = 4;
    const Curve want = run_on_device(base);
    for (const Policies& policies : test::every_policy(c10::kCUDA)) {
      Recipe other = base;
      other.policies = policies;
      const Curve got = run_on_device(other);
      EXPECT_EQ(got.losses, want.losses);
      for (const auto& [name, weight] : want.weights)
        EXPECT_TRUE(at::equal(got.weights.at(name), weight)) << name;
    }
  }
}

// A trained embedding and a trained head that live in the host's memory are there by rows
// alone. Of a head's 320 rows, 128 and 128 and 64.
TEST_P(DeviceTraining, EdgesThatPassByRowsGiveTheSameBits) {
  for (const char* model : {"llama32_tiny", "llama2_tiny"})  // tied, untied
    for (const double clip_norm : {0.0, 0.05})
      for (const size_t micro_batch : {8, 3}) {
        Recipe here = recipe();
        here.model = model;
        here.options = {at::kBFloat16, at::kBFloat16};
        here.optimizer.clip_norm = clip_norm;
        if (GetParam() == OptimizerKind::kAdamW)
          here.optimizer.state_dtype = StateType::kInt8;
        here.micro_batch = micro_batch;
        here.steps = 4;
        here.loss = {.chunk_bytes = 64 * kKiB, .weight_bytes = 8 * kKiB};
        Recipe away = here;
        away.policies.home = {.weights = WeightsMode::kHost, .ahead = 0};
        const Curve want = run_on_device(here), got = run_on_device(away);
        EXPECT_EQ(got.losses, want.losses);
        EXPECT_EQ(got.norms, want.norms);
        for (size_t i = 0; i < want.results.size(); ++i)
          EXPECT_EQ(got.results[i].gradients.rounding.lost,
                    want.results[i].gradients.rounding.lost);
        for (const auto& [name, weight] : want.weights)
          EXPECT_TRUE(at::equal(got.weights.at(name), weight)) << name;
      }
}

// Batches of several shapes, each of them several times: recorded launches must find each
// step's own batch, learning rate and noise.
TEST_P(DeviceTraining, ReplayedGraphsGiveTheSameBits) {
  for (const auto type : {at::kFloat, at::kBFloat16}) {
    Recipe base = recipe();
    base.options = {type, type};
    base.multiple = 32;
    base.steps = 8;
    base.batches = 3;
    base.policies = {ActivationsMode::kRecompute, GradientsMode::kUpdate};
    Recipe graphed = base;
    graphed.policies.graphs = GraphsMode::kAuto;
    const Curve want = run_on_device(base), got = run_on_device(graphed);
    EXPECT_EQ(want.graphs.replayed, 0);
    EXPECT_GT(got.graphs.replayed, got.graphs.recorded);
    EXPECT_EQ(got.losses, want.losses);
    EXPECT_EQ(got.norms, want.norms);
    for (size_t i = 0; i < want.results.size(); ++i)
      EXPECT_EQ(got.results[i].gradients.rounding.lost,
                want.results[i].gradients.rounding.lost);
    for (const auto& [name, weight] : want.weights)
      EXPECT_TRUE(at::equal(got.weights.at(name), weight)) << name;
  }
}

TEST_P(DeviceTraining, ClipsAsTheCpuDoes) {
  for (const GradientsMode gradients :
       {GradientsMode::kAccumulate, GradientsMode::kUpdate}) {
    Recipe clipped = recipe();
    clipped.policies.gradients = gradients;
    clipped.optimizer.clip_norm = 0.05;
    const Curve want = run(clipped), got = run_on_device(clipped);
    for (size_t i = 0; i < want.losses.size(); ++i) {
      EXPECT_GT(want.norms[i], 0.05);
      EXPECT_NEAR(got.losses[i], want.losses[i], 1e-4 * want.losses[i]) << "step " << i;
      EXPECT_NEAR(got.norms[i], want.norms[i], 1e-3 * want.norms[i]) << "step " << i;
    }
  }
}

TEST_P(DeviceTraining, ALossThatIsNotFiniteChangesNothing) {
  for (const GradientsMode gradients :
       {GradientsMode::kAccumulate, GradientsMode::kUpdate})
    for (const double clip_norm : {0.0, 1.0}) {
      Recipe broken = recipe();
      broken.options = {at::kBFloat16, at::kBFloat16};
      broken.policies.gradients = gradients;
      broken.optimizer.clip_norm = clip_norm;
      broken.steps = 2;
      State before;
      const Curve got = run_on_device(broken, [&](test::Trainer& trainer) {
        test::change(trainer, "model.norm.weight", [](at::Tensor& norm) {
          norm.fill_(std::numeric_limits<double>::infinity());
        });
        before = test::copy_of(trainer);
      });
      for (const StepResult& result : got.results) {
        EXPECT_FALSE(result.finite_loss());
        EXPECT_EQ(result.gradients.rounding.updates, 0);
      }
      for (const auto& [name, weight] : before)
        EXPECT_TRUE(at::equal(got.weights.at(name), weight)) << name;
    }
}

INSTANTIATE_TEST_SUITE_P(Rules, DeviceTraining,
                         testing::Values(OptimizerKind::kAdam, OptimizerKind::kAdamW,
                                         OptimizerKind::kAdafactor, OptimizerKind::kSgd),
                         [](const auto& given) {
                           return std::string(word_of(given.param));
                         });

// With any other policy, what cannot be replayed runs as it is.
TEST(DeviceTrainingParts, GraphsCombineWithEveryPolicy) {
  Recipe base;
  base.optimizer = optimizer(OptimizerKind::kAdafactor, 1e-3);
  base.multiple = 32;
  base.batches = 2;
  base.steps = 6;
  for (const double clip_norm : {0.0, 0.05})
    for (const size_t micro_batch : {8, 3})
      for (const Policies& policies : test::every_policy(c10::kCUDA)) {
        // A graph has addresses in it.
        if (policies.kept != KeptMode::kDevice || policies.home.moves()) continue;
        Recipe eager = base;
        eager.optimizer.clip_norm = clip_norm;
        eager.micro_batch = micro_batch;
        eager.policies = policies;
        Recipe graphed = eager;
        graphed.policies.graphs = GraphsMode::kTrue;
        const Curve want = run_on_device(eager), got = run_on_device(graphed);
        EXPECT_EQ(got.losses, want.losses);
        EXPECT_EQ(got.norms, want.norms);
      }
}

TEST(DeviceTrainingParts, PaddingCountsForNothing) {
  Recipe plain;
  plain.optimizer = optimizer(OptimizerKind::kAdafactor, 1e-3);
  Recipe padded = plain;
  padded.multiple = 64;
  const Curve want = run_on_device(plain), got = run_on_device(padded);
  for (size_t i = 0; i < want.losses.size(); ++i) {
    EXPECT_NEAR(got.losses[i], want.losses[i], 1e-4 * want.losses[i]) << "step " << i;
    EXPECT_EQ(got.results[i].tokens, want.results[i].tokens);
    EXPECT_EQ(got.results[i].sequences, want.results[i].sequences);
  }
}

TEST(DeviceTrainingParts, MicroBatchesAddUp) {
  Recipe whole;
  whole.optimizer = optimizer(OptimizerKind::kAdafactor, 1e-3);
  const Curve want = run_on_device(whole);
  for (const Policies& policies : test::every_policy(c10::kCUDA)) {
    Recipe cut = whole;
    cut.micro_batch = 3;
    cut.policies = policies;
    const Curve got = run_on_device(cut);
    for (size_t i = 0; i < want.losses.size(); ++i)
      EXPECT_NEAR(got.losses[i], want.losses[i], 1e-4 * want.losses[i]) << "step " << i;
  }
}

TEST(DeviceTrainingParts, UntiedAndPartlyTrainedModelsFollowTheCpu) {
  for (const char* model : {"llama2_tiny", "llama_bias_tiny", "llama2_tiny_f16"})
    for (const std::vector<std::string>& train :
         {std::vector<std::string>{"layers"},
          {"all"},
          {"*mlp*", "model.embed_tokens.weight"}}) {
      Recipe recipe;
      recipe.model = model;
      recipe.train = train;
      recipe.steps = 4;
      recipe.optimizer = optimizer(OptimizerKind::kAdafactor, 1e-3);
      recipe.policies = {ActivationsMode::kRecompute, GradientsMode::kUpdate};
      const Curve want = run(recipe), got = run_on_device(recipe);
      for (size_t i = 0; i < want.losses.size(); ++i)
        EXPECT_NEAR(got.losses[i], want.losses[i], 1e-4 * want.losses[i]) << model;
    }
}

// The reference's gradient of one norm weight leaves fp32's range, all else stays finite.
TEST(DeviceTrainingParts, AGradientThatIsNotFiniteIsNamedAsOnTheCpu) {
  const auto spoil = [](test::Trainer& trainer) {
    test::change(trainer, "model.norm.weight",
                 [](at::Tensor& norm) { norm.mul_(1e-22); });
    test::change(trainer, "lm_head.weight", [](at::Tensor& head) { head.mul_(1e22); });
  };
  for (const Policies& policies : test::every_policy(c10::kCUDA)) {
    Recipe recipe;
    recipe.model = "llama2_tiny";
    recipe.steps = 1;
    recipe.policies = policies;
    recipe.optimizer = optimizer(OptimizerKind::kAdafactor, 1e-3);
    const Curve want = run(recipe, spoil), got = run_on_device(recipe, spoil);
    const auto& named = want.results[0].gradients.nonfinite;
    EXPECT_THAT(named, testing::Contains("model.norm.weight"));
    EXPECT_THAT(got.results[0].gradients.nonfinite,
                testing::UnorderedElementsAreArray(named));
    EXPECT_TRUE(std::isfinite(got.results[0].gradients.norm));
  }
}

}  // namespace
}  // namespace lowmem::engine
