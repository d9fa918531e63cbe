#include "lowmem/metrics/run_summary.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/core/log.h"

namespace lowmem::metrics {
namespace {

using nlohmann::json;

struct WrongField {};

// A field's number, nullopt where it is null or missing. Nothing measured is beyond 1e30.
std::optional<double> number_in(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return std::nullopt;
  if (!found->is_number() || std::abs(found->get<double>()) > 1e30) throw WrongField();
  return found->get<double>();
}

const json& object_in(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_object()) throw WrongField();
  return *found;
}

int64_t count_in(const json& object, const char* key) {
  const auto found = object.find(key);
  if (found == object.end() || !found->is_number_integer()) throw WrongField();
  if (found->is_number_unsigned() && found->get<uint64_t>() > INT64_MAX)
    throw WrongField();
  return std::max<int64_t>(0, found->get<int64_t>());
}

// `acc` of {acc, acc_norm, count}, or `perplexity` of {loss, perplexity, tokens}.
std::optional<double> value_in(const json& quality, const char* when, const char* field) {
  const auto found = quality.find(when);
  if (found == quality.end() || found->is_null()) return std::nullopt;
  if (!found->is_object()) throw WrongField();
  const std::optional<double> value = number_in(*found, field);
  if (!value) throw WrongField();
  return value;
}

Quality quality_of(const json& results, const char* name, const char* field,
                   int64_t steps) {
  Quality quality;
  const auto found = results.find(name);
  if (found == results.end() || found->is_null()) return quality;
  if (!found->is_object()) throw WrongField();
  quality.before = value_in(*found, "before", field);
  quality.after = value_in(*found, "after", field);
  if (quality.before) quality.points.push_back({0, *quality.before});
  const json epochs = found->value("epochs", json::array());
  if (!epochs.is_array()) throw WrongField();
  for (const json& entry : epochs) {
    if (!entry.is_object()) throw WrongField();
    const std::optional<double> value = number_in(entry, field);
    if (!value) throw WrongField();
    quality.points.push_back({count_in(entry, "step"), *value});
  }
  if (quality.after && (quality.points.empty() || quality.points.back().step < steps))
    quality.points.push_back({steps, *quality.after});
  return quality;
}

void read_results(const std::filesystem::path& file, RunSummary& run) {
  const json results = read_json(file);
  try {
    if (!results.is_object() || !results.contains("status") ||
        !results["status"].is_string())
      throw WrongField();
    run.status = results["status"];
    run.steps = count_in(results, "steps");
    object_in(results, "accuracy");
    run.accuracy = quality_of(results, "accuracy", "acc", run.steps);
    run.perplexity = quality_of(results, "perplexity", "perplexity", run.steps);
    run.final_loss = number_in(results, "final_loss");
    const json& peaks = object_in(results, "peak_bytes");
    run.peak_bytes = count_in(peaks, "total");
    for (const char* phase :
         {"load", "forward", "backward", "update", "evaluate", "save"})
      if (peaks.contains(phase))
        run.phase_peaks.emplace_back(phase, count_in(peaks, phase));
    run.examples_per_second = number_in(results, "examples_per_second");
    run.seconds = number_in(results, "seconds");
    constexpr double kMostSeconds = 1e10;
    if (!run.examples_per_second || *run.examples_per_second < 0 || !run.seconds ||
        *run.seconds < 0 || *run.seconds > kMostSeconds)
      throw WrongField();
    if (results.contains("versions") && results["versions"].is_object())
      run.versions = "lowmem-train " + results["versions"].value("lowmem_train", "?") +
                     ", LibTorch " + results["versions"].value("libtorch", "?");
  } catch (const WrongField&) {
    throw Error(file.string(), "lacks a field that every finished run has",
                "Run it again with this version");
  } catch (const json::exception&) {
    throw Error(file.string(), "has a field of the wrong type",
                "Run it again with this version");
  }
}

// A line's step and what else of it is drawn; false where it is damaged.
bool read_line(const std::string& text, RunSummary& run) {
  constexpr int kDepth = 8;
  if (is_nested_deeper(text, kDepth)) return false;
  const json line = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!line.is_object()) return false;
  try {
    LoggedStep logged;
    logged.step = count_in(line, "step");
    logged.loss = number_in(line, "loss");
    logged.rounding_lost = number_in(line, "rounding_lost");
    logged.adapter_rank = number_in(line, "adapter_rank");
    const double epoch = number_in(line, "epoch").value_or(0);
    if (epoch > 0) run.steps_per_epoch = static_cast<double>(logged.step) / epoch;
    if (run.status == "unfinished") {
      run.steps = logged.step;
      if (logged.loss) run.final_loss = logged.loss;
      if (line.contains("peak_bytes"))
        run.peak_bytes = std::max(run.peak_bytes, count_in(line, "peak_bytes"));
    }
    run.logged.push_back(logged);
    return true;
  } catch (const WrongField&) {
    return false;
  }
}

void read_metrics(const std::filesystem::path& file, RunSummary& run) {
  if (!is_there(file)) return;
  refuse_other_than_file(file);
  std::ifstream in(file);
  if (!in) return log::warn(file.string() + " cannot be read: its curves are left out");
  int64_t damaged = 0;
  bool last_is_whole = true;
  for (std::string line; std::getline(in, line);) {
    last_is_whole = !in.eof();
    if (!read_line(line, run) && (last_is_whole || run.status != "unfinished")) ++damaged;
  }
  if (damaged > 0)
    log::warn(file.string() + ": " + std::to_string(damaged) +
              (damaged == 1 ? " line that cannot be read is"
                            : " lines that cannot be read are") +
              " left out");
}

}  // namespace

int64_t RunSummary::phase_peak(const std::string& phase) const {
  for (const auto& [name, bytes] : phase_peaks)
    if (name == phase) return bytes;
  return 0;
}

RunSummary read_run(const std::filesystem::path& folder) {
  RunSummary run;
  run.folder = folder;
  if (is_there(folder / "results.json"))
    read_results(folder / "results.json", run);
  else
    log::warn(folder.string() + " has no results.json: the run has not finished");
  read_metrics(folder / "metrics.jsonl", run);
  return run;
}

}  // namespace lowmem::metrics
