#pragma once

#include <string>
#include <vector>

#include "lowmem/config/run_config.h"

namespace lowmem {

// What several configurations do not have in common.
struct Comparison {
  std::vector<std::string> keys;  // "optimizer.lr", in the order of visit()
  std::vector<std::vector<std::string>> values;  // of each configuration: a value a key
};

// The keys in which at least two of them differ, with each one's values as YAML. Left out
// is what no number depends on: names, folders, the seed, how often a run logs and saves.
Comparison compare(const std::vector<RunConfig>& configs);

// The method in a few words: types, optimizer, and which of the switches between baseline
// and low memory are on. "fp32 Adam", "bf16 Adafactor, stochastic rounding, recompute,
// update in backward, linear cross-entropy".
std::string method_of(const RunConfig& config);

}  // namespace lowmem
