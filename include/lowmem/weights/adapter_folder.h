#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "lowmem/weights/adapter.h"
#include "lowmem/weights/adapter_settings.h"

// A folder of PEFT's: adapter_config.json, which adapter_settings.h reads, and
// adapter_model.safetensors.
namespace lowmem::weights {

// Fills an adapter's matrices and what adapter.also_train names. Throws Error for a
// tensor that is missing, of another shape, not finite, or that the table has no place
// for.
void load_adapter(Home& home, const AdapterConfig& adapter,
                  const std::filesystem::path& folder);

// How a run has left its adapter.
struct Ending {
  // Where the adapter took from the model what it began with, the file of that
  // (weights/adapter_start.h). The folder is then one to use beside the model as it was,
  // with pairs of twice the rank: [A; A0] and [B, -B0], of which the product is
  // B @ A - B0 @ A0.
  std::filesystem::path start = {};
  int64_t steps = 0;  // of the run; AdaLoRA's folders name them
};

// Writes one. `base`: the model's name, for whoever loads it. Of AdaLoRA's triplets those
// that are left (weights/rank_budget.h).
void save_adapter(Home& home, const AdapterConfig& adapter, const std::string& base,
                  const std::filesystem::path& folder, const Ending& ending = {});

}  // namespace lowmem::weights
