#include "lowmem/metrics/report.h"

#include <cstdio>

#include "lowmem/config/comparison.h"
#include "lowmem/config/yaml.h"
#include "lowmem/core/error.h"
#include "lowmem/core/files.h"
#include "lowmem/core/log.h"
#include "lowmem/io/atomic_file.h"
#include "lowmem/metrics/run_folders.h"
#include "options.h"

namespace lowmem::cli {
namespace {

namespace fs = std::filesystem;

struct ReportOptions {
  std::vector<std::string> runs;
  std::string html;  // where to; empty: beside the runs
  bool no_html = false;
};

// Nullopt, with a warning, where it cannot be read: another version of the program may
// have other keys, and a run's numbers do not depend on it.
std::optional<RunConfig> config_in(const fs::path& folder) {
  try {
    return load_config(folder / "config.yaml");
  } catch (const Error& error) {
    log::warn(std::string(error.what()) + "\n         Its settings are left out.");
    return std::nullopt;
  }
}

metrics::Report read_report(const std::vector<metrics::FoundRun>& found) {
  metrics::Report report;
  std::vector<RunConfig> configs;
  std::vector<size_t> run_of;  // of each configuration
  for (const metrics::FoundRun& run : found) {
    report.runs.push_back({run.name, metrics::read_run(run.folder), "", "", {}});
    const std::optional<RunConfig> config = config_in(run.folder);
    if (!config) continue;
    report.runs.back().method = method_of(*config);
    report.runs.back().seed = std::to_string(config->run.seed);
    configs.push_back(*config);
    run_of.push_back(report.runs.size() - 1);
  }
  const Comparison comparison = compare(configs);
  report.keys = comparison.keys;
  for (size_t i = 0; i < configs.size(); ++i)
    report.runs[run_of[i]].settings = comparison.values[i];
  return report;
}

// As a user below it would write it.
fs::path shown(const fs::path& path) {
  const fs::path near = path.lexically_proximate(fs::current_path());
  return *near.begin() == ".." ? path : near;
}

void write_report(const ReportOptions& options) {
  const auto found = metrics::find_runs({options.runs.begin(), options.runs.end()});
  const metrics::Report report = read_report(found);
  std::fputs(metrics::report_markdown(report).c_str(), stdout);
  if (options.no_html) return;
  fs::path file = options.html;
  if (file.empty()) file = shown(metrics::common_folder(found) / "report.html");
  refuse_another_file(file, metrics::kReportMark, "--html");
  write_file_atomically(file, metrics::report_html(report));
  log::info("wrote " + file.string());
}

}  // namespace

void add_report(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "report", "compare runs: tables in Markdown, and report.html with curves");
  auto options = std::make_shared<ReportOptions>();
  command->add_option("RUNS", options->runs, "run folders, or folders that hold some")
      ->required();
  CLI::Option* html =
      command
          ->add_option("--html", options->html,
                       "where the page goes (default: report.html in the folder that "
                       "holds the runs)")
          ->type_name("FILE");
  command->add_flag("--no-html", options->no_html, "print the tables alone")
      ->excludes(html);
  command->callback([options] { write_report(*options); });
}

}  // namespace lowmem::cli
