#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "lowmem/config/run_config.h"
#include "lowmem/data/batches.h"
#include "lowmem/train/arithmetic.h"
#include "lowmem/weights/home.h"

namespace lowmem::train {

// What a run needs, beside its tensors, to go on as if it had never stopped. Rounding
// noise and the order of rows are functions of the seed and the step, and so need
// nothing.
struct RunState {
  int64_t step = 0;  // updates done
  Batches::Cursor cursor;
  RunConfig config;
  std::string rows;   // fingerprint of the training rows
  std::string shape;  // fingerprint of the model's config.json
  // Of the weights that the checkpoint does not hold, since they are not trained: they
  // come from model.path. Empty: it holds all.
  std::string frozen;
  std::string device;       // that the run computes on: "cpu", "cuda"
  Arithmetic arithmetic;    // of the process that wrote it; empty: it does not say
  uintmax_t metrics = 0;    // bytes of metrics.jsonl
  nlohmann::json progress;  // the trainer's sums and results so far
};

// A checkpoint on the disk, found whole.
struct Checkpoint {
  std::filesystem::path folder;
  RunState state;
  nlohmann::json updates;  // of each trained weight, by its name
  int64_t format = 0;      // of the manifest
};

// The checkpoints of a run, in `<run>/checkpoints/step-<number>/`:
//
//   weights.safetensors    every trained weight, in its format; with
//                          train.whole_checkpoints every weight
//   optimizer.safetensors  <weight>/<name> for each tensor that the optimizer keeps
//   manifest.json          RunState, and size and checksum of the files and of itself
//
// A checkpoint is whole or absent: it is written beside, synced and renamed.
class Checkpoints {
 public:
  // `keep`: how many stay, the newest ones (0: all).
  Checkpoints(std::filesystem::path folder, int64_t keep);

  // Writes one, tensor by tensor, then removes those that are too old. Extra memory: 16
  // MiB of host memory where the tensors are on a device, else next to none.
  void save(const RunState& state, weights::Home& home) const;

  // The newest that is whole; each damaged one before it is named in a warning. nullopt
  // where there is none at all. Throws Error where all are damaged. Reads every byte of
  // the one it returns.
  std::optional<Checkpoint> newest() const;

  // Ascending. Empty where there is none. Throws Error where the folder cannot be read:
  // what is there is not known then, and must not be replaced.
  std::vector<int64_t> steps() const;

  // Removes what a killed process left half written.
  void clean() const;

 private:
  std::filesystem::path path(int64_t step) const;
  std::vector<std::filesystem::path> entries() const;
  std::filesystem::path folder_;
  int64_t keep_;
};

// The names of the weights that a checkpoint holds.
std::set<std::string> weights_in(const Checkpoint& checkpoint);

// Fills those weights. Throws Error where a trained one is missing.
void restore_weights(const Checkpoint& checkpoint, weights::Home& home);

// Fills what is beside them, which Optimizer::prepare() has made, and their counts.
// Throws Error where the checkpoint lacks a tensor, or has one that this run does not.
void restore_states(const Checkpoint& checkpoint, weights::Home& home);

// Throws Error naming the first key in which a run that goes on must not differ from what
// it was, with both values. Free are keys that alter nothing, the places of files, what
// costs only memory and time and, under a constant schedule and without AdaLoRA's, how
// long to train.
void check_same_run(const RunConfig& before, const RunConfig& now);

}  // namespace lowmem::train
