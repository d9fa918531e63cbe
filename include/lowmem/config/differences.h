#pragma once

#include <string>
#include <vector>

#include "lowmem/config/run_config.h"

namespace lowmem {

struct Difference {
  std::string key;            // "optimizer.lr"
  std::string before, after;  // as YAML
  Alters alters;
};

// The keys in which two configurations differ, in the order of visit().
std::vector<Difference> differences(const RunConfig& before, const RunConfig& after);

}  // namespace lowmem
