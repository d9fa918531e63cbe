// memory.kept = disk: activations that leave memory until their backward pass.
#include "lowmem/memory/meter.h"
#include "support/training.h"

namespace lowmem::engine {
namespace {

using test::copy_of, test::Policies, test::State, test::Trainer;

constexpr int64_t kVocabulary = 64;

// Whose activations are large enough to leave, and outweigh its weights.
std::unique_ptr<model::Llama> long_rows(int64_t blocks) {
  model::Config config;
  config.vocab_size = kVocabulary;
  config.hidden_size = 64;
  config.intermediate_size = 160;
  config.num_hidden_layers = blocks;
  config.num_attention_heads = 4;
  config.num_key_value_heads = 2;
  config.head_dim = 16;
  auto llama = std::make_unique<model::Llama>(config, model::ModelOptions{});
  for (auto& item : llama->named_parameters())
    item.value().copy_(test::normal(item.value().sizes(), 1) * 0.05);
  return llama;
}

std::vector<MicroBatch> batch_of(const model::Llama& llama, size_t parts, int64_t tokens,
                                 int64_t number) {
  nlohmann::json batch = nlohmann::json::array();
  for (size_t part = 0; part < parts; ++part) {
    nlohmann::json ids, labels;
    for (int64_t i = 0; i < tokens; ++i) {
      ids.push_back((static_cast<int64_t>(part) * 17 + i * 31 + number) % kVocabulary);
      labels.push_back(i % 3 == 0 ? (i * 7 + number) % kVocabulary : -100);
    }
    batch.push_back({{"ids", ids}, {"labels", labels}});
  }
  return test::micro_batches(llama, batch, 1);
}

OptimizerConfig adam() {
  OptimizerConfig config;
  config.name = OptimizerKind::kAdam;
  config.lr = 0.002;
  return config;
}

struct Ran {
  State weights;
  std::vector<double> losses;
  weights::Traffic traffic;
  int64_t peak = 0, disk = 0;
};

// Of the parts in a batch as many as are given, in turns.
Ran run(Policies policies, int64_t blocks, const std::vector<size_t>& parts) {
  Ran ran;
  Trainer trainer(long_rows(blocks), {"layers"}, adam(), policies);
  for (int64_t step = 0; step < 4; ++step) {
    // Other sizes each time; the third is the largest.
    const auto batch =
        batch_of(*trainer.llama, parts[static_cast<size_t>(step) % parts.size()],
                 400 + step % 3 * 150, step);
    memory::device_ledger().reset_peaks();
    const int64_t before = memory::device_ledger().current();
    ran.losses.push_back(trainer.update(batch, step).loss_sum);
    ran.peak = std::max(ran.peak, memory::device_ledger().peak() - before);
    EXPECT_EQ(memory::device_ledger().current(), before);
  }
  ran.weights = copy_of(trainer);
  ran.traffic = trainer.activations->traffic();
  ran.disk = trainer.activations->disk_bytes();
  return ran;
}

class KeptOnDisk : public testing::TestWithParam<
                       std::tuple<OrCount<ActivationsMode>, int64_t, size_t>> {
 protected:
  void SetUp() override { memory::install(); }
};

TEST_P(KeptOnDisk, GivesTheSameBitsInLessMemory) {
  const auto [activations, ahead, parts] = GetParam();
  constexpr int64_t kBlocks = 16;
  for (const auto& gradients : choices(GradientsMode{})) {
    Policies policies{.activations = activations, .gradients = gradients.value};
    policies.home.ahead = ahead;
    const Ran here = run(policies, kBlocks, {parts});
    policies.kept = KeptMode::kDisk;
    const Ran there = run(policies, kBlocks, {parts});
    EXPECT_EQ(here.traffic.written, 0);
    EXPECT_EQ(there.losses, here.losses);
    for (const auto& [name, weight] : there.weights)
      EXPECT_TRUE(at::equal(weight, here.weights.at(name))) << name;
    EXPECT_GT(there.traffic.written, 0);
    EXPECT_EQ(there.traffic.read, there.traffic.written);  // each goes and comes once
    // Gradients that are summed up may outweigh what was kept, at the end.
    if (gradients.value == GradientsMode::kUpdate)
      EXPECT_LT(there.peak, here.peak);
    else
      EXPECT_LE(there.peak, here.peak);
    EXPECT_LT(there.disk, there.traffic.written);  // steps use the same file
  }
}

std::string name_of(const OrCount<ActivationsMode>& activations) {
  return activations.count ? "keep" + std::to_string(*activations.count)
                           : std::string(word_of(activations.word));
}

INSTANTIATE_TEST_SUITE_P(
    Engine, KeptOnDisk,
    testing::Combine(
        testing::Values(OrCount<ActivationsMode>(ActivationsMode::kKeep),
                        OrCount<ActivationsMode>(ActivationsMode::kRecompute),
                        OrCount<ActivationsMode>::of(6)),
        testing::Values<int64_t>(0, 1, 2), testing::Values<size_t>(1, 3)),
    [](const auto& given) {
      return name_of(std::get<0>(given.param)) + "Ahead" +
             std::to_string(std::get<1>(given.param)) + "In" +
             std::to_string(std::get<2>(given.param));
    });

// As at the end of an epoch, whose last batch is smaller.
TEST(KeptOnDiskOfBatchesOfSeveralSizes, GivesTheSameBits) {
  memory::install();
  for (const int64_t ahead : {0, 1, 2})
    for (const auto activations : {ActivationsMode::kKeep, ActivationsMode::kRecompute}) {
      Policies policies{.activations = activations, .gradients = GradientsMode::kUpdate};
      policies.home.ahead = ahead;
      const Ran here = run(policies, 3, {8, 5, 8, 3});
      policies.kept = KeptMode::kDisk;
      const Ran there = run(policies, 3, {8, 5, 8, 3});
      EXPECT_GT(there.traffic.written, 0);
      EXPECT_EQ(there.losses, here.losses);
      for (const auto& [name, weight] : there.weights)
        EXPECT_TRUE(at::equal(weight, here.weights.at(name))) << name;
    }
}

// One block, and no more than stay: nothing has to go.
TEST(KeptOnDiskOfAFewBlocks, NothingLeaves) {
  memory::install();
  for (const int64_t blocks : {1, 2}) {
    Policies policies{.kept = KeptMode::kDisk};
    policies.home.ahead = 1;
    EXPECT_EQ(run(policies, blocks, {1}).traffic.written, 0);
  }
}

// A step that is broken off before its backward pass: what is away is not missed.
TEST(KeptOnDiskOfABrokenStep, IsCountedAndTheNextStepIsAsEver) {
  memory::install();
  Policies policies{.activations = ActivationsMode::kKeep, .kept = KeptMode::kDisk};
  policies.home.ahead = 0;
  Trainer trainer(long_rows(5), {"layers"}, adam(), policies);
  const auto batch = batch_of(*trainer.llama, 2, 500, 0);
  const int64_t before = memory::device_ledger().current();
  at::Tensor kept;
  test::change(trainer, "model.norm.weight", [&](at::Tensor& norm) {
    kept = norm.clone();
    norm.fill_(std::numeric_limits<float>::quiet_NaN());
  });
  EXPECT_FALSE(trainer.update(batch, 0).finite_loss());
  EXPECT_EQ(memory::device_ledger().current(),
            before + static_cast<int64_t>(kept.nbytes()));
  test::change(trainer, "model.norm.weight", [&](at::Tensor& norm) { norm.copy_(kept); });
  policies.kept = KeptMode::kDevice;
  Trainer other(long_rows(5), {"layers"}, adam(), policies);
  EXPECT_EQ(trainer.update(batch, 0).loss_sum, other.update(batch, 0).loss_sum);
  const State weights = copy_of(other);
  for (const auto& [name, weight] : copy_of(trainer))
    EXPECT_TRUE(at::equal(weight, weights.at(name))) << name;
}

}  // namespace
}  // namespace lowmem::engine
