// A model of 60 million parameters in training: what the allocator's peak is above the
// weights, for each policy. The bounds leave no room for [tokens, vocabulary] logits
// (15.6 MiB here) nor, where gradients are not kept, for a whole model's (84 MiB). Kept
// gradients outweigh logits, so the head is measured alone for them, with nothing else
// trained.
#include "lowmem/memory/meter.h"
#include "support/training.h"

namespace lowmem::engine {
namespace {

using test::Policies, test::Trainer;

constexpr int64_t kSequences = 8, kLength = 32, kVocabulary = 32000;

std::unique_ptr<model::Llama> sixty_million() {
  model::Config config;
  config.vocab_size = kVocabulary;
  config.hidden_size = 512;
  config.intermediate_size = 1536;
  config.num_hidden_layers = 14;
  config.num_attention_heads = 8;
  config.num_key_value_heads = 4;
  config.head_dim = 64;
  config.tie_word_embeddings = true;
  auto llama = std::make_unique<model::Llama>(
      config, model::ModelOptions{at::kBFloat16, at::kBFloat16});
  for (auto& item : llama->named_parameters())
    item.value().copy_(test::normal(item.value().sizes(), 1) * 0.02);
  return llama;
}

// Every token has a label: 256 rows reach the head.
std::vector<MicroBatch> batch_of(const model::Llama& llama, size_t micro_batch) {
  nlohmann::json batch = nlohmann::json::array();
  for (int64_t row = 0; row < kSequences; ++row) {
    nlohmann::json ids, labels;
    for (int64_t i = 0; i < kLength; ++i) {
      ids.push_back((row * 977 + i * 31) % kVocabulary);
      labels.push_back((row * 977 + i * 31 + 31) % kVocabulary);
    }
    batch.push_back({{"ids", ids}, {"labels", labels}});
  }
  return test::micro_batches(llama, batch, micro_batch);
}

struct Bound {
  const char* name;
  Policies policies;
  const char* train;
  size_t micro_batch;
  double clip_norm;
  double mebibytes;
};

class Memory : public testing::TestWithParam<Bound> {};

TEST_P(Memory, OfAStepStaysBelowItsBound) {
  memory::install();
  const Bound& bound = GetParam();
  OptimizerConfig config;  // Adafactor, rounded stochastically
  config.lr = 1e-4;
  config.clip_norm = bound.clip_norm;
  Trainer trainer(sixty_million(), {bound.train}, config, bound.policies,
                  {/*chunked=*/true, 4 * kMiB});
  const auto parts = batch_of(*trainer.llama, bound.micro_batch);
  trainer.update(parts, 0);
  const int64_t before = memory::device_ledger().current();
  memory::device_ledger().reset_peaks();
  trainer.update(parts, 1);
  EXPECT_EQ(memory::device_ledger().current(), before);
  const double above = static_cast<double>(memory::device_ledger().peak() - before) /
                       static_cast<double>(kMiB);
  EXPECT_LE(above, bound.mebibytes);
  EXPECT_GE(above, bound.mebibytes * 0.8) << "the bound has become too loose";
}

const Policies kLow{ActivationsMode::kRecompute, GradientsMode::kUpdate};

INSTANTIATE_TEST_SUITE_P(
    Engine, Memory,
    testing::Values(Bound{"KeepAccumulate", {}, "layers", 8, 0, 88},
                    Bound{"KeepUpdate",
                          {ActivationsMode::kKeep, GradientsMode::kUpdate},
                          "layers",
                          8,
                          0,
                          43},
                    Bound{"RecomputeAccumulate",
                          {ActivationsMode::kRecompute, GradientsMode::kAccumulate},
                          "layers",
                          8,
                          0,
                          88},
                    Bound{"RecomputeUpdate", kLow, "layers", 8, 0, 9.6},
                    Bound{"RecomputeUpdateClipped", kLow, "layers", 8, 1.0, 9.6},
                    Bound{"RecomputeUpdateMicroBatches", kLow, "layers", 2, 0, 22},
                    Bound{"AccumulateHeadAlone", {}, "model.norm.weight", 8, 0, 6},
                    // The tied table's gradient, once, 31.25 MiB.
                    Bound{"RecomputeUpdateAll", kLow, "all", 8, 0, 38}),
    [](const auto& given) { return std::string(given.param.name); });

}  // namespace
}  // namespace lowmem::engine
