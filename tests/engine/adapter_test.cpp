// Adapters against PEFT's, through tests/fixtures/adapters; no policy changes a bit.
#include "lowmem/weights/adapter.h"

#include "engine/adapter_models.h"
#include "lowmem/config/overrides.h"

namespace lowmem::engine {
namespace {

using nlohmann::json;
using test::adamw, test::adapted, test::fixture, test::Policies, test::State,
    test::trained_by;

const json& batches() { return test::training_batches(); }

// Every weight, an adapter's too.
State all_of(const model::Llama& llama) {
  State state;
  for (const weights::Weight& weight : llama.table().all())
    state[weight.name()] = weight.here.detach().clone();
  return state;
}

// That its steps have the losses of a curve, and its weights the norms at the end.
void expect_curve(test::Trainer& trainer, const json& curve, size_t micro_batch) {
  const json& losses = curve.at("loss");
  for (size_t i = 0; i < losses.size(); ++i) {
    const auto batch =
        test::micro_batches(*trainer.llama, batches()[i % batches().size()], micro_batch);
    const StepResult result = trainer.update(batch, static_cast<int64_t>(i));
    const double want = losses[i].get<double>();
    EXPECT_NEAR(result.loss_sum / static_cast<double>(result.labelled), want, 2e-5 * want)
        << "loss of step " << i;
  }
  const State weights = test::copy_of(trainer);
  for (const auto& [name, norm] : curve.at("parameters").items())
    EXPECT_NEAR(weights.at(name).to(at::kDouble).norm().item<double>(),
                norm.get<double>(), 1e-5 * norm.get<double>())
        << name;
}

class AdapterCurve : public testing::TestWithParam<const char*> {};

TEST_P(AdapterCurve, IsPeftsAtEveryStep) {
  const json curve = read_json(fixture("adapters") / (std::string(GetParam()) + ".json"));
  const auto folder = fixture("adapters") / GetParam();
  const AdapterConfig adapter = weights::read_adapter(folder);
  RunConfig base;
  set_key(base, "model.quantize", curve.at("quantize").get<std::string>());
  base.model.double_quantization = curve.at("double_quantization");
  for (const size_t micro_batch : {8, 3})
    for (const auto& policies :
         {Policies{}, Policies{ActivationsMode::kRecompute, GradientsMode::kUpdate},
          Policies{.activations = ActivationsMode::kRecompute,
          .gradients = GradientsMode::kUpdate,
          .home = {.weights = WeightsMode::kDisk, .ahead = 1}}}) {
      auto llama = adapted(curve.at("model"), adapter, at::kFloat, base.model);
      weights::load_adapter(*test::home_of(*llama), adapter, folder);
      test::Trainer trainer(std::move(llama), trained_by(adapter), adamw(), policies);
      expect_curve(trainer, curve, micro_batch);
    }
}

INSTANTIATE_TEST_SUITE_P(Engine, AdapterCurve,
                         testing::Values("query_value", "all_linear", "rank_stabilized",
                                         "patterns", "also_norm", "also_head", "dora",
                                         "nf4", "nf4_double", "int8", "dora_nf4"),
                         [](const auto& given) { return std::string(given.param); });

// Beginnings of a part of the model, which no folder of a pair holds.
class AdapterStartCurve : public testing::TestWithParam<const char*> {};

TEST_P(AdapterStartCurve, IsPeftsAtEveryStep) {
  const json curve = read_json(fixture("adapters") / (std::string(GetParam()) + ".json"));
  RunConfig config;
  config.adapter.kind = AdapterKind::kLora;
  set_key(config, "adapter.init", curve.at("init").get<std::string>());
  config.adapter.rank = curve.at("rank");
  config.adapter.alpha = curve.at("alpha");
  config.adapter.targets = {"all-linear"};
  if (config.adapter.init == AdapterInit::kLoftq) {
    config.adapter.loftq_iterations = curve.at("iterations");
    config.model.quantize = QuantizeMode::kNf4;
    config.model.double_quantization = false;
  }
  const auto folder = fixture("models") / curve.at("model").get<std::string>();
  auto llama = adapted(curve.at("model"), config.adapter, at::kFloat, config.model);
  weights::start_adapter(*test::home_of(*llama), config.adapter, 1, folder);
  test::Trainer trainer(std::move(llama), trained_by(config.adapter), adamw(),
                        Policies{ActivationsMode::kRecompute, GradientsMode::kUpdate});
  expect_curve(trainer, curve, 8);
}

INSTANTIATE_TEST_SUITE_P(Engine, AdapterStartCurve,
                         testing::Values("pissa", "olora", "loftq", "loftq_iterations"),
                         [](const auto& given) { return std::string(given.param); });

AdapterConfig all_linear() {
  AdapterConfig adapter;
  adapter.kind = AdapterKind::kLora;
  adapter.rank = 4;
  adapter.targets = {"all-linear"};
  return adapter;
}

struct Variant {
  const char* name;
  AdapterKind kind;
  QuantizeMode quantize;
  double dropout;
};

class AdapterPolicies : public testing::TestWithParam<Variant> {};

TEST_P(AdapterPolicies, GiveTheSameBits) {
  AdapterConfig adapter = all_linear();
  adapter.kind = GetParam().kind;
  adapter.dropout = GetParam().dropout;
  ModelConfig base;
  base.quantize = GetParam().quantize;
  for (const auto& [dtype, micro_batch] :
       {std::pair{at::kFloat, size_t{3}}, std::pair{at::kBFloat16, size_t{8}}}) {
    std::vector<double> first_losses;
    State first;
    for (const Policies& policies : test::a_third_of_every_policy()) {
      auto llama = adapted("llama32_tiny", adapter, dtype, base);
      weights::start_adapter(*test::home_of(*llama), adapter, 7, {});
      test::Trainer trainer(std::move(llama), trained_by(adapter), adamw(), policies);
      std::vector<double> losses;
      for (int64_t i = 0; i < 6; ++i) {
        auto parts = test::micro_batches(*trainer.llama,
                                         batches()[static_cast<size_t>(i)], micro_batch);
        test::number_tokens(parts, static_cast<uint32_t>(i));
        losses.push_back(trainer.update(parts, i).loss_sum);
      }
      const State weights = test::copy_of(trainer);
      if (first.empty()) {
        first = weights;
        first_losses = losses;
        EXPECT_NE(losses[0], losses[5]);
      }
      EXPECT_EQ(losses, first_losses);
      for (const auto& [name, weight] : weights)
        EXPECT_TRUE(at::equal(weight, first.at(name))) << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Engine, AdapterPolicies,
    testing::Values(Variant{"lora", AdapterKind::kLora, QuantizeMode::kNone, 0},
                    Variant{"dropout", AdapterKind::kLora, QuantizeMode::kNone, 0.2},
                    Variant{"dora", AdapterKind::kDora, QuantizeMode::kNone, 0},
                    Variant{"dora_dropout", AdapterKind::kDora, QuantizeMode::kNone, 0.2},
                    Variant{"dora_nf4", AdapterKind::kDora, QuantizeMode::kNf4, 0.2},
                    Variant{"nf4", AdapterKind::kLora, QuantizeMode::kNf4, 0.1},
                    Variant{"int8", AdapterKind::kDora, QuantizeMode::kInt8, 0}),
    [](const auto& given) { return std::string(given.param.name); });

// What is left out does not depend on the parts that a batch is cut into.
TEST(Adapter, DropoutIsTheSameForAnyMicroBatch) {
  AdapterConfig adapter = all_linear();
  adapter.dropout = 0.3;
  std::vector<double> losses;
  for (const size_t micro_batch : {8, 3, 1}) {
    auto llama = adapted("llama32_tiny", adapter);
    weights::load_adapter(*test::home_of(*llama), adapter,
                          fixture("adapters/all_linear"));
    test::Trainer trainer(std::move(llama), trained_by(adapter), adamw(), {});
    for (int64_t i = 0; i < 3; ++i) {
      auto parts = test::micro_batches(*trainer.llama, batches()[0], micro_batch);
      test::number_tokens(parts, static_cast<uint32_t>(i));
      losses.push_back(trainer.update(parts, i).loss_sum);
    }
  }
  for (size_t i = 0; i < 9; ++i)
    EXPECT_NEAR(losses[i], losses[i % 3], 1e-6 * losses[i]) << i;
}

// LoRA+: the second matrices learn at another rate.
TEST(Adapter, LrRatioIsOfTheSecondMatrices) {
  AdapterConfig adapter = all_linear();
  adapter.lr_ratio = 16;
  std::vector<State> after;
  for (const bool ratio : {false, true}) {
    auto llama = adapted("llama32_tiny", adapter);
    weights::load_adapter(*test::home_of(*llama), adapter,
                          fixture("adapters/all_linear"));
    test::Trainer trainer(std::move(llama), trained_by(adapter), adamw(), {});
    for (weights::Weight& weight : trainer.llama->table().all())
      if (weight.trained && ratio)
        weight.lr_ratio = weights::lr_ratio(adapter, weight.spec);
    const State before = test::copy_of(trainer);
    trainer.update(test::micro_batches(*trainer.llama, batches()[0], 8), 0);
    State moved = test::copy_of(trainer);
    for (auto& [name, weight] : moved) weight = weight - before.at(name);
    after.push_back(std::move(moved));
  }
  const std::string layer = "model.layers.0.mlp.up_proj.lora_";
  EXPECT_TRUE(
      at::equal(after[0].at(layer + "A.weight"), after[1].at(layer + "A.weight")));
  EXPECT_LT(test::relative_difference(after[1].at(layer + "B.weight"),
                                      16 * after[0].at(layer + "B.weight")),
            1e-4);
}

TEST(Adapter, BeginsAsTheModelIsAndLeavesItAsItWas) {
  auto plain = test::load_model(fixture("models/llama32_tiny"));
  auto llama = adapted("llama32_tiny", all_linear());
  AdapterConfig gaussian = all_linear();
  gaussian.init = AdapterInit::kGaussian;
  weights::start_adapter(*test::home_of(*llama), gaussian, 7, {});
  const auto packed = test::pack(*plain, {{1, 5, 9, 200}, {1, 7}});
  EXPECT_TRUE(
      at::equal(test::logits_of(*llama, packed), test::logits_of(*plain, packed)));
  test::Trainer trainer(std::move(llama), trained_by(all_linear()), adamw(), {});
  for (int64_t i = 0; i < 2; ++i)
    trainer.update(test::micro_batches(*trainer.llama, batches()[0], 8), i);
  const State after = test::copy_of(trainer);
  for (const auto& [name, weight] : test::copy_of(*plain))
    EXPECT_TRUE(at::equal(weight, after.at(name))) << name;
  EXPECT_GT(after.at("model.layers.0.mlp.up_proj.lora_B.weight").norm().item<double>(),
            0);
}

// The merged model has the logits of the one with the adapter beside it, also where it
// was beside codes.
TEST(Adapter, MergedGivesTheSameLogits) {
  for (const char* name : {"all_linear", "dora", "nf4", "int8", "dora_nf4"}) {
    SCOPED_TRACE(name);
    const auto folder = fixture("adapters") / name;
    const AdapterConfig adapter = weights::read_adapter(folder);
    const json curve = read_json(fixture("adapters") / (std::string(name) + ".json"));
    RunConfig base;
    set_key(base, "model.quantize", curve.at("quantize").get<std::string>());
    base.model.double_quantization = curve.at("double_quantization");
    auto llama = adapted(curve.at("model"), adapter, at::kFloat, base.model);
    const auto home = test::home_of(*llama);
    weights::load_adapter(*home, adapter, folder);
    const auto into =
        std::filesystem::path(testing::TempDir()) / ("merged_" + std::string(name));
    std::filesystem::remove_all(into);
    const auto model = fixture("models") / curve.at("model").get<std::string>();
    weights::save(*home, model, into,
                  {.merged = weights::adapter_layers(model::weight_specs(llama->config()),
                                                     adapter)});
    const auto merged = test::load_model(into);
    const auto packed = test::pack(*merged, {{1, 5, 9, 200}, {1, 7}});
    EXPECT_LT(test::relative_difference(test::logits_of(*merged, packed),
                                        test::logits_of(*llama, packed)),
              1e-5);
    const auto plain = test::load_model(model);
    EXPECT_GT(test::relative_difference(test::logits_of(*plain, packed),
                                        test::logits_of(*llama, packed)),
              1e-2);
  }
}

TEST(Adapter, GoesThroughItsFolderUnchanged) {
  for (const char* name :
       {"all_linear", "patterns", "rank_stabilized", "also_norm", "dora"}) {
    const auto folder = fixture("adapters") / name;
    const AdapterConfig adapter = weights::read_adapter(folder);
    const json curve = read_json(fixture("adapters") / (std::string(name) + ".json"));
    auto llama = adapted(curve.at("model"), adapter);
    weights::select(llama->table(), trained_by(adapter));
    const auto home = test::home_of(*llama);
    weights::load_adapter(*home, adapter, folder);
    const auto into = std::filesystem::path(testing::TempDir()) / "adapter";
    std::filesystem::remove_all(into);
    weights::save_adapter(*home, adapter, "base", into);
    const AdapterConfig again = weights::read_adapter(into);
    const auto specs = model::weight_specs(llama->config());
    EXPECT_EQ(weights::adapter_layers(specs, again),
              weights::adapter_layers(specs, adapter))
        << name;
    EXPECT_EQ(again.also_train, adapter.also_train);
    const State before = all_of(*llama);
    auto other = adapted(curve.at("model"), again);
    weights::load_adapter(*test::home_of(*other), again, into);
    for (const auto& [key, weight] : all_of(*other))
      EXPECT_TRUE(at::equal(weight, before.at(key))) << key;
  }
}

}  // namespace
}  // namespace lowmem::engine
