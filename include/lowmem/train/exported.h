#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lowmem/config/run_config.h"
#include "lowmem/core/dtype.h"
#include "lowmem/model/config.h"
#include "lowmem/weights/adapter.h"
#include "lowmem/weights/home.h"

// What a run makes: a model's folder, or with adapter.kind an adapter's.
namespace lowmem::train {

inline bool makes_adapter(const RunConfig& config) {
  return config.adapter.kind != AdapterKind::kNone;
}

// The model's weights, and its adapter's where the configuration has one.
std::vector<weights::Spec> weight_specs(const RunConfig& config,
                                        const model::Config& shape);

// Writes the folder, from the home's weights. `steps`: of the run.
void write_exported(const RunConfig& config, weights::Home& home,
                    const std::filesystem::path& folder, int64_t steps);

// Of AdaLoRA's adapter the triplets that are left of each module; empty for others.
std::map<std::string, int64_t> adapter_ranks(const RunConfig& config,
                                             const weights::Table& table);

// How an adapter's model lay in memory when it was trained: in which codes, and of
// numbers of which type these were made; the codes' fingerprint, where no quantizing of
// the model gives them.
struct TrainedBeside {
  Stored form = Stored::kPlain;
  DType dtype = DType::kBF16;
  std::string codes = {};
};
// Of a folder that says so, trained_beside.json, as write_exported() leaves it where that
// was in codes.
std::optional<TrainedBeside> trained_beside(const std::filesystem::path& adapter);

// Writes such a folder for this run itself to read again, and reads one: an adapter is
// beside the model as the run has it.
void write_kept(const RunConfig& config, weights::Home& home,
                const std::filesystem::path& folder);
void read_kept(const RunConfig& config, weights::Home& home,
               const std::filesystem::path& folder);

// Writes a model's folder with the adapter merged into it.
void write_merged(const RunConfig& config, weights::Home& home,
                  const std::filesystem::path& folder);

// Takes the memory that a run's checkpoints, its model or adapter, and what is merged
// take while they are written: for a rehearsal.
void rehearse_saving(const RunConfig& config, weights::Home& home);

// Gives the adapter, if any, what it begins with: the folder adapter.path, or what
// adapter.init says, by run.seed. Where that is a part of the model's matrices, it is
// taken from these. Throws Error for a folder that was trained beside other codes, where
// it names these by a fingerprint.
void begin_adapter(const RunConfig& config, weights::Home& home);
void rehearse_adapter(const RunConfig& config, weights::Home& home);

// What an adapter took from the model at its beginning, in the run's folder: written
// before its first step, and taken from the model that a resumed run has loaded. Of one
// that made codes anew, the model with these, kBaseFolder, and its codes. Nothing of
// other adapters.
void write_taken(const RunConfig& config, weights::Home& home);
void take_again(const RunConfig& config, weights::Home& home);

// The configuration with the settings of adapter.path, where it is given. Throws Error
// where it says something else itself.
RunConfig with_adapter_of_path(const RunConfig& config);

}  // namespace lowmem::train
