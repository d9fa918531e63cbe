#pragma once

#include <filesystem>
#include <vector>

#include "lowmem/config/run_config.h"
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

// Writes the folder, from the home's weights.
void write_exported(const RunConfig& config, weights::Home& home,
                    const std::filesystem::path& folder);
// Fills the home with what was written.
void read_exported(const RunConfig& config, weights::Home& home,
                   const std::filesystem::path& folder);

// Writes a model's folder with the adapter merged into it.
void write_merged(const RunConfig& config, weights::Home& home,
                  const std::filesystem::path& folder);

// Makes what write_merged() makes for its largest matrix: for a rehearsal.
void rehearse_merged(const RunConfig& config, weights::Home& home);

// Gives the adapter, if any, what it begins with: the folder adapter.path, or random
// numbers of run.seed.
void begin_adapter(const RunConfig& config, weights::Home& home);

// The configuration with the settings of adapter.path, where it is given. Throws Error
// where it says something else itself.
RunConfig with_adapter_of_path(const RunConfig& config);

}  // namespace lowmem::train
