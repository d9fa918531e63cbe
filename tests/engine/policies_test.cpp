// No memory policy changes a bit of the result; what is trained, and what is left behind.
#include <ATen/Parallel.h>

#include <cmath>
#include <functional>
#include <set>

#include "io/error_of.h"
#include "lowmem/memory/meter.h"
#include "support/training.h"

namespace lowmem::engine {
namespace {

using nlohmann::json;
using test::copy_of, test::fixture, test::Policies, test::State, test::Trainer;

std::unique_ptr<model::Llama> tiny(at::ScalarType dtype = at::kFloat) {
  return test::load_model(fixture("models/llama32_tiny"), {dtype, dtype});
}

const json& batches() {
  static const json file = read_json(fixture("training/batches.json"));
  return file;
}

OptimizerConfig config_of(OptimizerKind kind, double lr) {
  OptimizerConfig config;
  config.name = kind;
  config.lr = lr;
  return config;
}

struct Case {
  const char* name;
  OptimizerKind optimizer;
  at::ScalarType dtype;
  double clip_norm = 0;
  StateType state = StateType::kF32;
};
struct Train {
  const char* name;
  const char* pattern;
};

// `steps` steps of a model that is made anew for each policy.
void expect_the_same_bits(const std::function<std::unique_ptr<model::Llama>()>& make,
                          const Case& optimizer, const char* pattern, size_t micro_batch,
                          int64_t steps) {
  std::vector<double> first_losses;
  State first_weights;
  // The first as it is; all others from a home that leaves nothing where it was.
  std::vector<Policies> all = {{}};
  for (Policies policies : test::a_third_of_every_policy()) {
    policies.wanders = policies.home.weights == WeightsMode::kResident &&
                       policies.home.states_live() == StatesMode::kDevice;
    all.push_back(policies);
  }
  for (const Policies& policies : all) {
    OptimizerConfig config = config_of(optimizer.optimizer, 0.002);
    config.clip_norm = optimizer.clip_norm;
    config.state_dtype = optimizer.state;
    // Several slices of the vocabulary, so that one of its own passes in several parts.
    const loss::LossOptions slices{.chunk_bytes = 64 * kKiB, .weight_bytes = 12 * kKiB};
    Trainer trainer(make(), {pattern}, config, policies, slices);
    std::vector<double> losses;
    for (int64_t i = 0; i < steps; ++i) {
      const auto batch = test::micro_batches(
          *trainer.llama, batches()[static_cast<size_t>(i) % batches().size()],
          micro_batch);
      losses.push_back(trainer.update(batch, i).loss_sum);
    }
    const State weights = copy_of(trainer);
    if (first_losses.empty()) {
      first_losses = losses;
      first_weights = weights;
      continue;
    }
    EXPECT_EQ(losses, first_losses);
    for (const auto& [name, weight] : weights)
      EXPECT_TRUE(at::equal(weight, first_weights.at(name))) << name;
  }
}

class EveryPolicy : public testing::TestWithParam<std::tuple<Case, Train, size_t>> {};

TEST_P(EveryPolicy, GivesTheSameBits) {
  const auto& [optimizer, train, micro_batch] = GetParam();
  expect_the_same_bits([&] { return tiny(optimizer.dtype); }, optimizer, train.pattern,
                       micro_batch, std::string(train.name) == "OneMlp" ? 3 : 5);
}

INSTANTIATE_TEST_SUITE_P(
    Engine, EveryPolicy,
    testing::Combine(
        testing::Values(Case{"Adam", OptimizerKind::kAdam, at::kFloat},
                        Case{"Adafactor", OptimizerKind::kAdafactor, at::kFloat},
                        Case{"AdamWBf16InEightBits", OptimizerKind::kAdamW, at::kBFloat16,
                             0, StateType::kInt8},
                        Case{"AdafactorBf16", OptimizerKind::kAdafactor, at::kBFloat16},
                        Case{"AdamClipped", OptimizerKind::kAdam, at::kFloat, 0.5},
                        Case{"SgdBf16Clipped", OptimizerKind::kSgd, at::kBFloat16, 0.5}),
        testing::Values(Train{"Layers", "layers"}, Train{"All", "all"},
                        Train{"OneMlp", "model.layers.1.mlp.*"}),
        testing::Values<size_t>(8, 2)),
    [](const auto& given) {
      return std::string(std::get<0>(given.param).name) + std::get<1>(given.param).name +
             "By" + std::to_string(std::get<2>(given.param));
    });

class EveryPolicyOfAFamily
    : public testing::TestWithParam<std::tuple<const char*, Case>> {};

TEST_P(EveryPolicyOfAFamily, GivesTheSameBits) {
  const auto& [family, optimizer] = GetParam();
  for (const char* pattern : {"all", "model.layers.*self_attn*"})
    expect_the_same_bits(
        [&] {
          return test::load_model(fixture("families") / family,
                                  {optimizer.dtype, optimizer.dtype});
        },
        optimizer, pattern, 3, 3);
}

INSTANTIATE_TEST_SUITE_P(
    Engine, EveryPolicyOfAFamily,
    testing::Combine(
        testing::Values("mistral_window", "qwen2", "qwen3", "granite", "smollm3", "phi3"),
        testing::Values(Case{"Adafactor", OptimizerKind::kAdafactor, at::kFloat},
                        Case{"AdamWBf16InEightBits", OptimizerKind::kAdamW, at::kBFloat16,
                             0, StateType::kInt8},
                        Case{"SgdBf16Clipped", OptimizerKind::kSgd, at::kBFloat16, 0.5})),
    [](const auto& given) {
      return std::string(std::get<0>(given.param)) + "_" + std::get<1>(given.param).name;
    });

TEST(Training, GivesTheSameBitsOnTwoThreads) {
  const int before = at::get_num_threads();
  State first;
  for (const int threads : {1, 2}) {
    at::set_num_threads(threads);
    OptimizerConfig config = config_of(OptimizerKind::kAdafactor, 0.002);
    Trainer trainer(tiny(at::kBFloat16), {"all"}, config,
                    {ActivationsMode::kRecompute, GradientsMode::kUpdate});
    for (int64_t i = 0; i < 5; ++i)
      trainer.update(
          test::micro_batches(*trainer.llama, batches()[static_cast<size_t>(i)], 8), i);
    const State weights = copy_of(*trainer.llama);
    if (first.empty()) first = weights;
    for (const auto& [name, weight] : weights)
      EXPECT_TRUE(at::equal(weight, first.at(name))) << name;
  }
  at::set_num_threads(before);
}

TEST(Training, ChangesEverySelectedWeightAndNoOther) {
  for (const Policies& policies : test::every_policy())
    for (const char* pattern :
         {"layers", "all", "model.layers.1.mlp.*", "model.norm.weight",
          "model.embed_tokens.weight", "*q_proj*"}) {
      Trainer trainer(tiny(), {pattern}, config_of(OptimizerKind::kAdam, 0.01), policies);
      const State before = copy_of(trainer);
      for (int64_t i = 0; i < 2; ++i)
        trainer.update(
            test::micro_batches(*trainer.llama, batches()[static_cast<size_t>(i)], 3), i);
      const std::string word = pattern;
      for (const auto& [name, weight] : copy_of(trainer)) {
        const bool selected = word == "all" ||
                              (word == "layers" && name.starts_with("model.layers.")) ||
                              weights::matches(word, name);
        EXPECT_EQ(at::equal(weight, before.at(name)), !selected)
            << name << " with " << pattern;
      }
    }
}

TEST(Training, LeavesNoGradientBehind) {
  for (const Policies& policies : test::every_policy()) {
    Trainer trainer(tiny(), {"all"}, config_of(OptimizerKind::kSgd, 0.01), policies);
    trainer.update(test::micro_batches(*trainer.llama, batches()[0], 3), 0);
    for (const auto& item : trainer.llama->named_parameters())
      EXPECT_FALSE(item.value().grad().defined()) << item.key();
  }
}

TEST(Training, ABatchWithoutALabelHasNoLossAndNoGradient) {
  json batch = batches()[0];
  for (json& sequence : batch)
    for (json& label : sequence["labels"]) label = -100;
  for (const Policies& policies : test::every_policy()) {
    Trainer trainer(tiny(), {"all"}, config_of(OptimizerKind::kSgd, 0.01), policies);
    const State before = copy_of(trainer);
    const StepResult result =
        trainer.update(test::micro_batches(*trainer.llama, batch, 3), 0);
    EXPECT_EQ(result.loss_sum, 0);
    EXPECT_EQ(result.labelled, 0);
    EXPECT_EQ(result.gradients.norm, 0);
    for (const auto& [name, weight] : copy_of(trainer))
      EXPECT_TRUE(at::equal(weight, before.at(name))) << name;
  }
}

// How far all weights together move in one step of plain descent at rate 1.
double distance_moved(double clip_norm, StepResult& result) {
  OptimizerConfig config = config_of(OptimizerKind::kSgd, 1);
  config.clip_norm = clip_norm;
  Trainer trainer(tiny(), {"all"}, config, {});
  const State before = copy_of(*trainer.llama);
  result = trainer.update(test::micro_batches(*trainer.llama, batches()[0], 3), 0);
  double squares = 0;
  for (const auto& [name, weight] : copy_of(*trainer.llama))
    squares += (weight.to(at::kDouble) - before.at(name)).square().sum().item<double>();
  return std::sqrt(squares);
}

TEST(Clipping, ShortensALongGradientToTheLimitAndLeavesAShortOneAlone) {
  StepResult unclipped, clipped, loose;
  const double norm = distance_moved(0, unclipped);
  EXPECT_NEAR(norm, unclipped.gradients.norm, 1e-5 * norm);
  EXPECT_NEAR(distance_moved(norm / 8, clipped), norm / 8, 1e-4 * norm);
  EXPECT_EQ(clipped.gradients.norm, unclipped.gradients.norm);
  EXPECT_EQ(distance_moved(norm * 2, loose), norm);
}

// Wide layers, few tokens: gradients outweigh everything but the weights.
std::unique_ptr<model::Llama> wide() {
  model::Config config;
  config.vocab_size = 64;
  config.hidden_size = 128;
  config.intermediate_size = 512;
  config.num_hidden_layers = 6;
  config.num_attention_heads = config.num_key_value_heads = 4;
  config.head_dim = 32;
  auto llama = std::make_unique<model::Llama>(config, model::ModelOptions{});
  for (auto& item : llama->named_parameters())
    item.value().copy_(test::normal(item.value().sizes(), 1) * 0.05);
  return llama;
}

TEST(Memory, UpdatingAtOnceHoldsTheGradientsOfOneBlockInsteadOfAll) {
  memory::install();
  json batch = json::array();
  for (int row = 0; row < 2; ++row)
    batch.push_back({{"ids", {1, 2, 3, 4}}, {"labels", {2, 3, 4, 5}}});
  for (const size_t micro_batch : {2, 1}) {
    std::map<GradientsMode, int64_t> extra;
    int64_t gradients = 0;
    for (const auto mode : {GradientsMode::kAccumulate, GradientsMode::kUpdate}) {
      Trainer trainer(wide(), {"layers"}, config_of(OptimizerKind::kSgd, 0.01),
                      {ActivationsMode::kRecompute, mode});
      gradients = trainer.home->table().trained_elements() * 4;
      const auto parts = test::micro_batches(*trainer.llama, batch, micro_batch);
      trainer.update(parts, 0);
      memory::device_ledger().reset_peaks();
      const int64_t before = memory::device_ledger().current();
      trainer.update(parts, 1);
      extra[mode] = memory::device_ledger().peak() - before;
      EXPECT_EQ(memory::device_ledger().current(), before);
    }
    EXPECT_GE(extra[GradientsMode::kAccumulate], gradients);
    EXPECT_LE(extra[GradientsMode::kUpdate], gradients / 2);
  }
}

}  // namespace
}  // namespace lowmem::engine
