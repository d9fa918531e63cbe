#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "lowmem/metrics/sink.h"

namespace lowmem::metrics {

// metrics.jsonl: one object a step record. Evaluations have files of their own. Goes on
// after the first `keep` bytes; what follows them is removed. A file that has fewer goes
// on at its end, with a warning.
std::unique_ptr<Sink> jsonl_sink(const std::filesystem::path& path, uintmax_t keep = 0);

// A line a record on the log.
std::unique_ptr<Sink> log_sink(int64_t total_steps);

// The live line of a terminal (core/live_line.h), from its making to its end: step,
// epoch, loss, tokens a second, memory now and at its highest, time left. Loss and speed
// are means over about ten steps. The time left counts the evaluations to come, one after
// every `evaluation_every` steps (0: none) and one at the end, once one has been seen.
std::unique_ptr<Sink> live_sink(int64_t total_steps, int64_t evaluation_every);

// A TensorBoard event file in `folder`, of a name that sorts after those that are there:
// readers go through them in that order. With the scalars
//
//   Train/loss Train/lr Train/epoch Train/tokens_per_second Train/step_seconds
//   Train/memoryGB Train/rssGB (both in GiB) Train/grad_norm Train/rounding_lost
//   Train/adapter_rank Train/orthogonality
//   val/acc val/acc_norm val/perplexity val/loss
//
// at their steps, each as a 32-bit float; what a record lacks, and what is not finite, is
// left out. Each event is on its way to the disk when step() or evaluation()
// returns. `next_step`: of a run that goes on, the first step to come, from where on a
// TensorBoard that is watching forgets what it has seen.
std::unique_ptr<Sink> tensorboard_sink(const std::filesystem::path& folder,
                                       std::optional<int64_t> next_step = std::nullopt);

// The names and lengths of the event files in `folder`.
std::map<std::string, uintmax_t> event_files(const std::filesystem::path& folder);

// Makes them again what they were when event_files() said `lengths`: removes what has
// been written since.
void restore_event_files(const std::filesystem::path& folder,
                         const std::map<std::string, uintmax_t>& lengths);

}  // namespace lowmem::metrics
