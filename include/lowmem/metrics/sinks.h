#pragma once

#include <filesystem>
#include <memory>

#include "lowmem/metrics/sink.h"

namespace lowmem::metrics {

// metrics.jsonl: one object a step record. Evaluations have files of their own.
std::unique_ptr<Sink> jsonl_sink(const std::filesystem::path& path);

// A line a record on the log.
std::unique_ptr<Sink> log_sink(int64_t total_steps);

}  // namespace lowmem::metrics
