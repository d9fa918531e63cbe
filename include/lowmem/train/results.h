#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "lowmem/memory/meter.h"
#include "lowmem/train/evaluation.h"

namespace lowmem::train {

// The memory meter's highest counts, in bytes.
struct Peaks {
  int64_t total = 0;
  std::array<int64_t, memory::kPhases> by_phase{};
  int64_t resident = 0;     // of the process
  int64_t device_used = 0;  // of the GPU
  int64_t host = 0;         // of tensors on the host, where a GPU computes

  // What the meter has seen in this process, or `before` where that was higher.
  static Peaks now(const Peaks& before);
};

// What results.json says of a run.
struct Results {
  struct Epoch {
    double epoch = 0;
    int64_t step = 0;
    Scores scores;
  };

  std::string status = "running";  // then "finished", or "stopped"
  int64_t steps = 0;
  std::optional<Scores> before, after;
  std::vector<Epoch> epochs;
  std::optional<Epoch> best;         // of the evaluations after a step
  int64_t exported = 0;              // the step whose weights model/ holds
  int64_t skipped_rows = 0;          // that data.on_bad_row = skip left out
  int64_t nonfinite_steps = 0;       // in which a loss or a gradient was not finite
  std::optional<double> first_loss;  // mean over the first logged steps
  std::optional<double> final_loss;  // mean over the last ones
  // Of an adapter with ranks that come down (AdaLoRA), what each module is left with.
  std::map<std::string, int64_t> adapter_ranks;
  int64_t examples = 0, tokens = 0;
  double training_seconds = 0;  // in steps alone
  double seconds = 0;           // in all
  Peaks before_resume;          // of the run's earlier processes

  // With the memory meter's peaks and the versions as they are now. Field names are
  // those of docs/outputs.md; scripts rely on them.
  nlohmann::ordered_json to_json() const;

  // For a checkpoint: all but the status, exactly.
  nlohmann::json save() const;
  static Results load(const nlohmann::json& saved);
};

// evaluation-<step>.jsonl: `index label log_likelihoods[4] acc acc_norm` a row.
void write_evaluation(const std::filesystem::path& path,
                      const eval::HellaSwagResult& result);

}  // namespace lowmem::train
