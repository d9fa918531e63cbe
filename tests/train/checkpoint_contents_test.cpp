// What a checkpoint holds, and what becomes of those that are damaged.
#include <set>

#include "lowmem/core/log.h"
#include "lowmem/io/safetensors.h"
#include "lowmem/memory/meter.h"
#include "lowmem/model/random_model.h"
#include "train/checkpointed.h"

namespace lowmem::train {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

void damage_byte(const fs::path& file, std::streamoff at) {
  std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
  stream.seekg(at);
  const char byte = static_cast<char>(stream.get() ^ 1);
  stream.seekp(at);
  stream.put(byte);
}

struct Damage {
  const char* name;
  void (*apply)(const fs::path& checkpoint);
};

class Damaged : public Checkpointed, public testing::WithParamInterface<Damage> {};

TEST_P(Damaged, IsNamedAndTheOneBeforeIsUsed) {
  const RunConfig whole = trained("whole");
  const RunConfig config = trained("damaged");
  forget_end(config);
  const fs::path newest = run_of(config) / "checkpoints/step-00000004";
  GetParam().apply(newest);
  log::set_up(/*quiet=*/false);
  testing::internal::CaptureStderr();
  const Results results = resume(config);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_EQ(results.status, "finished");
  EXPECT_THAT(said, HasSubstr(newest.string() + " is damaged and left out"));
  EXPECT_THAT(said, HasSubstr("goes on after step 3"));
  expect_equal_runs(run_of(whole), run_of(config));
}

INSTANTIATE_TEST_SUITE_P(
    Checkpoints, Damaged,
    testing::Values(
        Damage{"AWeight",
               [](const fs::path& c) { damage_byte(c / "weights.safetensors", 9000); }},
        Damage{"AHeader",
               [](const fs::path& c) { damage_byte(c / "weights.safetensors", 20); }},
        Damage{
            "AnAverage",
            [](const fs::path& c) { damage_byte(c / "optimizer.safetensors", 70000); }},
        Damage{"ANumber",
               [](const fs::path& c) { damage_byte(c / "manifest.json", 500); }},
        Damage{
            "CutShort",
            [](const fs::path& c) { fs::resize_file(c / "weights.safetensors", 5000); }},
        Damage{"LackingAFile",
               [](const fs::path& c) { fs::remove(c / "optimizer.safetensors"); }},
        Damage{"LackingItsManifest",
               [](const fs::path& c) { fs::remove(c / "manifest.json"); }},
        Damage{"AnEmptyFolder",
               [](const fs::path& c) {
                 fs::remove_all(c);
                 fs::create_directories(c);
               }}),
    [](const auto& given) { return given.param.name; });

TEST_F(Checkpointed, ThatAreAllDamagedAreAnError) {
  const RunConfig config = trained("hopeless");
  fs::remove(run_of(config) / "results.json");
  for (const auto& entry : fs::directory_iterator(run_of(config) / "checkpoints"))
    damage_byte(entry.path() / "weights.safetensors", 9000);
  EXPECT_THAT(refusal(config), HasSubstr("holds no checkpoint that is whole"));
  EXPECT_EQ(lines_of(run_of(config)).size(), 6u);  // nothing was touched
  EXPECT_TRUE(fs::exists(run_of(config) / "model/model.safetensors"));
}

TEST_F(Checkpointed, HalfWrittenOnesAreRemoved) {
  const RunConfig config = trained("partial");
  forget_end(config);
  const fs::path half = run_of(config) / "checkpoints/.step-00000005.partial";
  fs::create_directories(half);
  write_file_atomically(half / "weights.safetensors", "half");
  ASSERT_EQ(resume(config).status, "finished");
  EXPECT_FALSE(fs::exists(half));
}

std::set<std::string> weights_held(const fs::path& run) {
  std::set<std::string> names;
  const SafetensorsFile file(run / "checkpoints/step-00000006/weights.safetensors");
  for (const TensorInfo& info : file.tensors()) names.insert(info.name);
  return names;
}

TEST_F(Checkpointed, HoldsTheTrainedWeightsAloneUnlessAllAreAskedFor) {
  RunConfig config = trained("all of them");
  const std::set<std::string> all = weights_held(run_of(config));
  EXPECT_TRUE(all.contains("model.embed_tokens.weight"));
  for (const bool whole : {false, true}) {
    config = only_layers(whole ? "whole" : "layers", whole);
    train(config);
    const std::set<std::string> held = weights_held(run_of(config));
    for (const std::string& name : all)
      EXPECT_EQ(held.contains(name), whole || name.starts_with("model.layers.")) << name;
  }
}

TEST_F(Checkpointed, RefusesAFolderWhoseFrozenWeightsAreOthers) {
  RunConfig config = only_layers("frozen", false);
  train(config);
  forget_end(config);
  fs::copy(config.model.path, folder() / "other", fs::copy_options::recursive);
  config.model.path = folder() / "other";
  EXPECT_EQ(resume(config).status, "finished");  // equal ones from another place

  forget_end(config);
  model::write_random_model(folder() / "other/config.json", folder() / "other",
                            DType::kF32, 43);
  const std::string refused = refusal(config);
  EXPECT_THAT(refused, HasSubstr(config.model.path));
  EXPECT_THAT(refused, HasSubstr("holds other weights than when the run began"));
  config.train.whole_checkpoints =
      true;  // of the next ones: these lack them all the same
  EXPECT_THAT(refusal(config), HasSubstr("holds other weights"));
}

TEST_F(Checkpointed, GoesOnWithoutTheModelsWeightsWhereItHoldsThemAll) {
  RunConfig config = only_layers("without", true);
  train(config);
  forget_end(config);
  fs::copy(config.model.path, folder() / "empty", fs::copy_options::recursive);
  fs::remove(folder() / "empty/model.safetensors");
  config.model.path = folder() / "empty";
  EXPECT_EQ(resume(config).status, "finished");
}

TEST_F(Checkpointed, IsWrittenWithoutACopyOfAnything) {
  RunConfig config = DemoFolder::config(OptimizerKind::kAdam, 3e-3);
  Session session(config, read_inputs(config));
  session.begin_step(0, /*report_rounding=*/false).wait();
  memory::device_ledger().reset_peaks();
  const int64_t before = memory::device_ledger().current();
  ASSERT_GT(before, 3 * session.weight_bytes() - 1);  // with both averages
  RunState state;
  state.step = 1;
  Checkpoints(folder() / "copies", 0).save(state, session.home());
  EXPECT_LE(memory::device_ledger().peak(), before);
  EXPECT_EQ(Checkpoints(folder() / "copies", 0).newest()->state.step, 1);
}

}  // namespace
}  // namespace lowmem::train
