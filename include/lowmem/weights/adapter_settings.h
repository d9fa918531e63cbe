#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "lowmem/config/run_config.h"

// What a folder of PEFT's says of its adapter, without a tensor's numbers. No LibTorch:
// tests/fuzz reads it too.
namespace lowmem::weights {

// Such a folder's adapter as settings: kind, rank, alpha, targets, their patterns and
// what is trained beside. Throws Error for a folder that is damaged, that contradicts
// itself, or that holds a kind of adapter that is not implemented: what is not known and
// not empty is never ignored.
AdapterConfig read_adapter(const std::filesystem::path& folder);

// Which of AdaLoRA's triplets are there, of each module.
using TripletsLeft = std::map<std::string, std::vector<bool>>;
// What a folder says of that. Throws Error where it is damaged, or says nothing of one of
// the modules or something of another.
TripletsLeft read_triplets(const std::filesystem::path& folder,
                           const std::set<std::string>& modules, int64_t rank);

}  // namespace lowmem::weights
