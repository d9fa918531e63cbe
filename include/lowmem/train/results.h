#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "lowmem/eval/hellaswag.h"

namespace lowmem::train {

// What results.json says of a run.
struct Results {
  struct Epoch {
    double epoch = 0;
    int64_t step = 0;
    eval::Accuracy accuracy;
  };

  std::string status = "running";
  int64_t steps = 0;
  std::optional<eval::Accuracy> before, after;
  std::vector<Epoch> epochs;
  int64_t nonfinite_steps = 0;       // in which a loss or a gradient was not finite
  std::optional<double> final_loss;  // mean over the last logged steps
  int64_t examples = 0, tokens = 0;
  double training_seconds = 0;  // in steps alone
  double seconds = 0;           // in all

  // With the memory meter's peaks and the versions as they are now. Field names are
  // those of docs/outputs.md; scripts rely on them.
  nlohmann::ordered_json to_json() const;
};

// evaluation-<step>.jsonl: `index label log_likelihoods[4] acc acc_norm` a row.
void write_evaluation(const std::filesystem::path& path,
                      const eval::HellaSwagResult& result);

}  // namespace lowmem::train
