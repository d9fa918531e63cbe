#pragma once

#include <string>
#include <vector>

#include "lowmem/metrics/run_summary.h"

namespace lowmem::metrics {

// A run in a report. What its configuration says of it comes as plain words, since this
// folder knows nothing of configurations; empty where there is none.
struct ReportedRun {
  std::string name;
  RunSummary summary;
  std::string method;                 // "bf16 Adafactor, stochastic rounding"
  std::string seed;                   // runs that differ in nothing else are one method's
  std::vector<std::string> settings;  // a value for each of Report::keys
};

struct Report {
  std::vector<std::string> keys;  // in which the runs' configurations differ
  std::vector<ReportedRun> runs;  // at least one
};

// Tables in Markdown: a row a run, with a note where it has not finished; means over
// seeds where a method has several; the settings that differ.
std::string report_markdown(const Report& report);

// The same and the curves as one page of HTML, which is well-formed XML too: no script,
// no network, light or dark as the reader's system is. Of each curve at most 500 points.
std::string report_html(const Report& report);

// Begins every page that report_html() makes.
extern const char* const kReportMark;

}  // namespace lowmem::metrics
