#include "lowmem/metrics/report.h"

#include <cstdio>

#include "options.h"

namespace lowmem::cli {

void add_report(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("report", "the results table of finished runs, in Markdown");
  auto runs = std::make_shared<std::vector<std::string>>();
  command->add_option("RUNS", *runs, "run folders")->required();
  command->callback([runs] {
    const std::vector<std::filesystem::path> folders(runs->begin(), runs->end());
    std::fputs(metrics::report_table(folders).c_str(), stdout);
  });
}

}  // namespace lowmem::cli
