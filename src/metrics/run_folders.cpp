#include "lowmem/metrics/run_folders.h"

#include <algorithm>
#include <cctype>
#include <system_error>

#include "lowmem/core/error.h"
#include "lowmem/core/files.h"

namespace lowmem::metrics {
namespace {

namespace fs = std::filesystem;

bool is_digit(char c) { return std::isdigit(static_cast<unsigned char>(c)) != 0; }

// "seed9" before "seed10".
bool before(const std::string& a, const std::string& b) {
  for (size_t i = 0, j = 0; i < a.size() && j < b.size();) {
    if (!is_digit(a[i]) || !is_digit(b[j])) {
      if (a[i] != b[j]) return a[i] < b[j];
      ++i, ++j;
      continue;
    }
    while (i + 1 < a.size() && a[i] == '0' && is_digit(a[i + 1])) ++i;
    while (j + 1 < b.size() && b[j] == '0' && is_digit(b[j + 1])) ++j;
    size_t end_i = i, end_j = j;
    while (end_i < a.size() && is_digit(a[end_i])) ++end_i;
    while (end_j < b.size() && is_digit(b[end_j])) ++end_j;
    if (end_i - i != end_j - j) return end_i - i < end_j - j;
    const int order = a.compare(i, end_i - i, b, j, end_j - j);
    if (order != 0) return order < 0;
    i = end_i, j = end_j;
  }
  return a.size() < b.size();
}

std::vector<fs::path> runs_in(const fs::path& folder) {
  if (is_run(folder)) return {folder};
  std::vector<fs::path> runs;
  std::error_code code;
  for (fs::directory_iterator entry(folder, code), end; !code && entry != end;
       entry.increment(code))
    if (is_run(entry->path())) runs.push_back(entry->path());
  if (code)
    throw Error(folder.string(), "cannot be read (" + code.message() + ")",
                "Check the path and its permissions");
  if (runs.empty())
    throw Error(folder.string(), "is no run's folder and holds none",
                "Name folders that training has written, such as runs/NAME");
  std::sort(runs.begin(), runs.end(), [](const fs::path& a, const fs::path& b) {
    return before(a.filename().string(), b.filename().string());
  });
  return runs;
}

// Absolute, without `.`, `..` and a slash at the end.
fs::path plain(const fs::path& path) {
  const fs::path normal = fs::absolute(path).lexically_normal();
  return normal.has_filename() ? normal : normal.parent_path();
}

}  // namespace

bool is_run(const fs::path& folder) {
  std::error_code code;
  return fs::is_directory(folder, code) && (fs::exists(folder / "config.yaml", code) ||
                                            fs::exists(folder / "results.json", code));
}

fs::path common_folder(const std::vector<FoundRun>& runs) {
  fs::path common = plain(runs.front().folder).parent_path();
  for (const FoundRun& run : runs) {
    const fs::path holder = plain(run.folder).parent_path();
    fs::path shared;
    for (auto a = common.begin(), b = holder.begin();
         a != common.end() && b != holder.end() && *a == *b; ++a, ++b)
      shared /= *a;
    common = shared;
  }
  return common;
}

std::vector<FoundRun> find_runs(const std::vector<fs::path>& paths) {
  std::vector<FoundRun> found;
  for (const fs::path& path : paths) {
    std::error_code code;
    const fs::file_status status = fs::status(path, code);
    if (!fs::exists(status))
      throw Error(path.string(), "is not there",
                  "Name folders that training has written");
    if (!fs::is_directory(status)) continue;
    for (const fs::path& folder : runs_in(path)) {
      const bool known = std::any_of(found.begin(), found.end(), [&](const auto& run) {
        return fs::equivalent(run.folder, folder, code);
      });
      if (!known) found.push_back({folder, ""});
    }
  }
  if (found.empty())
    throw Error(paths.empty() ? "RUNS" : paths.front().string(), "is no run's folder",
                "Name folders that training has written, such as runs/NAME");
  const fs::path common = common_folder(found);
  for (FoundRun& run : found)
    run.name = plain(run.folder).lexically_relative(common).string();
  return found;
}

}  // namespace lowmem::metrics
