#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "lowmem/core/files.h"

namespace lowmem::train {

inline std::vector<nlohmann::json> raw_lines_of(const std::filesystem::path& run) {
  std::vector<nlohmann::json> lines;
  std::ifstream in(run / "metrics.jsonl");
  for (std::string line; std::getline(in, line);)
    lines.push_back(nlohmann::json::parse(line));
  return lines;
}

// A run's lines of metrics.jsonl without what is of the machine and the hour.
inline std::vector<nlohmann::json> lines_of(const std::filesystem::path& run) {
  std::vector<nlohmann::json> lines;
  for (nlohmann::json record : raw_lines_of(run)) {
    for (const char* key : {"step_seconds", "tokens_per_second", "peak_bytes",
                            "rss_bytes", "read_bytes", "written_bytes", "waited_seconds"})
      record.erase(key);
    lines.push_back(record);
  }
  return lines;
}

// results.json likewise.
inline nlohmann::json results_of(const std::filesystem::path& run) {
  nlohmann::json results = read_json(run / "results.json");
  for (const char* key : {"peak_bytes", "peak_rss_bytes", "device_used_bytes", "seconds",
                          "examples_per_second", "tokens_per_second"})
    results.erase(key);
  return results;
}

// The names of a run's files whose every byte counts: what it made, the evaluations. Its
// card tells the settings, in which runs of equal results may differ.
inline std::set<std::string> files_of(const std::filesystem::path& run) {
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(run)) {
    const auto name = entry.path().lexically_relative(run);
    const std::string top = name.begin()->string();
    if (name == "model/README.md" || name == "adapter/README.md") continue;
    if (entry.is_regular_file() &&
        (top == "model" || top == "adapter" || top.starts_with("evaluation-")))
      names.insert(name.string());
  }
  return names;
}

// Every file of two runs that must be equal is: the model, the evaluations, metrics and
// results.
inline void expect_equal_runs(const std::filesystem::path& one,
                              const std::filesystem::path& other) {
  EXPECT_EQ(lines_of(one), lines_of(other));
  EXPECT_EQ(results_of(one), results_of(other));
  const auto names = files_of(one);
  EXPECT_GE(names.size(), 4u);  // of a model alone, or an adapter and two evaluations
  EXPECT_EQ(names, files_of(other));
  for (const std::string& name : names)
    if (std::filesystem::exists(other / name)) {
      EXPECT_EQ(read_file(one / name), read_file(other / name)) << name;
    }
}

}  // namespace lowmem::train
