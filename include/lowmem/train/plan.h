#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "lowmem/memory/rehearsal.h"
#include "lowmem/train/disk.h"
#include "lowmem/train/session.h"

namespace lowmem::train {

// How much a run has to do, from its texts.
struct Work {
  int64_t steps = 0;
  // Over all steps; after the first epoch, and five million rows, extrapolated from
  // those.
  int64_t examples = 0, tokens = 0, labelled = 0;
  double attended = 0;  // pairs of a token and one that it sees, itself among them
  int64_t evaluations = 0, evaluated_tokens = 0;  // tokens of each
  int64_t evaluated_together = 1;                 // of these, in one way over the weights
  // Batches, as indices of examples: those that may need most memory, which are some of
  // most tokens, that of most labelled ones, and the one with the largest micro-batch.
  std::vector<std::vector<int64_t>> rehearsed;
  int64_t largest_tokens = 0;  // of a batch
};
// `from`: only what is left after that checkpoint.
Work work_of(const RunConfig& config, const Inputs& inputs,
             const Checkpoint* from = nullptr);

// What this machine does in a second.
struct Speed {
  double operations = 0;  // floating-point, in products of the model's size
  double bytes = 0;       // read or written
  double disk = 0;  // bytes read or written, of a home on the disk; 0: there is none
  double host = 0;  // likewise of one in the host's memory, for a GPU
  double step = 0;  // seconds of a step beside its arithmetic, from a rehearsal
};

// What a run will need.
struct Plan {
  lowmem::memory::Rehearsed memory;  // of tensors, where they are computed with
  int64_t program = 0;               // bytes of the process beside tensors, on the host
  int64_t free = 0;       // bytes that tensors can have on the device, at the most
  int64_t host_free = 0;  // and on the host, where a GPU computes
  Work work;
  weights::Traffic traffic;  // of a step of the largest batch, with where things live
  double seconds = 0;  // of training and evaluation, an estimate; 0 on a GPU: unknown
  Speed speed;         // that it is estimated from
  bool on_cpu = true;
  DiskNeed disk;
  int64_t disk_free = -1;  // -1: unknown

  bool fits_host() const { return on_cpu || memory.host_peak <= host_free; }
  nlohmann::ordered_json to_json() const;
  // Some lines, the last without a line end.
  std::string to_text() const;
};

// Of a model's blocks, how many keep their activations: from 0 to 1.
double kept_share(OrCount<ActivationsMode> activations, const model::Config& shape);

// What a run holds before its first step: its weights, and what is beside them.
struct AtRest {
  int64_t bytes = 0;
  int64_t trained_elements = 0;
  int64_t whole_elements = 0;  // of these, whose gradient is there as a whole
};
// Rehearses that much of it: some milliseconds.
AtRest at_rest(const RunConfig& config, const Inputs& inputs);

// Measures for some tenths of a second; of a GPU it is a guess, to compare settings with.
Speed measure_speed(const RunConfig& config, const Inputs& inputs, const Work& work);

// Bytes a second that go to a working file and come from it, from some tenths of a
// second. Throws Error where there is no room for one.
double disk_speed(const RunConfig& config);

// Seconds that the work takes at that speed: an estimate (docs/benchmarks.md has runs).
double estimate_seconds(const RunConfig& config, const model::Config& shape,
                        const Work& work, const Speed& speed);

// Rehearses the run (memory::Rehearsal) on its largest batches: room for the weights, an
// evaluation, steps. Reads no weights and uses little memory. Off by less than 2% on the
// CPU. Throws memory::OutOfMemory where the process may not have enough addresses, and
// Error where the configuration and the model disagree. Some seconds for a billion
// weights. For a GPU the CPU stands in, with the GPU's slices and padding, cuBLAS's
// workspace and flash attention's buffers. Not in it are what recorded graphs hold
// between steps (a block's activations at the most), what the memory-efficient attention
// and cuDNN take for themselves, and the driver's own hundreds of MB; with
// memory.attention = math it is some percent too high. `speed`: null measures it.
Plan make_plan(const RunConfig& config, const Inputs& inputs,
               const Checkpoint* from = nullptr, const Speed* speed = nullptr);

}  // namespace lowmem::train
