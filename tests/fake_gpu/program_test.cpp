// The program with memory.device = cuda on the fake GPU: what it puts on the GPU, what it
// waits for, and what it says when the GPU is too small. Kernels do nothing, so that
// losses mean nothing.
#include "fake_gpu/program.h"

#include <gmock/gmock.h>

#include <set>

#include "lowmem/io/atomic_file.h"

namespace lowmem::test {
namespace {

using nlohmann::json;
using testing::HasSubstr, testing::IsEmpty;
namespace fs = std::filesystem;

TEST_F(ProgramOnFakeGpu, TrainsAndEvaluatesWithoutACallThatAGpuWouldRefuse) {
  const std::string at = folder().string();
  const Outcome run = train("whole",
                            "train.max_steps=6 eval.limit=8 eval.every=3"
                            " eval.data=" +
                                at + "/val.jsonl");
  ASSERT_EQ(run.status, 0) << run.output;
  EXPECT_THAT(report("whole")["refused"], IsEmpty());
  const json found = results("whole");
  EXPECT_EQ(found["status"], "finished");
  EXPECT_EQ(found["steps"], 6);
  EXPECT_EQ(found["accuracy"]["after"]["count"], 8);
  for (const char* key :
       {"total", "load", "forward", "backward", "update", "evaluate", "save"})
    EXPECT_GT(found["peak_bytes"][key], 0) << key;
  EXPECT_GE(found["device_used_bytes"], found["peak_bytes"]["total"]);
  EXPECT_EQ(found["device_used_bytes"], report("whole")["memory"]["peak_bytes"]);
}

TEST_F(ProgramOnFakeGpu, ComputesWithItsOwnKernelsAndFlashAttention) {
  ASSERT_EQ(train("kernels", "train.max_steps=1").status, 0);
  const std::string kernels = report("kernels")["kernels"]["by_name"].dump();
  for (const char* name :
       {"lowmem::kernels::cuda::forward", "flash_fwd_kernel", "flash_bwd_dq_dk_dv"})
    EXPECT_THAT(kernels, HasSubstr(name));
  EXPECT_EQ(report("kernels")["on_legacy_stream"], 0);
}

// The same weights as a model of another family: flash attention takes a window, and
// cuDNN does not.
TEST_F(ProgramOnFakeGpu, AWindowIsFlashAttentionsAndNotCudnns) {
  fs::copy(folder() / "model", folder() / "mistral", fs::copy_options::recursive);
  json config = read_json(folder() / "mistral/config.json");
  config.merge_patch({{"architectures", {"MistralForCausalLM"}},
                      {"model_type", "mistral"},
                      {"sliding_window", 16}});
  write_file_atomically(folder() / "mistral/config.json", config.dump());
  const std::string path = " model.path=" + (folder() / "mistral").string();
  const Outcome run = train("window", "train.max_steps=1" + path);
  ASSERT_EQ(run.status, 0) << run.output;
  EXPECT_THAT(report("window")["refused"], IsEmpty());
  const auto flash = [](const std::string& name) {
    std::set<std::string> names;
    const json kernels = report(name)["kernels"]["by_name"];
    for (const auto& [kernel, count] : kernels.items())
      if (kernel.find("flash_") != std::string::npos) names.insert(kernel);
    return names;
  };
  EXPECT_GE(flash("window").size(), 2u);
  const Outcome refused = train("cudnn", "memory.attention=cudnn" + path);
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.output, HasSubstr("looks through a window"));
}

// What a step makes the host wait for, once the step after it is under way: the loss, the
// norm and the finite flags of its gradients.
constexpr double kWaitsOfAStep = 3;

// No kernel ran: the weights come back from the GPU as they went there.
TEST_F(ProgramOnFakeGpu, SavesTheWeightsItLoaded) {
  ASSERT_EQ(train("saved", "train.max_steps=1 model.dtype=fp32").status, 0);
  const std::string weights = read_file(folder() / "model/model.safetensors");
  EXPECT_GT(weights.size(), 100'000u);
  EXPECT_TRUE(weights == read_file(folder() / "runs/saved/model/model.safetensors"));
}

// Settings of what lives in the host's memory or on the disk, one file a line.
const std::vector<std::string>& elsewhere() {
  static const std::vector<std::string> all = {
      "memory.weights=host memory.ahead=0",
      "memory.weights=host optimizer.name=adamw optimizer.lr=0.001",
      "memory.weights=host model.train=all train.micro_batch_size=2 memory.ahead=1",
      "memory.states=host optimizer.name=adamw optimizer.lr=0.001",
      "memory.weights=host memory.states=device optimizer.name=adamw",
      "memory.kept=host memory.ahead=0 train.micro_batch_size=2",
      "memory.weights=disk optimizer.name=adamw memory.ahead=1",
      "memory.weights=host memory.states=disk optimizer.name=adamw memory.ahead=0",
      "memory.kept=disk memory.ahead=0",
  };
  return all;
}

// What goes to the GPU and back a block at a time, on streams beside the one that
// computes, arrives whole: a copy that did not wait for the other, or for what was in its
// place, would bring other numbers. The demo's two blocks would hide that: a model of
// eight.
TEST_F(ProgramOnFakeGpu, WhatLivesElsewhereComesBackAsItWas) {
  const std::string deep = deep_model().string();
  const std::string weights = read_file(fs::path(deep) / "model.safetensors");
  for (const std::string& keys : elsewhere()) {
    const Outcome run = train(
        "elsewhere", keys + " run.overwrite=true train.max_steps=3 model.path=" + deep);
    ASSERT_EQ(run.status, 0) << keys << run.output;
    EXPECT_THAT(report("elsewhere")["refused"], IsEmpty()) << keys;
    EXPECT_TRUE(weights == read_file(folder() / "runs/elsewhere/model/model.safetensors"))
        << keys;
  }
}

// Copies of the host's memory are the GPU's own work: the host waits for results alone.
TEST_F(ProgramOnFakeGpu, TheHostWaitsForNoCopyOfItsMemory) {
  const std::string model = " model.path=" + deep_model().string();
  for (const std::string& keys : elsewhere()) {
    if (keys.find("disk") != std::string::npos) continue;
    const PerStep step = per_step("copies", keys + " run.overwrite=true" + model);
    EXPECT_EQ(step.of("/host_waits/count"), kWaitsOfAStep) << keys;
    EXPECT_EQ(step.of("/memory/peak_bytes"), 0) << keys;
    EXPECT_THAT(step.after["refused"], IsEmpty());
  }
}

TEST_F(ProgramOnFakeGpu, WaitsOnlyForAStepsResults) {
  const char* recipes[] = {
      "",
      "optimizer.name=adam model.dtype=fp32 model.compute_dtype=fp32"
      " memory.activations=keep memory.gradients=accumulate",
      "model.dtype=fp32 model.compute_dtype=bf16 optimizer.rounding=nearest",
      "train.micro_batch_size=2"};
  for (size_t i = 0; i < std::size(recipes); ++i) {
    const PerStep step = per_step("waits" + std::to_string(i) + "-", recipes[i]);
    EXPECT_EQ(step.of("/host_waits/count"), kWaitsOfAStep) << recipes[i];
    EXPECT_EQ(step.of("/host_waits/by_call/cudaEventSynchronize"), kWaitsOfAStep);
    EXPECT_GT(step.of("/launches"), 100) << recipes[i];
    EXPECT_EQ(step.of("/memory/peak_bytes"), 0) << recipes[i];
    EXPECT_THAT(step.after["refused"], IsEmpty());
  }
}

// All memory of the GPU reads as zeros where no copy arrives.
TEST_F(ProgramOnFakeGpu, LosesNoStepToANumberThatIsNotFinite) {
  const Outcome run =
      train("finite", "train.max_steps=20 train.log_every=5", "FAKE_GPU_DROP_COPIES=1");
  ASSERT_EQ(run.status, 0) << run.output;
  EXPECT_EQ(results("finite")["nonfinite_steps"], 0);
  EXPECT_EQ(results("finite")["final_loss"], 0.0);
}

TEST_F(ProgramOnFakeGpu, RefusesAdaloraBeforeAnythingStarts) {
  const Outcome refused = train("adalora", "train.max_steps=2 adapter.kind=adalora");
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.output,
              HasSubstr("adapter.kind = adalora: is not there on a GPU yet"));
}

TEST_F(ProgramOnFakeGpu, SaysThatTheGpuIsTooSmall) {
  const Outcome refused =
      train("refused", "train.max_steps=2", "FAKE_GPU_MEMORY=12000000");
  EXPECT_EQ(refused.status, 1);
  EXPECT_THAT(refused.output, HasSubstr("error: memory: would be exhausted"));
  const Outcome run =
      train("small", "train.max_steps=2 memory.force=true", "FAKE_GPU_MEMORY=12000000");
  EXPECT_EQ(run.status, 1);
  const size_t error = run.output.find("error: ");
  ASSERT_NE(error, std::string::npos) << run.output;
  EXPECT_EQ(run.output.find("error: ", error + 1), std::string::npos) << run.output;
  EXPECT_THAT(run.output.substr(error), HasSubstr("the GPU's memory: is exhausted"));
  EXPECT_THAT(report("small")["refused"], IsEmpty());
}

// On a model deeper than the demo's: the last block, which sees labelled rows only, is
// never recorded.
// Where attention is told lengths by the host, another batch of the same size may not be
// replayed over them.
TEST_F(ProgramOnFakeGpu, RecordsFlashAttentionOnly) {
  const char* fp32 = " model.dtype=fp32 model.compute_dtype=fp32";
  for (const char* keys : {fp32, " memory.attention=math"}) {
    const PerStep steps =
        per_step("host_lengths", std::string("run.overwrite=true") + keys);
    EXPECT_EQ(steps.after["graphs"]["captures"], 0) << keys;
    EXPECT_THAT(steps.after["refused"], IsEmpty()) << keys;
  }
  EXPECT_GT(per_step("auto", "memory.cuda_graphs=auto").after["graphs"]["captures"], 0);
}

// What lives on the host is in the plan's account of the host, and off the GPU's.
TEST_F(ProgramOnFakeGpu, ThePlanCountsBothMemories) {
  const auto plan = [&](const std::string& keys) {
    const Outcome outcome = run("plan --json -q", "both",
                                keys +
                                    " memory.cuda_graphs=false train.max_steps=2"
                                    " run.overwrite=true model.path=" +
                                    deep_model().string());
    EXPECT_EQ(outcome.status, 0) << outcome.output;
    return json::parse(outcome.output);
  };
  const json home = plan(""), host = plan("memory.weights=host memory.ahead=0");
  const json disk = plan("memory.weights=disk memory.ahead=0");
  const auto more = [&](const json& other, const char* key) {
    return other[key].get<int64_t>() - home[key].get<int64_t>();
  };
  const auto weights =
      static_cast<int64_t>(fs::file_size(deep_model() / "model.safetensors"));
  EXPECT_GT(more(host, "host_bytes"), weights * 3 / 4);
  EXPECT_LT(more(host, "host_bytes"), weights * 5 / 4);
  // Pieces: of the size of a block those that are read and written, and rows; and of
  // 8 MiB, through which the embedding and the head are loaded.
  constexpr int64_t kPassing = 8 << 20;
  EXPECT_GT(more(disk, "host_bytes"), weights / 12 + kPassing);
  EXPECT_LT(more(disk, "host_bytes"), weights + kPassing);
  EXPECT_GT(more(disk, "scratch_bytes"), weights * 3 / 4);
  for (const json* other : {&host, &disk})
    EXPECT_LT((*other)["peak_bytes"]["total"].get<int64_t>(),
              home["peak_bytes"]["total"].get<int64_t>() - weights / 2);
}

TEST_F(ProgramOnFakeGpu, GraphsTakeThePlaceOfLaunches) {
  const std::string model = " model.path=" + deep_model().string();
  const PerStep eager = per_step("eager", "memory.cuda_graphs=false" + model);
  const PerStep graphs = per_step("graphs", "memory.cuda_graphs=true" + model);
  EXPECT_EQ(eager.of("/graphs/launches"), 0);
  EXPECT_EQ(graphs.of("/graphs/launches"), 2 * 7);
  EXPECT_EQ(graphs.of("/graphs/captures"), 0);
  EXPECT_LT(graphs.of("/launches"), eager.of("/launches") / 3);
  // The GPU has the same to do.
  for (const char* what : {"/kernels/count", "/products/count", "/products/flops"})
    EXPECT_EQ(graphs.of(what), eager.of(what)) << what;
  EXPECT_EQ(graphs.of("/host_waits/count"), kWaitsOfAStep);
  EXPECT_EQ(graphs.after["graphs"]["beside_captures"], 0);
  EXPECT_EQ(graphs.after["graphs"]["captured_host_copies"], 0);
  EXPECT_THAT(graphs.after["refused"], IsEmpty());
}

}  // namespace
}  // namespace lowmem::test
