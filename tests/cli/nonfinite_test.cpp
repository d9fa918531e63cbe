// A gradient that is not finite, from the outside: the loss is, so that only the
// gradient's own check can see it.
#include <gmock/gmock.h>

#include "cli/program.h"
#include "lowmem/io/safetensors_writer.h"
#include "lowmem/io/weights_folder.h"

namespace lowmem::test {
namespace {

using nlohmann::json;
using testing::ElementsAre, testing::HasSubstr;
namespace fs = std::filesystem;

constexpr const char* kNorm = "model.norm.weight";
constexpr const char* kEmbedding = "model.embed_tokens.weight";
constexpr const char* kHead = "lm_head.weight";
constexpr const char* kComplaint = "the gradient of model.norm.weight is not finite";

using Weights = std::map<std::string, std::vector<float>>;

Weights weights_of(const fs::path& model) {
  Weights weights;
  const WeightsFolder folder(model);
  for (const auto& [file, tensor] : folder.tensors()) {
    std::vector<float>& values = weights[tensor->name];
    values.resize(static_cast<size_t>(tensor->count()));
    file->read_as(DType::kF32, *tensor, std::as_writable_bytes(std::span(values)));
  }
  return weights;
}

class NonfiniteGradient : public DemoProgram {
 protected:
  // The demo's model with a head of its own, 1e22 times the embedding, behind a norm
  // 1e-22 times as large: the same loss, but the norm's gradient has squares beyond fp32.
  static void SetUpTestSuite() {
    DemoProgram::SetUpTestSuite();
    const fs::path model = folder() / "model";
    json config = read_json(model / "config.json");
    config["tie_word_embeddings"] = false;
    write_file_atomically(model / "config.json", config.dump());

    std::vector<TensorSpec> specs;
    const WeightsFolder tied(model);
    for (const auto& [file, tensor] : tied.tensors()) {
      specs.push_back({tensor->name, DType::kF32, tensor->shape});
      if (tensor->name == kEmbedding)
        specs.push_back({kHead, DType::kF32, tensor->shape});
    }
    Weights weights = weights_of(model);
    weights[kHead] = weights.at(kEmbedding);
    for (float& value : weights.at(kHead)) value *= 1e22f;
    for (float& value : weights.at(kNorm)) value *= 1e-22f;
    SafetensorsWriter writer(model / kSingleWeightsFile, specs);
    for (const TensorSpec& spec : specs)
      writer.write(spec.name, std::as_bytes(std::span(weights.at(spec.name))));
    writer.finish();
  }

  // What a run's model has in common with the one it began with, sorted.
  static std::vector<std::string> unchanged_by(const std::string& run) {
    const Weights before = weights_of(folder() / "model");
    std::vector<std::string> names;
    for (const auto& [name, values] : weights_of(folder_of(run) / "model"))
      if (values == before.at(name)) names.push_back(name);
    return names;
  }

  static std::string settings(const std::string& run) {
    return quick(run) + "model.train=all run.overwrite=true ";
  }
};

TEST_F(NonfiniteGradient, StopsTheRunByNameAndWritesNoModel) {
  for (const char* gradients : {"accumulate", "update"}) {
    const Outcome run = run_program(settings("stopped") + "train.on_nonfinite=stop" +
                                    " memory.gradients=" + gradients);
    EXPECT_EQ(run.status, 1);
    EXPECT_THAT(run.output, HasSubstr(std::string("error: step 1: ") + kComplaint));
    EXPECT_THAT(run.output, HasSubstr("train.on_nonfinite = skip"));
    EXPECT_FALSE(fs::exists(folder_of("stopped") / "model"));
    EXPECT_FALSE(fs::exists(folder_of("stopped") / "results.json"));
  }
}

TEST_F(NonfiniteGradient, SkipsTheUpdateOfItsWeightAlone) {
  for (const char* gradients : {"accumulate", "update"}) {
    const Outcome run = run_program(settings("skipped") + "train.on_nonfinite=skip" +
                                    " memory.gradients=" + gradients);
    ASSERT_EQ(run.status, 0) << run.output;
    for (const char* step : {"step 1: ", "step 6: "})
      EXPECT_THAT(run.output,
                  HasSubstr(std::string(step) + kComplaint + "; its update is skipped"));
    EXPECT_EQ(results("skipped")["status"], "finished");
    EXPECT_EQ(results("skipped")["steps"], 6);
    EXPECT_EQ(results("skipped")["nonfinite_steps"], 6);
    // An update near 0.003 is lost in numbers near 1e21: so the head is there as well.
    EXPECT_THAT(unchanged_by("skipped"), ElementsAre(kHead, kNorm));
  }
}

TEST_F(NonfiniteGradient, SkipsTheStepWhereAllGradientsAreClippedTogether) {
  const Outcome run = run_program(settings("clipped") + "train.on_nonfinite=skip" +
                                  " optimizer.clip_norm=1 memory.gradients=accumulate");
  ASSERT_EQ(run.status, 0) << run.output;
  EXPECT_THAT(run.output,
              HasSubstr(std::string("step 6: ") + kComplaint + "; the step is skipped"));
  EXPECT_EQ(unchanged_by("clipped").size(), weights_of(folder() / "model").size());
}

}  // namespace
}  // namespace lowmem::test
