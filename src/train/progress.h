#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "lowmem/train/checkpoint.h"
#include "lowmem/train/results.h"
#include "window.h"

namespace lowmem::train {

// How far a run has come: what its loop must know to go on, and what a checkpoint holds
// of it beside Session::state().
struct Progress {
  int64_t step = 0;                // finished
  int64_t nonfinite_in_a_row = 0;  // steps, the last ones
  Window window;                   // since the last line of metrics.jsonl
  Results results;
  std::map<std::string, uintmax_t> events;  // TensorBoard's files, and their lengths

  // Exactly, all but the step.
  nlohmann::json save() const;
  // Throws Error where another version has written it.
  static Progress load(const Checkpoint& checkpoint);
};

}  // namespace lowmem::train
