// AdaLoRA against PEFT's, through tests/fixtures/adapters: losses, ranks after every
// step, weights at the end; no policy changes a bit.
#include "lowmem/weights/rank_budget.h"

#include "engine/adapter_models.h"
#include "lowmem/config/overrides.h"
#include "lowmem/core/error.h"

namespace lowmem::engine {
namespace {

using nlohmann::json;
using test::adamw, test::adapted, test::fixture, test::Policies, test::State,
    test::trained_by;

const json& batches() { return test::training_batches(); }

json curve_of(const std::string& name) {
  return read_json(fixture("adapters") / (name + ".json"));
}

// The folder's adapter, with the schedule that it names, which a run has from its own
// settings.
AdapterConfig with_schedule(const std::filesystem::path& folder) {
  AdapterConfig adapter = weights::read_adapter(folder);
  const json config = read_json(folder / "adapter_config.json");
  adapter.target_rank = OrCount<TargetRank>::of(config.at("target_r"));
  adapter.tinit = config.at("tinit");
  adapter.tfinal = config.at("tfinal");
  adapter.delta_t = config.at("deltaT");
  adapter.beta1 = config.at("beta1");
  adapter.beta2 = config.at("beta2");
  adapter.orth_reg_weight = config.at("orth_reg_weight");
  return adapter;
}

ModelConfig base_of(const json& curve) {
  RunConfig config;
  set_key(config, "model.quantize", curve.at("quantize").get<std::string>());
  config.model.double_quantization = curve.at("double_quantization");
  return config.model;
}

// Triplets that are not masked, a module.
std::map<std::string, int64_t> ranks_of(const weights::Table& table) {
  std::map<std::string, int64_t> ranks;
  for (const weights::Weight& weight : table.all()) {
    const auto masked = weight.beside.find("masked");
    if (masked != weight.beside.end())
      ranks[weights::module_of(weight.name())] =
          (masked->second == 0).sum().item<int64_t>();
  }
  return ranks;
}

class AdaloraCurve : public testing::TestWithParam<const char*> {};

TEST_P(AdaloraCurve, IsPeftsAtEveryStep) {
  const json curve = curve_of(GetParam());
  const auto folder = fixture("adapters") / GetParam();
  const AdapterConfig adapter = with_schedule(folder);
  for (const size_t micro_batch : {8, 3})
    for (const auto& policies :
         {Policies{}, Policies{ActivationsMode::kRecompute, GradientsMode::kUpdate},
          Policies{.activations = ActivationsMode::kRecompute,
          .gradients = GradientsMode::kUpdate,
          .home = {.weights = WeightsMode::kDisk, .ahead = 1}}}) {
      auto llama = adapted(curve.at("model"), adapter, at::kFloat, base_of(curve));
      weights::load_adapter(*test::home_of(*llama), adapter, folder);
      test::Trainer trainer(std::move(llama), trained_by(adapter), adamw(1e-2), policies,
                            {}, test::ComingDown{adapter, curve.at("steps")});
      const json& losses = curve.at("loss");
      for (size_t i = 0; i < losses.size(); ++i) {
        const StepResult result = trainer.update(
            test::micro_batches(*trainer.llama, batches()[i % batches().size()],
                                micro_batch),
            static_cast<int64_t>(i));
        const double want = losses[i].get<double>();
        EXPECT_NEAR(result.loss_sum / static_cast<double>(result.labelled) +
                        result.gradients.orthogonality,
                    want, 2e-5 * want)
            << "loss of step " << i;
        int64_t all = 0;
        for (const auto& [module, rank] : ranks_of(trainer.llama->table())) {
          EXPECT_EQ(rank, curve.at("ranks").at(module)[i])
              << module << " after step " << i;
          all += rank;
        }
        EXPECT_EQ(result.gradients.rank, all);
      }
      const State weights = test::copy_of(trainer);
      for (const auto& [name, norm] : curve.at("parameters").items())
        EXPECT_NEAR(weights.at(name).to(at::kDouble).norm().item<double>(),
                    norm.get<double>(), 1e-5 * norm.get<double>())
            << name;
    }
}

// What PEFT leaves says here what it says there, and is left the same again.
TEST_P(AdaloraCurve, FolderOfWhatIsLeftSaysWhatItSaysInPeft) {
  const json curve = curve_of(GetParam());
  const auto folder = fixture("adapters") / (std::string(GetParam()) + "_trained");
  const AdapterConfig adapter = weights::read_adapter(folder);
  EXPECT_EQ(adapter.kind, AdapterKind::kAdalora);
  auto llama = adapted(curve.at("model"), adapter, at::kFloat, base_of(curve));
  const auto home = test::home_of(*llama);
  weights::load_adapter(*home, adapter, folder);
  const auto packed =
      test::pack(*llama, {curve.at("trained").at("ids").get<std::vector<int32_t>>()});
  const at::Tensor want = test::tensor_of(curve.at("trained").at("logits"));
  EXPECT_LT(test::relative_difference(test::logits_of(*llama, packed), want), 1e-5);
  const auto left_here = weights::triplets_left(llama->table(), adapter);
  EXPECT_EQ(left_here.size(), curve.at("ranks").size());
  for (const auto& [module, left] : left_here)
    EXPECT_EQ(std::count(left.begin(), left.end(), true),
              curve.at("ranks").at(module).back())
        << module;

  weights::select(llama->table(), trained_by(adapter));
  const auto into = std::filesystem::path(testing::TempDir()) / "triplets";
  std::filesystem::remove_all(into);
  weights::save_adapter(*home, with_schedule(folder), "base", into,
                        {.steps = curve.at("steps")});
  const json left = read_json(into / "adapter_config.json");
  const json peft = read_json(folder / "adapter_config.json");
  for (const char* key : {"peft_type", "init_r", "target_r", "tinit", "tfinal", "deltaT",
                          "total_step", "rank_pattern", "lora_alpha"})
    EXPECT_EQ(left.at(key), peft.at(key)) << key;
  auto other = adapted(curve.at("model"), adapter, at::kFloat, base_of(curve));
  weights::load_adapter(*test::home_of(*other), weights::read_adapter(into), into);
  for (const weights::Weight& weight : other->table().all())
    EXPECT_TRUE(at::equal(weight.here, llama->table().at(weight.name()).here))
        << weight.name();
}

INSTANTIATE_TEST_SUITE_P(Engine, AdaloraCurve,
                         testing::Values("adalora", "adalora_all_linear", "adalora_nf4"),
                         [](const auto& given) { return std::string(given.param); });

AdapterConfig all_linear() {
  AdapterConfig adapter;
  adapter.kind = AdapterKind::kAdalora;
  adapter.rank = 4;
  adapter.targets = {"all-linear"};
  adapter.tinit = 1;
  adapter.tfinal = 2;
  return adapter;
}

struct Variant {
  const char* name;
  const char* optimizer;
  double clip_norm;
  QuantizeMode quantize;
  double dropout;
};

class AdaloraPolicies : public testing::TestWithParam<Variant> {};

TEST_P(AdaloraPolicies, GiveTheSameBits) {
  const Variant& variant = GetParam();
  AdapterConfig adapter = all_linear();
  adapter.dropout = variant.dropout;
  ModelConfig base;
  base.quantize = variant.quantize;
  OptimizerConfig rule = adamw(1e-2);
  RunConfig named;
  set_key(named, "optimizer.name", variant.optimizer);
  rule.name = named.optimizer.name;
  rule.clip_norm = variant.clip_norm;
  for (const auto& [dtype, micro_batch] :
       {std::pair{at::kFloat, size_t{3}}, std::pair{at::kBFloat16, size_t{8}}}) {
    std::vector<double> first_numbers;
    State first;
    for (const Policies& policies : test::a_third_of_every_policy()) {
      auto llama = adapted("llama32_tiny", adapter, dtype, base);
      weights::start_adapter(*test::home_of(*llama), adapter, 7, {});
      test::Trainer trainer(std::move(llama), trained_by(adapter), rule, policies, {},
                            test::ComingDown{adapter, 8});
      std::vector<double> numbers;
      for (int64_t i = 0; i < 8; ++i) {
        auto parts = test::micro_batches(*trainer.llama,
                                         batches()[static_cast<size_t>(i)], micro_batch);
        test::number_tokens(parts, static_cast<uint32_t>(i));
        const StepResult result = trainer.update(parts, i);
        numbers.insert(
            numbers.end(),
            {result.loss_sum, result.gradients.norm, result.gradients.orthogonality,
             static_cast<double>(result.gradients.rank.value_or(-1))});
      }
      State state = test::copy_of(trainer);
      for (const weights::Weight& weight : trainer.llama->table().all())
        for (const auto& [key, tensor] : weight.beside)
          if (weight.spec.adapter) state[weight.name() + "/" + key] = tensor.clone();
      if (first.empty()) {
        first = state;
        first_numbers = numbers;
        EXPECT_LT(numbers.back(), numbers[3]);
      }
      EXPECT_EQ(numbers, first_numbers);
      for (const auto& [name, tensor] : state)
        EXPECT_TRUE(at::equal(tensor, first.at(name))) << name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Engine, AdaloraPolicies,
    testing::Values(Variant{"clipped", "adamw", 0.5, QuantizeMode::kNone, 0},
                    Variant{"adafactor", "adafactor", 0, QuantizeMode::kInt8, 0},
                    Variant{"sgd", "sgd", 0, QuantizeMode::kNf4, 0.2}),
    [](const auto& given) { return std::string(given.param.name); });

TEST(RankSchedule, ComesDownAsPefts) {
  AdapterConfig adapter;
  adapter.rank = 12;
  adapter.target_rank = OrCount<TargetRank>::of(8);
  adapter.tinit = 2;
  adapter.tfinal = 3;
  adapter.delta_t = 4;
  const weights::RankSchedule schedule(adapter, 24, 2, 15);
  // RankAllocator.budget_schedule of PEFT 0.21.2.
  const std::vector<int64_t> left = {24, 24, 21, 20, 18, 17, 17, 16, 16, 16, 16, 16};
  for (int64_t update = 1; update <= 12; ++update) {
    EXPECT_EQ(schedule.left(update), left[static_cast<size_t>(update - 1)]) << update;
    EXPECT_EQ(schedule.chooses(update), update == 4 || update == 8 || update == 12)
        << update;
  }
  EXPECT_EQ(schedule.settled(), 12);
  EXPECT_FALSE(schedule.chooses(13));
}

// An adapter that has come down goes on with what is left: what is gone stays gone, and
// is no part of orthogonality.
TEST(RankBudget, GoesOnWithWhatIsLeft) {
  const json curve = curve_of("adalora");
  const auto folder = fixture("adapters/adalora_trained");
  const AdapterConfig adapter = with_schedule(folder);
  auto llama = adapted(curve.at("model"), adapter);
  weights::load_adapter(*test::home_of(*llama), adapter, folder);
  test::Trainer trainer(std::move(llama), trained_by(adapter), adamw(), {}, {},
                        test::ComingDown{adapter, 20});
  const int64_t left = trainer.budget->rank();
  for (int64_t i = 0; i < 20; ++i) {
    const StepResult result =
        trainer.update(test::micro_batches(*trainer.llama, batches()[0], 8), i);
    EXPECT_EQ(result.gradients.rank, left);
    // Of 2 left of 6, sqrt(2) less what trained matrices have; |-1| of 6 is 2.45.
    EXPECT_LT(result.gradients.orthogonality, 0.5 * 2);
  }
}

}  // namespace
}  // namespace lowmem::engine
