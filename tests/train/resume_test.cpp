// A run that goes on from a checkpoint ends with the bits of one never interrupted.
#include "train/resume.h"

#include <gmock/gmock.h>

#include <set>

#include "lowmem/core/error.h"
#include "lowmem/core/log.h"
#include "lowmem/io/safetensors.h"
#include "lowmem/memory/meter.h"
#include "lowmem/model/random_model.h"

namespace lowmem::train {
namespace {

using testing::HasSubstr;
namespace fs = std::filesystem;

struct Setting {
  const char* name;
  std::vector<std::string> overrides;
};

class Resume : public DemoFolder, public testing::WithParamInterface<Setting> {};

TEST_P(Resume, IsExact) {
  expect_exact_resume(config(OptimizerKind::kAdam, 3e-3), GetParam().overrides);
}

const std::vector<std::string> kBf16 = {"model.dtype=bf16", "model.compute_dtype=bf16"};

std::vector<std::string> bf16(std::vector<std::string> more) {
  more.insert(more.begin(), kBf16.begin(), kBf16.end());
  return more;
}

std::string name_of(const testing::TestParamInfo<Setting>& info) {
  return info.param.name;
}

INSTANTIATE_TEST_SUITE_P(
    Optimizers, Resume,
    testing::Values(
        Setting{"Adam", {}}, Setting{"AdamBf16", bf16({})},
        Setting{"AdamBf16State", bf16({"optimizer.state_dtype=bf16"})},
        Setting{"AdamInt8State", bf16({"optimizer.state_dtype=int8"})},
        Setting{"AdamKahan", bf16({"optimizer.rounding=kahan"})},
        Setting{"AdamMixed", {"model.compute_dtype=bf16"}},
        Setting{"AdamW", {"optimizer.name=adamw"}},
        Setting{"AdamWBf16", bf16({"optimizer.name=adamw"})},
        Setting{"AdamWMixed", {"optimizer.name=adamw", "model.compute_dtype=bf16"}},
        Setting{"Adafactor", {"optimizer.name=adafactor"}},
        Setting{"AdafactorBf16", bf16({"optimizer.name=adafactor"})},
        Setting{"AdafactorKahan",
                bf16({"optimizer.name=adafactor", "optimizer.rounding=kahan"})},
        Setting{"AdafactorNearest",
                bf16({"optimizer.name=adafactor", "optimizer.rounding=nearest"})},
        Setting{"AdafactorMixed",
                {"optimizer.name=adafactor", "model.compute_dtype=bf16"}},
        Setting{"Sgd", {"optimizer.name=sgd"}},
        Setting{"SgdBf16", bf16({"optimizer.name=sgd"})},
        Setting{"SgdMixed", {"optimizer.name=sgd", "model.compute_dtype=bf16"}},
        Setting{"SgdMomentum", {"optimizer.name=sgd", "optimizer.momentum=0.9"}},
        Setting{"SgdMomentumBf16",
                bf16({"optimizer.name=sgd", "optimizer.momentum=0.9"})}),
    name_of);

class ResumeOfTexts : public DemoFolder {
 protected:
  // The contexts of the demo's rows as texts.
  static std::string texts_of(const std::string& rows) {
    std::string texts;
    std::ifstream in(folder() / rows);
    for (std::string line; std::getline(in, line);)
      texts += nlohmann::json{{"text", nlohmann::json::parse(line)["ctx"]}}.dump() + "\n";
    const fs::path file = folder() / ("texts_of_" + rows);
    write_file_atomically(file, texts);
    return file.string();
  }
};

// Split texts, evaluated by their perplexity beside HellaSwag's accuracy.
TEST_F(ResumeOfTexts, IsExact) {
  RunConfig run = config(OptimizerKind::kAdam, 3e-3);
  run.data.train = {texts_of("train.jsonl")};
  run.eval.data.push_back(texts_of("val.jsonl"));
  expect_exact_resume(run, {"data.max_length=12"});
  const auto results = results_of(folder() / "runs" / "parts");
  const auto& perplexity = results["perplexity"];
  ASSERT_EQ(perplexity["epochs"].size(), 2u);  // after steps 3 and 6
  EXPECT_LT(perplexity["after"]["loss"], perplexity["before"]["loss"]);
  EXPECT_EQ(results["accuracy"]["epochs"].size(), 2u);
}

INSTANTIATE_TEST_SUITE_P(
    Policies, Resume,
    testing::Values(
        Setting{"KeepAccumulate",
                {"memory.activations=keep", "memory.gradients=accumulate"}},
        Setting{"KeepUpdate", {"memory.activations=keep", "memory.gradients=update"}},
        Setting{"RecomputeAccumulate",
                {"memory.activations=recompute", "memory.gradients=accumulate"}},
        Setting{"KeepTheLastBlock", {"memory.activations=1"}},
        Setting{"WholeCheckpoints",
                {"model.train=layers", "train.whole_checkpoints=true"}},
        Setting{"MicroBatches", {"train.micro_batch_size=5"}},
        Setting{"Clipping", {"optimizer.clip_norm=0.5", "memory.gradients=accumulate"}},
        Setting{"ClippingTwoPass",
                {"optimizer.clip_norm=0.5", "optimizer.clip_mode=two_pass"}},
        Setting{"Schedule", {"optimizer.schedule=cosine", "optimizer.warmup_steps=2"}},
        Setting{"KeepBest", {"train.keep_best=true", "optimizer.lr=0.2"}},
        Setting{"LayersOnly", {"model.train=layers"}},
        Setting{"SmallEpochs", {"data.limit=37", "train.epochs=9"}},
        Setting{"InFileOrder", {"data.shuffle=false"}}),
    name_of);

class Checkpointed : public DemoFolder {
 protected:
  // Settings of six steps with a checkpoint after each, all kept.
  RunConfig settings(const std::string& name) {
    RunConfig config = DemoFolder::config(OptimizerKind::kAdam, 3e-3);
    config.run.dir = folder() / "runs";
    config.run.name = name;
    config.run.overwrite = true;
    config.eval.data.clear();
    config.train.max_steps = 6;
    config.train.log_every = 1;
    config.train.save_every = 1;
    config.train.keep_checkpoints = 0;
    return config;
  }
  RunConfig trained(const std::string& name) {
    RunConfig config = settings(name);
    train(config);
    return config;
  }
  // Settings with nothing but the layers to train.
  RunConfig only_layers(const std::string& name, bool whole) {
    RunConfig config = settings(name);
    config.model.train = {"layers"};
    config.train.whole_checkpoints = whole;
    return config;
  }
  static fs::path run_of(const RunConfig& config) {
    return fs::path(config.run.dir) / config.run.name;
  }
  // As a process that was killed before the last two steps were saved.
  static void forget_end(const RunConfig& config) {
    fs::remove(run_of(config) / "results.json");
    for (const char* step : {"step-00000005", "step-00000006"})
      fs::remove_all(run_of(config) / "checkpoints" / step);
  }
  static Results resume(const RunConfig& config) {
    RunControl control;
    control.resume = true;
    return train(config, control);
  }
  static std::string refusal(const RunConfig& config) {
    try {
      resume(config);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
};

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
