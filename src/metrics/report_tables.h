#pragma once

#include <string>
#include <vector>

#include "lowmem/metrics/report.h"
#include "metrics/report_methods.h"

namespace lowmem::metrics {

// A table before it is Markdown or HTML.
struct Table {
  struct Column {
    std::string title;
    bool numeric = false;  // aligned to the right
    int method = -1;       // as of a row
  };
  struct Row {
    std::vector<std::string> cells;
    std::string note;  // behind the first cell: what is unusual about the run
    int method = -1;   // index of the method it is about, for its colour
  };
  std::vector<Column> columns;
  std::vector<Row> rows;
};

// A row a run.
Table results_table(const Report& report, const std::vector<Method>& methods);
// A row a method, over its finished runs; no rows where each has but one.
Table seeds_table(const std::vector<Method>& methods);
// The settings that differ; no rows where none does. Whatever there are fewer of, methods
// or settings, are the columns.
Table differences_table(const Report& report, const std::vector<Method>& methods);

// "stopped after step 120"; empty for a finished run.
std::string note_of(const RunSummary& run);

}  // namespace lowmem::metrics
