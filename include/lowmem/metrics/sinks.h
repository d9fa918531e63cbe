#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "lowmem/metrics/sink.h"

namespace lowmem::metrics {

// metrics.jsonl: one object a step record. Evaluations have files of their own. Goes on
// after the first `keep` bytes; what follows them is removed. A file that has fewer goes
// on at its end, with a warning.
std::unique_ptr<Sink> jsonl_sink(const std::filesystem::path& path, uintmax_t keep = 0);

// A line a record on the log.
std::unique_ptr<Sink> log_sink(int64_t total_steps);

}  // namespace lowmem::metrics
