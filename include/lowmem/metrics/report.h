#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace lowmem::metrics {

// The results table of finished runs in Markdown, a row a run folder: accuracy before and
// after, peak memory, speed, time. Throws Error naming a folder without results.json.
std::string report_table(const std::vector<std::filesystem::path>& runs);

}  // namespace lowmem::metrics
