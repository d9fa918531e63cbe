#pragma once

// The program with memory.device = cuda on the fake GPU, and what both say afterwards.
// Kernels do nothing, so that losses mean nothing.
#include <dlfcn.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "cli/program.h"
#include "lowmem/core/files.h"

namespace lowmem::test {

class ProgramOnFakeGpu : public testing::Test {
 protected:
  using json = nlohmann::json;

  static void SetUpTestSuite() {
    if (dlopen(LOWMEM_TORCH_CUDA, RTLD_LAZY) == nullptr) missing() = dlerror();
    folder() = std::filesystem::temp_directory_path() /
               ("lowmem-fake-gpu-" + std::to_string(getpid()));
    const Outcome demo = run_command(LOWMEM_TRAIN " demo " + folder().string());
    ASSERT_EQ(demo.status, 0) << demo.output;
  }
  static void TearDownTestSuite() { std::filesystem::remove_all(folder()); }
  void SetUp() override {
    if (!missing().empty())
      GTEST_SKIP() << "LibTorch's CUDA library cannot be loaded: " << missing();
  }

  static std::filesystem::path& folder() {
    static std::filesystem::path path;
    return path;
  }

  // The program on the demo; its report is then there. `command`: "" trains.
  static Outcome run(const std::string& command, const std::string& name,
                     const std::string& overrides, const std::string& environment = "") {
    const std::string at = folder().string();
    return run_command(
        "env " + environment + " LD_PRELOAD=" FAKE_GPU " FAKE_GPU_REPORT=" +
        (folder() / (name + ".json")).string() + " " LOWMEM_TRAIN " " + command +
        with_last_values(" memory.device=cuda model.path=" + at + "/model data.train=" +
                         at + "/train.jsonl run.dir=" + at + "/runs run.name=" + name +
                         " train.batch_size=4 train.log_every=100 " + overrides));
  }
  static Outcome train(const std::string& name, const std::string& overrides,
                       const std::string& environment = "") {
    return run("", name, overrides, environment);
  }
  static json report(const std::string& name) {
    return read_json(folder() / (name + ".json"));
  }
  static json results(const std::string& name) {
    return read_json(folder() / "runs" / name / "results.json");
  }

  // The demo's model in another shape, of random weights.
  static std::filesystem::path reshaped(const std::string& name, const json& shape) {
    const std::filesystem::path model = folder() / name;
    if (std::filesystem::exists(model)) return model;
    json config = read_json(folder() / "model/config.json");
    config.update(shape);
    const std::string file = (folder() / (name + ".json")).string();
    std::ofstream(file) << config;
    const Outcome made = run_command(LOWMEM_TRAIN " init " + file + " " + model.string());
    EXPECT_EQ(made.status, 0) << made.output;
    for (const char* copied : {"tokenizer.json", "tokenizer_config.json"})
      std::filesystem::copy_file(folder() / "model" / copied, model / copied,
                                 std::filesystem::copy_options::skip_existing);
    return model;
  }
  static std::filesystem::path deep_model() {
    return reshaped("deep", {{"num_hidden_layers", 8}});
  }

  // How much steps 6 to 10 add to the numbers of steps 1 to 5, per step.
  struct PerStep {
    json before, after;
    double of(const std::string& path) const {
      const json::json_pointer at(path);
      return (after.value(at, 0.0) - before.value(at, 0.0)) / 5;
    }
  };
  static PerStep per_step(const std::string& name, const std::string& overrides,
                          const std::string& environment = "") {
    PerStep found;
    for (const int steps : {5, 10}) {
      const std::string run = name + std::to_string(steps);
      const Outcome outcome = train(
          run, overrides + " train.max_steps=" + std::to_string(steps), environment);
      EXPECT_EQ(outcome.status, 0) << outcome.output;
      (steps == 5 ? found.before : found.after) = report(run);
    }
    return found;
  }

 private:
  static std::string& missing() {
    static std::string reason;
    return reason;
  }
};

}  // namespace lowmem::test
