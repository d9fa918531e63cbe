#include "lowmem/train/results.h"

#include <torch/version.h>

#include <nlohmann/json.hpp>

#include "lowmem/core/version.h"
#include "lowmem/engine/memory_meter.h"
#include "lowmem/io/atomic_file.h"

namespace lowmem::train {
namespace {

using nlohmann::ordered_json;

ordered_json json_of(const eval::Accuracy& accuracy) {
  return {
      {"acc", accuracy.acc}, {"acc_norm", accuracy.acc_norm}, {"count", accuracy.count}};
}

ordered_json peaks() {
  ordered_json bytes = {{"total", engine::memory_meter::peak_bytes()}};
  const auto by_phase = engine::memory_meter::peaks_by_phase();
  for (size_t i = 0; i < engine::kPhases; ++i)
    bytes[engine::phase_name(static_cast<engine::Phase>(i))] = by_phase[i];
  return bytes;
}

}  // namespace

ordered_json Results::to_json() const {
  ordered_json accuracy = ordered_json::object();
  accuracy["before"] = before ? json_of(*before) : ordered_json();
  accuracy["after"] = after ? json_of(*after) : ordered_json();
  accuracy["epochs"] = ordered_json::array();
  for (const Epoch& epoch : epochs) {
    ordered_json entry = {{"epoch", epoch.epoch}, {"step", epoch.step}};
    entry.update(json_of(epoch.accuracy));
    accuracy["epochs"].push_back(entry);
  }
  const double in_steps = training_seconds > 0 ? training_seconds : 1;
  return {
      {"status", status},
      {"steps", steps},
      {"accuracy", accuracy},
      {"nonfinite_steps", nonfinite_steps},
      {"final_loss", final_loss ? ordered_json(*final_loss) : ordered_json()},
      {"peak_bytes", peaks()},
      {"peak_rss_bytes", engine::memory_meter::peak_resident_bytes()},
      {"device_used_bytes", engine::memory_meter::device_used_bytes()},
      {"examples_per_second", static_cast<double>(examples) / in_steps},
      {"tokens_per_second", static_cast<double>(tokens) / in_steps},
      {"seconds", seconds},
      {"versions", {{"lowmem_train", version()}, {"libtorch", TORCH_VERSION}}},
  };
}

void write_evaluation(const std::filesystem::path& path,
                      const eval::HellaSwagResult& result) {
  std::string text;
  for (const eval::RowScore& row : result.rows) {
    const ordered_json line = {{"index", row.index},
                               {"label", row.label},
                               {"log_likelihoods", row.log_likelihoods},
                               {"acc", row.acc ? 1 : 0},
                               {"acc_norm", row.acc_norm ? 1 : 0}};
    text += line.dump() + "\n";
  }
  write_file_atomically(path, text);
}

}  // namespace lowmem::train
