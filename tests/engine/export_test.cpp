// What training leaves behind is what transformers will load: the same logits, bit for
// bit through our own reader here, and through scripts/check_export.py where Python has
// transformers:
//
//   LOWMEM_EXPORT_DIR=exported build/tests/engine_test --gtest_filter='*Export*'
//   python scripts/check_export.py exported/X --against exported/X/logits.json
#include <unistd.h>

#include <cstdlib>

#include "io/temp_folder.h"
#include "lowmem/io/atomic_file.h"
#include "support/training.h"

namespace lowmem::engine {
namespace {

namespace fs = std::filesystem;

class Export : public testing::TestWithParam<const char*> {};

// Logits of fixed ids at three positions, in the layout of reference.json.
nlohmann::json logits_of(const model::Llama& llama) {
  std::vector<int32_t> ids;
  for (int32_t i = 0; i < 40; ++i) ids.push_back((i * 37 + 11) % 320);
  const at::Tensor logits = test::logits_of(llama, test::pack(llama, {ids}));
  nlohmann::json row = {{"ids", ids}, {"positions", {0, 20, 39}}};
  for (const int64_t position : {0, 20, 39}) {
    const at::Tensor of = logits[position].contiguous();
    row["logits"].push_back(std::vector<float>(of.const_data_ptr<float>(),
                                               of.const_data_ptr<float>() + of.numel()));
  }
  return {{"rows", {row}}};
}

TEST_P(Export, ATrainedModelIsWrittenWithItsLogits) {
  const fs::path source = test::fixture(GetParam());
  auto llama = test::load_model(source);
  const auto before = logits_of(*llama);
  test::train_some(llama, 5);
  const auto after = logits_of(*llama);
  ASSERT_NE(before, after);

  const test::TempFolder temporary;
  const char* kept = std::getenv("LOWMEM_EXPORT_DIR");
  const fs::path folder =
      (kept != nullptr ? fs::path(kept) : temporary.path()) / source.filename();
  weights::save(*test::home_of(*llama), source, folder);
  write_file_atomically(folder / "logits.json", after.dump());
  EXPECT_EQ(logits_of(*test::load_model(folder)), after);
}

INSTANTIATE_TEST_SUITE_P(
    Models, Export,
    testing::Values("models/llama2_tiny", "models/llama32_tiny", "models/llama_bias_tiny",
                    "families/llama_smollm2", "families/mistral",
                    "families/mistral_window", "families/qwen2", "families/qwen2_window",
                    "families/qwen3", "families/granite", "families/smollm3",
                    "families/phi3"),
    [](const auto& given) { return fs::path(given.param).filename().string(); });

}  // namespace
}  // namespace lowmem::engine
