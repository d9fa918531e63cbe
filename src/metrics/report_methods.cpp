#include "metrics/report_methods.h"

#include <algorithm>
#include <string_view>

namespace lowmem::metrics {
namespace {

bool belongs(const Method& method, const ReportedRun& run) {
  return !run.seed.empty() && method.first().settings == run.settings &&
         method.first().method == run.method &&
         std::none_of(method.runs.begin(), method.runs.end(),
                      [&](const ReportedRun* other) {
                        return other->seed.empty() || other->seed == run.seed;
                      });
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

void strip(std::string& name, std::string_view characters) {
  const size_t last = name.find_last_not_of(characters);
  name.erase(last == std::string::npos ? 0 : last + 1);
}

}  // namespace

std::vector<const ReportedRun*> Method::finished() const {
  std::vector<const ReportedRun*> found;
  for (const ReportedRun* run : runs)
    if (run->summary.status == "finished") found.push_back(run);
  return found;
}

std::string common_name(const std::vector<std::string>& names) {
  std::string common = names.front();
  if (names.size() == 1) return common;
  for (const std::string& name : names) {
    const auto end =
        std::mismatch(common.begin(), common.end(), name.begin(), name.end());
    common.erase(end.first, common.end());
  }
  // Not the first digits of longer numbers.
  for (const std::string& name : names)
    if (name.size() == common.size() || is_digit(name[common.size()])) {
      strip(common, "0123456789");
      break;
    }
  constexpr std::string_view kSeparators = "-_ .=/";
  strip(common, kSeparators);
  if (common.ends_with("seed")) common.erase(common.size() - 4);
  strip(common, kSeparators);
  return common.empty() ? names.front() : common;
}

std::vector<Method> methods_of(const Report& report) {
  std::vector<Method> methods;
  for (const ReportedRun& run : report.runs) {
    const auto known = std::find_if(methods.begin(), methods.end(),
                                    [&](const Method& m) { return belongs(m, run); });
    if (known != methods.end())
      known->runs.push_back(&run);
    else
      methods.push_back({"", {&run}, methods.size()});
  }
  for (Method& method : methods) {
    std::vector<std::string> names;
    for (const ReportedRun* run : method.runs) names.push_back(run->name);
    method.name = common_name(names);
  }
  return methods;
}

}  // namespace lowmem::metrics
