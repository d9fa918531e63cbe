#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "lowmem/config/run_config.h"
#include "lowmem/data/demo.h"
#include "lowmem/io/atomic_file.h"
#include "lowmem/memory/meter.h"
#include "lowmem/model/random_model.h"

namespace lowmem::train {

// The embedded demo with a random model, in a temporary folder for a suite's tests.
class DemoFolder : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    memory::install();
    folder() = std::filesystem::temp_directory_path() /
               ("lowmem-demo-" + std::to_string(getpid()));
    std::filesystem::create_directories(folder() / "model");
    for (const DemoFile& file : demo_files(7))
      write_file_atomically(folder() / file.name, file.text);
    model::write_random_model(folder() / "model/config.json", folder() / "model",
                              DType::kF32, 7);
  }
  static void TearDownTestSuite() { std::filesystem::remove_all(folder()); }

  static std::filesystem::path& folder() {
    static std::filesystem::path path;
    return path;
  }

  static RunConfig config(OptimizerKind optimizer, double lr) {
    RunConfig config;
    config.model.path = (folder() / "model").string();
    config.model.dtype = config.model.compute_dtype = DType::kF32;
    config.model.train = {"all"};
    config.data.train = {(folder() / "train.jsonl").string()};
    config.eval.data = {(folder() / "val.jsonl").string()};
    config.eval.limit = 200;
    config.train.batch_size = 16;
    config.optimizer.name = optimizer;
    config.optimizer.lr = lr;
    return config;
  }
};

}  // namespace lowmem::train
