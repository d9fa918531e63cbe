#pragma once

#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>

#include "lowmem/weights/adapter_settings.h"

// What adapter_config.json holds of AdaLoRA beside what others hold: of each module the
// triplets that are left, as booleans.
namespace lowmem::weights {

// Keys of adapter_config.json that such a folder has and others have not.
bool is_triplets_key(const std::string& key);

// Its init_r. Throws Error where that or one of those that only training reads is no
// number of its kind.
int64_t initial_rank(const std::filesystem::path& file, const nlohmann::json& config);

// What `rank_pattern` says of each module; all of its triplets where there is none.
// Throws Error where it is damaged, or says nothing of one or something of another.
TripletsLeft triplets_in(const std::filesystem::path& file, const nlohmann::json& config,
                         const std::set<std::string>& modules, int64_t rank);

// And its keys, to be written. `steps`: of the run that trained it.
nlohmann::json triplets_config(const AdapterConfig& adapter, const TripletsLeft& left,
                               int64_t steps);

}  // namespace lowmem::weights
