#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace lowmem::metrics {

// The results table of finished runs in Markdown, a row a run folder: accuracy before and
// after, peak memory, speed, time. A run that has not finished is left out with a
// warning; a folder that is no run's throws an Error naming it.
std::string report_table(const std::vector<std::filesystem::path>& runs);

}  // namespace lowmem::metrics
