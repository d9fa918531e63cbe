#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace lowmem::metrics {

// A line of metrics.jsonl, as far as the report shows it.
struct LoggedStep {
  int64_t step = 0;
  std::optional<double> loss;           // nullopt where every step was skipped
  std::optional<double> rounding_lost;  // share, of bf16 weights
  std::optional<double> adapter_rank;   // of AdaLoRA, of all layers
};

// Accuracy as a share, or perplexity, over a run.
struct Quality {
  struct Point {
    int64_t step = 0;
    double value = 0;
  };
  std::optional<double> before, after;
  std::vector<Point> points;  // before, each epoch, after; by step
};

// What a run's folder says of it.
struct RunSummary {
  std::filesystem::path folder;
  std::string status = "unfinished";  // or "finished", "stopped"
  int64_t steps = 0;
  double steps_per_epoch = 0;  // 0: not known
  std::optional<double> final_loss, examples_per_second, seconds;
  Quality accuracy, perplexity;
  int64_t peak_bytes = 0;                                    // 0: not known
  std::vector<std::pair<std::string, int64_t>> phase_peaks;  // in the order of a run
  std::vector<LoggedStep> logged;
  std::string versions;  // "lowmem-train 0.1.0, LibTorch 2.11.0"

  int64_t phase_peak(const std::string& phase) const;  // 0: it did not occur
};

// Reads results.json and metrics.jsonl. A run without results.json has not finished: what
// its metrics say is taken, with a warning. Lines of metrics.jsonl that cannot be read
// are left out with a warning, the last one of a run under way without. Throws Error
// naming a results.json that is damaged.
RunSummary read_run(const std::filesystem::path& folder);

}  // namespace lowmem::metrics
