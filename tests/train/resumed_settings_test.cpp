// What may differ between a run and one that goes on from its checkpoints, and what not.
#include "train/checkpointed.h"

namespace lowmem::train {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

TEST_F(Checkpointed, MemoryPoliciesMayChangeInBetween) {
  const RunConfig whole = trained("whole");
  RunConfig config = trained("other");
  forget_end(config);
  config.memory.activations = ActivationsMode::kKeep;
  config.memory.gradients = GradientsMode::kAccumulate;
  ASSERT_EQ(resume(config).status, "finished");
  expect_equal_runs(run_of(whole), run_of(config));
}

TEST_F(Checkpointed, WhatWouldChangeTheResultMayNot) {
  RunConfig config = trained("other");
  forget_end(config);
  for (const char* override :
       {"optimizer.lr=0.1", "run.seed=1", "train.batch_size=8", "model.dtype=bf16",
        "data.max_length=20", "optimizer.rounding=nearest", "model.train=layers"}) {
    RunConfig changed = config;
    apply_override(changed, override);
    const std::string key =
        std::string(override).substr(0, std::string(override).find('='));
    EXPECT_THAT(refusal(changed), HasSubstr(key));
  }
  RunConfig longer = config;
  longer.optimizer.schedule = ScheduleKind::kLinear;
  EXPECT_THAT(refusal(longer), HasSubstr("optimizer.schedule"));
}

TEST_F(Checkpointed, OtherRowsAreRefused) {
  RunConfig config = trained("rows");
  forget_end(config);
  config.data.train = {(folder() / "val.jsonl").string()};
  EXPECT_THAT(refusal(config), HasSubstr("holds other rows than when the run began"));
}

TEST_F(Checkpointed, AnotherConfigJsonIsRefused) {
  RunConfig config = trained("shape");
  forget_end(config);
  const fs::path copy = folder() / "copy";
  fs::remove_all(copy);
  fs::copy(folder() / "model", copy);
  nlohmann::json shape = read_json(copy / "config.json");
  shape["rms_norm_eps"] = 0.01;
  write_file_atomically(copy / "config.json", shape.dump());
  config.model.path = copy.string();
  EXPECT_THAT(refusal(config), HasSubstr("differs from the one that the run began with"));
}

TEST_F(Checkpointed, FoldersAndFilesMayHaveOtherNames) {
  const RunConfig whole = trained("whole");
  RunConfig config = trained("moved");
  forget_end(config);
  const fs::path elsewhere = folder() / "elsewhere";
  fs::remove_all(elsewhere);
  fs::create_directories(elsewhere / "runs");
  fs::rename(run_of(config), elsewhere / "runs/renamed");
  fs::copy(folder() / "model", elsewhere / "model");
  fs::copy(folder() / "train.jsonl", elsewhere / "rows.jsonl");
  config.run.dir = elsewhere / "runs";
  config.run.name = "renamed";
  config.model.path = elsewhere / "model";
  config.data.train = {elsewhere / "rows.jsonl"};
  ASSERT_EQ(resume(config).status, "finished");
  expect_equal_runs(run_of(whole), run_of(config));
}

TEST_F(Checkpointed, AFinishedRunWithoutOneIsNotReplacedByALongerOne) {
  RunConfig config = trained("dear");
  fs::remove_all(run_of(config) / "checkpoints");
  config.run.overwrite = false;
  config.train.max_steps = 9;
  EXPECT_THAT(refusal(config), HasSubstr("without a checkpoint to go on from"));
  EXPECT_TRUE(fs::exists(run_of(config) / "model/model.safetensors"));
}

TEST_F(Checkpointed, ARunCannotEndBeforeIt) {
  RunConfig config = trained("short");
  fs::remove(run_of(config) / "results.json");
  config.train.max_steps = 4;
  EXPECT_THAT(refusal(config), HasSubstr("would end before its checkpoint"));
}

TEST_F(Checkpointed, PathsNeedNotBeUtf8) {
  RunConfig config = trained("odd\xff");
  EXPECT_EQ(resume(config).status, "finished");  // its settings are read back, and equal
  forget_end(config);
  EXPECT_EQ(resume(config).status, "finished");
}

TEST_F(Checkpointed, ALongerRunGoesOnWhereAShorterOneEnded) {
  RunConfig config = trained("long");
  EXPECT_EQ(resume(config).steps, 6);  // nothing to do
  config.train.max_steps = 9;
  const Results results = resume(config);
  EXPECT_EQ(results.status, "finished");
  EXPECT_EQ(results.steps, 9);
  EXPECT_EQ(lines_of(run_of(config)).size(), 9u);
}

TEST_F(Checkpointed, OnlyTheNewestAreKept) {
  RunConfig config = trained("kept");
  EXPECT_EQ(Checkpoints(run_of(config) / "checkpoints", 0).steps(),
            (std::vector<int64_t>{1, 2, 3, 4, 5, 6}));
  config.train.keep_checkpoints = 2;
  train(config);
  EXPECT_EQ(Checkpoints(run_of(config) / "checkpoints", 0).steps(),
            (std::vector<int64_t>{5, 6}));
}

TEST_F(Checkpointed, AnUnfinishedRunIsNotReplacedUnasked) {
  RunConfig config = trained("precious");
  forget_end(config);
  config.run.overwrite = false;
  try {
    train(config);
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("checkpoint after step 4"));
    EXPECT_THAT(error.what(), HasSubstr("--resume"));
  }
}

TEST_F(Checkpointed, ARunWithoutOneBeginsAnew) {
  RunConfig config = trained("none");
  fs::remove(run_of(config) / "results.json");
  fs::remove_all(run_of(config) / "checkpoints");
  const Results results = resume(config);
  EXPECT_EQ(results.status, "finished");
  EXPECT_EQ(lines_of(run_of(config)).size(), 6u);
}

}  // namespace
}  // namespace lowmem::train
