// A YAML configuration, then overrides: lines after one of "%%%".

#include "lowmem/config/overrides.h"
#include "lowmem/config/validate.h"
#include "lowmem/config/yaml.h"
#include "support.h"

using namespace lowmem;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string_view text = fuzz::text_of(data, size);
  const size_t end = text.find("%%%\n");
  RunConfig config;
  fuzz::only_errors([&] { apply_yaml(config, text.substr(0, end), "input"); });
  text = end == std::string_view::npos ? "" : text.substr(end + 4);
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    fuzz::only_errors([&] { apply_override(config, line); });
  }
  // What was taken can be written, and read back to the same.
  static const std::string defaults = to_yaml(RunConfig());
  const std::string written = to_yaml(config);
  if (written == defaults) return 0;
  RunConfig again;
  apply_yaml(again, written, "written");
  fuzz::require(to_yaml(again) == written);
  for (const Purpose purpose : {Purpose::kTrain, Purpose::kEvaluate})
    fuzz::only_errors([&] { validate(config, purpose); });
  return 0;
}
