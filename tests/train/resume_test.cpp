// A run that goes on from a checkpoint ends with the bits of one never interrupted.
#include "train/resume.h"

namespace lowmem::train {
namespace {

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
        Setting{"Lora",
                {"adapter.kind=lora", "adapter.rank=4", "model.train=layers",
                 "train.keep_best=true"}},
        Setting{"LoraBf16OnDisk",
                {"adapter.kind=lora", "adapter.targets=all-linear", "model.dtype=bf16",
                 "model.compute_dtype=bf16", "model.train=layers", "memory.weights=disk",
                 "adapter.merge=true"}},
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

}  // namespace
}  // namespace lowmem::train
