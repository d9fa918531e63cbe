#pragma once

#include <string>
#include <vector>

#include "lowmem/metrics/report.h"

namespace lowmem::metrics {

// Runs that differ in their seed alone.
struct Method {
  std::string name;
  std::vector<const ReportedRun*> runs;  // at least one, of the report
  size_t index = 0;                      // among the report's methods

  const ReportedRun& first() const { return *runs.front(); }
  // Those whose numbers are final.
  std::vector<const ReportedRun*> finished() const;
};

// In the order of their first runs. Two runs of one seed are two methods: something that
// no setting shows differs between them.
std::vector<Method> methods_of(const Report& report);

// What runs of these names have in common, without what stands before their seeds:
// "lowmem" of "lowmem-seed1" and "lowmem-seed2". The first name where that is nothing.
std::string common_name(const std::vector<std::string>& names);

}  // namespace lowmem::metrics
