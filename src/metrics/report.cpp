#include "lowmem/metrics/report.h"

#include <spdlog/fmt/fmt.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/core/log.h"
#include "lowmem/core/units.h"

namespace lowmem::metrics {
namespace {

std::string percent(const nlohmann::json& accuracy) {
  if (accuracy.is_null()) return "-";
  return fmt::format("{:.1f}%", 100 * accuracy.at("acc").get<double>());
}

std::string row(const std::filesystem::path& run) {
  const auto file = run / "results.json";
  const nlohmann::json results = read_json(file);
  try {
    const auto& accuracy = results.at("accuracy");
    return fmt::format("| {} | {} | {} | {:.3f} | {} | {:.1f} | {} |\n",
                       run.lexically_normal().filename().string(),
                       percent(accuracy.at("before")), percent(accuracy.at("after")),
                       results.at("final_loss").is_null()
                           ? std::nan("")
                           : results.at("final_loss").get<double>(),
                       format_bytes(results.at("peak_bytes").at("total").get<int64_t>()),
                       results.at("examples_per_second").get<double>(),
                       format_seconds(results.at("seconds").get<double>()));
  } catch (const nlohmann::json::exception&) {
    throw Error(file.string(), "lacks a field that every finished run has",
                "Run it again with this version");
  }
}

}  // namespace

std::string report_table(const std::vector<std::filesystem::path>& runs) {
  std::string table =
      "| run | accuracy before | after | final loss | peak memory | examples/s | time |\n"
      "|---|---|---|---|---|---|---|\n";
  for (const auto& run : runs) {
    if (exists(run / "config.yaml") && !exists(run / "results.json"))
      log::warn(run.string() + " has no results.json: the run has not finished");
    else
      table += row(run);
  }
  return table;
}

}  // namespace lowmem::metrics
